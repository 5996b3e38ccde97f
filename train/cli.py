"""`skerry train`: footage of normal flights in, a checkpoint out."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from edge.errors import UsageError
from edge.preprocess import InputSpec
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.fit import finished, fit, pick_device
from train.footage import GAP_S, Sampling, Splits, read_footage
from train.mining import HardPlaces
from train.recipes import RECIPES, SCOUT_RECIPES, Recipe, ScoutRecipe, recipe, scout_recipe
from train.scout_fit import fit_scout
from train.windows import read_windows

SAVE_EVERY_S = 30.0  # what a crash may cost
INTERRUPTED = 130  # the shell's code for Ctrl-C, so that `train && export` does not go on

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def _train() -> None:
    """Learn from normal flights what belongs there."""


Normal = Annotated[
    list[Path],
    typer.Option(
        help="Normal footage: video files, folders of frames, folders of either.", metavar="PATH..."
    ),
]
Out = Annotated[Path, typer.Option(help="The checkpoint to write.", metavar="CKPT")]
More = Annotated[
    list[Path] | None,
    typer.Argument(help="More normal footage, as a shell's * gives it.", metavar="PATH"),
]
Fps = Annotated[float | None, typer.Option(help="Frames taken per second of footage (default 2).")]
FolderFps = Annotated[
    float | None, typer.Option(help="Frames per second at which a folder was taken (default 10).")
]
Minutes = Annotated[float | None, typer.Option(min=0, help="Stop after the epoch in which this time is up.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the checkpoint at --out.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the checkpoint at --out.")]


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
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Train the convolutional autoencoder.

    Splits 80/10/10 by clip; the last tenth is never looked at. A folder of clips counts each clip.
    """
    given = {"epochs": epochs, "batch": batch, "lr": lr, "seed": seed, "early_stop": early_stop}
    place = pick_device(device)
    _check_out(out, resume, force)
    start = _started(out, "cae") if resume else None
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
    with _progress(plan, math.ceil(len(footage.train) / plan.batch), start) as bar:
        last = _train_until(fit(plan, footage, InputSpec(), place, start, bar.batch), out, minutes, bar)
    typer.echo(_summary(last, out))


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
    minutes: Minutes = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Train the scout: a small network that sees small things at the picture's own size.

    It learns from normal footage alone, by marking and painting over foreign patches pasted into it, on a
    picture and an earlier one laid onto it. Give --fps as you will fly. Splits 80/10/10 by clip; the last
    tenth is never looked at.
    """
    given = {"epochs": epochs, "batch": batch, "lr": lr, "seed": seed}
    place = pick_device(device)
    _check_out(out, resume, force)
    start = _started(out, "scout") if resume else None
    plan = (
        resumed(start, {"recipe": recipe_name, **given})
        if start
        else scout_recipe(recipe_name or "standard", **given)
    )
    assert isinstance(plan, ScoutRecipe)
    with _reading() as tell:
        footage = read_windows([*normal, *(more or [])], _sampling(start, fps, folder_fps), plan.seed, tell)
    _must_be_the_same(start, footage.splits, out)
    typer.echo(describe(plan, footage.splits, str(place)))
    sampling = Sampling(footage.splits.fps, footage.splits.folder_fps)
    with _progress(plan, ScoutRecipe.STEPS, start) as bar:
        search = HardPlaces(footage.splits.train, sampling, plan.seed, bar.searching)
        last = _train_until(fit_scout(plan, footage, place, start, bar.batch, search), out, minutes, bar)
    typer.echo(_summary(last, out))


def _must_be_the_same(start: Checkpoint | None, splits: Splits, out: Path) -> None:
    if start and start.splits.data_sha256 != splits.data_sha256:
        raise UsageError(f"{out} was trained on other footage or at another rate; resume it with the same")


def _check_out(out: Path, resume: bool, force: bool) -> None:
    """Before an hour of training rather than after it."""
    folder = out.absolute().parent
    if resume and not out.is_file():
        raise UsageError(f"there is no checkpoint at {out} to resume; leave --resume out")
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"--out {out} must be a file in a folder that exists and can be written to")
    if out.exists() and not (resume or force):
        raise UsageError(f"{out} exists already; go on with it by --resume or replace it by --force")


def _started(out: Path, kind: str) -> Checkpoint:
    """The checkpoint to go on with. Of another kind of network nothing else is worth saying."""
    start = load_checkpoint(out)
    if start.kind != kind:
        holds = {"cae": "an autoencoder", "scout": "a scout"}[start.kind]
        raise UsageError(f"{out} holds {holds}; go on with it by `skerry train {start.kind}`")
    return start


def resumed(start: Checkpoint, given: Mapping[str, object]) -> Recipe | ScoutRecipe:
    """The recipe of a checkpoint, which only the number of epochs may change. Raises UsageError."""
    for name, value in given.items():
        known = getattr(start.recipe, "name" if name == "recipe" else name, None)
        if name != "epochs" and value is not None and value != known:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"{option} {value} is not the checkpoint's own ({known}); leave it out to resume"
            )
    epochs = given.get("epochs") or start.recipe.epochs
    if start.recipe.schedule == "cosine" and epochs != start.recipe.epochs:
        raise UsageError(
            f"--epochs {epochs}: the learning rate of recipe {start.recipe.name} falls to zero at epoch "
            f"{start.recipe.epochs}; leave it out to resume, or train anew"
        )
    plan = start.recipe.model_copy(update={"epochs": epochs})
    if len(start.history) >= plan.epochs:
        raise UsageError(f"all {len(start.history)} epochs are done already; give more with --epochs")
    if finished(plan, start.history):
        raise UsageError(
            f"early stop ended this training after {len(start.history)} epochs; train anew with --force"
        )
    return plan


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


class Bar:
    """Epochs and losses: a live bar on a terminal, a line now and then elsewhere."""

    def __init__(self, progress: Progress, plan: Recipe | ScoutRecipe, batches: int, done: int) -> None:
        self._progress, self._epochs = progress, plan.epochs
        self._task = progress.add_task("", total=plan.epochs * batches, completed=done * batches, losses="")

    def batch(self) -> None:
        self._progress.advance(self._task)

    def searching(self, clip: str) -> None:
        self._progress.update(self._task, description="looking for hard places", losses=clip)

    def epoch(self, checkpoint: Checkpoint) -> None:
        newest = checkpoint.history[-1]
        losses = f"train {newest.train:.5f} validation {newest.validation:.5f}"
        self._progress.update(self._task, description=f"epoch {newest.epoch}/{self._epochs}", losses=losses)
        if not self._progress.console.is_terminal and newest.epoch % max(1, self._epochs // 20) == 0:
            typer.echo(f"epoch {newest.epoch}/{self._epochs}  {losses}  {newest.seconds:.1f} s")


@contextmanager
def _progress(plan: Recipe | ScoutRecipe, batches: int, start: Checkpoint | None) -> Iterator[Bar]:
    """`batches` in an epoch."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield Bar(progress, plan, batches, len(start.history) if start else 0)


