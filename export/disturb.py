"""Pictures as a patrol meets them on a bad day: other light, a shadow, noise, compression, a shaken camera,
and things that do not belong. A variant must agree with PyTorch on these too, not only where all is well.

Every disturbance takes H x W x 3 uint8 and the random numbers to use, and gives a new picture of that shape.
Sizes are fractions of the picture, so a small picture is disturbed as much as a large one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frames import Picture

Disturbance: TypeAlias = Callable[[Picture, np.random.Generator], Picture]


def light_gain(image: Picture, random: np.random.Generator) -> Picture:
    """Half to 1.6 times the light: a cloud, or an exposure that has not settled."""
    gain = random.uniform(0.5, 0.8) if random.random() < 0.5 else random.uniform(1.2, 1.6)
    return _to_bytes(image.astype(np.float32) * np.float32(gain))


def shadow_edge(image: Picture, random: np.random.Generator) -> Picture:
    """One side of a straight line through the picture darkened to 0.4-0.7, over a soft edge."""
    height, width = image.shape[:2]
    angle = random.uniform(0, 2 * np.pi)
    x, y = np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height)[:, None]
    beyond = x * np.cos(angle) + y * np.sin(angle) - random.uniform(-0.25, 0.25)
    share = np.clip(beyond / 0.05 + 0.5, 0, 1)  # the edge takes a twentieth of the picture
    light = 1 - share * (1 - random.uniform(0.4, 0.7))
    return _to_bytes(image.astype(np.float32) * light[:, :, None].astype(np.float32))


def noise(image: Picture, random: np.random.Generator) -> Picture:
    """Sensor noise with a standard deviation of 4-16 grey levels."""
    grain = random.standard_normal(image.shape, np.float32) * np.float32(random.uniform(4, 16))
    return _to_bytes(image.astype(np.float32) + grain)


def jpeg(image: Picture, random: np.random.Generator) -> Picture:
    """There and back at quality 10-40."""
    quality = int(random.integers(10, 41))
    written, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert written
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def shift(image: Picture, random: np.random.Generator) -> Picture:
    """Moved by up to 8 % each way, at sub-pixel steps; the border repeats its edge."""
    height, width = image.shape[:2]
    right, down = random.uniform(-0.08, 0.08, 2) * (width, height)
    move = np.array([[1, 0, right], [0, 1, down]], np.float32)
    moved = cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def blobs(image: Picture, random: np.random.Generator) -> Picture:
    """One to four ellipses of one colour each, 4-20 % of the picture's side long."""
    height, width = image.shape[:2]
    pasted: Picture = image.copy()
    for _ in range(int(random.integers(1, 5))):
        centre = (int(random.uniform(0.1, 0.9) * width), int(random.uniform(0.1, 0.9) * height))
        half = tuple(max(1, int(size * min(height, width) / 2)) for size in random.uniform(0.04, 0.2, 2))
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        cv2.ellipse(pasted, centre, half, random.uniform(0, 180), 0, 360, colour, thickness=-1)
    return pasted


DISTURBANCES: Mapping[str, Disturbance] = {
    "light gain": light_gain,
    "shadow edge": shadow_edge,
    "noise": noise,
    "jpeg": jpeg,
    "shift": shift,
    "blobs": blobs,
}


def _to_bytes(values: NDArray[np.float32]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
