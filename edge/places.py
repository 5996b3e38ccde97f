"""Places of a route: pictures of normal flights, found again by what they show and laid on the picture now.

A drone that flies the same way every day knows how each place should look. What a scout of the kind `route`
sees beside the picture now is that place on another flight: a rock that was there yesterday excuses itself,
a boat that was not stands out. Needs no position: places are found by a coarse look and proven by matching
ORB features (Rublee et al. 2011) under one affine motion (RANSAC); where nothing proves itself, nothing is
recalled.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.frames import Picture

Affine = NDArray[np.float32]  # 2 x 3
Words = NDArray[np.uint8]  # n x 32, ORB's descriptions
Points = NDArray[np.float32]  # n x 2, x and y

LONG_SIDE = 640  # pixels of the picture in which features are sought
_FEATURES = 800
GLANCE = (32, 18)  # width, height of the coarse look
_GLANCES = 6  # candidates by the coarse look alone
_NEAR = 3.0  # pixels within which a match supports the motion
_LEAST = 30  # matches that must
_SHARE = 0.3  # of all matches that must
_SCALE = (0.6, 1.6)  # how much nearer or farther the place may have been seen
_ENOUGH = 0.98  # of the picture covered: no other candidate is tried
_MOST = 3  # places laid side by side
_LITTLE = 0.005  # of the picture: what adds less is left out
_KNOWN = 0.65  # of a picture covered by a place already kept: no new one is needed
_QUALITY = 85  # of the kept JPEG pictures
_DECODED = 6  # pictures kept decoded, 6 MB each at 1080p


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What a picture is known by. `points` in pixels of its LONG_SIDE form; `size` of it: width, height."""

    glance: NDArray[np.float32]
    points: Points
    words: Words
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One kept picture, as JPEG, of one of the flights."""

    flight: int
    sight: Sight
    jpeg: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """`affine`: from the place's LONG_SIDE pixels to those of the picture now; `covers`: on a grid over that,
    where the place lies on it."""

    place: int
    affine: Affine
    covers: NDArray[np.bool_]

    @property
    def covered(self) -> float:
        return float(self.covers.mean())


@dataclass(frozen=True, slots=True, eq=False)
class Recalled:
    """The route as other flights saw it, laid on the picture now and in its light. `known`, height x width:
    where they saw anything; elsewhere `picture` is the picture now."""

    picture: Picture
    known: NDArray[np.bool_]


def sight_of(picture: Picture) -> Sight:
    height, width = picture.shape[:2]
    factor = min(1.0, LONG_SIDE / max(height, width))
    size = max(32, round(width * factor)), max(32, round(height * factor))
    gray = cv2.cvtColor(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    found, words = _orb().detectAndCompute(gray, None)
    points = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    return Sight(_glance(gray), points, np.zeros((0, 32), np.uint8) if words is None else words, size)


def _glance(gray: NDArray[Any]) -> NDArray[np.float32]:
    """The coarse look, without its brightness and its slow changes; of length 1."""
    small = cv2.resize(gray, GLANCE, interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = (small - cv2.GaussianBlur(small, (0, 0), 4)).ravel()
    return np.asarray(detail / max(float(np.linalg.norm(detail)), 1e-6), np.float32)


@cache
def _orb() -> Any:  # made once: it holds buffers
    return cv2.ORB.create(nfeatures=_FEATURES, fastThreshold=10)


@cache
def _matcher() -> Any:
    return cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)


class Places:
    """All that is known of a route, in the order in which it was flown."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = tuple(places)
        self.glances = np.stack([place.sight.glance for place in places]) if places else np.zeros((0, 1))
        self.flights = np.array([place.flight for place in places], np.int64)

    def walk(self, but_not: int | None = None) -> Walk:
        """For one flight, picture by picture; nothing is recalled of the flight `but_not`."""
        return Walk(self, self.flights != (-1 if but_not is None else but_not))


class Walk:
    """Goes along a route and remembers where it was, so that the next place is soon found."""

    def __init__(self, known: Places, allowed: NDArray[np.bool_]) -> None:
        self._known, self._allowed = known, allowed
        self._last: int | None = None
        self._decoded: OrderedDict[int, Picture] = OrderedDict()

    def recall(self, picture: Picture) -> Recalled | None:
        """None where no place proves itself."""
        found = self.matches(sight_of(picture))
        if not found:
            return None
        whole, known = picture.copy(), np.zeros(picture.shape[:2], np.bool_)
        for match in found:
            seen, size = self._picture(match.place), self._known.places[match.place].sight.size
            affine = in_pixels(match.affine, size, seen.shape, picture.shape)
            laid, there = laid_on(seen, affine, picture)
            there &= ~known
            np.copyto(whole, laid, where=there[..., None])
            known |= there
        return Recalled(whole, known)

    def matches(self, now: Sight) -> list[Match]:
        """Places that cover what is seen now, the one that covers most first, each with something to add."""
        found: list[Match] = []
        for number in self._candidates(now):
            match = matched(number, self._known.places[number].sight, now)
            if match is not None:
                found.append(match)
            if found and np.mean(np.any([match.covers for match in found], axis=0)) >= _ENOUGH:
                break
        kept = _side_by_side(found)
        self._last = kept[0].place if kept else None
        return kept

    def _candidates(self, now: Sight) -> Iterable[int]:
        """Those beside the last place first, then those that look alike."""
        if not len(self._allowed):
            return ()
        alike = np.where(self._allowed, self._known.glances @ now.glance, -2.0)
        near = [] if self._last is None else [self._last, self._last + 1, self._last - 1]
        near = [place for place in near if 0 <= place < len(self._allowed) and self._allowed[place]]
        likely = [int(place) for place in np.argsort(alike)[::-1][:_GLANCES] if alike[place] > -2.0]
        return dict.fromkeys([*sorted(near, key=lambda place: -alike[place]), *likely])

    def _picture(self, number: int) -> Picture:
        kept = self._decoded
        if number not in kept:
            data = np.frombuffer(self._known.places[number].jpeg, np.uint8)
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
            if picture is None:
                raise BundleError(
                    "a picture in the bundle's route cannot be read; calibrate the bundle again"
                )
            kept[number] = np.asarray(picture, np.uint8)
        kept.move_to_end(number)
        while len(kept) > _DECODED:
            kept.popitem(last=False)
        return kept[number]


