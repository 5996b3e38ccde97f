"""Drone-Anomaly: seven scenes from the air; the whole set, one scene or one sequence.

    Highway/sequence1/train/01/0.jpg   Highway/sequence1/test/01/0.jpg   Highway/sequence1/test/01.npy
    Highway/train/frames/01/0.jpg   Highway/test/frames/01/0.jpg   Highway/test/test_frame_mask/01.npy

Both trees are inferred from public code that reads the set, the first from its authors' own
(Jin-Pu/Drone-Anomaly, ANDT/Train_and_eval.py): scene / sequence / train and test, and beside each test clip
an .npy file with a label per frame. No file of the set itself has been read with this.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from train.evaluation.layouts.clips import clips, files, first_of, folders, normals
from train.evaluation.layouts.labels import labelled, paired
from train.evaluation.layouts.layout import Layout, missing
from train.evaluation.truth import DataSet, Video

FPS = 30.0
_DEPTH = 2  # scene / sequence
_NOTE = (
    "Drone-Anomaly, frame labels only. Published figures are per scene: {scenes} here. "
    "Mostly hovering or slow flight, not a patrol of one route."
)


def recognises(root: Path) -> bool:
    return any(True for _ in _tests(root, _DEPTH))


def read(root: Path) -> DataSet:
    tests = list(_tests(root, _DEPTH))
    if not tests:
        raise missing("drone-anomaly", "scene/sequence/test/01/*.jpg with scene/sequence/test/01.npy", root)
    videos = tuple(video for test in tests for video in _videos(root, test))
    normal = tuple(path for test in tests for path in normals(test.with_name("train")))
    scenes = sorted({test.relative_to(root).parts[0] for test in tests} - {"test"}) or [root.name]
    return DataSet(root.name, "drone-anomaly", videos, normal, _NOTE.format(scenes=", ".join(scenes)))


def _tests(root: Path, depth: int) -> Iterator[Path]:
    """Folders named test that hold clips and labels."""
    for folder in folders(root):
        if folder.name == "test" and clips(_frames(folder)) and files(_labels(folder), ".npy"):
            yield folder
        elif depth:
            yield from _tests(folder, depth - 1)


def _frames(test: Path) -> Path:
    return first_of(test, "frames") or test


def _labels(test: Path) -> Path:
    return first_of(test, "test_frame_mask") or test


def _videos(root: Path, test: Path) -> Iterator[Video]:
    place = test.parent.relative_to(root)
    for clip, table in paired(clips(_frames(test)), _labels(test), ".npy"):
        yield labelled((place / clip.stem).as_posix(), clip, table, FPS)


LAYOUT = Layout("drone-anomaly", "scene/sequence/test/01.npy", recognises, read)
