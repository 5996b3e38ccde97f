"""What stands on the archipelago: trees, rocks, cabins with their jetties, and the shadows they throw."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from train.terrain import BLOCK, SUN, Bgra, Colour, step
from train.world import SIZE, Cabin, Field, World, ripples, seeded

_LEAVES: tuple[Colour, ...] = ((50, 108, 84), (52, 116, 100), (46, 96, 72), (62, 128, 118))
_NEEDLES: tuple[Colour, ...] = ((52, 80, 54), (58, 88, 66), (46, 74, 54))
_ROOFS: tuple[Colour, ...] = ((62, 68, 142), (70, 66, 64), (110, 120, 128), (58, 88, 122))
_PLANKS, _PATH = (128, 150, 164), (122, 168, 186)

Mask = NDArray[np.uint8]


def block_of(picture: NDArray[np.uint8], row: int, column: int, side: int) -> NDArray[np.uint8]:
    return picture[row * side : (row + 1) * side, column * side : (column + 1) * side]


def furnish(picture: Bgra, world: World, side: int, drawn: list[tuple[int, int]]) -> None:
    """Paths, then all shadows, then rocks, cabins and crowns above them, where blocks are drawn."""
    scale, blocks = side / BLOCK, SIZE // BLOCK
    there = np.zeros((blocks, blocks), bool)
    there[tuple(zip(*drawn, strict=True))] = True
    rocks, trees = (_inside(items, there) * scale for items in (world.rocks, world.trees))
    shade = np.zeros(picture.shape[:2], np.uint8)
    cabins = [_Building(cabin, scale) for cabin in world.cabins if there[_cell(cabin)]]
    for cabin in cabins:
        cabin.draw_path(picture)
        cabin.cast(shade)
    _cast(shade, rocks, 0.5, 1.9)
    _cast(shade, trees, 0.95, 2.2)
    for row, column in drawn:
        _darken(block_of(picture, row, column, side), block_of(shade, row, column, side))
    for cabin in cabins:
        cabin.draw(picture)
    _scatter(picture, rocks, 2.0, [_rock(world.seed, n) for n in range(10)], dry=True)
    _scatter(picture, trees, 2.15, [_crown(world.seed, n) for n in range(24)], dry=False)


def _cell(cabin: Cabin) -> tuple[int, int]:
    return int(cabin.y / BLOCK), int(cabin.x / BLOCK)


def _inside(items: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    cells = (items[:, :2] / BLOCK).astype(int)
    return np.asarray(items[there[cells[:, 1], cells[:, 0]]])


def _darken(window: Bgra, shade: Mask) -> None:
    """Shadows lose less blue than red: the sky still lights them."""
    if shade.any():
        left = [
            cv2.LUT(shade, np.rint(255 - np.arange(256) * lost).astype(np.uint8))
            for lost in (0.40, 0.50, 0.54)
        ]
        window[..., :3] = cv2.multiply(window[..., :3], cv2.merge(left), scale=1 / 255)


class _Sizes:
    """Sprites by number, shrunk to whole pixels once per size."""

    def __init__(self, sprites: list[NDArray[np.uint8]]) -> None:
        self._sprites = sprites
        self._fitted: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def of(self, number: int, size: float) -> NDArray[np.uint8]:
        key = (number % len(self._sprites), max(2, round(size)))
        if key not in self._fitted:
            sprite, pixels = self._sprites[key[0]], key[1]
            self._fitted[key] = np.asarray(cv2.resize(sprite, (pixels, pixels), interpolation=cv2.INTER_AREA))
        return self._fitted[key]


def _cast(shade: Mask, items: NDArray[np.float64], away: float, wide: float) -> None:
    """Round shadows: `away` and `wide` in radii of the thing."""
    sizes = _Sizes([_disc(64)])
    for x, y, radius in items:
        disc = sizes.of(0, wide * radius)
        middle = (x + SUN[0] * away * radius, y + SUN[1] * away * radius)
        _meet(shade, disc, middle, lambda window, top: np.maximum(window, top, out=window))


def _scatter(picture: Bgra, items: NDArray[np.float64], wide: float, sprites: list[Bgra], dry: bool) -> None:
    sizes = _Sizes([*sprites])
    lay = _lay_dry if dry else _lay
    for number, (x, y, radius) in enumerate(items):
        _meet(picture, sizes.of(number, wide * radius), (x, y), lay)


def _meet(
    picture: NDArray[np.uint8],
    sprite: NDArray[np.uint8],
    middle: tuple[float, float],
    act: Callable[[NDArray[np.uint8], NDArray[np.uint8]], object],
) -> None:
    """Call `act` on the part of the picture that the sprite covers, and that part of the sprite."""
    pixels = sprite.shape[0]
    left, top = (round(c - pixels / 2) for c in middle)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + pixels, picture.shape[1]), min(top + pixels, picture.shape[0])
    if x0 < x1 and y0 < y1:
        act(picture[y0:y1, x0:x1], sprite[y0 - top : y1 - top, x0 - left : x1 - left])


def _lay(window: Bgra, top: Bgra) -> None:
    cover = top[..., 3:].astype(np.uint16)
    window[..., :3] = (window[..., :3] * (255 - cover) + top[..., :3] * cover) // 255


def _lay_dry(window: Bgra, top: Bgra) -> None:
    """Rocks in the sea are land: no waves on them, foam around them."""
    _lay(window, top)
    np.minimum(window[..., 3], 255 - (top[..., 3] >> 1) - (top[..., 3] >> 2), out=window[..., 3])


def _grid(pixels: int) -> tuple[Field, Field]:
    y, x = np.mgrid[0:pixels, 0:pixels].astype(np.float32)
    return (x + 0.5) / pixels * 2 - 1, (y + 0.5) / pixels * 2 - 1


def _disc(pixels: int) -> Mask:
    x, y = _grid(pixels)
    return np.asarray(255 * step(0.0, 0.28, 1 - np.hypot(x, y)), np.uint8)


def _crown(seed: int, number: int, pixels: int = 112) -> Bgra:
    """One tree from above: a heap of leaf clusters, or a conifer's star."""
    rng = seeded(seed, "crown", number)
    conifer = number % 3 != 0
    height = _star(rng, pixels) if conifer else _heap(rng, pixels)
    leaf = ripples(seed, f"leaf-{number}", pixels, 3, 14, 0.3)
    height += (0.04 if conifer else 0.06) * leaf * (height > 0)
    bases = _NEEDLES if conifer else _LEAVES
    base = bases[number % len(bases)]
    tone = rng.uniform(0.84, 1.08) * rng.uniform(0.95, 1.05, 3)
    return _lit(height, np.asarray(base * tone, np.float32), 0.055 * pixels)


