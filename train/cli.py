"""`skerry train`: footage of normal flights in, a checkpoint out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    Progress,
    SpinnerColumn,
    TextColumn,
)

from edge.errors import UsageError
from edge.preprocess import InputSpec
from train.checkpoint import Checkpoint
from train.fit import fit, pick_device
from train.footage import GAP_S, Sampling, Splits, read_footage
from train.mil_cli import mil
from train.mining import HardPlaces
from train.recipes import RECIPES, SCOUT_RECIPES, Recipe, ScoutRecipe, recipe, scout_recipe
from train.running import (
    Device,
    Force,
    Minutes,
    Out,
    Resume,
    check_out,
    progress_of,
    resumed,
    started,
    summary,
    train_until,
)
from train.scout_fit import fit_scout
from train.windows import read_windows

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command()(mil)


@app.callback()
def _train() -> None:
    """Learn from normal flights what belongs there."""


Normal = Annotated[
    list[Path],
    typer.Option(
        help="Normal footage: video files, folders of frames, folders of either.", metavar="PATH..."
    ),
]
More = Annotated[
    list[Path] | None,
    typer.Argument(help="More normal footage, as a shell's * gives it.", metavar="PATH"),
]
Fps = Annotated[float | None, typer.Option(help="Frames taken per second of footage (default 2).")]
FolderFps = Annotated[
    float | None, typer.Option(help="Frames per second at which a folder was taken (default 10).")
]


@app.command()
def cae(
    normal: Normal,
    out: Out,
    more: More = None,
    recipe_name: Annotated[
        str | None, typer.Option("--recipe", help=f"One of {', '.join(RECIPES)} (default report).")
    ] = None,
    fps: Fps = None,
    folder_fps: FolderFps = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training frames.")] = None,
    batch: Annotated[int | None, typer.Option(help="Frames per step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Adam's learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the weights, the split and the order.")] = None,
    early_stop: Annotated[
        int | None,
        typer.Option(
            help="Stop after this many epochs without a better validation loss and keep the best weights.",
            metavar="PATIENCE",
        ),
    ] = None,
    minutes: Minutes = None,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Train the convolutional autoencoder.

    Splits 80/10/10 by clip; the last tenth is never looked at. A folder of clips counts each clip.
    """
    given = {"epochs": epochs, "batch": batch, "lr": lr, "seed": seed, "early_stop": early_stop}
    place = pick_device(device)
    check_out(out, resume, force)
    start = started(out, "cae") if resume else None
    plan = (
        resumed(start, {"recipe": recipe_name, **given})
        if start
        else recipe(recipe_name or "report", **given)
    )
    assert isinstance(plan, Recipe)
    with _reading() as tell:
        footage = read_footage(
            [*normal, *(more or [])], _sampling(start, fps, folder_fps), plan.seed, InputSpec(), tell
        )
    _must_be_the_same(start, footage.splits, out)
    typer.echo(describe(plan, footage.splits, str(place)))
    with progress_of(plan, math.ceil(len(footage.train) / plan.batch), start) as bar:
        last = train_until(fit(plan, footage, InputSpec(), place, start, bar.batch), out, minutes, bar)
    typer.echo(summary(last, out))


@app.command()
def scout(
    normal: Normal,
    out: Out,
    more: More = None,
    recipe_name: Annotated[
        str | None, typer.Option("--recipe", help=f"One of {', '.join(SCOUT_RECIPES)} (default standard).")
    ] = None,
    fps: Fps = None,
    folder_fps: FolderFps = None,
    epochs: Annotated[int | None, typer.Option(help=f"Of {ScoutRecipe.STEPS} steps each.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops per step.")] = None,
    lr: Annotated[float | None, typer.Option(help="AdamW's largest learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the weights, the split and the crops.")] = None,
    route: Annotated[
        bool,
        typer.Option(
            "--route",
            help="Beside each picture show not an earlier one but the same place on another flight of the "
            "route; needs several flights.",
        ),
    ] = False,
    minutes: Minutes = None,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Train the scout: a small network that sees small things at the picture's own size.

    It learns from normal footage alone, by marking and painting over foreign patches pasted into it, on a
    picture and an earlier one laid onto it; with --route, on a picture and the same place as another flight
    saw it, so that every landmark is known. Give --fps as you will fly. Splits 80/10/10 by clip; the last
    tenth is never looked at.
    """
    given = {"epochs": epochs, "batch": batch, "lr": lr, "seed": seed, "beside": "route" if route else None}
    place = pick_device(device)
    check_out(out, resume, force)
    start = started(out, "scout") if resume else None
    plan = (
        resumed(start, {"recipe": recipe_name, **given})
        if start
        else scout_recipe(recipe_name or "standard", **given)
    )
    assert isinstance(plan, ScoutRecipe)
    with _reading() as tell:
        paths, sampling = [*normal, *(more or [])], _sampling(start, fps, folder_fps)
        footage = read_windows(paths, sampling, plan.seed, tell, beside=plan.beside)
    _must_be_the_same(start, footage.splits, out)
    typer.echo(describe(plan, footage.splits, str(place)))
    sampling = Sampling(footage.splits.fps, footage.splits.folder_fps)
    with progress_of(plan, ScoutRecipe.STEPS, start) as bar:
        search = HardPlaces(footage.splits.train, sampling, plan.seed, bar.searching, footage.pasts)
        last = train_until(fit_scout(plan, footage, place, start, bar.batch, search), out, minutes, bar)
    typer.echo(summary(last, out))


def _must_be_the_same(start: Checkpoint | None, splits: Splits, out: Path) -> None:
    if start and start.splits.data_sha256 != splits.data_sha256:
        raise UsageError(f"{out} was trained on other footage or at another rate; resume it with the same")


def _sampling(start: Checkpoint | None, fps: float | None, folder_fps: float | None) -> Sampling:
    usual = Sampling(start.splits.fps, start.splits.folder_fps) if start else Sampling()
    return Sampling(usual.fps if fps is None else fps, usual.folder_fps if folder_fps is None else folder_fps)


@contextmanager
def _reading() -> Iterator[Callable[[str], None]]:
    """What to call with the clip's name for every frame read."""
    columns = (
        SpinnerColumn(),
        TextColumn("reading {task.description}"),
        TextColumn("{task.completed:.0f} frames"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda clip: progress.update(task, advance=1, description=clip)


def describe(plan: Recipe | ScoutRecipe, splits: Splits, device: str) -> str:
    """What will be trained on what, in a few lines; says so when the split is a weak one."""
    counts = ", ".join(
        f"{splits.frames(name)} {name} ({len(getattr(splits, name))} clips)"
        for name in ("train", "validation", "test")
    )
    lines = [
        f"recipe {plan.name}: {_model(plan)}, {plan.epochs} epochs, batch {plan.batch}, "
        f"lr {plan.lr:g}, seed {plan.seed}, on {device}",
        f"frames at {splits.fps:g} fps: {counts}",
    ]
    if splits.rule == "blocks":
        lines.append(
            f"fewer than 3 clips: each is cut in time with gaps of up to {GAP_S:g} s, a weaker split than by "
            "clip; validation losses flatter"
        )
    return "\n".join(lines)


def _model(plan: Recipe | ScoutRecipe) -> str:
    return f"tail {plan.model.tail}" if isinstance(plan, Recipe) else f"crops of {plan.crop} px"
