"""A picture at its own size, cut into tiles of the model's, and the maps put together again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frames import Picture

OVERLAP = 32  # pixels; the convolutions see no farther with any weight that matters
STRIDE = 8  # pixels per cell of the model's map; tiles begin on whole cells
Size = tuple[int, int]  # height, width


@dataclass(frozen=True, slots=True)
class Tiling:
    """`view`: the size at which pictures are looked at; `tile`: what the model takes."""

    view: Size
    tile: Size

    @property
    def places(self) -> tuple[Size, ...]:
        """Top left corner of every tile, row by row."""
        rows, columns = (starts(whole, part) for whole, part in zip(self.view, self.tile, strict=True))
        return tuple((y, x) for y in rows for x in columns)

    @property
    def cells(self) -> Size:
        """Size of the joined map."""
        return math.ceil(self.view[0] / STRIDE), math.ceil(self.view[1] / STRIDE)

    def cut(self, picture: Picture) -> Iterator[Picture]:
        """Tiles of a picture of the view's size; beyond its edges they go on as it ends."""
        height, width = self.view
        below = max(self.tile[0], -(-height // STRIDE) * STRIDE) - height
        beside = max(self.tile[1], -(-width // STRIDE) * STRIDE) - width
        if below or beside:
            picture = extended(picture, below, beside)
        for y, x in self.places:
            yield picture[y : y + self.tile[0], x : x + self.tile[1]]

    def join(self, maps: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Per tile C x h x w cells -> C x the joined map; of an overlap each tile gives its nearer half."""
        rows, columns = self.cells
        whole = np.empty((maps[0].shape[0], rows, columns), np.float32)
        margin = OVERLAP // 2 // STRIDE
        for (y, x), part in zip(self.places, maps, strict=True):
            top, left = y // STRIDE, x // STRIDE
            from_y, from_x = (margin if top else 0), (margin if left else 0)
            height, width = min(part.shape[1], rows - top), min(part.shape[2], columns - left)
            whole[:, top + from_y : top + height, left + from_x : left + width] = part[
                :, from_y:height, from_x:width
            ]
        return whole


def starts(whole: int, part: int) -> tuple[int, ...]:
    """Where tiles of `part` pixels begin so that they cover `whole` with OVERLAP or more, on whole cells."""
    whole = -(-whole // STRIDE) * STRIDE
    if whole <= part:
        return (0,)
    count = math.ceil((whole - OVERLAP) / (part - OVERLAP))
    last = whole - part
    return tuple(last * k // (count - 1) // STRIDE * STRIDE for k in range(count))


def view_for(picture: Size, tile: Size, affordable: int) -> Size:
    """The largest size, up to the picture's own, that takes at most `affordable` tiles (at least one)."""
    for percent in range(100, 0, -2):
        view = (max(16, picture[0] * percent // 100), max(16, picture[1] * percent // 100))
        if len(Tiling(view, tile).places) <= max(1, affordable):
            return view
    return min(picture[0], tile[0]), min(picture[1], tile[1])


def viewed(picture: Picture, view: Size) -> Picture:
    """The picture at the size of the view."""
    if picture.shape[:2] == view:
        return picture
    return np.asarray(cv2.resize(picture, (view[1], view[0]), interpolation=cv2.INTER_AREA), np.uint8)


def extended(picture: Picture, below: int, beside: int) -> NDArray[np.uint8]:
    """The picture with so many rows and columns more, its last ones repeated. Were they mirrored, what the
    edge cuts off would become a thing of its own, closed all round."""
    rows = np.minimum(np.arange(picture.shape[0] + below), picture.shape[0] - 1)
    columns = np.minimum(np.arange(picture.shape[1] + beside), picture.shape[1] - 1)
    whole: NDArray[np.uint8] = picture[rows][:, columns]
    return whole