def _heap(rng: np.random.Generator, pixels: int) -> Field:
    x, y = _grid(pixels)
    height = np.zeros((pixels, pixels), np.float32)
    for _ in range(34):
        angle, out = rng.uniform(0, 2 * np.pi), 0.70 * rng.uniform(0, 1) ** 0.6
        size = rng.uniform(0.16, 0.30)
        gap = (x - out * np.cos(angle)) ** 2 + (y - out * np.sin(angle)) ** 2
        ball = np.sqrt(np.clip(size * size - gap, 0, None)) * 1.5 + (gap < size * size) * 0.75 * (
            1 - out * out
        )
        np.maximum(height, ball, out=height)
    return height


def _star(rng: np.random.Generator, pixels: int) -> Field:
    x, y = _grid(pixels)
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    arms, turn = int(rng.integers(8, 13)), rng.uniform(0, 6, 2)
    edge = 0.80 + 0.10 * np.cos(arms * angle + turn[0]) + 0.06 * np.cos(3 * angle + turn[1])
    rings = 0.05 * np.cos(distance * 22 + 2 * np.cos(arms * angle))
    return np.asarray(np.where(distance < edge, 1.0 - distance / edge + 0.15 + rings, 0), np.float32)


def _rock(seed: int, number: int, pixels: int = 72) -> Bgra:
    rng = seeded(seed, "rock", number)
    x, y = _grid(pixels)
    angle, turn = np.arctan2(y, x), rng.uniform(0, 6, 2)
    edge = 0.74 + 0.10 * np.cos(2 * angle + turn[0]) + 0.08 * np.cos(3 * angle + turn[1])
    height = np.sqrt(np.clip(1 - (np.hypot(x, y) / edge) ** 2, 0, None)).astype(np.float32)
    height += 0.10 * ripples(seed, f"rock-{number}", pixels, 5, 40, 0.8) * (height > 0)
    grey = np.array([140, 150, 160], np.float32) * np.float32(rng.uniform(0.85, 1.1))
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


