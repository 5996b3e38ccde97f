"""What the ground looks like from above: sand, rock, grass, and the seabed through clear water."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from train.world import CELL, Field, World, fractal, ripples

BLOCK = 1024  # units per side of a block, the step in which the picture is drawn
SUN = (0.64, 0.77)  # the way shadows fall, east and south, unit length
SHORE = 128  # value of the fourth channel at the waterline; higher is water
SHORE_PER_UNIT = 3.0

Bgra = NDArray[np.uint8]  # height x width x 4: BGR and shore (in the chart) or coverage (in a sprite)
Colour = tuple[float, float, float]

# BGR at noon. Water swallows red first: that alone makes shallows turquoise.
_SAND, _WET_SAND = (160, 200, 220), (116, 152, 172)
_SEABED, _WEED = (152, 182, 178), (66, 84, 66)
_DEEP, _ABSORB = (100, 74, 24), (0.0090, 0.0115, 0.0280)  # absorption per unit from the shore
_GRANITE, _LICHEN = (150, 158, 170), (112, 132, 134)
_GRASS, _DRY, _FLOOR = (62, 118, 98), (98, 156, 160), (44, 76, 68)


def step(low: float, high: float, value: Field) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) * np.float32(1 / (high - low)), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _bgr(colour: Field | Colour) -> Field:
    """Colours as 3 x height x width or 3 x 1 x 1: planes are several times faster than pixels."""
    return np.asarray(colour, np.float32).reshape(3, 1, 1) if isinstance(colour, tuple) else colour


def _mix(a: Field | Colour, b: Field | Colour, share: Field) -> Field:
    first = _bgr(a)
    return np.asarray(first + (_bgr(b) - first) * share, np.float32)


class Ground:
    """Draws blocks. Coarse fields give the shapes; periodic tiles as large as a block give the grain."""

    def __init__(self, world: World, side: int) -> None:
        self._world, self._side, self._scale = world, side, side / BLOCK
        self._fine = self._tile("fine", 3, 26, 0.6)
        self._medium = self._tile("medium", 18, 160, 1.2)
        joints = self._tile("joints", 60, 260, 1.0)
        self._cracks = np.exp(-np.square(joints / 0.045)) * step(-0.6, 0.9, self._medium)
        self._wide = self._tile("wide", 90, 700, 1.4)
        self._tone = fractal(world.seed, "tone", 900)

    def _tile(self, name: str, low: float, high: float, slope: float) -> Field:
        low, high = max(2.0, low * self._scale), max(4.0, high * self._scale)
        return np.clip(ripples(self._world.seed, name, self._side, low, high, slope), -2.5, 2.5)

    def _zoom(self, grid: Field, row: int, column: int) -> Field:
        step = 1 / (CELL * self._scale)
        x, y = ((n * self._side + 0.5) * step - 0.5 for n in (column, row))
        move = np.array([[step, 0, x], [0, step, y]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        size = (self._side, self._side)
        return np.asarray(cv2.warpAffine(grid, move, size, flags=flags, borderMode=cv2.BORDER_REPLICATE))

    def block(self, row: int, column: int) -> Bgra:
        world = self._world
        height = self._zoom(world.elevation, row, column) + 4 * self._medium + 0.8 * self._fine
        bare = self._zoom(world.bareness, row, column) + 0.10 * self._medium + 0.05 * self._fine
        growth = self._zoom(world.growth, row, column) + 0.06 * self._medium
        tone = self._zoom(self._tone, row, column)
        soft = 1.2 / self._scale  # units: the waterline is about two pixels wide
        wet = step(-soft, soft, -height)
        colour = _mix(self._land(height, bare, growth, tone), self._sea(height, bare, tone), wet)
        out = np.empty((self._side, self._side, 4), np.uint8)
        out[..., :3] = np.clip(colour, 0, 255).transpose(1, 2, 0)
        out[..., 3] = np.clip(SHORE - SHORE_PER_UNIT * height, 0, 255)
        return out

    def _land(self, height: Field, bare: Field, growth: Field, tone: Field) -> Field:
        grass = _mix(_GRASS, _DRY, step(-0.7, 0.9, tone + 0.25 * self._medium + 0.12 * self._fine))
        floor = _mix(grass, _FLOOR, 0.85 * step(-0.05, 0.2, growth))
        rock = _mix(_GRANITE, _LICHEN, step(-0.2, 1.8, self._medium + 0.6 * self._wide))
        rock *= 1 - 0.42 * self._cracks
        rocky = step(-0.04, 0.10, bare)
        land = _mix(floor, rock, rocky)
        beach = step(-46, -22, -height + 7 * self._wide) * (1 - 0.93 * rocky)
        land = _mix(land, _mix(_SAND, _WET_SAND, step(-15, -4, -height)), beach)
        return np.asarray(land * self._light(height, rocky, beach), np.float32)

    def _light(self, height: Field, rocky: Field, beach: Field) -> Field:
        """Slopes that face the sun are bright; rock is rough, sand smooth."""
        rough = 0.25 + 0.62 * rocky - 0.2 * beach
        relief = 34 * np.tanh(height / 90) + rough * (
            5.5 * self._medium + 2.4 * self._wide + 0.7 * self._fine
        )
        across = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=1, scale=0.5 * self._scale)
        down = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=1, scale=0.5 * self._scale)
        slope = SUN[0] * across + SUN[1] * down
        grain = 1 + 0.035 * self._fine * (1 - 0.6 * beach)
        return np.asarray(np.clip(1 + 0.55 * slope, 0.45, 1.35) * grain, np.float32)

    def _sea(self, height: Field, bare: Field, tone: Field) -> Field:
        depth = np.maximum(-height, 0)
        weedy = step(0.15, 0.75, 0.45 * self._wide + 0.25 * self._medium + 0.8 * bare + depth * 0.004)
        bed = _mix(_SEABED, _WEED, weedy) * (1 + 0.05 * self._fine)
        clear = np.exp(-depth * _bgr(_ABSORB))
        deep = _bgr(_DEEP) * (1 + 0.07 * tone + 0.02 * self._wide)
        return np.asarray(bed * clear + deep * (1 - clear), np.float32)
