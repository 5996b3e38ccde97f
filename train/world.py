"""The archipelago: where land, rock and trees are. `painting` turns it into a picture.

Lengths are in units: one unit is one pixel of a 1920 pixel wide picture at the nominal height, 6 cm of
ground. The layout depends on the seed alone, never on a picture's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]
Points: TypeAlias = NDArray[np.float64]  # n x 2, x east and y south, in units

METRES_PER_UNIT = 0.06
SIZE = 8192  # units on a side
CELL = 8  # units per cell of the coarse fields


@dataclass(frozen=True, eq=False)
class World:
    """One archipelago. `elevation` is pseudo-distance from the shore in units, positive on land."""

    seed: int
    elevation: Field
    growth: Field  # above 0 trees stand
    bareness: Field  # above 0 rock shows
    trees: NDArray[np.float64]  # n x 3: x, y, radius
    rocks: NDArray[np.float64]  # n x 3: x, y, radius

    @classmethod
    def of(cls, seed: int) -> World:
        elevation = _elevation(seed)
        growth = fractal(seed, "growth", 520) + np.clip((elevation - 150) / 260, -1, 0.35)
        bareness = fractal(seed, "bare", 430) - 0.12 + np.clip((60 - elevation) / 300, -0.3, 0.2)
        trees = _trees(seed, elevation, growth, bareness)
        return cls(seed, elevation, growth, bareness, trees, _rocks(seed, elevation, bareness))

    def height(self, points: Points) -> NDArray[np.float64]:
        """Elevation at points, nearest coarse cell."""
        return _at(self.elevation, points)

    def under_trees(self, points: Points, margin: float = 0.0) -> NDArray[np.bool_]:
        """Whether a crown comes nearer than `margin` units to each point."""
        gap = np.linalg.norm(points[:, None] - self.trees[None, :, :2], axis=2) - self.trees[None, :, 2]
        return np.asarray((gap < margin).any(axis=1))


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


def ripples(seed: int, name: str, pixels: int, low: float, high: float, slope: float = 1.0) -> Field:
    """Periodic noise, `pixels` square, mean 0 and deviation 1, wavelengths `low`..`high` pixels."""
    spectrum = np.fft.rfft2(seeded(seed, name).standard_normal((pixels, pixels)))
    y, x = np.fft.fftfreq(pixels)[:, None], np.fft.rfftfreq(pixels)[None]
    frequency = np.hypot(x, y)
    frequency[0, 0] = 1.0
    band = (frequency >= 1 / high) & (frequency <= 1 / low)
    wave = np.fft.irfft2(spectrum * band * frequency**-slope, s=(pixels, pixels))
    return np.asarray(wave / (wave.std() + 1e-9), np.float32)


def _at(grid: Field, points: Points) -> NDArray[np.float64]:
    cells = np.clip((points / CELL).astype(int), 0, grid.shape[0] - 1)
    return grid[cells[:, 1], cells[:, 0]].astype(np.float64)


def _elevation(seed: int) -> Field:
    y, x = np.mgrid[0:SIZE:CELL, 0:SIZE:CELL].astype(np.float32) + CELL / 2
    x += 150 * fractal(seed, "bend-x", 700)
    y += 150 * fractal(seed, "bend-y", 700)
    rng = seeded(seed, "islands")
    land = np.full(x.shape, -420, np.float32)
    for cx, cy, radius in _islands(rng):
        turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.7)
        dx, dy = x - np.float32(cx), y - np.float32(cy)
        along = (dx * np.cos(turn) + dy * np.sin(turn)) / stretch
        across = (dy * np.cos(turn) - dx * np.sin(turn)) * stretch**0.5
        np.maximum(land, radius - np.sqrt(along * along + across * across), out=land)
    return np.asarray(land + 85 * fractal(seed, "shore", 420), np.float32)


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
