"""Clips whose truth is an .npy file with one number per frame."""

from __future__ import annotations

from pathlib import Path

from edge.errors import FootageError
from train.evaluation.layouts.clips import files, frame_count, number_of
from train.evaluation.layouts.masks import Masks, check_masks, mask_regions
from train.evaluation.layouts.outside import read_labels
from train.evaluation.layouts.spans import runs
from train.evaluation.truth import Video


def paired(clips: list[Path], folder: Path, suffix: str) -> list[tuple[Path, Path]]:
    """Each clip with its label file: the same name, or the same only number (07.avi, 7_label.mat).

    Raises FootageError for a clip without.
    """
    tables = files(folder, suffix)
    named: dict[str | int | None, Path] = {number_of(path): path for path in tables}
    named |= {path.stem: path for path in tables}
    named.pop(None, None)
    pairs = [(clip, named.get(clip.stem) or named.get(number_of(clip))) for clip in clips]
    if lone := [clip for clip, table in pairs if table is None]:
        raise FootageError(
            f"{lone[0]} has no labels: looked for {lone[0].stem}{suffix} among {len(tables)} files of "
            f"{folder}; copy the set again."
        )
    return [(clip, table) for clip, table in pairs if table is not None]


def labelled(name: str, clip: Path, table: Path, fps: float, masks: Masks | None = None) -> Video:
    """A clip with a label per frame and, where there are masks, regions. Raises FootageError."""
    labels = read_labels(table)
    count = frame_count(clip)
    if count is not None and count != len(labels):
        raise FootageError(f"{clip} has {count} frames, {table} labels {len(labels)}; copy both again.")
    regions = None
    if masks is not None:
        check_masks(masks, clip)
        regions = mask_regions(masks)
    return Video(name, clip, runs(labels), (), regions, masks, len(labels), fps)
