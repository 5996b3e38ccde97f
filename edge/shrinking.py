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

Shares: TypeAlias = tuple[tuple[int, ...], NDArray[np.float32]]


def shrunk(image: Picture, height: int, width: int) -> Picture:
    """height x width x 3; whole grey levels, halves to even."""
    if not _worth_it(image, height, width):
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    means = _row_means(image.reshape(image.shape[0], -1), height).reshape(height, -1, 3)
    small = cv2.resize(means, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(small), np.uint8)


def _worth_it(image: Picture, height: int, width: int) -> bool:
    rows, columns = image.shape[:2]
    large = image.nbytes >= LEAST_BYTES and image.flags.c_contiguous
    return large and rows >= LEAST_ROWS * height and columns >= width


def _row_means(flat: NDArray[np.uint8], height: int) -> NDArray[np.float32]:
    """rows x n -> height x n."""
    rows = flat.shape[0]
    first, share = _shares(rows, height)
    sums = np.empty((height, flat.shape[1]), np.float32)
    for place in range(height):
        part = flat[first[place] : first[place + 1]]
        cv2.reduce(part, 0, cv2.REDUCE_SUM, dst=sums[place : place + 1], dtype=cv2.CV_32F)
    over = flat[list(first[:-1])].astype(np.float32)
    over *= share
    sums -= over
    sums[:-1] += over[1:]
    sums *= np.float32(height / rows)
    return sums


@lru_cache(maxsize=8)
def _shares(rows: int, height: int) -> Shares:
    """In which row each of `height` parts begins (and the last ends), and how much of that row belongs to
    the part before."""
    first = tuple(place * rows // height for place in range(height + 1))
    share = [place * rows % height / height for place in range(height)]
    return first, np.array(share, np.float32)[:, None]
