"""What the gate found, for a person to read."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.table import Table

from edge.bundle import Parity
from edge.openvino_runtime import MARK
from export.disturb import DISTURBANCES
from export.gate import Gate
from export.makers import Made


def gate_table(parity: Mapping[str, Parity], models: Mapping[str, Made], gate: Gate) -> Table:
    pictures = gate.pictures
    table = Table(
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        title=f"Against {_against(gate)}: {pictures.undisturbed} held-out {pictures.shows}, as they are and "
        f"disturbed in {len(DISTURBANCES)} ways",
        caption=_caption(gate),
        title_justify="left",
        caption_justify="left",
    )
    rows = {variant: _row(found, models[variant.removesuffix(MARK)]) for variant, found in parity.items()}
    table.add_column("variant", no_wrap=True)
    for column in next(iter(rows.values())):
        table.add_column(column, justify="right", no_wrap=True)
    for variant, row in rows.items():
        table.add_row(variant, *row.values())
    return table


def _against(gate: Gate) -> str:
    return "PyTorch" if gate.truth.unit is None else "the extractor as it is and PyTorch's head"


def _caption(gate: Gate) -> str:
    if gate.truth.unit is not None:
        return f"drift: the largest change of a logit, of their spread; {_alarms(gate)}"
    return f"drift: the largest relative change of a score; heat: hot places in common; {_alarms(gate)}"


def _alarms(gate: Gate) -> str:
    if gate.truth.levels is not None:
        where = " in one place" if gate.truth.unit is None else ""
        return f"alarms at the calibrated threshold, {gate.truth.levels.alarm:.4g}{where}"
    return f"alarms at a provisional threshold of {gate.truth.threshold:.4g}, above every undisturbed one"


def _row(found: Parity, made: Made) -> dict[str, str]:
    features = {} if found.feature_drift is None else {"features": f"{found.feature_drift:.3%}"}
    cosine = {} if found.feature_cosine is None else {"cosine": f"{found.feature_cosine:.5f}"}
    heat = {} if found.heat_iou is None else {"heat": f"{found.heat_iou:.3f}"}
    return {
        "MB": f"{len(made.data) / 1e6:.1f}",
        "drift": f"{found.max_drift:.3%}",
        "mean": f"{found.mean_drift:.3%}",
        **features,
        **cosine,
        "rank corr.": f"{found.rank_correlation:.6f}",
        "alarms": f"+{found.alarms_gained} -{found.alarms_lost}",
        **heat,
        "gate": "[green]passed" if found.within_tolerance else "[red]beyond",
    }
