"""`skerry simulate`: a progress bar around the simulator."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edge.errors import UsageError, nearest
from train.intruders import KINDS, KindName
from train.simulator import NOTE, FlightPlan, Simulation, simulate_flights


def simulate(
    out: Annotated[Path, typer.Argument(help="The folder to write to.", metavar="OUT")],
    size: Annotated[str, typer.Option(help="Picture size, even numbers.", metavar="WxH")] = "1920x1080",
    fps: Annotated[int, typer.Option(help="Frames per second.")] = 30,
    seconds: Annotated[float, typer.Option(help="Length of each flight.")] = 60.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same flights.")] = 1,
    normal: Annotated[int, typer.Option(help="Flights without intruders.")] = 2,
    patrol: Annotated[int, typer.Option(help="Flights with intruders.")] = 1,
    intruders: Annotated[
        int | None, typer.Option(help="Per patrol flight; without it as many as fit.", show_default=False)
    ] = None,
    smallest: Annotated[float, typer.Option(help="Pixels of a 1920 pixel wide picture; scales.")] = 8.0,
    largest: Annotated[float, typer.Option(help="Likewise.")] = 96.0,
    kind: Annotated[
        list[str] | None,
        typer.Option(help=f"May be repeated: {', '.join(KINDS)}. All, unless given.", show_default=False),
    ] = None,
    gap: Annotated[float, typer.Option(help="Seconds without intruders around each.")] = 4.0,
    overlap: Annotated[bool, typer.Option("--overlap", help="Let several be in view at once.")] = False,
    light: Annotated[float, typer.Option(help="Largest relative change of the light.")] = 0.12,
    shake: Annotated[float, typer.Option(help="Scales route deviations and pose noise; 0 for none.")] = 1.0,
    noise: Annotated[float, typer.Option(help="Sensor noise, deviation in grey levels.")] = 1.5,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier simulation in OUT.")] = False,
) -> None:
    """Render patrol flights over an archipelago, with truth and telemetry.

    Normal flights and patrol flights follow the same route; they differ by light and small deviations,
    and patrols carry intruders: boats, people, cars, a drone's shadow, debris.

    The pictures are simulated: scores measured on them are not comparable with scores on real data.
    """
    width, height = _size(size)
    plan = FlightPlan(
        width=width,
        height=height,
        fps=fps,
        seconds=seconds,
        seed=seed,
        normals=normal,
        patrols=patrol,
        intruders=intruders,
        smallest=smallest,
        largest=largest,
        kinds=_kinds(kind),
        gap_s=gap,
        overlap=overlap,
        light=light,
        shake=shake,
        noise=noise,
    )
    _show(_with_bar(plan, out, force), plan)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text.strip())
    if match is None:
        raise UsageError(f"--size {text!r} is not a size: give width and height like 1920x1080.")
    return int(match[1]), int(match[2])


def _kinds(names: list[str] | None) -> tuple[KindName, ...]:
    for name in names or ():
        if name not in KINDS:
            hint = nearest(name, KINDS)
            raise UsageError(f"--kind {name!r} is not a kind of intruder{hint}: give {', '.join(KINDS)}.")
    return tuple(kind for kind in KINDS if not names or kind in names)


def _with_bar(plan: FlightPlan, out: Path, force: bool) -> Simulation:
    columns = (TextColumn("{task.description:<12}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("the world", total=plan.frames * len(plan.flights))

        def tell(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total)

        return simulate_flights(plan, out, force=force, progress=tell)


def _show(simulation: Simulation, plan: FlightPlan) -> None:
    table = Table("flight", "video", "intruders", box=None, pad_edge=False)
    for flight in simulation.flights:
        who = ", ".join(f"{i.kind} {i.size * plan.width / 1920:.0f} px" for i in flight.intruders)
        table.add_row(flight.video.stem, str(flight.video), who or "-")
    console = Console()
    console.print(table)
    console.print(NOTE, style="dim")
