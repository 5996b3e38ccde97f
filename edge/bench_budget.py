"""A budget for somebody's CI, and the ratio with an earlier bench."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edge.bench_figures import ALERT, QUANTILES, Report, Run, run_of
from edge.errors import UsageError

OVER_BUDGET = 1  # the exit code
_LIMIT = re.compile(r"(?:([a-z]+)\.)?([a-z0-9]+)=(\d+(?:\.\d+)?)(ms|%|MB|)")
_UNITS = {**dict.fromkeys(QUANTILES, "ms"), "cpu": "%", "resident": "MB", "skipped": ""}
_FIGURES: dict[str, Callable[[Run], float]] = {
    "cpu": lambda run: run.cpu_percent,
    "resident": lambda run: run.resident_mb,
    "skipped": lambda run: run.skipped,
}
# What else must be the same for a ratio to speak of the software alone.
CONDITIONS = (
    *("machine", "processor", "cores", "module", "nvpmodel", "clocks"),
    *("source", "broker", "compared"),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """`stage`: of a latency. `most`: milliseconds, percent of one core, megabytes or frames."""

    stage: str
    figure: str
    most: float

    @property
    def name(self) -> str:
        return f"{self.stage}.{self.figure}" if self.figure in QUANTILES else self.figure


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kept` is false for one limit that one run is over."""

    run: str
    limit: Limit
    found: float

    @property
    def kept(self) -> bool:
        return self.found <= self.limit.most

    def __str__(self) -> str:
        unit = _UNITS[self.limit.figure]
        word = "kept" if self.kept else "OVER"
        figures = f"{self.found:.4g}{unit} of {self.limit.most:g}{unit}"
        return f"budget {word}: {self.limit.name} {figures}, {self.run}"


def parse_budget(text: str) -> tuple[Limit, ...]:
    """`p99=50ms,cpu=5%,infer.p95=10ms,resident=140MB,skipped=0`. Raises UsageError."""
    limits = []
    for part in text.split(","):
        match = _LIMIT.fullmatch(part.strip())
        stage, figure, most, unit = match.groups() if match else (None, "", "", "")
        if match is None or _UNITS.get(figure) != unit or (stage and figure not in QUANTILES):
            raise UsageError(
                f"--budget {part.strip()!r} means nothing: give p50, p90, p95, p99 or max in ms (a stage may "
                "stand before it, as in infer.p99=20ms), cpu in %, resident in MB, skipped in frames"
            )
        limits.append(Limit(stage or ALERT, figure, float(most)))
    return tuple(limits)


def check_paces(limits: Sequence[Limit], paces: Sequence[str]) -> None:
    """Back to back a processor is busy all the time and nothing is ever late. Raises UsageError."""
    only = next((limit for limit in limits if limit.figure in ("cpu", "skipped")), None)
    if only is not None and all(pace == "max" for pace in paces):
        raise UsageError(f"--budget {only.figure} means nothing back to back; give --fps 2 or --fps 2,max")


def judge(report: Report, limits: Sequence[Limit]) -> tuple[Verdict, ...]:
    """Every limit for every run of the variant that flies. Raises UsageError for an unknown stage."""
    runs = [run for run in report.runs if run.variant == report.flown]
    return tuple(Verdict(run.name, limit, _found(run, limit)) for limit in limits for run in _of(runs, limit))


def _of(runs: Sequence[Run], limit: Limit) -> Iterator[Run]:
    return (run for run in runs if limit.figure not in ("cpu", "skipped") or run.pace != "max")


def _found(run: Run, limit: Limit) -> float:
    if limit.figure not in QUANTILES:
        return _FIGURES[limit.figure](run)
    if limit.stage not in run.stages:
        raise UsageError(f"--budget {limit.name}: there is no such stage, only {', '.join(run.stages)}")
    return float(getattr(run.stages[limit.stage], limit.figure))


@dataclass(frozen=True, slots=True)
class Ratio:
    """Now divided by then: below 1 is better now."""

    run: str
    what: str
    now: float
    then: float

    @property
    def ratio(self) -> float:
        return self.now / self.then if self.then else float("inf") if self.now else 1.0


def compare(now: Report, then: Report) -> tuple[Ratio, ...]:
    """p50 and p99 of every stage, processor and memory, of each run that both have.

    Raises UsageError where they have none in common.
    """
    pairs = [(run, run_of(then, run.variant, run.pace)) for run in now.runs]
    found = tuple(ratio for run, old in pairs if old is not None for ratio in _ratios(run, old))
    if not found:
        had = "; ".join(run.name for run in then.runs) or "nothing"
        raise UsageError(f"nothing to compare: the earlier bench measured {had}")
    return found


def _ratios(now: Run, then: Run) -> Iterator[Ratio]:
    for stage, row in now.stages.items():
        if stage in then.stages:
            yield Ratio(now.name, f"{stage} p50", row.p50, then.stages[stage].p50)
            yield Ratio(now.name, f"{stage} p99", row.p99, then.stages[stage].p99)
    yield Ratio(now.name, "cpu s/frame", now.cpu_s / now.frames, then.cpu_s / then.frames)
    yield Ratio(now.name, "resident MB", now.resident_mb, then.resident_mb)


def differences(now: Report, then: Report) -> tuple[str, ...]:
    """Conditions in which the two differ: a ratio across them is no verdict on the software."""
    pairs = ((name, now.facts.get(name, ""), then.facts.get(name, "")) for name in CONDITIONS)
    return tuple(
        f"{name}: {here or '-'}, then {there or '-'}" for name, here, there in pairs if here != there
    )
