"""Makes small real footage for the tests: H.264 by ffmpeg, pictures by OpenCV."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def ffmpeg(*words: str | Path) -> None:
    line = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-threads", "1"]
    subprocess.run([*line, *map(str, words)], check=True, timeout=60)


def film(
    path: Path, *, size: str = "64x48", fps: float = 30, seconds: float = 2, options: Sequence[str] = ()
) -> Path:
    """A moving test card in H.264, a key frame each half second."""
    card = f"testsrc=size={size}:rate={fps}:duration={seconds}"
    coding = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-g", str(round(fps / 2))]
    ffmpeg("-f", "lavfi", "-i", card, *coding, *options, path)
    return path


def picture(path: Path, value: int = 0, *, size: tuple[int, int] = (64, 48), dtype: type = np.uint8) -> Path:
    """A plain colour picture, width x height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), value, dtype=dtype)
    assert cv2.imwrite(str(path), pixels)
    return path


def frames_in(folder: Path, count: int = 6, *, size: tuple[int, int] = (64, 48)) -> Path:
    """A folder of PNG frames whose every pixel is the frame's number."""
    for number in range(count):
        picture(folder / f"frame{number}.png", number, size=size)
    return folder
