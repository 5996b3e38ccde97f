"""What export makes of each kind of checkpoint, and what it is checked on. A new kind is a new row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from edge.bundle import Kind
from edge.frames import Frame
from edge.preprocess import InputSpec
from export.held_out import HeldOut, thumbnails, tiles
from export.makers import CAE_MAKERS, SCOUT_MAKERS, Make
from train.scout import Scout, ScoutFlight

# A scout's convolutions in integers move its peaks by more than the gate allows wherever they save time worth
# having (docs/variants.md): that variant is made only where asked for.
_SCOUT_USUAL = ("fp32", "fp16", "int8-trt")


@dataclass(frozen=True)
class Family:
    """`bundle`: the kind of its bundles; `usual`: the variants made if nobody says; `frames`: how many the
    gate takes, and `normal`: how many integers are calibrated on. Those come in every disturbance too: a
    range that normal light fills to the brim cuts off what is brighter, and that moves scores most."""

    bundle: Kind
    variants: Mapping[str, Make]
    usual: tuple[str, ...]
    held_out: Callable[[Iterable[Frame], int, InputSpec], HeldOut]
    frames: int
    normal: int


FAMILIES: Mapping[str, Family] = {
    "cae": Family("reconstruction", CAE_MAKERS, tuple(CAE_MAKERS), thumbnails, 200, 35),
    "scout": Family("evidence", SCOUT_MAKERS, _SCOUT_USUAL, tiles, 40, 6),  # a tile is thirteen thumbnails
}


def flying(network: nn.Module) -> nn.Module:
    """What of a trained network goes into the bundle."""
    return ScoutFlight(network).eval() if isinstance(network, Scout) else network
