"""From truth per frame and per pixel to intervals, regions and tracks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import FootageError
from edge.pictures import read_picture
from train.evaluation.layouts.clips import picture_size, pictures
from train.evaluation.layouts.outside import FRAMES, read_array
from train.evaluation.truth import Interval, Mask, Region

BoxF = tuple[float, float, float, float]  # x, y, width, height


@dataclass(frozen=True, slots=True)
class PictureMasks:
    """Masks as pictures, one per frame: every pixel that is not black is abnormal."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __call__(self, frame: int) -> Mask | None:
        blue, green, red = cv2.split(read_picture(self.paths[frame]))
        return abnormal_pixels(np.asarray((blue | green | red) != 0, bool))


@dataclass(frozen=True, slots=True)
class ArrayMasks:
    """Masks as one n x height x width .npy file, which stays on disk."""

    path: Path

    def __len__(self) -> int:
        array = read_array(self.path)
        if array.ndim != 3:
            raise FootageError(f"{self.path} has the shape {array.shape}; masks are frames x height x width.")
        return len(array)

    def __call__(self, frame: int) -> Mask | None:
        return abnormal_pixels(np.asarray(read_array(self.path)[frame] != 0, bool))


def abnormal_pixels(mask: Mask) -> Mask | None:
    return mask if mask.any() else None


def check_masks(masks: PictureMasks | ArrayMasks, clip: Path, name: str) -> None:
    """A mask per frame, of the frames' size. Raises FootageError."""
    frames = pictures(clip)
    if not clip.is_dir() or not frames:
        return  # a video: what decodes it compares lengths
    if len(masks) != len(frames):
        raise FootageError(
            f"{name}: {len(masks)} masks for the {len(frames)} frames of {clip}; "
            "there must be one per frame, so copy both again."
        )
    size = _size(masks)
    if size != picture_size(frames[0]):
        raise FootageError(
            f"{name}: masks of {size[1]}x{size[0]} pixels do not lie over {frames[0]}; "
            "take frames and masks of one size."
        )


def _size(masks: PictureMasks | ArrayMasks) -> tuple[int, int]:
    if isinstance(masks, PictureMasks):
        return picture_size(masks.paths[0])
    height, width = read_array(masks.path).shape[1:]
    return height, width


def runs(labels: NDArray[np.bool_]) -> tuple[Interval, ...]:
    """Intervals of the true ones: first and last, both included."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], labels, [False])).astype(np.int8)))
    return tuple((int(first), int(last) - 1) for first, last in edges.reshape(-1, 2))


def joined(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """In order, with those that overlap or touch made one."""
    done: list[Interval] = []
    for first, last in sorted(intervals):
        if done and first <= done[-1][1] + 1:
            done[-1] = (done[-1][0], max(done[-1][1], last))
        else:
            done.append((first, last))
    return tuple(done)


def interval(first: int, last: int, place: str) -> Interval:
    """Both from 0 and included. Raises FootageError naming `place` for what is no interval."""
    if not 0 <= first <= last < FRAMES:
        raise FootageError(
            f"{place}: frames {first} to {last} are no interval; it begins at 0 or later and ends after it."
        )
    return first, last


def mask_regions(masks: PictureMasks | ArrayMasks) -> tuple[Region, ...]:
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
