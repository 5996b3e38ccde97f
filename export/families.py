"""What export makes of each kind of checkpoint, and what it is checked on. A new kind is a new row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from edge.bundle import Kind
from edge.frames import Frame
from edge.preprocess import InputSpec
from export.held_out import HeldOut, thumbnails, tiles
from export.variants import CAE_VARIANTS, SCOUT_VARIANTS, Make
from train.scout import Scout, ScoutFlight


@dataclass(frozen=True)
class Family:
    """`bundle`: the kind of its bundles; `frames`: how many of them the gate takes if nobody says."""

    bundle: Kind
    variants: Mapping[str, Make]
    held_out: Callable[[Iterable[Frame], int, InputSpec], HeldOut]
    frames: int


FAMILIES: Mapping[str, Family] = {
    "cae": Family("reconstruction", CAE_VARIANTS, thumbnails, 200),
    "scout": Family("evidence", SCOUT_VARIANTS, tiles, 40),  # a tile is thirteen thumbnails
}


def flying(network: nn.Module) -> nn.Module:
    """What of a trained network goes into the bundle."""
    return ScoutFlight(network).eval() if isinstance(network, Scout) else network
