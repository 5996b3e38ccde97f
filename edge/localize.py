"""Error map -> calibrated heat map -> boxes in native pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.events import Box

Map = NDArray[np.float32]  # map height x width
MAX_BOXES = 16


def error_map(tensor: NDArray[np.float32], output: NDArray[np.float32]) -> Map:
    """1 x 3 x h x w twice -> h x w: squared difference, mean over the colours."""
    difference = tensor[0] - output[0]
    np.square(difference, out=difference)
    return np.asarray(difference.mean(axis=0), np.float32)


def windowed(error: Map, window: int) -> Map:
    """Mean over window x window pixels around each; the border repeats its edge."""
    if window == 1:
        return error
    return np.asarray(cv2.blur(error, (window, window), borderType=cv2.BORDER_REPLICATE), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class ErrorStatistics:
    """The windowed error of normal footage at each place: mean and standard deviation, h x w float32."""

    mean: Map
    std: Map

    def heat(self, error: Map) -> Map:
        """Standard deviations above what is normal at this place."""
        return (error - self.mean) / self.std

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, mean=self.mean, std=self.std)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, shape: tuple[int, int]) -> ErrorStatistics:
        """Raises BundleError unless both maps are finite, of `shape`, and std is positive."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                mean, std = (np.asarray(file[name], np.float32) for name in ("mean", "std"))
        except (ValueError, KeyError, OSError, EOFError, SyntaxError):
            raise BundleError(
                "the calibration file of the bundle cannot be read; calibrate the bundle again"
            ) from None
        sound = np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()
        if mean.shape != shape or std.shape != shape or not sound:
            raise BundleError(
                f"the calibration does not fit a {shape[1]}x{shape[0]} map; calibrate the bundle again"
            )
        return cls(mean, std)


def boxes(heat: Map, level: float, width: int, height: int) -> tuple[Box, ...]:
    """Connected regions of heat at or above `level`, in pixels of a width x height picture, hottest first."""
    hot = (heat >= level).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hot, connectivity=8)
    if count == 1:
        return ()
    peaks = np.zeros(count, np.float32)
    np.maximum.at(peaks, labels[hot > 0], heat[hot > 0])
    order = 1 + np.argsort(peaks[1:])[::-1][:MAX_BOXES]
    scale = (width / heat.shape[1], height / heat.shape[0])
    return tuple(_native(stats[label], float(peaks[label]), scale) for label in order)


def _native(stats: NDArray[np.int32], peak: float, scale: tuple[float, float]) -> Box:
    x, y, width, height, area = (int(value) for value in stats)
    left, top = int(x * scale[0]), int(y * scale[1])
    right, bottom = round((x + width) * scale[0]), round((y + height) * scale[1])
    return Box(
        x=left,
        y=top,
        width=right - left,
        height=bottom - top,
        peak=peak,
        area=round(area * scale[0] * scale[1]),
    )
