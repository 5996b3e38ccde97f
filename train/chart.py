"""The archipelago as one large picture from above, drawn once; flights cut their frames out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from train.furniture import block_of, furnish
from train.terrain import BLOCK, Bgra, Ground
from train.world import SIZE, Points, World


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
    ground = Ground(world, side)
    for row, column in drawn:
        block_of(picture, row, column, side)[:] = ground.block(row, column)
    furnish(picture, world, side, drawn)
    return Chart(picture, side / BLOCK)


def _near(along: Points, reach: float, blocks: int) -> Iterator[tuple[int, int]]:
    for row in range(blocks):
        for column in range(blocks):
            low = np.array([column, row]) * BLOCK
            outside = np.maximum(np.maximum(low - along, along - low - BLOCK), 0)
            if np.hypot(outside[:, 0], outside[:, 1]).min() < reach:
                yield row, column
