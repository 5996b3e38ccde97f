"""`skerry features`: recordings in, the features of each in a file of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edge.errors import FootageError, UsageError, nearest
from edge.recordings import FOLDER_FPS
from export.extractors import PIXELS, S3D, USUAL_PIXELS, USUAL_SIZE, Asked, open_extractor
from train.bag_files import listed_recordings
from train.features import Extractor, Job, Outcome, extract_all, plan
from train.running import INTERRUPTED
from train.s3d import PUBLISHED, weights_digest

KEPT_MODEL = "extractor.onnx"  # beside the features: the model that made them, and that has to fly
_POOLINGS = ("mean", "mean-change")
_LINES = 10  # how often progress is told where there is no terminal

Recordings = Annotated[
    list[Path] | None,
    typer.Argument(help="Video files, folders of frames, folders of either.", metavar="PATH..."),
]
Out = Annotated[Path, typer.Option(help="The folder to write to; it mirrors the recordings' own folders.")]
List = Annotated[
    Path | None, typer.Option("--list", help="A text file with a recording on each line; labels may follow.")
]
Videos = Annotated[
    Path | None,
    typer.Option(help="The folder that the list's paths are below; the list's own, if not given."),
]
Source = Annotated[
    str | None,
    typer.Option("--extractor", help=f"An ONNX file, a checkpoint of `skerry train cae`, or {S3D}."),
]
Weights = Annotated[Path | None, typer.Option(help=f"Of {S3D}: torchvision's s3d-{PUBLISHED}.pth.")]
Fps = Annotated[
    float | None,
    typer.Option(min=0.01, max=60, help="Pictures taken per second (default 8; 15 where it sees clips)."),
]
Frames = Annotated[
    int | None, typer.Option(min=1, max=256, help="Pictures in a clip (default 8; 16 where it sees clips).")
]
Stride = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Pictures from one clip to the next (default half a clip, or all)."),
]
Pooling = Annotated[
    str | None,
    typer.Option(help="How a clip's pictures become one feature: mean, or mean-change (default)."),
]
Level = Annotated[bool, typer.Option("--level", help="Bring every picture to one brightness first.")]
Size = Annotated[
    int | None,
    typer.Option(min=8, max=4096, help=f"Pixels on a side, where the model leaves it open ({USUAL_SIZE})."),
]
Pixels = Annotated[
    str | None,
    typer.Option(help=f"What the model wants pixels as: {', '.join(PIXELS)} (default {USUAL_PIXELS})."),
]
Output = Annotated[str | None, typer.Option(help="Which of the model's outputs, where it has several.")]
Workers = Annotated[
    int | None, typer.Option(min=1, max=64, help="Recordings at work at once; all processors, if not given.")
]
FolderFps = Annotated[
    float, typer.Option(min=0.01, max=1000, help="Frames per second at which a folder was taken.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the features of another extractor.")]


def features(
    out: Out,
    recordings: Recordings = None,
    table: List = None,
    videos: Videos = None,
    source: Source = None,
    weights: Weights = None,
    fps: Fps = None,
    frames: Frames = None,
    stride: Stride = None,
    pooling: Pooling = None,
    level: Level = False,
    size: Size = None,
    pixels: Pixels = None,
    output: Output = None,
    workers: Workers = None,
    folder_fps: FolderFps = FOLDER_FPS,
    force: Force = False,
) -> None:
    """Extract what `skerry train mil` learns from: a feature for every clip of every recording, once.

    The same command again goes on where it stopped: what is there already, of the same recording by the same
    extractor, is kept. The extractor itself lies beside the features, ready to fly. A recording that cannot
    be used costs one sentence and exit code 2 at the end; the others are done.
    """
    jobs, missing = _jobs(recordings or [], table, videos, out)
    asked = Asked(fps, frames, stride, _pooling(pooling), level, size, pixels, output)
    console = Console(stderr=True)
    with console.status("opening the extractor"):
        extractor = open_extractor(source, weights, asked)
    _keep_model(out, extractor, force)
    typer.echo(describe(extractor, weights))
    began = time.monotonic()
    done = _extract(jobs, extractor, folder_fps, workers or os.cpu_count() or 1, console)
    for sentence in (*missing, *(outcome.says for outcome in done if outcome.says)):
        typer.echo(f"skerry: {sentence}", err=True)
    Console().print(summary(done, time.monotonic() - began))
    if missing or any(outcome.state == "failed" for outcome in done):
        raise typer.Exit(FootageError.exit_code)


def _jobs(
    recordings: Sequence[Path], table: Path | None, videos: Path | None, out: Path
) -> tuple[list[Job], list[str]]:
    if table is None:
        if videos is not None:
            raise UsageError("--videos says where the recordings of a --list are; without one, leave it out")
        return plan(recordings, out)
    base, named = listed_recordings(table, videos)
    return plan([*named, *recordings], out, base)


def _pooling(word: str | None) -> Literal["mean", "mean-change"] | None:
    if word not in (None, *_POOLINGS):
        raise UsageError(f"--pooling {word} is not one of {', '.join(_POOLINGS)}{nearest(word, _POOLINGS)}")
    return cast(Literal["mean", "mean-change"] | None, word)


def _keep_model(out: Path, extractor: Extractor, force: bool) -> None:
    """Raises UsageError where other features lie there, or nothing can be written."""
    path = out / KEPT_MODEL
    try:
        out.mkdir(parents=True, exist_ok=True)
        there = path.read_bytes() if path.exists() else None
        if there is not None and there != extractor.model and not force:
            raise UsageError(
                f"{out} holds features of another extractor; give that one by --extractor {path}, "
                "give another --out, or replace them by --force"
            )
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.write_bytes(extractor.model)
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written to: {error.strerror}") from None


def describe(extractor: Extractor, weights: Path | None) -> str:
    """What will be made, in a few lines."""
    spec = extractor.spec
    seen = f"{spec.frames} pictures at {spec.fps:g} fps, a new clip every {spec.stride / spec.fps:.3g} s"
    pooled = f", {spec.pooling}" if spec.sees == "frame" else ""
    lines = [f"extractor {extractor.name}: {spec.width} numbers of {seen}{pooled}"]
    if weights is not None:
        digest = weights_digest(weights)
        whose = "torchvision's own" if digest.startswith(PUBLISHED) else "not torchvision's published ones"
        lines.append(f"weights {weights.name}: sha256 {digest[:12]}, {whose}")
    return "\n".join(lines)


def _extract(
    jobs: Sequence[Job], extractor: Extractor, folder_fps: float, workers: int, console: Console
) -> list[Outcome]:
    """All that was done. Exits on Ctrl-C; what is whole by then stays."""
    done: list[Outcome] = []
    try:
        with _progress(len(jobs), console) as (on_picture, on_recording):
            for outcome in extract_all(jobs, extractor, folder_fps, workers, on_picture):
                done.append(outcome)
                on_recording()
    except KeyboardInterrupt:
        made = sum(outcome.state != "failed" for outcome in done)
        typer.echo(f"stopped: {made} of {len(jobs)} are done; the same command goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from None
    return done


@contextmanager
def _progress(jobs: int, console: Console) -> Iterator[tuple[Callable[[Job], None], Callable[[], None]]]:
    """What to call for each picture and for each recording done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[pictures]} pictures"),
    )
    pictures, finished = 0, 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=jobs, pictures=0)

        def on_picture(job: Job) -> None:
            nonlocal pictures
            pictures += 1
            bars.update(task, description=job.name, pictures=pictures)

        def on_recording() -> None:
            nonlocal finished
            finished += 1
            bars.advance(task)
            if not console.is_terminal and finished % max(1, jobs // _LINES) == 0 and finished < jobs:
                typer.echo(f"{finished} of {jobs} recordings, {pictures} pictures")

        yield on_picture, on_recording


def summary(done: Iterable[Outcome], seconds: float) -> Table:
    """A row for each folder, and how long a recording is in clips: a bag wants some."""
    rows: dict[str, list[Outcome]] = {}
    for outcome in sorted(done, key=lambda outcome: outcome.job.name):
        rows.setdefault(str(Path(outcome.job.name).parent), []).append(outcome)
    whole = [outcome for row in rows.values() for outcome in row]
    made = sum(outcome.pictures for outcome in whole if outcome.state == "made")
    rate = f"{made} pictures in {seconds:.1f} s, {made / max(seconds, 1e-9):.1f} a second"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=rate, caption_justify="left")
    table.add_column("folder")
    for column in ("recordings", "made", "kept", "failed", "clips", "fewest", "most"):
        table.add_column(column, justify="right")
    for folder, row in rows.items():
        table.add_row(folder, *_counts(row))
    if len(rows) > 1:
        table.add_section()
        table.add_row("all", *_counts(whole))
    return table


def _counts(row: Sequence[Outcome]) -> list[str]:
    clips = [outcome.clips for outcome in row if outcome.state != "failed"]
    states = [sum(outcome.state == state for outcome in row) for state in ("made", "kept", "failed")]
    return [str(n) for n in (len(row), *states, sum(clips), min(clips, default=0), max(clips, default=0))]
