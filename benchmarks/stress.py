"""What bad days do to a bundle: false alarms on normal footage, AUC on labelled videos, each against clean.

    python benchmarks/stress.py --bundle B DATASET [--normal FOOTAGE]... [--seed N] [--json FILE]
                                [--markdown FILE]

Whole videos are disturbed in time (`benchmarks/weather.py`) and looked at as in flight; the bundle and its
threshold are those of clear days. Aimed at: at most twice the false alarms, and 0.02 of AUC. Without --normal
the data set's normal footage is taken, which the bundle may have learned from: name footage held out from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.calibration_check import Flight, fly
from benchmarks.weather import CLEAN, WEATHERS, Weather, disturbed
from edge.bundle import ModelBundle, load_bundle
from edge.detector import choose_variant, open_runtime
from edge.errors import SkerryError, UsageError, nearest
from edge.frames import Frame
from edge.pipeline import Finding
from edge.recordings import FOLDER_FPS, find_recordings
from edge.runtimes import Runtime
from edge.thresholds import at_most
from train.evaluation.frames import micro_auc
from train.evaluation.heats import HeatRoom
from train.evaluation.readers import AUTO, read_data_set
from train.evaluation.run import check_classes, check_truth, fresh, score_video
from train.evaluation.scored import Scored
from train.evaluation.truth import DataSet, Video

MOST_ALARMS, MOST_DROP = 2.0, 0.02
_SURE = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """One weather. `per_hour` false alarms and `over`, the share of frames over the threshold, are of normal
    footage; `auc` is strict and of the labelled videos."""

    weather: str
    alarms: int
    per_hour: float
    over: float
    auc: float | None


@dataclass(frozen=True, slots=True)
class Stress:
    """One bundle under every weather, `rows[0]` clean."""

    bundle: str
    digest: str
    data_set: str
    wanted: float
    hours: float
    rows: tuple[Row, ...]

    def ratio(self, row: Row) -> float | None:
        """Of frames over the threshold to those of clean footage."""
        clean = self.rows[0].over
        return row.over / clean if clean else None if row.over else 1.0

    def alarms_within(self, row: Row) -> bool:
        """Not surely more than twice as many as on clean footage, or as wanted where that is more."""
        allowed = MOST_ALARMS * max(self.rows[0].alarms, self.wanted * self.hours)
        return 1 - at_most(row.alarms - 1, allowed) >= _SURE

    def drop(self, row: Row) -> float | None:
        clean = self.rows[0].auc
        return None if row.auc is None or clean is None else clean - row.auc


def rows_of(
    bundle: ModelBundle,
    data_set: DataSet,
    normal: Sequence[Path],
    weathers: Sequence[str],
    seed: int,
    tell: Callable[[Row], None] = lambda _: None,
) -> tuple[list[Row], float]:
    """And the hours of normal footage. `tell` hears each row once it is known: all of them take long."""
    check_truth(data_set)
    rows, hours = [], 0.0
    with open_runtime(bundle, choose_variant(bundle, "auto")) as runtime:
        for name in weathers:
            flights = [
                flown(bundle, runtime, path, weather_for(name, seed, number), data_set)
                for number, path in enumerate(normal)
            ]
            scored = [
                scored_in(bundle, runtime, video, weather_for(name, seed, len(normal) + number))
                for number, video in enumerate(data_set.videos)
            ]
            check_classes(data_set, scored)
            hours = sum(flight.seconds for flight in flights) / 3600
            rows.append(_row(name, flights, scored, hours))
            tell(rows[-1])
    return rows, hours


def weather_for(name: str, seed: int, number: int) -> Weather:
    """Every video has its own, whatever else is looked at."""
    return WEATHERS[name](np.random.default_rng([seed, number]))


def flown(bundle: ModelBundle, runtime: Runtime, path: Path, weather: Weather, data_set: DataSet) -> Flight:
    folder_fps = next((video.folder_fps for video in data_set.videos if video.folder_fps), FOLDER_FPS)
    return fly(bundle, runtime, path, folder_fps, lambda frame: disturbed(frame, weather))


def scored_in(bundle: ModelBundle, runtime: Runtime, video: Video, weather: Weather) -> Scored:
    inspect, evidence = fresh(bundle, runtime)

    def look(frame: Frame) -> Finding:
        found = inspect(disturbed(frame, weather))
        return Finding(found.score, whole=found.whole)  # places are not asked for

    return score_video(video, look, evidence, bundle.calibration().fps, room=HeatRoom())


def _row(name: str, flights: Sequence[Flight], scored: Sequence[Scored], hours: float) -> Row:
    alarms, frames = sum(flight.alarms for flight in flights), sum(flight.frames for flight in flights)
    causal = np.concatenate([one.causal[one.counted] for one in scored])
    abnormal = np.concatenate([one.abnormal[one.counted] for one in scored])
    return Row(
        name,
        alarms,
        alarms / hours if hours else 0.0,
        sum(flight.over for flight in flights) / max(1, frames),
        micro_auc(causal, abnormal),
    )


def main(
    data: Annotated[Path, typer.Argument(help="Folder of labelled footage.", metavar="DATASET")],
    bundle: Annotated[Path, typer.Option(help="Calibrated bundle.")],
    normal: Annotated[list[Path] | None, typer.Option(help="Normal footage held out of training.")] = None,
    weather: Annotated[list[str] | None, typer.Option(help="Only these, and clean.")] = None,
    layout: Annotated[str, typer.Option(help="As for skerry evaluate.")] = AUTO,
    seed: Annotated[int, typer.Option(help="Of the disturbances.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
) -> None:
    """Disturb footage and compare with clean."""
    console = Console(width=120)
    try:
        opened, data_set = load_bundle(bundle), read_data_set(data, layout)
        footage = find_recordings(normal or data_set.normal)
        rows, hours = rows_of(opened, data_set, footage, chosen(weather), seed, partial(tell, console))
    except SkerryError as error:
        console.print(f"stress: {error}", style="red", markup=False)
        raise typer.Exit(error.exit_code) from None
    wanted = opened.calibration().false_alarms_per_hour
    stress = Stress(opened.manifest.name, opened.digest, data_set.name, wanted, hours, tuple(rows))
    show(stress, console)
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(stress) | {"verdicts": verdicts(stress)}, indent=1) + "\n")
    if markdown is not None:
        markdown.write_text(as_markdown(stress))


def tell(console: Console, row: Row) -> None:
    """A line on the way, so that a run that is stopped has not been for nothing."""
    auc = "-" if row.auc is None else f"{row.auc:.3f}"
    line = f"{row.weather}: {row.alarms} false alarms, {row.over:.1%} of normal frames over, AUC {auc}"
    console.print(line, style="dim", markup=False, highlight=False)


def chosen(weather: Sequence[str] | None) -> list[str]:
    for name in weather or ():
        if name not in WEATHERS:
            known = ", ".join(WEATHERS)
            raise UsageError(f"--weather {name!r} is unknown{nearest(name, WEATHERS)}; known are {known}")
    return [name for name in WEATHERS if not weather or name in weather or name == CLEAN]


HEADINGS = (
    "",
    "false alarms",
    "per hour",
    "frames over",
    "times clean",
    "within 2x",
    "AUC",
    "drop",
    "<= 0.02",
)


def line(stress: Stress, row: Row) -> list[str]:
    drop, ratio = stress.drop(row), stress.ratio(row)
    return [
        row.weather,
        str(row.alarms),
        f"{row.per_hour:.1f}",
        f"{row.over:.2%}",
        "-" if ratio is None else f"{ratio:.1f}",
        yes(stress.alarms_within(row)),
        "-" if row.auc is None else f"{row.auc:.3f}",
        "-" if drop is None else f"{drop:+.3f}",
        "-" if drop is None else yes(drop <= MOST_DROP),
    ]


def yes(fulfilled: bool) -> str:
    return "yes" if fulfilled else "NO"


def verdicts(stress: Stress) -> Mapping[str, Mapping[str, bool | None]]:
    drops = {row.weather: stress.drop(row) for row in stress.rows}
    return {
        row.weather: {
            "alarms": stress.alarms_within(row),
            "auc": None if (drop := drops[row.weather]) is None else drop <= MOST_DROP,
        }
        for row in stress.rows
    }


def caption(stress: Stress) -> str:
    return (
        f"{stress.bundle} on {stress.data_set}: threshold for {stress.wanted:g} false alarms per hour, "
        f"{60 * stress.hours:.1f} minutes of normal footage. Within 2x: not surely (95 %) more "
        "false alarms than twice the clean ones, or twice those wanted where that is more."
    )


def show(stress: Stress, console: Console) -> None:
    table = Table(*HEADINGS, box=None, pad_edge=False)
    for row in stress.rows:
        table.add_row(*line(stress, row))
    console.print(table)
    console.print(caption(stress), highlight=False, markup=False)


def as_markdown(stress: Stress) -> str:
    lines = [HEADINGS, ["---", *["---:"] * (len(HEADINGS) - 1)], *(line(stress, row) for row in stress.rows)]
    return "\n".join([*(f"| {' | '.join(one)} |" for one in lines), "", caption(stress)]) + "\n"


if __name__ == "__main__":
    typer.run(main)
