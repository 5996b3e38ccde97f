"""Makes small labelled data sets for the tests: real pictures, masks, tables and films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.filming import film, picture

SIZE = (32, 24)  # width, height
Spot = tuple[int, int, int, int]  # x, y, width, height
Spots = Mapping[int, Sequence[Spot]]  # by frame

UCSD_TABLE = """TestVideoFile = {};  % comment with gt_frame = [1:9];
TestVideoFile{end+1}.gt_frame = [3:4];
TestVideoFile{end+1}.gt_frame = [1:2, 5];
"""


def frames(folder: Path, count: int = 6, suffix: str = ".jpg") -> Path:
    for number in range(count):
        picture(folder / f"{number:03d}{suffix}", 20 * number, size=SIZE)
    return folder


def mask(spots: Sequence[Spot] = (), size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """height x width, 255 on the spots."""
    pixels = np.zeros((size[1], size[0]), np.uint8)
    for x, y, width, height in spots:
        pixels[y : y + height, x : x + width] = 255
    return pixels


def masks(folder: Path, spots: Spots, count: int = 6, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        assert cv2.imwrite(str(folder / f"{number:03d}{suffix}"), mask(spots.get(number, ())))
    return folder


def stacked(spots: Spots, count: int = 6) -> NDArray[np.uint8]:
    return np.stack([mask(spots.get(number, ())) for number in range(count)])


def array(path: Path, values: NDArray[np.generic] | Sequence[int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.asarray(values))
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def short_film(path: Path, count: int = 6) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return film(path, size=f"{SIZE[0]}x{SIZE[1]}", fps=6, seconds=count / 6)


def ucsd_published(root: Path) -> Path:
    frames(root / "Train" / "Train001", suffix=".tif")
    for name in ("Test001", "Test002"):
        frames(root / "Test" / name, suffix=".tif")
    masks(root / "Test" / "Test001_gt", {2: [(1, 1, 4, 4)], 3: [(2, 1, 4, 4)]}, suffix=".bmp")
    text(root / "Test" / "UCSDped2.m", UCSD_TABLE)
    return root
