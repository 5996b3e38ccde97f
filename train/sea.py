"""Moving water: two crossing swells, glitter under the sun, foam that laps at the shore."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from train.terrain import BLOCK, SHORE, SUN
from train.world import ripples, seeded

Grey = NDArray[np.uint8]

# Drift of the two swells in units per second, and of the foam's edge.
_DRIFTS = ((30.0, 24.0), (10.0, 33.0))


class Sea:
    """Lays water over frames cut from a chart. Tiles are periodic and repeated past a picture's reach."""

    def __init__(self, seed: int, flight: str, width: int, height: int) -> None:
        self._size = (width, height)
        self._scale = min(1.0, width / 1920)
        self._side = max(16, round(BLOCK * self._scale))
        reach = 1.25 * np.hypot(width, height) * self._scale * 1920 / width
        copies = int(np.ceil(reach / self._side)) + 2
        self._swells = [self._tile(seed, name, span, copies) for name, span in (("swell", 64), ("chop", 34))]
        self._phase = seeded(seed, "sea", flight).uniform(0, BLOCK, (2, 2))
        self._patch = _sun_patch(width, height)
        shore = np.arange(256, dtype=np.float32) - SHORE
        self._rough = np.clip(255 * np.clip(shore / 70, 0, 1) ** 0.8, 0, 255).astype(np.uint8)
        foam = np.exp(-(((shore - 9) / 7.5) ** 2)) + 0.30 * np.exp(-(((shore - 36) / 7) ** 2))
        self._foam = np.clip(190 * foam, 0, 255).astype(np.uint8)

    def _tile(self, seed: int, name: str, longest: float, copies: int) -> Grey:
        low, high = max(2.0, 5 * self._scale), max(4.0, longest * self._scale)
        east, south = _DRIFTS[0 if name == "swell" else 1]
        wind = float(np.arctan2(south, east))
        wave = ripples(seed, name, self._side, low, high, 1.2, wind)
        return np.tile(np.clip(128 + 46 * wave, 0, 255).astype(np.uint8), (copies, copies))

    def lay(
        self, frame: NDArray[np.uint8], shore: Grey, to_world: NDArray[np.float64], seconds: float
    ) -> None:
        """Waves, foam and glitter onto a BGR frame in place. `to_world` counts pixels from the middle."""
        first, second = (self._cut(n, to_world, seconds) for n in (0, 1))
        wave = cv2.addWeighted(first, 0.5, second, 0.5, 0)
        rough = cv2.LUT(shore, self._rough)
        crest = cv2.multiply(cv2.subtract(wave, 128), rough, scale=0.26 / 255)
        trough = cv2.multiply(cv2.subtract(128, wave), rough, scale=0.34 / 255)
        glitter = cv2.subtract(cv2.multiply(first, second, scale=1 / 255), 126)
        glitter = cv2.multiply(
            cv2.multiply(glitter, rough, scale=5.0 / 255), self._glare(to_world), scale=1 / 255
        )
        lapping = cv2.LUT(cv2.addWeighted(shore, 1.0, wave, 0.26, -33), self._foam)
        foam = cv2.multiply(lapping, second, scale=1 / 175)
        white = cv2.add(cv2.add(crest, glitter), foam)
        cv2.add(frame, cv2.cvtColor(white, cv2.COLOR_GRAY2BGR), dst=frame)
        cv2.subtract(frame, cv2.cvtColor(trough, cv2.COLOR_GRAY2BGR), dst=frame)

    def _cut(self, number: int, to_world: NDArray[np.float64], seconds: float) -> Grey:
        drift = np.asarray(_DRIFTS[number]) * seconds + self._phase[number]
        move = to_world.copy()
        move[:, 2] -= drift
        return cut(self._swells[number], self._scaled(move), self._size, self._side)

    def _scaled(self, move: NDArray[np.float64]) -> NDArray[np.float64]:
        return move * (self._side / BLOCK)

    def _glare(self, to_world: NDArray[np.float64]) -> Grey:
        """Where the sun mirrors: a soft patch that stays on the sun's side of the picture as it turns."""
        width, height = self._size
        turn = np.arctan2(to_world[1, 0], to_world[0, 0])
        cos, sin = np.cos(turn), np.sin(turn)
        right, down = -SUN[0] * cos - SUN[1] * sin, SUN[0] * sin - SUN[1] * cos
        x, y = int(width * (0.5 - 0.36 * right)), int(height * (0.5 - 0.36 * down))
        return self._patch[y : y + height, x : x + width]


def _sun_patch(width: int, height: int) -> Grey:
    """Twice the picture's size, brightest in its middle."""
    y = (np.arange(2 * height, dtype=np.float32) / height - 1)[:, None]
    x = (np.arange(2 * width, dtype=np.float32) / width - 1)[None]
    return np.asarray(30 + 225 * np.exp(-(x * x + y * y) / 0.16), np.uint8)


def cut(
    tile: NDArray[np.uint8], move: NDArray[np.float64], size: tuple[int, int], period: int = 0
) -> NDArray[np.uint8]:
    """The picture of `size` (width, height) whose pixel p, counted from the middle, shows `move` of p.

    With a `period` the tile repeats, and only the shift within one repetition counts.
    """
    width, height = size
    shift = move.copy()
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    if period:
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) - middle
        low = (corners @ move[:, :2].T + move[:, 2]).min(axis=0)
        shift[:, 2] -= np.floor(low / period) * period
    shift[:, 2] -= move[:, :2] @ middle + 0.5  # pixel centres lie half a pixel in
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(tile, shift, size, flags=flags, borderMode=cv2.BORDER_REFLECT), np.uint8)
