"""Does a calibrated threshold keep its promise on normal footage that it was not calibrated on?

    python benchmarks/calibration_check.py --bundle B --normal FOOTAGE... [--folder-fps F] [--json FILE]
                                           [--markdown FILE]

Every recording is flown through detector and incidents as by the daemon, with its default cool-down; each
incident that begins is a false alarm, for nothing in the footage is strange. The count is compared with what
was wanted, with its 90 % Poisson interval, and the block maxima with those of the calibration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer
from rich.console import Console
from rich.table import Table

from edge.bundle import Calibration, ModelBundle, load_bundle
from edge.calibrate import block_maxima
from edge.detector import choose_variant, open_runtime
from edge.drift import compare
from edge.errors import SkerryError, UsageError
from edge.events import Phase
from edge.frames import Frame
from edge.incidents import Incidents, Levels
from edge.recordings import FOLDER_FPS, find_recordings, open_recording, sampled
from edge.runtimes import Runtime
from edge.settings import IncidentSettings
from edge.thresholds import LEAST_BLOCKS, count_interval
from train.evaluation.run import fresh

LANDED = (0.5, 2.0)  # times the wanted rate
Verdict: TypeAlias = Literal["landed", "too many", "too few", "not sure"]
Through: TypeAlias = Callable[[Frame], Frame]


@dataclass(frozen=True, slots=True)
class Flight:
    """One recording flown. `causal`: seconds since its first frame, and what meets the threshold."""

    name: str
    alarms: int
    frames: int
    over: int  # frames at or above the threshold
    seconds: float
    causal: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rates per hour; `low`, `high`: 90 % interval of the true one."""

    wanted: float
    alarms: int
    hours: float
    rate: float
    low: float
    high: float
    verdict: Verdict
    drift: str
    flights: tuple[tuple[str, int, float], ...]  # name, alarms, seconds


def fly(
    bundle: ModelBundle,
    runtime: Runtime,
    path: Path,
    folder_fps: float,
    through: Through = lambda frame: frame,
) -> Flight:
    """A recording as in flight, each frame changed by `through` first."""
    calibration = bundle.calibration()
    levels = Levels(calibration.threshold, calibration.release, calibration.median)
    settings = IncidentSettings.model_validate({})
    incidents = Incidents(levels, bundle.manifest.scoring.persistence, settings.cool_down, settings.update)
    inspect, evidence = fresh(bundle, runtime)
    alarms, causal = 0, list[tuple[float, float]]()
    with open_recording(path, folder_fps=folder_fps) as recording:
        for frame in sampled(recording, calibration.fps):
            found = inspect(through(frame))
            step = incidents.observe(frame.stream_s, found.score, found.whole)
            alarms += step is not None and step.phase is Phase.BEGIN
            causal.append((frame.stream_s, evidence(found.score, found.whole)))
        period_s = max(1 / calibration.fps, 1 / recording.fps)
    began_s = causal[0][0] if causal else 0.0
    over = sum(score >= calibration.threshold for _, score in causal)
    times = tuple((seconds - began_s, score) for seconds, score in causal)
    return Flight(str(path), alarms, len(causal), over, len(causal) * period_s, times)


def maxima_of(flights: Sequence[Flight], block_s: float) -> list[float]:
    return block_maxima([flight.causal for flight in flights if flight.causal], block_s)


def judged(flights: Sequence[Flight], calibration: Calibration) -> Outcome:
    """Raises UsageError where no frame was looked at."""
    hours, alarms = sum(flight.seconds for flight in flights) / 3600, sum(flight.alarms for flight in flights)
    if not hours:
        raise UsageError("the normal footage holds no frame; name other footage")
    wanted = calibration.false_alarms_per_hour
    low, high = (bound / hours for bound in count_interval(alarms))
    return Outcome(
        wanted,
        alarms,
        hours,
        alarms / hours,
        low,
        high,
        verdict_of(alarms / hours / wanted, low / wanted, high / wanted),
        drift_of(flights, calibration),
        tuple((flight.name, flight.alarms, flight.seconds) for flight in flights),
    )


def verdict_of(found: float, low: float, high: float) -> Verdict:
    """All as multiples of the wanted rate. Outside of LANDED is only sure where the whole interval is."""
    if LANDED[0] <= found <= LANDED[1]:
        return "landed"
    if low > LANDED[1]:
        return "too many"
    return "too few" if high < LANDED[0] else "not sure"


def drift_of(flights: Sequence[Flight], calibration: Calibration) -> str:
    maxima = maxima_of(flights, calibration.block_s)
    if len(maxima) < LEAST_BLOCKS:
        return f"{len(maxima)} blocks are too few to compare with the calibration's."
    rate = calibration.false_alarms_per_hour
    found = compare(calibration.block_maxima, maxima, rate, calibration.block_s, calibration.threshold)
    return found.verdict


def main(
    bundle: Annotated[Path, typer.Option(help="Calibrated bundle.")],
    normal: Annotated[list[Path], typer.Option(help="Normal footage that calibration did not see.")],
    folder_fps: Annotated[float, typer.Option(help="Of folders of pictures.")] = FOLDER_FPS,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
) -> None:
    """Count false alarms of a calibrated bundle on normal footage."""
    console = Console(width=120)
    try:
        opened = load_bundle(bundle)
        calibration, paths = opened.calibration(), find_recordings(normal)
        with open_runtime(opened, choose_variant(opened, "auto")) as runtime:
            flights = []
            for path in paths:
                console.print(f"{path}", style="dim", markup=False, highlight=False)
                flights.append(fly(opened, runtime, path, folder_fps))
        outcome = judged(flights, calibration)
    except SkerryError as error:
        console.print(f"calibration_check: {error}", style="red", markup=False)
        raise typer.Exit(error.exit_code) from None
    show(outcome, console)
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(outcome), indent=1) + "\n")
    if markdown is not None:
        markdown.write_text(as_markdown(outcome))


HEADINGS = ("wanted per hour", "hours", "alarms", "per hour", "90 % interval", "verdict")


def line(outcome: Outcome) -> tuple[str, ...]:
    return (
        f"{outcome.wanted:g}",
        f"{outcome.hours:.2f}",
        f"{outcome.alarms}",
        f"{outcome.rate:.2f}",
        f"{outcome.low:.2f}-{outcome.high:.2f}",
        outcome.verdict,
    )


def show(outcome: Outcome, console: Console) -> None:
    table = Table(*HEADINGS, box=None, pad_edge=False)
    table.add_row(*line(outcome))
    console.print(table)
    console.print(f"landed: between {LANDED[0]:g} and {LANDED[1]:g} times what was wanted", style="dim")
    console.print(outcome.drift, highlight=False, markup=False)


def as_markdown(outcome: Outcome) -> str:
    rows = (HEADINGS, ["---:"] * len(HEADINGS), line(outcome))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + f"\n\n{outcome.drift}\n"


if __name__ == "__main__":
    typer.run(main)
