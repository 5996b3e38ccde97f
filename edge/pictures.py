"""One picture file -> the `Picture` that everything else works on: height x width x 3, uint8, BGR."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import FootageError
from edge.frames import Picture

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def read_picture(path: Path) -> Picture:
    """Grey becomes three equal channels, 16 bits become round(value / 257), alpha is dropped.

    Raises FootageError for a file that cannot be read, is cut short or holds other kinds of pixels.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FootageError(f"Picture {path} cannot be read: {error.strerror}.") from error
    if not data:
        raise FootageError(f"Picture {path} is empty (0 bytes); remove it or copy it again.")
    pixels = _decoded(data)
    if pixels is None:
        raise FootageError(
            f"Picture {path} cannot be decoded (damaged, cut short or none); remove it or copy it again."
        )
    return _three_channels(_eight_bits(pixels, path), path)


def _decoded(data: bytes) -> NDArray[Any] | None:
    """None for what OpenCV cannot make a picture of."""
    try:
        with opencv_silent():
            found: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # absurd sizes in a damaged header
        return None
    return found


@contextmanager
def opencv_silent() -> Iterator[None]:
    """No warnings of OpenCV's on stderr: what they say reaches a person as our one sentence."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _eight_bits(pixels: NDArray[Any], path: Path) -> Picture:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:  # 65535 / 257 = 255 exactly, and 257 is odd: no ties, the same everywhere
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    raise FootageError(f"Picture {path} has {pixels.dtype} pixels; save it with 8 or 16 bits a channel.")


def _three_channels(pixels: Picture, path: Path) -> Picture:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if channels in (3, 4):
        return np.ascontiguousarray(pixels[:, :, :3])
    raise FootageError(
        f"Picture {path} has {channels} channels; save it as grey, colour or colour with alpha."
    )
