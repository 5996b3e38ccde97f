"""What `skerry bench` found, as it is written, read again and compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.errors import UsageError
from edge.jetson import Reading

QUANTILES = ("p50", "p90", "p95", "p99", "max")
EVERY_FRAME = ("decode", "preprocess", "motion", "recall", "infer", "score", "localize")
ALERT = "alert"  # from the picture's capture until the broker has its event, or the disk where there is none
FRAME = "frame"  # the sum of EVERY_FRAME
MAX_BYTES = 20_000_000

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quantiles(_Part):
    """Milliseconds of `count` frames."""

    count: int
    p50: Finite
    p90: Finite
    p95: Finite
    p99: Finite
    max: Finite

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles:
        """`values`: at least one."""
        p50, p90, p95, p99 = (float(q) for q in np.percentile(values, (50, 90, 95, 99)))
        return cls(count=len(values), p50=p50, p90=p90, p95=p95, p99=p99, max=max(values))


class Spread(_Part):
    least: Finite
    mean: Finite
    most: Finite


class Board(_Part):
    """What sysfs said while a run was measured: Celsius, MHz, milliwatts."""

    temperatures_c: dict[str, Spread] = {}
    clocks_mhz: dict[str, Spread] = {}
    rails_mw: dict[str, Spread] = {}

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> Board:
        return cls(
            temperatures_c=_spreads([reading.temperatures_c for reading in readings]),
            clocks_mhz=_spreads([reading.clocks_mhz for reading in readings]),
            rails_mw=_spreads([reading.rails_mw for reading in readings]),
        )


def _spreads(readings: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    found: dict[str, list[float]] = {}
    for reading in readings:
        for name, value in reading.items():
            found.setdefault(name, []).append(value)
    return {
        name: Spread(least=min(all_), mean=math.fsum(all_) / len(all_), most=max(all_))
        for name, all_ in found.items()
    }


class ClipCost(_Part):
    """Of a model of clips: `ms`, all that one more clip takes, one every `period_s`. `kept`: the smallest
    stride that this machine keeps. `threads`: that may compute at once; None where an engine does."""

    ms: Quantiles
    stride: int
    kept: int
    period_s: Finite
    threads: int | None

    @property
    def share(self) -> float:
        """Of the time between two clips."""
        return self.ms.p50 / 1000 / self.period_s


class Run(_Part):
    """One model at one pace. `alerts_ms`: every frame's, for plots. `gpu_mb`: what its engine took."""

    variant: str
    runtime: str
    pace: str  # "max" for back to back, or looks a second
    frames: int
    skipped: int  # looks that came too late, while this model had its turns
    seconds: Finite
    cpu_s: Finite  # of the whole process, camera and sender included
    resident_mb: Finite  # of the whole process, every model compared in it
    gpu_mb: Finite | None = None
    stages: dict[str, Quantiles]
    alerts_ms: tuple[Finite, ...]
    board: Board = Board()
    clip: ClipCost | None = None

    @property
    def name(self) -> str:
        return f"{self.variant}, {self.pace}{'' if self.pace == 'max' else ' fps'}"

    @property
    def cpu_percent(self) -> float:
        """Of one core."""
        return 100 * self.cpu_s / self.seconds

    @property
    def cpu_s_per_minute(self) -> float:
        return 60 * self.cpu_s / self.seconds


class Report(_Part):
    """`left_out`: what was not measured, and why. `flown`: the variant that the daemon would choose."""

    format: Literal[1] = 1
    facts: dict[str, str]
    flown: str
    left_out: dict[str, str]
    runs: tuple[Run, ...]


class Times:
    """Milliseconds per stage as they come in."""

    def __init__(self) -> None:
        self.stages: dict[str, list[float]] = {}
        self._frames: list[float] = []

    def add(self, taken_ns: Mapping[str, int]) -> None:
        self._frames.append(sum(taken_ns.get(name, 0) for name in EVERY_FRAME) / 1e6)
        for name, value in taken_ns.items():
            self.stages.setdefault(name, []).append(value / 1e6)

    def frames(self) -> list[float]:
        """Of each frame, all that is done to it whether or not anything is strange in it."""
        return self._frames

    def quantiles(self) -> dict[str, Quantiles]:
        table = {**self.stages, FRAME: self.frames()}
        last = table.pop(ALERT, None)
        if last is not None:
            table[ALERT] = last
        return {name: Quantiles.of(values) for name, values in table.items()}

    def percentiles(self) -> dict[str, dict[str, float]]:
        """As `quantiles`, in plain dictionaries."""
        return {name: row.model_dump(exclude={"count"}) for name, row in self.quantiles().items()}


def write_text(path: Path, text: str) -> None:
    """Raises UsageError."""
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def read_report(path: Path) -> Report:
    """An earlier `--json`. Raises UsageError for what is none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is far too large to be the JSON of an earlier bench")
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}; name the JSON of an earlier bench"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise UsageError(
            f"{path} is not the JSON of a bench of this version ({where}: {first['msg']}); measure it again"
        ) from None


def run_of(report: Report, variant: str, pace: str) -> Run | None:
    found: Iterable[Run] = (run for run in report.runs if (run.variant, run.pace) == (variant, pace))
    return next(iter(found), None)
