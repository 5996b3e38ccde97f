"""The verbs of the part that flies: run, calibrate, drift, inspect, bench, doctor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from edge.collector import uncollected
from edge.errors import UsageError
from edge.options import command
from edge.settings import Settings

BundleArgument = Annotated[Path, typer.Argument(help="Bundle folder, as `skerry export` wrote it.")]
VariantOption = Annotated[
    str, typer.Option(help="Model of the bundle; auto takes the fastest that passed the gate.")
]


def _run(settings: Settings) -> None:
    """Watch the camera and report what does not belong, until the recording ends or SIGTERM asks to stop.

    Every option may stand in the --settings file or in the environment instead; the command line wins.
    """
    with uncollected():
        from edge.daemon import run as fly

    fly(settings)


run = command(Settings, _run)


def calibrate(
    bundle: BundleArgument,
    normal: Annotated[
        list[Path], typer.Option(help="Normal footage: videos, folders of pictures or of clips.")
    ],
    false_alarms_per_hour: Annotated[
        float, typer.Option(min=1e-6, help="How many false alarms an hour the operator accepts.")
    ] = 1.0,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Frames looked at per second; the rate of flight. Default: 2; a clip bundle has its own.",
        ),
    ] = None,
    folder_fps: Annotated[
        float, typer.Option(min=0.01, help="Rate at which the pictures of a folder were taken.")
    ] = 10.0,
    block: Annotated[
        float, typer.Option(min=1.0, help="Seconds per block whose largest score counts.")
    ] = 10.0,
    view: Annotated[
        str,
        typer.Option(
            help="Size at which a tiled model looks, like 1920x1080; auto: as large as half the time between "
            "frames allows on this machine."
        ),
    ] = "auto",
    variant: VariantOption = "auto",
) -> None:
    """Set the alarm threshold, and learn what is normal, from normal footage that the model has not seen.

    Needs no PyTorch: run it on the drone after a normal flight. The rarest alarm that can be asked for
    depends on how much footage there is: 15 minutes for one false alarm an hour. Several flights are worth
    more than one long one.
    """
    from rich.console import Console

    from edge.bundle import load_bundle
    from edge.calibrate import calibrate as measure
    from edge.calibrate import own_rate
    from edge.progress import progress
    from edge.recordings import find_recordings
    from edge.survey import Plan

    opened = load_bundle(bundle)
    rate = own_rate(opened, fps)
    plan = Plan(
        tuple(find_recordings(normal)), false_alarms_per_hour, rate, folder_fps, block, parse_view(view)
    )
    with progress(f"{len(plan.footage)} recordings") as tell:
        done = measure(opened, plan, variant, tell)
    found = done.calibration()
    Console().print(
        f"threshold {found.threshold:.4g} for {found.false_alarms_per_hour:g} false alarms per hour, from "
        f"{found.footage_s:.0f} s ({len(found.block_maxima)} blocks) of normal footage by {found.method}; "
        f"counting alone says {found.expected[0]:.2g} to {found.expected[1]:.2g} per hour (90 %)"
    )


def drift(
    bundle: BundleArgument,
    flight: Annotated[
        list[Path], typer.Option(help="Footage of the last flight: videos, folders of pictures or of clips.")
    ],
    folder_fps: Annotated[
        float, typer.Option(min=0.01, help="Rate at which the pictures of a folder were taken.")
    ] = 10.0,
    variant: VariantOption = "auto",
    json: Annotated[
        Path | None, typer.Option(help="Write the figures; recalibrate is true where it is time to.")
    ] = None,
) -> None:
    """Say whether a flight's scores are still those that the threshold was set on.

    Scores the footage as in flight, at the calibration's rate, and compares. The exit code is 0 whatever the
    verdict: a script reads it from --json.
    """
    from rich.console import Console

    from edge.bundle import load_bundle
    from edge.drift import compare, write_json
    from edge.footage_scores import flight_maxima
    from edge.progress import progress
    from edge.recordings import find_recordings

    loaded, recordings = load_bundle(bundle), find_recordings(flight)
    known = loaded.calibration()
    with progress(f"{len(recordings)} recordings") as tell:
        maxima = flight_maxima(loaded, recordings, folder_fps, variant, tell)
    found = compare(known.block_maxima, maxima, known.false_alarms_per_hour, known.block_s, known.threshold)
    Console().print(found.verdict, markup=False, highlight=False, soft_wrap=True)
    if json is not None:
        write_json(json, found)


def parse_view(text: str) -> tuple[int, int] | None:
    """Height and width of `WxH`, None for `auto`. Raises UsageError."""
    if text == "auto":
        return None
    match = re.fullmatch(r"(\d{2,5})[xX](\d{2,5})", text)
    if match is None or not all(16 <= int(side) <= 16_384 for side in match.groups()):
        raise UsageError(f"--view {text!r} is no size: give auto, or width and height like 1920x1080")
    return int(match[2]), int(match[1])


def inspect(bundle: BundleArgument) -> None:
    """Verify every digest of a bundle and print what it is."""
    from rich.console import Console

    from edge.bundle import load_bundle
    from edge.describe import describe

    describe(load_bundle(bundle), Console())


def bench(
    bundle: BundleArgument,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", "--footage", help="As in `skerry run`; without it a generated 1080p camera at 30 fps."
        ),
    ] = None,
    fps: Annotated[
        str, typer.Option(help="Looks per second, as in flight; max for back to back; or 2,max.")
    ] = "max",
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of each model. Default back to back: 300.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="End after so long. Default at a number of fps: 60.")
    ] = None,
    variant: Annotated[
        str,
        typer.Option(
            help="all: the processor's models and the engine, in turns; auto: what would fly; or names."
        ),
    ] = "all",
    broker: Annotated[
        str | None,
        typer.Option(help="Publish to this URI, or none. Default: a mosquitto of its own, if installed."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures and what they belong to.")] = None,
    compare: Annotated[Path | None, typer.Option(help="An earlier --json: print the ratios with it.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Limits for what would fly, as p99=50ms,cpu=5%,resident=140MB.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the latencies' distribution as SVG.")] = None,
    state_dir: Annotated[Path, typer.Option(help="Folder of the daemon's state, where engines are.")] = Path(
        "skerry-state"
    ),
) -> None:
    """Time every stage from the camera to the acknowledged alert, on this machine.

    Exit codes: 0 measured, within the budget if any; 1 over the budget; 2 usage, 3 bundle, 4 camera,
    70 broker.
    """
    from rich.console import Console

    from edge import bench as bench_module
    from edge.bench_asked import Asked, answer
    from edge.progress import progress

    asked = Asked(bundle, variant, broker, json, compare, budget, plot, state_dir)
    plans = bench_module.parse_plans(fps, source or bench_module.GENERATED, frames, seconds)
    with progress("frames") as tell:
        kept = answer(asked, plans, Console(), tell)
    if not kept:
        raise typer.Exit(bench_module.OVER_BUDGET)


def doctor(
    source: Annotated[
        str | None,
        typer.Option(help="A source as in `skerry run`: which way is taken to its pictures, and why."),
    ] = None,
    fps: Annotated[float, typer.Option(min=0.01, max=60, help="Frames looked at per second.")] = 2.0,
    state_dir: Annotated[Path, typer.Option(help="Folder of the outbox.")] = Path("skerry-state"),
) -> None:
    """Say what this machine can do: versions, runtimes, GStreamer, clock, disk, and the way to a source.

    Changes nothing. Exit codes: 0 said, 2 a source that means nothing or footage that cannot be read, 4 a
    camera that cannot be opened here.
    """
    from edge.clock import SystemClock
    from edge.doctor import examine, examine_source
    from edge.gstreamer import plant

    here, clock = plant(), SystemClock()
    for said in examine(here, clock, state_dir):
        typer.echo(f"{said.what:>13}  {said.found}")
    if source is not None:
        for said in examine_source(source, fps, here, clock):
            typer.echo(f"{said.what:>13}  {said.found}")
