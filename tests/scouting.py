"""Windows and a tiny scout for tests: made here, in no time."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frames import Picture
from train.footage import Clip, Sampling, split
from train.pasts import DEPTH
from train.recipes import ScoutRecipe
from train.scout import ScoutConfig
from train.windows import SIDE, WindowFootage, Windows

TINY = ScoutConfig(stem=8, channels=(8, 8, 16))
RECIPE = ScoutRecipe(model=TINY, epochs=4, batch=3, crop=32)


def ground(height: int, width: int, seed: int = 0) -> Picture:
    """Smooth blotches of every colour, between 40 and 215."""
    coarse = np.random.default_rng(seed).integers(40, 216, (6, 8, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def still(count: int, seed: int = 0) -> Windows:
    """In which nothing moves."""
    shown = [np.stack([ground(SIDE, SIDE, seed + number)] * DEPTH) for number in range(count)]
    return Windows(np.stack(shown), np.ones((count, DEPTH), np.bool_))


def walked(count: int, seed: int = 0) -> tuple[Windows, NDArray[np.bool_]]:
    """In which a square walks to the right, and where (SIDE x SIDE) it ever is."""
    windows, ever = still(count, seed), np.zeros((SIDE, SIDE), np.bool_)
    for back in range(DEPTH):
        place = (slice(60, 100), slice(70 - 12 * back, 110 - 12 * back))
        windows.pictures[:, back][(slice(None), *place)] = 255
        ever[place] = True
    return windows, ever


def footage(count: int = 6) -> WindowFootage:
    clips = [Clip(name=name, path=f"/{name}", sha256=name, start=0, stop=20) for name in "abc"]
    return WindowFootage(split(clips, Sampling(), seed=0), walked(count)[0], walked(3, seed=500)[0])
