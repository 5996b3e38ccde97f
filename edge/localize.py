"""Error map -> calibrated heat map -> boxes in native pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.events import Box
from edge.illumination import relit
from edge.latent import spread

Map = NDArray[np.float32]  # map height x width
MAX_BOXES = 16
PLACES = 32  # along the longer side; what is normal is told apart for so many


def error_map(tensor: NDArray[np.float32], output: NDArray[np.float32], *, relight: bool = False) -> Map:
    """1 x 3 x h x w twice -> h x w: squared difference, mean over the colours.

    `relight`: less what a change of light explains.
    """
    difference = tensor[0] - (relit(output[0], tensor[0]) if relight else output[0])
    np.square(difference, out=difference)
    return np.asarray(difference.mean(axis=0), np.float32)


def windowed(evidence: Map, window: int | None, power: int = 1) -> Map:
    """Mean over window x window pixels around each; the border repeats its edge. None: the whole, 1 x 1.

    `power`: of the power mean, for evidence of at least 0: the higher, the less it matters how much of the
    window a thing fills.
    """
    if window == 1:
        return evidence
    if power != 1:
        mean = windowed(np.asarray(cv2.pow(evidence, power), np.float32), window)
        return np.asarray(cv2.pow(np.maximum(mean, 0), 1 / power), np.float32)  # sums of blur round below 0
    if window is None:
        return np.full((1, 1), evidence.mean(dtype=np.float64), np.float32)
    return np.asarray(cv2.blur(evidence, (window, window), borderType=cv2.BORDER_REPLICATE), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """What one branch of evidence is on normal footage: `typical` anywhere, and `high` per place (cells)."""

    typical: float
    high: Map
    _lengths: dict[tuple[int, int], Map] = field(default_factory=dict, init=False, repr=False)

    def heat(self, evidence: Map) -> Map:
        """0 where typical, 1 where this branch alone would alarm as often as wanted."""
        length = self._length(shape_of(evidence))
        return np.asarray((evidence - np.float32(self.typical)) / length, np.float32)

    def _length(self, shape: tuple[int, int]) -> Map:
        """From typical to high in every pixel of a map; of one flight all have the same shape."""
        if shape not in self._lengths:
            self._lengths.clear()
            self._lengths[shape] = spread(self.high, shape) - self.typical
        return self._lengths[shape]


def shape_of(evidence: Map) -> tuple[int, int]:
    return int(evidence.shape[0]), int(evidence.shape[1])


def cells(evidence: Map) -> Map:
    """The largest evidence of every place, at most PLACES along the longer side."""
    height, width = evidence.shape
    rows, columns = grid(height, width)
    edges_y = -(-np.arange(rows) * height // rows)  # rounded up: the same pixels as `spread` gives a cell
    edges_x = -(-np.arange(columns) * width // columns)
    tall = np.maximum.reduceat(evidence, edges_y, axis=0)
    return np.asarray(np.maximum.reduceat(tall, edges_x, axis=1), np.float32)


def grid(height: int, width: int) -> tuple[int, int]:
    factor = min(1.0, PLACES / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def fused(heats: Sequence[Map | None]) -> Map | None:
    """The largest heat of all branches, on the grid of the first that has one of more than a single pixel."""
    there = [heat for heat in heats if heat is not None]
    shapes = [shape_of(heat) for heat in there if heat.size > 1]
    if not there:
        return None
    if not shapes:
        return there[0]
    size = (shapes[0][1], shapes[0][0])
    whole: Map = np.full(shapes[0], -np.inf, np.float32)
    for heat in there:
        if heat.size > 1:
            same = heat if shape_of(heat) == shapes[0] else cv2.resize(heat, size)
            np.maximum(whole, same, out=whole)
    return whole


def boxes(heat: Map, level: float, width: int, height: int) -> tuple[Box, ...]:
    """Connected regions of heat at or above `level`, in pixels of a width x height picture, hottest first."""
    if heat.size == 1 or heat.max() < level:  # a score of the whole picture tells no place
        return ()
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
