"""Boxes in YOLO's text files: every box is an anomaly, each folder of pictures a recording.

    images/flight1/0001.jpg   labels/flight1/0001.txt   normal/ (optional)
    test/images/0001.jpg      test/labels/0001.txt

A line holds a class and a box (centre, width, height) or an outline (x, y, x, y, ...), as shares of the
picture. A picture without a text, or with an empty one, is normal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge.errors import FootageError
from edge.recordings import find_recordings
from train.evaluation.layouts.boxed import Tracked, boxed, folder_size, inside
from train.evaluation.layouts.clips import files, folders, normals, pictures
from train.evaluation.layouts.layout import Layout, missing
from train.evaluation.layouts.masks import BoxF
from train.evaluation.layouts.outside import read_text
from train.evaluation.truth import DataSet, Video

_NUMBER = re.compile(r"-?[0-9]{0,9}\.?[0-9]{0,30}(?:[eE][-+]?[0-9]{1,3})?")
_NOTE = "YOLO boxes: every box counts as an anomaly, whatever its class; pictures without text are normal."


def recognises(root: Path) -> bool:
    return bool(_pairs(root))


def read(root: Path) -> DataSet:
    pairs = _pairs(root)
    if not pairs:
        raise missing("yolo", "images/ and labels/ beside each other", root)
    videos = tuple(video for images, labels in pairs for video in _videos(root, images, labels))
    return DataSet(root.name, "yolo", videos, normals(root / "normal"), _NOTE)


def _pairs(root: Path) -> list[tuple[Path, Path]]:
    """images/ with labels/ beside it, at the top or one level below."""
    places = [root, *folders(root)]
    return [
        (p / "images", p / "labels") for p in places if (p / "images").is_dir() and (p / "labels").is_dir()
    ]


def _videos(root: Path, images: Path, labels: Path) -> Iterator[Video]:
    for folder in find_recordings([images]):
        if not folder.is_dir():
            raise FootageError(f"{folder} is a video; boxes per picture need its frames in a folder.")
        texts = labels / folder.relative_to(images)
        _check_texts(folder, texts)
        name = folder.relative_to(root).as_posix()
        yield boxed(name, folder, _told(folder, texts))


def _check_texts(folder: Path, texts: Path) -> None:
    stems = {path.stem for path in pictures(folder)}
    lone = [p for p in files(texts, ".txt") if p.stem not in stems and p.name != "classes.txt"]
    if lone:
        raise FootageError(f"{lone[0]} belongs to no picture of {folder}; copy the pictures again.")


def _told(folder: Path, texts: Path) -> dict[str, list[Tracked]]:
    size = folder_size(folder)
    there = {path.stem: path for path in files(texts, ".txt")}
    return {p.name: _boxes(there.get(p.stem), size) for p in pictures(folder)}


def _boxes(text: Path | None, size: tuple[int, int]) -> list[Tracked]:
    lines = read_text(text).splitlines() if text else []
    rows = [(f"{text}, line {number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    return [(inside(box_of(line, size, place), size, place), None) for place, line in rows]


def box_of(line: str, size: tuple[int, int], place: str) -> BoxF:
    """One line's box in native pixels of a picture (height, width). Raises FootageError."""
    words = line.split()[1:]
    if not all(re.search("[0-9]", word) and _NUMBER.fullmatch(word) for word in words):
        raise FootageError(f"{place}: {line[:60]!r} is no class with numbers.")
    shares = [float(word) for word in words]
    if not all(abs(share) <= 2 for share in shares):
        raise FootageError(f"{place}: a box beyond the picture; YOLO's numbers are shares from 0 to 1.")
    if len(shares) in (4, 5):  # with the confidence that detectors add
        x, y, width, height = shares[:4]
        return _scaled(x - width / 2, y - height / 2, width, height, size)
    if len(shares) < 6 or len(shares) % 2:
        raise FootageError(f"{place}: {line[:60]!r} is neither a class and a box nor a class and an outline.")
    xs, ys = shares[::2], shares[1::2]
    return _scaled(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys), size)


def _scaled(x: float, y: float, width: float, height: float, size: tuple[int, int]) -> BoxF:
    return x * size[1], y * size[0], width * size[1], height * size[0]


LAYOUT = Layout("yolo", "images/ beside labels/", recognises, read)
