"""Folders of frames whose truth is a list of boxes per picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edge.errors import FootageError
from train.evaluation.layouts.clips import picture_size, pictures
from train.evaluation.layouts.masks import BoxF, linked
from train.evaluation.layouts.spans import runs
from train.evaluation.truth import Region, Video

Tracked = tuple[BoxF, int | None]  # a box and the track that its file gives it


def boxed(name: str, folder: Path, told: Mapping[str, Sequence[Tracked]]) -> Video:
    """`told`: file name -> boxes in native pixels; none: normal, a picture not told of: ignored."""
    frames = pictures(folder)
    abnormal = np.array([bool(told.get(path.name)) for path in frames])
    unknown = np.array([path.name not in told for path in frames])
    boxes = [(k, told[path.name]) for k, path in enumerate(frames) if told.get(path.name)]
    return Video(name, folder, runs(abnormal), runs(unknown), _regions(boxes), frames=len(frames))


def _regions(boxes: Sequence[tuple[int, Sequence[Tracked]]]) -> tuple[Region, ...]:
    """Tracks as told where every box has one, else by overlap."""
    given = [Region(k, track, *box) for k, found in boxes for box, track in found if track is not None]
    if len(given) == sum(len(found) for _, found in boxes):
        return tuple(given)
    return linked((k, [box for box, _ in found]) for k, found in boxes)


def inside(box: BoxF, size: tuple[int, int], place: str) -> BoxF:
    """Cut at the picture's edges (size is height, width). Raises FootageError where nothing is left."""
    left, right = max(box[0], 0.0), min(box[0] + box[2], float(size[1]))
    top, bottom = max(box[1], 0.0), min(box[1] + box[3], float(size[0]))
    if left >= right or top >= bottom:
        raise FootageError(
            f"{place}: a box lies outside the picture of {size[1]}x{size[0]}; check its units."
        )
    return left, top, right - left, bottom - top


def folder_size(folder: Path) -> tuple[int, int]:
    """Height, width of the frames; a recording has one size throughout."""
    return picture_size(pictures(folder)[0])
