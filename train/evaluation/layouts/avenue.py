"""CUHK Avenue, as published, or with its videos taken apart into frames.

    training_videos/01.avi   testing_videos/01.avi (or testing_videos/01/0000.jpg)
    testing_label_mask/1_label.mat (also in ground_truth_demo/)

Each .mat file holds `volLabel`, a cell array with one height x width mask per frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import FootageError
from train.evaluation.layouts.clips import clips, first_of
from train.evaluation.layouts.labels import paired
from train.evaluation.layouts.layout import STATIC, Layout, missing
from train.evaluation.layouts.masks import abnormal_pixels, check_masks, mask_regions
from train.evaluation.layouts.matlab import read_cells
from train.evaluation.layouts.spans import runs
from train.evaluation.truth import DataSet, Mask, Video

FPS = 25.0
_ALL = 21  # test videos that the authors published
_TESTS = ("testing_videos", "testing/videos", "testing/frames")
_TRAINS = ("training_videos", "training/videos", "training/frames")
_LABELS = ("testing_label_mask", "ground_truth_demo/testing_label_mask")


@dataclass(frozen=True, slots=True)
class CellMasks:
    """Masks in a .mat file. The file asked for last stays in memory, a bit per pixel."""

    path: Path

    def __len__(self) -> int:
        return len(self._cells()[0])

    @property
    def size(self) -> tuple[int, int]:
        return self._cells()[1]

    def __call__(self, frame: int) -> Mask | None:
        rows, (height, width) = self._cells()
        pixels = np.unpackbits(rows[frame], count=height * width)
        return abnormal_pixels(pixels.reshape(height, width).astype(bool))

    def _cells(self) -> tuple[list[NDArray[np.uint8]], tuple[int, int]]:
        try:
            return _packed(self.path, self.path.stat().st_mtime_ns)
        except OSError as error:
            raise FootageError(f"{self.path} cannot be read: {error.strerror}.") from error


@lru_cache(maxsize=1)
def _packed(
    path: Path,
    changed_ns: int,  # noqa: ARG001 - part of the cache's key: a file that was replaced is read again
) -> tuple[list[NDArray[np.uint8]], tuple[int, int]]:
    cells = read_cells(path, "volLabel")
    if len({cell.shape for cell in cells}) != 1:
        raise FootageError(f"{path}: the masks in volLabel differ in size; copy it again.")
    height, width = cells[0].shape
    return [np.packbits(cell != 0) for cell in cells], (height, width)


def recognises(root: Path) -> bool:
    return first_of(root, *_LABELS) is not None


def read(root: Path) -> DataSet:
    tests, labels = first_of(root, *_TESTS), first_of(root, *_LABELS)
    if tests is None or labels is None or not clips(tests):
        raise missing("avenue", "testing_videos/*.avi and testing_label_mask/*_label.mat", root)
    videos = tuple(_video(clip, table) for clip, table in paired(clips(tests), labels, ".mat"))
    train = first_of(root, *_TRAINS)
    normal = tuple(clips(train)) if train else ()
    return DataSet(root.name, "avenue", videos, normal, f"{_subset(len(videos))} {STATIC}")


def _subset(count: int) -> str:
    here = "all that were published, not" if count == _ALL else f"of {_ALL}, perhaps"
    return (
        f"CUHK Avenue, {count} test videos: {here} the subset Avenue17. The authors' masks, not relabelled."
    )


def _video(clip: Path, table: Path) -> Video:
    masks = CellMasks(table)
    check_masks(masks, clip)
    labels = np.array([masks(frame) is not None for frame in range(len(masks))])
    return Video(clip.stem, clip, runs(labels), (), mask_regions(masks), masks, len(masks), FPS)


LAYOUT = Layout("avenue", "testing_label_mask", recognises, read)
