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
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.frames import Picture
from edge.sights import LEAST, Affine, Match, Sight, in_pixels, matched, sight_of

_GLANCES = 6  # candidates by the coarse look alone
_SWEPT = 6  # more of them for each picture while lost, along the whole route
_ENOUGH = 0.98  # of the picture covered: no other candidate is tried
_MOST = 3  # places laid side by side
_LITTLE = 0.005  # of the picture: what adds less is left out
_KNOWN = 0.65  # of a picture covered by a place already kept: no new one is needed
_QUALITY = 85  # of the kept JPEG pictures
_DECODED = 6  # pictures kept decoded, 6 MB each at 1080p


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One kept picture, as JPEG, of one of the flights."""

    flight: int
    sight: Sight
    jpeg: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Recalled:
    """The route as other flights saw it, laid on the picture now and in its light. `known`, height x width:
    where they saw anything; elsewhere `picture` is the picture now."""

    picture: Picture
    known: NDArray[np.bool_]


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
        self._lost = True
        self._swept = 0
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
        self._lost = not kept
        self._last = kept[0].place if kept else self._last
        return kept

    def _candidates(self, now: Sight) -> Iterable[int]:
        """Those beside the last place first, then those that look alike; while lost, others in turn: a place
        seen from a quarter of a picture aside looks no more alike than any other."""
        if not len(self._allowed):
            return ()
        alike = np.where(self._allowed, self._known.glances @ now.glance, -2.0)
        near = [] if self._last is None else [self._last, self._last + 1, self._last - 1]
        near = [place for place in near if 0 <= place < len(self._allowed) and self._allowed[place]]
        likely = [int(place) for place in np.argsort(alike)[::-1][:_GLANCES] if alike[place] > -2.0]
        others = self._next_swept() if self._lost else []
        return dict.fromkeys([*sorted(near, key=lambda place: -alike[place]), *likely, *others])

    def _next_swept(self) -> list[int]:
        allowed = np.flatnonzero(self._allowed)
        chosen = np.roll(allowed, -self._swept)[:_SWEPT]
        self._swept = (self._swept + _SWEPT) % max(1, len(allowed))
        return [int(place) for place in chosen]

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
        if len(sight.words) < LEAST or self._known(sight):
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