def _train_until(epochs: Iterator[Checkpoint], out: Path, minutes: float | None, bar: Bar) -> Checkpoint:
    """Train to the end, to the time limit or to Ctrl-C, saving on the way. Exits on Ctrl-C."""
    latest: Checkpoint | None = None
    began = time.monotonic()
    saved_at = began
    try:
        for latest in epochs:
            bar.epoch(latest)
            now = time.monotonic()
            if now - saved_at > SAVE_EVERY_S:
                save_checkpoint(out, latest)
                saved_at = now
            if minutes is not None and now - began > 60 * minutes:
                break
    except KeyboardInterrupt:
        _interrupted(latest, out)
    assert latest is not None
    save_checkpoint(out, latest)
    return latest


def _interrupted(latest: Checkpoint | None, out: Path) -> None:
    """Keep the last whole epoch; the one under way is lost."""
    if latest is None:
        typer.echo("stopped in the first epoch; nothing was saved", err=True)
    else:
        save_checkpoint(out, latest)
        typer.echo(f"stopped: {_summary(latest, out)}", err=True)
    raise typer.Exit(INTERRUPTED)


def _summary(last: Checkpoint, out: Path) -> str:
    chosen = last.history[(last.record.best_epoch or len(last.history)) - 1]
    seconds = sum(epoch.seconds for epoch in last.history)
    text = (
        f"{out}: epoch {chosen.epoch} of {len(last.history)} trained, train loss {chosen.train:.5f}, "
        f"validation loss {chosen.validation:.5f}, {seconds:.0f} s"
    )
    if not finished(last.recipe, last.history):
        text += f"; {last.recipe.epochs} epochs were planned: run the same command with --resume to go on"
    return text
