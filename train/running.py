"""A training as a person runs it: where its checkpoint goes, what is seen of it, how it stops and goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge.errors import UsageError
from train.checkpoint import Checkpoint, Plan, load_checkpoint, save_checkpoint
from train.fit import finished

Out = Annotated[Path, typer.Option(help="The checkpoint to write.", metavar="CKPT")]
Minutes = Annotated[float | None, typer.Option(min=0, help="Stop after the epoch in which this time is up.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the checkpoint at --out.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the checkpoint at --out.")]

SAVE_EVERY_S = 30.0  # what a crash may cost
INTERRUPTED = 130  # the shell's code for Ctrl-C, so that `train && export` does not go on


def check_out(out: Path, resume: bool, force: bool) -> None:
    """Before an hour of training rather than after it."""
    folder = out.absolute().parent
    if resume and not out.is_file():
        raise UsageError(f"there is no checkpoint at {out} to resume; leave --resume out")
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"--out {out} must be a file in a folder that exists and can be written to")
    if out.exists() and not (resume or force):
        raise UsageError(f"{out} exists already; go on with it by --resume or replace it by --force")


def started(out: Path, kind: str) -> Checkpoint:
    """The checkpoint to go on with. Of another kind of network nothing else is worth saying."""
    start = load_checkpoint(out)
    if start.kind != kind:
        holds = {"cae": "an autoencoder", "scout": "a scout", "mil": "a head for clips"}[start.kind]
        raise UsageError(f"{out} holds {holds}; go on with it by `skerry train {start.kind}`")
    return start


def resumed(start: Checkpoint, given: Mapping[str, object]) -> Plan:
    """The recipe of a checkpoint, which only the number of epochs may change. Raises UsageError."""
    for name, value in given.items():
        known = getattr(start.recipe, "name" if name == "recipe" else name, None)
        if name != "epochs" and value is not None and value != known:
            if name == "beside":
                raise UsageError("--route is not how it was trained; leave it out to resume, or train anew")
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


class Bar:
    """Epochs and losses: a live bar on a terminal, a line now and then elsewhere."""

    def __init__(self, progress: Progress, plan: Plan, batches: int, done: int) -> None:
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
def progress_of(plan: Plan, batches: int, start: Checkpoint | None) -> Iterator[Bar]:
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


def train_until(epochs: Iterator[Checkpoint], out: Path, minutes: float | None, bar: Bar) -> Checkpoint:
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
        typer.echo(f"stopped: {summary(latest, out)}", err=True)
    raise typer.Exit(INTERRUPTED)


def summary(last: Checkpoint, out: Path) -> str:
    chosen = last.history[(last.record.best_epoch or len(last.history)) - 1]
    seconds = sum(epoch.seconds for epoch in last.history)
    text = (
        f"{out}: epoch {chosen.epoch} of {len(last.history)} trained, train loss {chosen.train:.5f}, "
        f"validation loss {chosen.validation:.5f}, {seconds:.0f} s"
    )
    if not finished(last.recipe, last.history):
        text += f"; {last.recipe.epochs} epochs were planned: run the same command with --resume to go on"
    return text
