"""A route for tests: a long strip of ground with landmarks, and flights along it."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from edge.frames import Picture

SIZE = (270, 480)  # height, width of a picture


def strip(seed: int = 0, length: int = 2400, width: int = 700) -> Picture:
    """Ground seen from above, north up: textured fields with rocks and huts on them."""
    random = np.random.default_rng(seed)
    coarse = random.integers(70, 150, (length // 40, width // 40, 3)).astype(np.uint8)
    land = cv2.resize(coarse, (width, length), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    land += cv2.GaussianBlur(random.normal(0, 40, (length, width, 1)).astype(np.float32), (0, 0), 2)[
        ..., None
    ]
    for _ in range(length // 8):
        x, y = int(random.integers(width)), int(random.integers(length))
        shade = [int(value) for value in random.integers(20, 235, 3)]
        cv2.circle(land, (x, y), int(random.integers(3, 12)), shade, -1)
    return np.asarray(np.clip(land, 0, 255), np.uint8)


def view(ground: Picture, along: float, aside: float = 0.0, turn: float = 0.0, light: float = 1.0) -> Picture:
    """What a camera sees `along` pixels from the start, turned by degrees, in a light of its own."""
    height, width = SIZE
    matrix = cv2.getRotationMatrix2D((ground.shape[1] / 2 + aside, along + height / 2), turn, 1.0)
    matrix[:, 2] += (width / 2 - ground.shape[1] / 2 - aside, -along)
    seen = cv2.warpAffine(ground, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(np.clip(seen.astype(np.float32) * light, 0, 255), np.uint8)


def flight(ground: Picture, seed: int, step: int = 60, count: int = 30) -> Iterator[Picture]:
    """Along the strip, with the deviations and the light of that day."""
    random = np.random.default_rng(seed)
    light = random.uniform(0.85, 1.15)
    for number in range(count):
        aside, turn = random.uniform(-20, 20), random.uniform(-2, 2)
        yield view(ground, 20 + number * step, aside, turn, light)
