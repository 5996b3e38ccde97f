"""Which layers to leave in float, so that a variant of integers says what PyTorch says and costs least.

Errors of layers are nearly independent, so their squares add up: every layer is made of integers alone once,
and those that save most time for their squared error are taken while the sum stays within the tolerance. That
is a guess; the gate confirms it on the whole, and where it does not, the worst bargain goes back to float.
What was left out and passes alone is then tried once more beside the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from export.layers import Layer

InFloat: TypeAlias = frozenset[str]
Judge: TypeAlias = Callable[[InFloat], float]  # the share of the tolerance used up; above 1 the gate is shut


@dataclass(frozen=True)
class Found:
    """`in_float`: the layers to leave so; `saved`: the share of the layers' time that is in integers."""

    in_float: InFloat
    saved: float


def cheapest_in_float(layers: Sequence[Layer], glance: Judge, judge: Judge) -> Found | None:
    """None where no layer at all may be made of integers. `glance`: the quick judge of single layers."""
    every = frozenset(layer.name for layer in layers)
    alone = {layer.name: glance(every - {layer.name}) for layer in layers}
    chosen = _affordable(layers, alone)
    refused: set[InFloat] = set()
    while chosen and judge(every - _names(chosen)) > 1:
        refused.add(_names(chosen))
        chosen = chosen[:-1]
    for layer in _others(layers, chosen, alone):
        more = _names([*chosen, layer])
        if more not in refused and judge(every - more) <= 1:
            chosen = [*chosen, layer]
    if not chosen:
        return None
    return Found(every - _names(chosen), _cost(chosen) / _cost(layers))


def _affordable(layers: Sequence[Layer], alone: Mapping[str, float]) -> list[Layer]:
    """The best bargains first, as many as the tolerance has room for."""
    bargains = sorted(layers, key=lambda layer: layer.cost / max(alone[layer.name], 1e-9) ** 2, reverse=True)
    chosen: list[Layer] = []
    for layer in bargains:
        if math.hypot(*(alone[one.name] for one in (*chosen, layer))) <= 1:
            chosen.append(layer)
    return chosen


def _others(layers: Sequence[Layer], chosen: Sequence[Layer], alone: Mapping[str, float]) -> list[Layer]:
    """Worth another look: what passes alone and was not taken, the dearest first."""
    left = [layer for layer in layers if layer not in chosen and alone[layer.name] <= 1]
    return sorted(left, key=lambda layer: layer.cost, reverse=True)


def _names(layers: Sequence[Layer]) -> frozenset[str]:
    return frozenset(layer.name for layer in layers)


def _cost(layers: Sequence[Layer]) -> float:
    return sum(layer.cost for layer in layers)
