"""The archipelago: where land, rock and trees are. `painting` turns it into a picture.

Lengths are in units: one unit is one pixel of a 1920 pixel wide picture at the nominal height, 6 cm of
ground. The layout depends on the seed alone, never on a picture's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]
Points: TypeAlias = NDArray[np.float64]  # n x 2, x east and y south, in units

METRES_PER_UNIT = 0.06
SIZE = 8192  # units on a side
CELL = 8  # units per cell of the coarse fields
_FLOOR = -320.0  # elevation of the open sea


@dataclass(frozen=True)
class Cabin:
    """A cabin at x, y and its jetty, which leaves the shore at `shore` in direction `out`, unit length."""

    x: float
    y: float
    shore: tuple[float, float]
    out: tuple[float, float]
    style: int


@dataclass(frozen=True, eq=False)
class World:
    """One archipelago. `elevation` is pseudo-distance from the shore in units, positive on land."""

    seed: int
    elevation: Field
    growth: Field  # above 0 trees stand
    bareness: Field  # above 0 rock shows
    trees: NDArray[np.float64]  # n x 3: x, y, radius
    rocks: NDArray[np.float64]  # n x 3: x, y, radius
    cabins: tuple[Cabin, ...]

    @classmethod
    def of(cls, seed: int) -> World:
        elevation = _elevation(seed)
        growth = fractal(seed, "growth", 520) + np.clip((elevation - 150) / 260, -1, 0.35)
        bareness = fractal(seed, "bare", 430) - 0.12 + np.clip((60 - elevation) / 300, -0.3, 0.2)
        cabins = tuple(_cabins(seed, elevation, growth, bareness))
        trees = _cleared(_trees(seed, elevation, growth, bareness), cabins)
        rocks = _cleared(_rocks(seed, elevation, bareness), cabins)
        return cls(seed, elevation, growth, bareness, trees, rocks, cabins)

    def height(self, points: Points) -> NDArray[np.float64]:
        """Elevation at points, nearest coarse cell."""
        return _at(self.elevation, points)

    def blocked(self, points: Points, margin: float = 0.0) -> NDArray[np.bool_]:
        """Whether a crown or a cabin comes nearer than `margin` units to each point."""
        gap = (
            np.linalg.norm(points[:, None] - self._standing[None, :, :2], axis=2) - self._standing[None, :, 2]
        )
        return np.asarray((gap < margin).any(axis=1))

    @cached_property
    def _standing(self) -> NDArray[np.float64]:
        cabins = np.array([(c.x, c.y, 62.0) for c in self.cabins]).reshape(-1, 3)
        return np.vstack([self.trees, cabins])


def seeded(seed: int, *names: str | int) -> np.random.Generator:
    """An independent stream for each name, so that drawing more of one thing moves no other."""
    words = [b for name in names for b in str(name).encode()]
    return np.random.default_rng([seed, *words])


def fractal(seed: int, name: str, wavelength: float, finest: float = 24.0) -> Field:
    """Smooth noise over the whole world in coarse cells, about -1..1, octaves down to `finest` units."""
    cells = SIZE // CELL
    total = np.zeros((cells, cells), np.float32)
    weight = 1.0
    while wavelength >= finest:
        count = int(SIZE / wavelength) + 3
        knots = seeded(seed, name, int(wavelength)).uniform(-1, 1, (count, count)).astype(np.float32)
        total += weight * cv2.resize(knots, (cells, cells), interpolation=cv2.INTER_CUBIC)
        weight, wavelength = weight * 0.5, wavelength / 2
    return total


def ripples(
    seed: int, name: str, pixels: int, low: float, high: float, slope: float = 1.0, wind: float | None = None
) -> Field:
    """Periodic noise, `pixels` square, mean 0 and deviation 1, wavelengths `low`..`high` pixels.

    With a `wind` (radians, the way it blows) crests stand across it.
    """
    spectrum = np.fft.rfft2(seeded(seed, name).standard_normal((pixels, pixels)))
    y, x = np.fft.fftfreq(pixels)[:, None], np.fft.rfftfreq(pixels)[None]
    frequency = np.hypot(x, y)
    frequency[0, 0] = 1.0
    band = (frequency >= 1 / high) & (frequency <= 1 / low)
    if wind is not None:
        band = band * (0.06 + np.cos(np.arctan2(y, x) - wind) ** 4)
    wave = np.fft.irfft2(spectrum * band * frequency**-slope, s=(pixels, pixels))
    return np.asarray(wave / (wave.std() + 1e-9), np.float32)


def _at(grid: Field, points: Points) -> NDArray[np.float64]:
    cells = np.clip((points / CELL).astype(int), 0, grid.shape[0] - 1)
    return np.asarray(grid[cells[:, 1], cells[:, 0]], np.float64)


def _elevation(seed: int) -> Field:
    y, x = np.mgrid[0:SIZE:CELL, 0:SIZE:CELL].astype(np.float32) + CELL / 2
    x += 150 * fractal(seed, "bend-x", 700)
    y += 150 * fractal(seed, "bend-y", 700)
    rng = seeded(seed, "islands")
    land = np.full(x.shape, _FLOOR, np.float32)
    for cx, cy, radius in _islands(rng):
        turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.7)
        window = _around(cx, cy, stretch * (radius - _FLOOR) + 320)
        dx, dy = x[window] - np.float32(cx), y[window] - np.float32(cy)
        along = (dx * np.cos(turn) + dy * np.sin(turn)) / stretch
        across = (dy * np.cos(turn) - dx * np.sin(turn)) * stretch**0.5
        np.maximum(land[window], radius - np.sqrt(along * along + across * across), out=land[window])
    return np.asarray(land + 85 * fractal(seed, "shore", 420), np.float32)


def _around(x: float, y: float, reach: float) -> tuple[slice, slice]:
    """The cells within `reach` units of a place."""
    spans = [(max(0, int((c - reach) / CELL)), max(0, int((c + reach) / CELL) + 1)) for c in (y, x)]
    return slice(*spans[0]), slice(*spans[1])


def _islands(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Centres and radii: a few large islands that keep their distance, many skerries anywhere."""
    large: list[tuple[float, float, float]] = []
    for _ in range(900):
        x, y = rng.uniform(0, SIZE, 2)
        radius = rng.uniform(190, 620)
        if all(np.hypot(x - ox, y - oy) > 0.95 * (radius + other) + 160 for ox, oy, other in large):
            large.append((float(x), float(y), float(radius)))
    small = [(*rng.uniform(0, SIZE, 2), rng.uniform(20, 110)) for _ in range(130)]
    return large + [(float(x), float(y), float(r)) for x, y, r in small]