class _Building:
    """A cabin, its path and its jetty, drawn straight into the chart. Lengths in units, `scale` to pixels."""

    _FINE = 4  # bits below a pixel

    def __init__(self, cabin: Cabin, scale: float) -> None:
        self._cabin, self._scale = cabin, scale
        self._out = np.array(cabin.out)
        self._side = np.array([-cabin.out[1], cabin.out[0]])
        self._home, self._shore = np.array([cabin.x, cabin.y]), np.array(cabin.shore)
        rng = seeded(cabin.style, "cabin")
        self._length, self._width = rng.uniform(84, 104), rng.uniform(58, 70)
        self._roof = np.array(_ROOFS[int(rng.integers(len(_ROOFS)))], np.float64)
        self._jetty = rng.uniform(85, 120)

    def _pixels(self, corners: NDArray[np.float64]) -> NDArray[np.int32]:
        return np.asarray(np.rint((corners * self._scale - 0.5) * (1 << self._FINE)), np.int32)

    def _fill(
        self, picture: NDArray[np.uint8], corners: NDArray[np.float64], colour: tuple[float, ...]
    ) -> None:
        cv2.fillPoly(picture, [self._pixels(corners)], colour, cv2.LINE_AA, self._FINE)

    def _slab(self, middle: NDArray[np.float64], along: float, across: float) -> NDArray[np.float64]:
        """Corners of a rectangle that points out to sea."""
        a, b = self._out * along / 2, self._side * across / 2
        return np.array([middle - a - b, middle + a - b, middle + a + b, middle - a + b])

    @property
    def _pier(self) -> NDArray[np.float64]:
        return self._shore + self._out * (self._jetty / 2 - 14)

    def draw_path(self, picture: Bgra) -> None:
        bend = (self._home + self._shore) / 2 + self._side * 9
        way = np.array([self._home, bend, self._shore])
        sides = np.vstack([way + self._side * 5, (way - self._side * 5)[::-1]])
        self._fill(picture, sides, (*_PATH, 0))

    def cast(self, shade: Mask) -> None:
        away = np.asarray(SUN)
        for height in (8, 16, 24):
            self._fill(shade, self._slab(self._home, self._width, self._length) + away * height, (235,))
        self._fill(shade, self._slab(self._pier, self._jetty, 16) + away * 7, (190,))

    def draw(self, picture: Bgra) -> None:
        for plank in np.arange(-self._jetty / 2 + 3, self._jetty / 2, 6):
            tone = 0.86 + 0.14 * np.cos(plank * 2.3)
            self._fill(
                picture, self._slab(self._pier + self._out * plank, 5.4, 16), self._paint(_PLANKS, tone)
            )
        ridge = self._width / 4
        for side, lean in ((-1, 1.0), (1, -1.0)):
            facing = lean * float(self._out @ np.asarray(SUN))  # the half that leans to the sun is bright
            for rib in np.arange(-0.5, 0.5, 0.125) + 0.0625:
                middle = self._home + self._out * side * ridge + self._side * rib * self._length
                colour = self._paint(tuple(self._roof), 1.0 + 0.28 * facing + 0.04 * np.cos(rib * 50))
                self._fill(picture, self._slab(middle, self._width / 2, self._length / 8 + 0.4), colour)
        chimney = self._home + self._side * self._length * 0.22 + self._out * 3
        self._fill(picture, self._slab(chimney + 4 * np.asarray(SUN), 12, 12), self._paint((40, 40, 40), 1))
        self._fill(picture, self._slab(chimney, 11, 11), self._paint((96, 108, 150), 1))

    @staticmethod
    def _paint(colour: tuple[float, ...], tone: float) -> tuple[float, ...]:
        """Opaque, and dry: nothing of the sea is drawn over it."""
        return (*(min(255.0, c * tone) for c in colour), 0.0)
