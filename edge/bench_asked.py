"""What a person asked of `skerry bench`, from checking it to telling what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from edge.bench import run
from edge.bench_budget import check_paces, compare, differences, judge, parse_budget
from edge.bench_contest import Plan, Progress
from edge.bench_figures import read_report, write_text
from edge.bench_show import show, show_comparison, svg
from edge.bundle import load_bundle
from edge.engine_choice import FOLDER
from edge.engines import EngineStore


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command line, as they were typed."""

    bundle: Path
    variant: str
    broker: str | None
    json: Path | None
    compare: Path | None
    budget: str | None
    plot: Path | None
    state_dir: Path


def answer(asked: Asked, plans: Sequence[Plan], console: Console, progress: Progress) -> bool:
    """Measure and tell; False where the budget is not kept. Mistakes are found before the measuring."""
    limits = parse_budget(asked.budget) if asked.budget else ()
    check_paces(limits, [plan.pace_name for plan in plans])
    earlier = read_report(asked.compare) if asked.compare else None
    store = EngineStore(asked.state_dir / FOLDER)
    report = run(load_bundle(asked.bundle), plans, asked.variant, asked.broker, store, progress)
    if asked.json is not None:
        write_text(asked.json, report.model_dump_json(indent=2) + "\n")
    if asked.plot is not None:
        write_text(asked.plot, svg(report))
    show(report, console)
    if earlier is not None:
        show_comparison(compare(report, earlier), differences(report, earlier), console)
    verdicts = judge(report, limits)
    for verdict in verdicts:
        console.print(str(verdict), style="" if verdict.kept else "red", highlight=False, markup=False)
    return all(verdict.kept for verdict in verdicts)