def _scatter(rng: np.random.Generator, count: int, spacing: float) -> Points:
    """`count` jittered grid places at least about half a spacing apart, in random order."""
    steps = int(SIZE / spacing)
    grid = np.stack(np.meshgrid(np.arange(steps), np.arange(steps)), -1).reshape(-1, 2)
    places = (grid + 0.5 + rng.uniform(-0.36, 0.36, grid.shape)) * spacing
    rng.shuffle(places)
    return np.asarray(places[:count], np.float64)


def _trees(seed: int, elevation: Field, growth: Field, bareness: Field) -> NDArray[np.float64]:
    rng = seeded(seed, "trees")
    places = _scatter(rng, 40_000, 44)
    wish = _at(growth, places) - 0.9 * np.clip(_at(bareness, places), 0, 1) + rng.normal(0, 0.16, len(places))
    stands = (_at(elevation, places) > 52) & (wish > 0.10)
    radius = np.clip(rng.normal(27, 6, len(places)) + 8 * np.clip(wish, 0, 1), 13, 44)
    bush = (_at(elevation, places) > 34) & ~stands & (rng.random(len(places)) < 0.09)
    radius[bush] = rng.uniform(6, 13, int(bush.sum()))
    kept = stands | bush
    return np.column_stack([places[kept], radius[kept]])


def _rocks(seed: int, elevation: Field, bareness: Field) -> NDArray[np.float64]:
    rng = seeded(seed, "rocks")
    places = _scatter(rng, 60_000, 36)
    height, bare = _at(elevation, places), _at(bareness, places)
    likely = np.where(height > 0, 0.03 + 0.22 * np.clip(bare + 0.1, 0, 1), 0.16 * np.clip(bare + 0.2, 0, 1))
    kept = (rng.random(len(places)) < likely) & (height > -75)
    return np.column_stack([places[kept], rng.gamma(2.2, 4.0, int(kept.sum())).clip(3, 34)])


def _cabins(seed: int, elevation: Field, growth: Field, bareness: Field) -> Iterator[Cabin]:
    rng = seeded(seed, "cabins")
    places = rng.uniform(300, SIZE - 300, (4000, 2))
    height = _at(elevation, places)
    good = (height > 55) & (height < 110) & (_at(growth, places) < 0.1) & (_at(bareness, places) < 0)
    taken: list[Cabin] = []
    for place in places[good]:
        cabin = _cabin(elevation, place, int(rng.integers(1 << 16)))
        if cabin is not None and all(np.hypot(cabin.x - c.x, cabin.y - c.y) > 900 for c in taken):
            taken.append(cabin)
            yield cabin


def _cabin(elevation: Field, place: NDArray[np.float64], style: int) -> Cabin | None:
    """With a jetty straight down the slope, or None where the shore is far or the water shallow."""
    sides = np.array([[60, 0], [-60, 0], [0, 60], [0, -60]]) + place
    east, west, south, north = _at(elevation, sides)
    down = np.array([west - east, north - south])
    down /= np.hypot(*down) + 1e-9
    walk = place + np.arange(0, 340, 10)[:, None] * down
    heights = _at(elevation, walk)
    if heights.min() > 0:
        return None
    shore = int(np.argmax(heights <= 0))
    if shore > 18 or heights[min(shore + 9, len(heights) - 1)] > -35:
        return None
    (x, y), (sx, sy) = place, walk[shore]
    return Cabin(float(x), float(y), (float(sx), float(sy)), (float(down[0]), float(down[1])), style)


def _cleared(items: NDArray[np.float64], cabins: tuple[Cabin, ...]) -> NDArray[np.float64]:
    """Without what would stand on a cabin, its path or its jetty."""
    free = np.ones(len(items), bool)
    for cabin in cabins:
        start, out = np.array([cabin.x, cabin.y]), np.array(cabin.out)
        away = items[:, :2] - start
        length = np.hypot(cabin.shore[0] - cabin.x, cabin.shore[1] - cabin.y) + 130
        along = np.clip(away @ out, 0, length)
        gap = np.linalg.norm(away - along[:, None] * out, axis=1) - items[:, 2]
        free &= (gap > 14) & (np.linalg.norm(away, axis=1) - items[:, 2] > 62)
    return items[free]
