"""The order of an export: which variants are made, held against the gate, and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

from rich.console import Console

from edge.bundle import Parity
from export.families import FAMILIES, flying
from export.gate import Gate
from export.held_out import HeldOut
from export.makers import Job, Made
from export.parity import Tolerance, check, strain
from train.checkpoint import Checkpoint

INDISPENSABLE = "fp32"  # every machine runs it, and it is what the others are held against later


@dataclass(frozen=True)
class Order:
    """`insisted`: the variants were named, so each is in the bundle or there is none."""

    variants: tuple[str, ...]
    insisted: bool
    in_float: tuple[str, ...] | None = None
    search: bool = False


def make(
    trained: Checkpoint, order: Order, gate: Gate, normal: Callable[[], HeldOut]
) -> tuple[dict[str, Made], dict[str, Parity]]:
    """`normal`: footage to calibrate integers on; read once, and only if a variant wants it."""
    family = FAMILIES[trained.kind]
    network = flying(trained.build())
    few = cache(lambda: Gate.on(gate.pictures.few(), network, gate.tolerance, gate.truth.levels))
    read = cache(normal)
    models, parity = {}, {}
    for variant in order.variants:
        judge = cache(partial(gate.judge, variant))  # a maker asks of what it then hands over
        job = Job(
            network=network,
            spec=trained.input,
            normal=lambda: read().tensors(),
            judge=judge,
            strain=lambda data, asked=judge: strain(asked(data), gate.tolerance),  # type: ignore[misc]
            glance=lambda data, who=variant: few().strain(who, data),  # type: ignore[misc]
            in_float=order.in_float,
            search=order.search,
        )
        made = family.variants[variant](job)
        found = judge(made.data)
        models[variant], parity[variant] = made, found.model_copy(update={"mixture": made.mixture})
    return models, parity


def keep(
    models: Mapping[str, Made],
    parity: Mapping[str, Parity],
    order: Order,
    tolerance: Tolerance,
    console: Console,
) -> dict[str, Made]:
    """Those that passed. Raises ParityError for one that the bundle cannot do without."""
    wanted = order.variants if order.insisted else (INDISPENSABLE,)
    check({variant: parity[variant] for variant in wanted}, tolerance)
    passed = {variant: made for variant, made in models.items() if parity[variant].within_tolerance}
    for variant in [name for name in models if name not in passed]:
        console.print(f"{variant} is left out; {_hint(models[variant], order)}", highlight=False)
    return passed


def _hint(made: Made, order: Order) -> str:
    return made.mixture if order.search else "--search looks for layers that it could leave in float"
