"""Finding the parts of a data set: its folders, files and recordings, always in natural order."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from edge.errors import FootageError
from edge.pictures import PICTURE_SUFFIXES, read_picture
from edge.recordings import VIDEO_SUFFIXES, find_recordings, natural, open_recording


def _listed(folder: Path) -> list[Path]:
    """Without hidden files (macOS leaves `._frame.tif` beside each frame). Nothing for what is no folder."""
    try:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    return sorted(inside, key=natural)


def folders(folder: Path) -> list[Path]:
    return [path for path in _listed(folder) if path.is_dir()]


def files(folder: Path, *suffixes: str) -> list[Path]:
    """Files with one of the suffixes (lower case), or all of them."""
    return [p for p in _listed(folder) if (not suffixes or p.suffix.lower() in suffixes) and p.is_file()]


def pictures(folder: Path) -> list[Path]:
    """A folder's frames in the order in which a recording plays them."""
    return files(folder, *PICTURE_SUFFIXES)


def clips(folder: Path) -> list[Path]:
    """Recordings directly inside: videos, and folders that hold pictures."""
    inside = _listed(folder)
    videos = [path for path in inside if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()]
    return sorted([*videos, *(path for path in inside if path.is_dir() and pictures(path))], key=natural)


def first_of(root: Path, *names: str) -> Path | None:
    """The first of the named folders that exists."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def normals(folder: Path | None) -> tuple[Path, ...]:
    """Recordings to learn from, down to two levels below; none where there is no such folder."""
    if folder is None or not folder.is_dir():
        return ()
    try:
        return tuple(find_recordings([folder]))
    except FootageError:  # an empty folder
        return ()


def number_of(path: Path) -> int | None:
    """The number in a name that has just one: 7 for `07.avi` and `7_label.mat`, None for `01_0014`."""
    numbers = re.findall(r"[0-9]+", path.stem if path.is_file() else path.name)
    return int(numbers[0]) if len(numbers) == 1 and len(numbers[0]) < 10 else None


def clip_size(clip: Path) -> tuple[int, int]:
    """Height, width of a recording's first frame; decodes it."""
    if clip.is_dir():
        return picture_size(pictures(clip)[0])
    with open_recording(clip) as recording:
        for frame in recording:
            return frame.height, frame.width
    raise FootageError(f"{clip} has no frame; copy it again.")


def picture_size(path: Path) -> tuple[int, int]:
    height, width = np.shape(read_picture(path))[:2]
    return height, width


def frame_count(path: Path) -> int | None:
    """How many frames a folder holds; None for a video, which only decoding would tell."""
    return len(pictures(path)) if path.is_dir() else None
