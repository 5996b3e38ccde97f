"""A bench as tables, bars and lines a person reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from rich.console import Console
from rich.table import Table

from edge.bench_budget import Ratio
from edge.bench_clips import show_clips
from edge.bench_figures import ALERT, QUANTILES, Report, Run, Spread

BINS = 12
BAR = 24  # characters of the longest bar
COLOURS = ("#1f6fb4", "#d1622b", "#3c8d40", "#8a4fa3", "#a08a1c", "#707070")
WIDTH, HEIGHT, MARGIN = 720, 360, 50  # of the SVG, in pixels


def show(report: Report, console: Console) -> None:
    for run in report.runs:
        console.print(_stages(run))
    console.print(_costs(report))
    show_clips(report, console)
    for run in report.runs:
        for line in _board(run):
            console.print(line, style="dim", highlight=False)
    console.print(_distribution(report.runs))
    for name, why in report.left_out.items():
        console.print(f"left out: {name} ({why})", highlight=False, markup=False)
    for what, value in report.facts.items():
        console.print(f"{what}: {value}", style="dim", highlight=False, markup=False)


def _stages(run: Run) -> Table:
    table = Table(
        title=f"Milliseconds: {run.name} ({run.runtime}), {run.frames} frames", title_justify="left"
    )
    table.add_column("stage")
    for column in QUANTILES:
        table.add_column(column, justify="right")
    for stage, row in run.stages.items():
        name = "capture to alert" if stage == ALERT else stage
        table.add_row(name, *(f"{getattr(row, column):.2f}" for column in QUANTILES))
    return table


def _costs(report: Report) -> Table:
    table = Table(title="What it costs", title_justify="left")
    table.add_column("", no_wrap=True)
    for column in ("CPU ms/frame", "s/min", "%", "skipped", "RSS MB", "GPU MB"):
        table.add_column(column, justify="right")
    for run in report.runs:
        paced = run.pace != "max"
        table.add_row(
            run.name,
            f"{1000 * run.cpu_s / run.frames:.1f}",
            f"{run.cpu_s_per_minute:.2f}" if paced else "",
            f"{run.cpu_percent:.1f}" if paced else "",
            str(run.skipped) if paced else "",
            f"{run.resident_mb:.0f}",
            "" if run.gpu_mb is None else f"{run.gpu_mb:.0f}",
        )
    return table


def _board(run: Run) -> Iterator[str]:
    for what, unit, found in (
        ("temperature", "C", run.board.temperatures_c),
        ("clock", "MHz", run.board.clocks_mhz),
        ("power", "mW", run.board.rails_mw),
    ):
        if found:
            each = ", ".join(f"{name} {_spread(spread)}" for name, spread in found.items())
            yield f"{run.name}: {what} in {unit}, mean (least-most): {each}"


def _spread(spread: Spread) -> str:
    return f"{spread.mean:.0f} ({spread.least:.0f}-{spread.most:.0f})"


def edges(runs: Sequence[Run]) -> list[float]:
    """Bounds of BINS bins of equal ratio over all alerts, milliseconds."""
    every = [value for run in runs for value in run.alerts_ms]
    low, high = max(min(every), 1e-3), max(max(every), 2e-3)
    step = max(math.log(high / low), 1e-6) / BINS
    return [low * math.exp(step * number) for number in range(BINS + 1)]


def counts(values: Sequence[float], bounds: Sequence[float]) -> list[int]:
    """How many of the values are in each bin; what is outside counts into the nearest."""
    found = [0] * (len(bounds) - 1)
    for value in values:
        found[sum(value >= bound for bound in bounds[1:-1])] += 1
    return found


def _distribution(runs: Sequence[Run]) -> Table:
    bounds = edges(runs)
    table = Table(title="Capture to alert, share of the frames", title_justify="left", box=None)
    table.add_column("ms", justify="right")
    for run in runs:
        table.add_column(run.name)
    each = [counts(run.alerts_ms, bounds) for run in runs]
    for number in range(BINS):
        table.add_row(f"{bounds[number]:.1f}", *(_bar(column[number], column) for column in each))
    return table


def _bar(count: int, column: Sequence[int]) -> str:
    if not count:
        return ""
    return f"{'#' * max(1, round(BAR * count / max(column)))} {count / sum(column):.0%}"


def show_comparison(ratios: Sequence[Ratio], differing: Sequence[str], console: Console) -> None:
    table = Table(title="Now against then", title_justify="left")
    for column in ("run", "what", "now", "then", "now / then"):
        table.add_column(column, justify="left" if column in ("run", "what") else "right")
    for one in ratios:
        table.add_row(one.run, one.what, f"{one.now:.3f}", f"{one.then:.3f}", f"{one.ratio:.2f}")
    console.print(table)
    for difference in differing:
        console.print(f"not the same: {difference}", style="yellow", highlight=False, markup=False)


def svg(report: Report) -> str:
    """The share of alerts that were out within a time, one line a run; the time on a log scale."""
    bounds = edges(report.runs)
    low, high = bounds[0], bounds[-1]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_grid(low, high),
        *(
            _line(run, low, high, colour, number)
            for number, (run, colour) in enumerate(zip(report.runs, _colours(), strict=False))
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _colours() -> Iterator[str]:
    while True:
        yield from COLOURS


def _x(value: float, low: float, high: float) -> float:
    share = math.log(max(value, low) / low) / math.log(high / low)
    return MARGIN + share * (WIDTH - 2 * MARGIN)


def _y(share: float) -> float:
    return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)


def _grid(low: float, high: float) -> Iterator[str]:
    for share in (0.0, 0.5, 0.9, 0.99, 1.0):
        y = _y(share)
        yield f'<path d="M{MARGIN} {y:.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>'
        if share not in (0.99,):
            yield f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>'
    for number in range(5):
        value = low * (high / low) ** (number / 4)
        x = _x(value, low, high)
        yield f'<path d="M{x:.1f} {MARGIN}V{HEIGHT - MARGIN}" stroke="#eee"/>'
        yield f'<text x="{x:.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{value:.3g}</text>'
    yield f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">capture to alert, ms</text>'


def _line(run: Run, low: float, high: float, colour: str, number: int) -> str:
    values = sorted(run.alerts_ms)
    steps = "".join(
        f"H{_x(value, low, high):.1f}V{_y((rank + 1) / len(values)):.1f}" for rank, value in enumerate(values)
    )
    label = (
        f'<text x="{MARGIN + 10}" y="{MARGIN + 14 + 16 * number}" fill="{colour}">{escape(run.name)}</text>'
    )
    return f'<path d="M{MARGIN} {_y(0):.1f}{steps}" fill="none" stroke="{colour}" stroke-width="1.5"/>{label}'
