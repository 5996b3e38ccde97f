"""What a picture is known by, and how one lies on another.

ORB features (Rublee et al. 2011) matched under one affine motion (RANSAC); where too few agree, none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frames import Picture

Affine = NDArray[np.float32]  # 2 x 3
Words = NDArray[np.uint8]  # n x 32, ORB's descriptions
Points = NDArray[np.float32]  # n x 2, x and y

LONG_SIDE = 640  # pixels of the picture in which features are sought
_FEATURES = 800
GLANCE = (32, 18)  # width, height of the coarse look
_NEAR = 3.0  # pixels within which a match supports the motion
LEAST = 30  # matches that must
_SHARE = 0.3  # of all matches that must
_SCALE = (0.6, 1.6)  # how much nearer or farther the place may have been seen


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What a picture is known by. `points` in pixels of its LONG_SIDE form; `size` of it: width, height."""

    glance: NDArray[np.float32]
    points: Points
    words: Words
    size: tuple[int, int]


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


def matched(number: int, place: Sight, now: Sight) -> Match | None:
    if min(len(place.words), len(now.words)) < LEAST:
        return None
    pairs = _matcher().match(place.words, now.words)
    if len(pairs) < LEAST:
        return None
    there = place.points[[pair.queryIdx for pair in pairs]]
    here = now.points[[pair.trainIdx for pair in pairs]]
    affine, support = cv2.estimateAffinePartial2D(
        there, here, method=cv2.RANSAC, ransacReprojThreshold=_NEAR, maxIters=500
    )
    if affine is None or support.sum() < max(LEAST, _SHARE * len(pairs)):
        return None
    if not _SCALE[0] <= float(np.hypot(affine[0, 0], affine[1, 0])) <= _SCALE[1]:
        return None
    affine = np.asarray(affine, np.float32)
    return Match(number, affine, _covers(affine, place.size, now.size))


def _covers(affine: Affine, place: tuple[int, int], now: tuple[int, int]) -> NDArray[np.bool_]:
    """Where on the picture now the place lies, eight pixels to a cell."""
    seen = cv2.warpAffine(np.full((place[1] // 8, place[0] // 8), 255, np.uint8), _eighth(affine), _part(now))
    return np.asarray(seen > 127, np.bool_)


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
