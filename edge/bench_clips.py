"""What one more clip costs a clip model, and how fast a machine must be to keep the model's stride."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table

from edge.bench_figures import ClipCost, Quantiles, Report, Run
from edge.bundle import ModelBundle
from edge.clip_detector import clip_of
from edge.clip_pace import SHARE, Pace
from edge.clips import ExtractorSpec

CORES = 2  # that a flight is given on a companion computer
_STAGES = ("preprocess", "infer", "score")
_CLIPS_A_TURN = 3


class ClipTimes:
    """Milliseconds from one score to the next, within a turn: its first clip is made from nothing."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self._since_ns: int | None = None

    def begin(self) -> None:
        """A turn: others had the stream meanwhile."""
        self._since_ns = None

    def add(self, taken_ns: Mapping[str, int]) -> None:
        """One picture's stages."""
        spent = sum(taken_ns.get(stage, 0) for stage in _STAGES)
        if self._since_ns is not None:
            self._since_ns += spent
        if "score" in taken_ns:
            if self._since_ns is not None:
                self.ms.append(self._since_ns / 1e6)
            self._since_ns = 0


def turn_of(bundle: ModelBundle) -> int:
    """Pictures in which a model of clips gets to a few of them; 0 for other kinds."""
    if bundle.manifest.kind != "clip":
        return 0
    made = clip_of(bundle).extractor
    return made.frames + _CLIPS_A_TURN * made.stride


def cost_of(bundle: ModelBundle, ms: list[float], threads: int | None) -> ClipCost | None:
    """`threads`: that may compute at once; None for what an engine computes. None where no clip was timed."""
    if bundle.manifest.kind != "clip" or not ms:
        return None
    made, found = clip_of(bundle).extractor, Quantiles.of(ms)
    return ClipCost(
        ms=found,
        stride=made.stride,
        kept=_pace(made, found.p50).kept,
        period_s=made.stride / made.fps,
        threads=threads,
    )


def _pace(made: ExtractorSpec, clip_ms: float) -> Pace:
    calls = min(made.stride, made.frames) if made.sees == "frame" else 1
    return Pace(made, clip_ms / 1000 / calls)


def show_clips(report: Report, console: Console) -> None:
    """Nothing for other kinds of models."""
    timed = [(run, run.clip) for run in report.runs if run.clip is not None]
    if not timed:
        return
    console.print(_table(timed))
    for line in _lines(timed, "l4t" in report.facts):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _table(timed: list[tuple[Run, ClipCost]]) -> Table:
    table = Table(title="What a clip costs", title_justify="left")
    table.add_column("", no_wrap=True)
    for column in ("clips", "ms a clip, p50", "p99", "of the time", f"of {CORES} cores", "stride kept"):
        table.add_column(column, justify="right")
    for run, cost in timed:
        table.add_row(
            run.name,
            str(cost.ms.count),
            f"{cost.ms.p50:.1f}",
            f"{cost.ms.p99:.1f}",
            f"{cost.share:.0%}",
            "" if cost.threads is None else f"{min(cost.threads, CORES) * cost.share / CORES:.0%}",
            "yes" if cost.share <= SHARE else f"{cost.kept}, not {cost.stride}",
        )
    return table


def _lines(timed: list[tuple[Run, ClipCost]], on_a_jetson: bool) -> Iterator[str]:
    cost = timed[0][1]
    yield (
        f"a clip comes each {cost.period_s:.3g} s, of which the model may take {SHARE:.0%}: the rest is for "
        f"the camera and other models; of {CORES} cores is what its threads can use at most"
    )
    yield (
        f"to keep the stride of {cost.stride} frames a Jetson must make a clip in "
        f"{1000 * SHARE * cost.period_s:.0f} ms or less"
        + ("" if on_a_jetson else "; this was not run on one")
    )
