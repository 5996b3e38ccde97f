"""From truth per pixel to regions and tracks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import FootageError
from edge.pictures import read_picture
from train.evaluation.layouts.clips import clip_size, frame_count, picture_size
from train.evaluation.layouts.outside import read_array
from train.evaluation.truth import Mask, Region

BoxF = tuple[float, float, float, float]  # x, y, width, height


class Masks(Protocol):
    """The abnormal pixels of a clip's frames, read when asked for: `Video.mask`, with a length."""

    def __len__(self) -> int: ...
    def __call__(self, frame: int) -> Mask | None: ...
    @property
    def size(self) -> tuple[int, int]:
        """Height, width in pixels."""
        ...


@dataclass(frozen=True, slots=True)
class PictureMasks:
    """Masks as pictures, one per frame: every pixel that is not black is abnormal."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def size(self) -> tuple[int, int]:
        return picture_size(self.paths[0])

    def __call__(self, frame: int) -> Mask | None:
        blue, green, red = cv2.split(read_picture(self.paths[frame]))
        return abnormal_pixels(np.asarray((blue | green | red) != 0, bool))


@dataclass(frozen=True, slots=True)
class ArrayMasks:
    """Masks as one n x height x width .npy file, which stays on disk."""

    path: Path

    def _array(self) -> NDArray[Any]:
        array = read_array(self.path)
        if array.ndim != 3:
            raise FootageError(f"{self.path} has the shape {array.shape}; masks are frames x height x width.")
        return array

    def __len__(self) -> int:
        return len(self._array())

    @property
    def size(self) -> tuple[int, int]:
        _, height, width = self._array().shape
        return height, width

    def __call__(self, frame: int) -> Mask | None:
        return abnormal_pixels(np.asarray(self._array()[frame] != 0, bool))


def abnormal_pixels(mask: Mask) -> Mask | None:
    return mask if mask.any() else None


def check_masks(masks: Masks, clip: Path) -> None:
    """A mask per frame, of the frames' size. Raises FootageError. (Only decoding tells a video's length.)"""
    count = frame_count(clip)
    if count is not None and len(masks) != count:
        raise FootageError(
            f"{clip} has {count} frames and {len(masks)} masks; there must be as many, so copy both again."
        )
    if masks.size != (size := clip_size(clip)):
        raise FootageError(
            f"{clip} has frames of {size[1]}x{size[0]} pixels and masks of {masks.size[1]}x{masks.size[0]}; "
            "take both in one size."
        )


def mask_regions(masks: Masks) -> tuple[Region, ...]:
    """A region per connected component (8 neighbours), linked to tracks."""
    found = ((frame, masks(frame)) for frame in range(len(masks)))
    return linked((frame, components(mask)) for frame, mask in found if mask is not None)


def components(mask: Mask) -> list[BoxF]:
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return [(float(x), float(y), float(w), float(h)) for x, y, w, h, _ in stats[1:count].tolist()]


def linked(frames: Iterable[tuple[int, Sequence[BoxF]]]) -> tuple[Region, ...]:
    """Tracks without names: a box goes on the track of the box it overlaps most in the frame before."""
    regions: list[Region] = []
    before: list[Region] = []
    tracks = 0
    for frame, boxes in frames:
        old = [region for region in before if region.frame == frame - 1]
        follows = _followed(old, boxes)
        before = []
        for k, box in enumerate(boxes):
            if k not in follows:
                tracks += 1
            before.append(Region(frame, follows.get(k, tracks), *box))
        regions += before
    return tuple(regions)


def _followed(old: Sequence[Region], boxes: Sequence[BoxF]) -> dict[int, int]:
    """Box -> track, greedily by intersection over union; no box and no track twice."""
    pairs = [
        (overlap(_box(region), box), i, k) for i, region in enumerate(old) for k, box in enumerate(boxes)
    ]
    follows: dict[int, int] = {}
    gone: set[int] = set()
    for share, i, k in sorted(pairs, key=lambda pair: -pair[0]):
        if share > 0 and i not in gone and k not in follows:
            follows[k] = old[i].track
            gone.add(i)
    return follows


def _box(region: Region) -> BoxF:
    return region.x, region.y, region.width, region.height


def overlap(a: BoxF, b: BoxF) -> float:
    """Intersection over union."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if union > 0 else 0
