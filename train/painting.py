"""The archipelago as one large picture from above, drawn once; flights cut their frames out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from train.world import CELL, SIZE, Field, Points, World, fractal, ripples, seeded

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
_LEAVES: tuple[Colour, ...] = ((44, 104, 78), (52, 118, 96), (40, 92, 66), (58, 128, 116))
_NEEDLES: tuple[Colour, ...] = ((46, 76, 48), (54, 84, 58), (40, 68, 46))


@dataclass(frozen=True, eq=False)
class Chart:
    """The picture, BGR and shore, with `scale` pixels per unit."""

    picture: Bgra
    scale: float


def draw_chart(world: World, scale: float, along: Points, reach: float) -> Chart:
    """The world at about `scale` pixels per unit, drawn only within `reach` units of the points `along`."""
    side = max(16, round(BLOCK * scale))
    blocks = SIZE // BLOCK
    picture = np.zeros((side * blocks, side * blocks, 4), np.uint8)  # untouched blocks cost no memory
    drawn = list(_near(along, reach, blocks))
    ground = _Ground(world, side)
    for row, column in drawn:
        _block(picture, row, column, side)[:] = ground.block(row, column)
    _plant(picture, world, side, drawn)
    return Chart(picture, side / BLOCK)


def _near(along: Points, reach: float, blocks: int) -> Iterator[tuple[int, int]]:
    for row in range(blocks):
        for column in range(blocks):
            low = np.array([column, row]) * BLOCK
            outside = np.maximum(np.maximum(low - along, along - low - BLOCK), 0)
            if np.hypot(outside[:, 0], outside[:, 1]).min() < reach:
                yield row, column


def _block(picture: NDArray[np.uint8], row: int, column: int, side: int) -> NDArray[np.uint8]:
    return picture[row * side : (row + 1) * side, column * side : (column + 1) * side]


def _step(low: float, high: float, value: Field) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) * np.float32(1 / (high - low)), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _mix(a: Field | Colour, b: Field | Colour, share: Field) -> Field:
    first, second = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return np.asarray(first + (second - first) * share[..., None], np.float32)


class _Ground:
    """Draws blocks. Coarse fields give the shapes; periodic tiles as large as a block give the grain."""

    def __init__(self, world: World, side: int) -> None:
        self._world, self._side, self._scale = world, side, side / BLOCK
        self._fine = self._tile("fine", 3, 26, 0.6)
        self._medium = self._tile("medium", 18, 160, 1.2)
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
        wet = _step(-soft, soft, -height)
        colour = _mix(self._land(height, bare, growth, tone), self._sea(height, bare, tone), wet)
        out = np.empty((self._side, self._side, 4), np.uint8)
        out[..., :3] = np.clip(colour, 0, 255)
        out[..., 3] = np.clip(SHORE - SHORE_PER_UNIT * height, 0, 255)
        return out

    def _land(self, height: Field, bare: Field, growth: Field, tone: Field) -> Field:
        grass = _mix(_GRASS, _DRY, _step(-0.7, 0.9, tone + 0.25 * self._medium + 0.12 * self._fine))
        floor = _mix(grass, _FLOOR, 0.85 * _step(-0.05, 0.2, growth))
        rock = _mix(_GRANITE, _LICHEN, _step(-0.6, 1.4, self._medium + 0.4 * self._wide))
        rocky = _step(-0.04, 0.10, bare)
        land = _mix(floor, rock, rocky)
        beach = _step(-46, -22, -height + 7 * self._wide) * (1 - 0.93 * rocky)
        land = _mix(land, _mix(_SAND, _WET_SAND, _step(-15, -4, -height)), beach)
        return np.asarray(land * self._light(height, rocky, beach)[..., None], np.float32)

    def _light(self, height: Field, rocky: Field, beach: Field) -> Field:
        """Slopes that face the sun are bright; rock is rough, sand smooth."""
        rough = 0.25 + 1.5 * rocky - 0.2 * beach
        relief = 34 * np.tanh(height / 90) + rough * (5.5 * self._medium + 1.0 * self._fine)
        across = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=1, scale=0.5 * self._scale)
        down = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=1, scale=0.5 * self._scale)
        slope = SUN[0] * across + SUN[1] * down
        grain = 1 + 0.035 * self._fine * (1 - 0.6 * beach)
        return np.asarray(np.clip(1 + 0.55 * slope, 0.45, 1.35) * grain, np.float32)

    def _sea(self, height: Field, bare: Field, tone: Field) -> Field:
        depth = np.maximum(-height, 0)
        weedy = _step(0.15, 0.75, 0.45 * self._wide + 0.25 * self._medium + 0.8 * bare + depth * 0.004)
        bed = _mix(_SEABED, _WEED, weedy) * (1 + 0.05 * self._fine)[..., None]
        clear = np.exp(-depth[..., None] * np.asarray(_ABSORB, np.float32))
        deep = np.asarray(_DEEP, np.float32) * (1 + 0.07 * tone + 0.02 * self._wide)[..., None]
        return np.asarray(bed * clear + deep * (1 - clear), np.float32)


def _plant(picture: Bgra, world: World, side: int, drawn: list[tuple[int, int]]) -> None:
    """Rocks, then the shadows of everything that stands, then the crowns above them."""
    scale, blocks = side / BLOCK, SIZE // BLOCK
    there = np.zeros((blocks, blocks), bool)
    there[tuple(zip(*drawn, strict=True))] = True
    rocks, trees = (_inside(items, there) for items in (world.rocks, world.trees))
    shade = np.zeros(picture.shape[:2], np.uint8)
    disc = _disc(64)
    for x, y, radius in trees * scale:
        reach = 0.9 * radius
        cast(shade, disc, x + SUN[0] * reach, y + SUN[1] * reach, 2.2 * radius)
    rock_kinds = [_rock(world.seed, n) for n in range(10)]
    for n, (x, y, radius) in enumerate(rocks * scale):
        cast(shade, disc, x + SUN[0] * 0.5 * radius, y + SUN[1] * 0.5 * radius, 2.1 * radius)
        stamp(picture, rock_kinds[n % 10], x, y, 2 * radius, land=True)
    for row, column in drawn:
        _darken(_block(picture, row, column, side), _block(shade, row, column, side))
    crowns = [_crown(world.seed, n) for n in range(21)]
    for n, (x, y, radius) in enumerate(trees * scale):
        stamp(picture, crowns[n % 21], x, y, 2.15 * radius)


def _inside(items: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    cells = (items[:, :2] / BLOCK).astype(int)
    return items[there[cells[:, 1], cells[:, 0]]]


def _darken(window: Bgra, shade: NDArray[np.uint8]) -> None:
    left = 1 - shade[..., None] * np.array([0.40, 0.50, 0.54], np.float32) / 255  # shadows are a little blue
    window[..., :3] = window[..., :3] * left


def _fit(sprite: NDArray[np.uint8], size: float) -> NDArray[np.uint8]:
    pixels = max(2, round(size))
    return np.asarray(cv2.resize(sprite, (pixels, pixels), interpolation=cv2.INTER_AREA), np.uint8)


def _overlap(
    shape: tuple[int, ...], x: float, y: float, pixels: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Where a square sprite centred at x, y meets a picture: (in the picture, in the sprite)."""
    left, top = round(x - pixels / 2), round(y - pixels / 2)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + pixels, shape[1]), min(top + pixels, shape[0])
    if x0 >= x1 or y0 >= y1:
        return None
    there = (slice(y0, y1), slice(x0, x1))
    return there, (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def stamp(picture: Bgra, sprite: Bgra, x: float, y: float, size: float, *, land: bool = False) -> None:
    """Lay a square sprite of `size` pixels over the chart at x, y; `land` makes the place dry too."""
    fitted = _fit(sprite, size)
    places = _overlap(picture.shape, x, y, fitted.shape[0])
    if places is None:
        return
    window, top = picture[places[0]], fitted[places[1]]
    cover = top[..., 3:].astype(np.uint16)
    under = window[..., :3]
    under[:] = (under * (255 - cover) + top[..., :3] * cover) // 255
    if land:
        np.minimum(window[..., 3], 255 - (top[..., 3] >> 1) - (top[..., 3] >> 2), out=window[..., 3])


def cast(shade: NDArray[np.uint8], disc: NDArray[np.uint8], x: float, y: float, size: float) -> None:
    fitted = _fit(disc, size)
    places = _overlap(shade.shape, x, y, fitted.shape[0])
    if places is not None:
        np.maximum(shade[places[0]], fitted[places[1]], out=shade[places[0]])


def _grid(pixels: int) -> tuple[Field, Field]:
    y, x = np.mgrid[0:pixels, 0:pixels].astype(np.float32)
    return (x + 0.5) / pixels * 2 - 1, (y + 0.5) / pixels * 2 - 1


def _disc(pixels: int) -> NDArray[np.uint8]:
    x, y = _grid(pixels)
    return np.asarray(255 * _step(0.0, 0.28, 1 - np.hypot(x, y)), np.uint8)


def _crown(seed: int, number: int, pixels: int = 112) -> Bgra:
    """One tree from above: a heap of leaf clusters, or a conifer's star."""
    rng = seeded(seed, "crown", number)
    conifer = number % 3 != 0
    height = _star(rng, pixels) if conifer else _heap(rng, pixels)
    height += 0.04 * ripples(seed, f"leaf-{number}", pixels, 3, 14, 0.3) * (height > 0)
    base = (_NEEDLES if conifer else _LEAVES)[number % (3 if conifer else 4)]
    return _lit(height, np.asarray(base, np.float32) * rng.uniform(0.85, 1.15), 0.055 * pixels)


def _heap(rng: np.random.Generator, pixels: int) -> Field:
    x, y = _grid(pixels)
    height = np.zeros((pixels, pixels), np.float32)
    for _ in range(26):
        angle, out = rng.uniform(0, 2 * np.pi), 0.66 * rng.uniform(0, 1) ** 0.6
        size = rng.uniform(0.2, 0.34)
        gap = (x - out * np.cos(angle)) ** 2 + (y - out * np.sin(angle)) ** 2
        np.maximum(
            height,
            np.sqrt(np.clip(size * size - gap, 0, None)) * 1.2 + 0.5 * (1 - out) * (gap < size * size),
            out=height,
        )
    return height


def _star(rng: np.random.Generator, pixels: int) -> Field:
    x, y = _grid(pixels)
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    arms = int(rng.integers(8, 13))
    edge = (
        0.80 + 0.10 * np.cos(arms * angle + rng.uniform(0, 6)) + 0.06 * np.cos(3 * angle + rng.uniform(0, 6))
    )
    rings = 0.05 * np.cos(distance * 22 + 2 * np.cos(arms * angle))
    return np.asarray(np.where(distance < edge, 1.0 - distance / edge + 0.15 + rings, 0), np.float32)


def _rock(seed: int, number: int, pixels: int = 72) -> Bgra:
    rng = seeded(seed, "rock", number)
    x, y = _grid(pixels)
    angle = np.arctan2(y, x)
    edge = 0.74 + 0.10 * np.cos(2 * angle + rng.uniform(0, 6)) + 0.08 * np.cos(3 * angle + rng.uniform(0, 6))
    height = np.sqrt(np.clip(1 - (np.hypot(x, y) / edge) ** 2, 0, None)).astype(np.float32)
    height += 0.10 * ripples(seed, f"rock-{number}", pixels, 5, 40, 0.8) * (height > 0)
    grey = np.array([136, 144, 154], np.float32) * rng.uniform(0.8, 1.1)
    return _lit(height, grey, 0.10 * pixels)


def _lit(height: Field, colour: Field, steep: float) -> Bgra:
    """A relief 0..1 as a sprite: lit from the sun, dark at its foot, covering where it is above 0."""
    across, down = cv2.Sobel(height, cv2.CV_32F, 1, 0), cv2.Sobel(height, cv2.CV_32F, 0, 1)
    slope = (SUN[0] * across + SUN[1] * down) * steep / 8
    light = np.clip(0.72 + 0.42 * np.clip(height, 0, 1) + 0.55 * np.tanh(1.5 * slope), 0.35, 1.7)
    out = np.empty((*height.shape, 4), np.uint8)
    out[..., :3] = np.clip(colour * light[..., None], 0, 255)
    out[..., 3] = 255 * cv2.GaussianBlur((height > 0.02).astype(np.float32), (0, 0), 1.2)
    return out
