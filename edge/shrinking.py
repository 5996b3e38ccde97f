"""A large picture -> a small one, each of whose pixels is the mean of the area that it covers.

What `cv2.resize(INTER_AREA)` means, several times faster for a camera's picture: that goes through every
row pixel by pixel, this adds whole rows up first.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frames import Picture

LEAST_ROWS = 3  # of a picture to one of the small one, or adding rows up gains nothing
LEAST_BYTES = 1 << 20

STRIP = 31  # rows of the small picture at a time: half a megabyte stays in the cache

Shares: TypeAlias = tuple[NDArray[np.intp], NDArray[np.float32]]


def shrunk(image: Picture, height: int, width: int) -> Picture:
    """height x width x 3; whole grey levels, halves to even."""
    if not _worth_it(image, height, width):
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    flat = image.reshape(image.shape[0], -1)
    small = np.empty((height, width, 3), np.float32)
    for top in range(0, height, STRIP):
        part = small[top : top + STRIP]
        means = _row_means(flat, height, top, len(part)).reshape(len(part), -1, 3)
        cv2.resize(means, (width, len(part)), dst=part, interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(small), np.uint8)


def _worth_it(image: Picture, height: int, width: int) -> bool:
    rows, columns = image.shape[:2]
    large = image.nbytes >= LEAST_BYTES and image.flags.c_contiguous
    return large and rows >= LEAST_ROWS * height and columns >= width


def _row_means(flat: NDArray[np.uint8], height: int, top: int, count: int) -> NDArray[np.float32]:
    """rows x n -> count x n: of `height` means of equal parts, those from `top` on."""
    rows = flat.shape[0]
    first, share = _shares(rows, height)
    means = np.empty((count, flat.shape[1]), np.float32)
    for place in range(count):
        part = flat[first[top + place] : first[top + place + 1]]
        cv2.reduce(part, 0, cv2.REDUCE_SUM, dst=means[place : place + 1], dtype=cv2.CV_32F)
    ends = slice(top, top + count + 1)
    shared = flat[np.minimum(first[ends], rows - 1)].astype(np.float32)
    shared *= share[ends]
    means -= shared[:-1]
    means += shared[1:]
    means *= np.float32(height / rows)
    return means


@lru_cache(maxsize=8)
def _shares(rows: int, height: int) -> Shares:
    """In which row each of `height` parts begins, and the last ends, and how much of that row is the part's
    before."""
    ends = np.arange(height + 1) * rows
    share = (ends % height / height).astype(np.float32)
    return ends // height, share[:, None]