def matched(number: int, place: Sight, now: Sight) -> Match | None:
    if min(len(place.words), len(now.words)) < _LEAST:
        return None
    pairs = _matcher().match(place.words, now.words)
    if len(pairs) < _LEAST:
        return None
    there = place.points[[pair.queryIdx for pair in pairs]]
    here = now.points[[pair.trainIdx for pair in pairs]]
    affine, support = cv2.estimateAffinePartial2D(
        there, here, method=cv2.RANSAC, ransacReprojThreshold=_NEAR, maxIters=500
    )
    if affine is None or support.sum() < max(_LEAST, _SHARE * len(pairs)):
        return None
    if not _SCALE[0] <= float(np.hypot(affine[0, 0], affine[1, 0])) <= _SCALE[1]:
        return None
    affine = np.asarray(affine, np.float32)
    return Match(number, affine, _covers(affine, place.size, now.size))


def _covers(affine: Affine, place: tuple[int, int], now: tuple[int, int]) -> NDArray[np.bool_]:
    """Where on the picture now the place lies, eight pixels to a cell."""
    seen = cv2.warpAffine(np.full((place[1] // 8, place[0] // 8), 255, np.uint8), _eighth(affine), _part(now))
    return np.asarray(seen > 127, np.bool_)


def _side_by_side(found: Sequence[Match]) -> list[Match]:
    """As few as cover what all together cover, within _LITTLE, and at most _MOST."""
    kept: list[Match] = []
    left = sorted(found, key=lambda match: -match.covered)
    seen: Any = False
    while left and len(kept) < _MOST:
        best = max(left, key=lambda match: np.mean(match.covers & ~np.asarray(seen)))
        if np.mean(best.covers & ~np.asarray(seen)) < _LITTLE:
            break
        kept.append(best)
        seen = best.covers | seen
        left.remove(best)
    return kept


def _eighth(affine: Affine) -> Affine:
    smaller: Affine = np.array(affine, np.float32)
    smaller[:, 2] /= 8
    return smaller


def _part(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] // 8, size[1] // 8


def in_pixels(affine: Affine, size: tuple[int, int], place: tuple[int, ...], now: tuple[int, ...]) -> Affine:
    """The motion between LONG_SIDE forms as one between pictures; shapes are height, width, ..."""
    of_place, of_now = size[0] / place[1], max(now[:2]) / min(LONG_SIDE, max(now[:2]))
    whole: Affine = np.asarray(affine * np.float32(of_now), np.float32)
    whole[:, :2] *= np.float32(of_place)
    return whole


def laid_on(seen: Picture, affine: Affine, now: Picture) -> tuple[Picture, NDArray[np.bool_]]:
    """The place in the light of now, and where it lies."""
    size = (now.shape[1], now.shape[0])
    moved = np.asarray(cv2.warpAffine(seen, affine, size, flags=cv2.INTER_LINEAR), np.uint8)
    inside = np.full(seen.shape[:2], 255, np.uint8)
    there = cv2.warpAffine(inside, affine, size, flags=cv2.INTER_LINEAR) == 255
    return _lit(moved, now, there), there


def _lit(moved: Picture, now: Picture, there: NDArray[np.bool_]) -> Picture:
    """Each colour brought to the mean and the spread that it has now, by at most a half."""
    some = (slice(None, None, 8),) * 2
    old, new = moved[some][there[some]], now[some][there[some]]
    if not len(old):
        return moved
    gain = np.clip((new.std(axis=0) + 1) / (old.std(axis=0) + 1), 0.5, 1.5)
    bias = new.mean(axis=0) - gain * old.mean(axis=0)
    levels = np.arange(256)[:, None] * gain + bias  # 256 x 3
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(moved, table), np.uint8)


class Gatherer:
    """Flights, one after the other, picture by picture -> the places that tell them apart."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._own: list[int] = []
        self._flight = -1

    def begin(self) -> None:
        """The next flight."""
        self._flight += 1
        self._own = []

    def add(self, picture: Picture) -> None:
        """Kept unless this flight has a place that shows most of it."""
        sight = sight_of(picture)
        if len(sight.words) < _LEAST or self._known(sight):
            return
        done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        assert done
        self._own.append(len(self._places))
        self._places.append(Place(self._flight, sight, jpeg.tobytes()))

    def _known(self, sight: Sight) -> bool:
        recent = self._own[-1:]
        glances = [float(self._places[place].sight.glance @ sight.glance) for place in self._own]
        likely = [self._own[place] for place in np.argsort(glances)[::-1][:_GLANCES]]
        for number in dict.fromkeys([*recent, *likely]):
            match = matched(number, self._places[number].sight, sight)
            if match is not None and match.covered >= _KNOWN:
                return True
        return False

    def places(self) -> Places:
        return Places(self._places)
