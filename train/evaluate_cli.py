"""`skerry evaluate`: a bundle against labelled footage, with a bar, one table and a page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edge.bundle import load_bundle
from edge.errors import UsageError
from train.evaluation.readers import AUTO, LAYOUTS, read_data_set
from train.evaluation.results import Evaluation
from train.evaluation.rows import LEGACY, STRICT, about, groups, plain

Tell = Callable[[str, int, int], None]  # what is at work, done, of all


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Calibrated bundle folder.", metavar="BUNDLE")],
    data: Annotated[Path, typer.Argument(help="Folder of labelled footage.", metavar="DATASET")],
    layout: Annotated[
        str, typer.Option(help=f"How the folder is laid out: {AUTO} or one of {', '.join(LAYOUTS)}.")
    ] = AUTO,
    variant: Annotated[str, typer.Option(help="Model of the bundle; auto takes what would fly.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help="Write a report: a page, its pictures and the figures.", metavar="FOLDER"),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures alone.", metavar="FILE")] = None,
    resamples: Annotated[
        int, typer.Option(min=0, help="Bootstrap draws behind each interval; 0 for no intervals.")
    ] = 1000,
    folder_fps: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Rate at which the pictures of a folder were taken; else what the layout says, or 10.",
        ),
    ] = None,
    worst: Annotated[
        int, typer.Option(min=0, max=99, help="Misses, and false alarms, that the report shows as pictures.")
    ] = 8,
    force: Annotated[
        bool, typer.Option("--force", help="Write the report although other things lie in its folder.")
    ] = False,
) -> None:
    """Measure a bundle on labelled footage: what it finds, how late, and how often it alarms for nothing.

    Two columns that are never mixed. Strict is what flight would have seen; legacy normalises and smooths
    each video with knowledge of its whole, as many papers do.
    """
    opened = load_bundle(bundle)
    opened.calibration()
    if outdated := opened.outdated():
        Console(stderr=True).print(f"note: {outdated}", style="yellow", markup=False)
    # Half a second and more: not for --help, nor for whom the bundle is refused.
    from train.evaluation.report import ReportFolder, json_of, write_report
    from train.evaluation.run import evaluate as score_and_judge

    folder = None if out is None else ReportFolder(out)
    data_set = read_data_set(data, layout)
    if folder:
        folder.check(force)
    if json is not None:
        check_file(json)
    with _bar() as tell:
        evaluation, scored = score_and_judge(opened, data_set, variant, resamples, tell, folder_fps)
    if json is not None:
        json.write_bytes(json_of(evaluation))
    show(evaluation, Console())
    if folder:
        with _bar() as tell:
            page = write_report(folder, evaluation, scored, worst, _counted(tell, len(scored) + 2 * worst))
        typer.echo(f"report: {page}")


def check_file(path: Path) -> None:
    """Before an hour of scoring. Raises UsageError."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"--json {path} must be a file in a folder that exists and can be written to")


@contextmanager
def _bar() -> Iterator[Tell]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def tell(name: str, done: int, total: int) -> None:
            bar.update(task, description=plain(name)[:30], completed=done, total=total)

        yield tell


def _counted(tell: Tell, most: int) -> Callable[[], None]:
    done = 0

    def told() -> None:
        nonlocal done
        done += 1
        tell("drawing", done, most)

    return told


def show(evaluation: Evaluation, console: Console) -> None:
    """What was measured, and one table."""
    for what, value in about(evaluation):
        console.print(f"{what}: {value}", style="dim", highlight=False, markup=False)
    table = Table("", "strict", "legacy", box=None, pad_edge=False)
    for group in groups(evaluation.judgement):
        table.add_row(f"[bold]{escape(group.title)}[/bold]")
        for row in group.rows:
            table.add_row(f"  {escape(row.label)}", escape(row.strict), f"[dim]{escape(row.legacy)}[/dim]")
    console.print(table)
    console.print(STRICT, highlight=False, markup=False)
    console.print(LEGACY, style="dim", highlight=False, markup=False)
    console.print("In brackets: the 95 % interval, by bootstrap over videos.", style="dim", highlight=False)
