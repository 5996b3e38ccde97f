"""`skerry demo`: all of Skerry on one machine in minutes, with the commands a person would type.

Flights are simulated (or a person's own videos taken), a model is trained, exported and calibrated, and the
daemon flies the patrol while the ground subscriber listens, over a real broker on loopback. At the end the
account is drawn up: what was planted, what was found, and whether every message that was made arrived.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from edge.errors import SkerryError, UsageError
from edge.health import quantile
from edge.outbox import Outbox
from edge.recordings import open_recording, sampled
from edge.thresholds import LEAST_BLOCKS, smallest_rate
from export.account import Account, Planted, draw_up, read_arrived, read_truth
from export.clip_demo import NORMALS, PATROLS, Bags, begun_by, learn_clips

_START_S = 30.0
_FLIGHT_S = 120.0


@dataclass(frozen=True, slots=True)
class Footage:
    """`learn` and `calibrate` are normal; `planted` is empty where nobody knows the truth.

    `seconds`: how long `calibrate` is.
    """

    learn: tuple[Path, ...]
    calibrate: Path
    patrol: Path
    fps: float
    seconds: float
    planted: tuple[Planted, ...] = ()
    block_s: float = 5.0
    bags: Bags | None = None  # of a model of clips

    @property
    def alarms(self) -> tuple[str, ...]:
        """What calibration is asked for."""
        return f"--false-alarms-per-hour={self.alarms_per_hour}", f"--block={self.block_s:g}"

    @property
    def alarms_per_hour(self) -> int:
        """About as few false alarms as so short a flight supports, though its last block may be cut off."""
        blocks = max(LEAST_BLOCKS, int(self.seconds / self.block_s) - 1)
        return max(1, math.ceil(smallest_rate(blocks, self.block_s)))


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo-out"),
    video: Annotated[
        list[Path] | None,
        typer.Option(help="Your own instead: --video NORMAL --video PATROL, NORMAL of a minute or more."),
    ] = None,
    fps: Annotated[float, typer.Option(min=0.1, max=60, help="Frames looked at per second.")] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated archipelago.")] = 3,
    clips: Annotated[
        bool, typer.Option("--clips", help="Beside it train and fly a model of clips, from six more flights.")
    ] = False,
) -> None:
    """Train, export, calibrate, fly and watch, all on this machine, in minutes.

    Simulates three normal flights (two to learn from, one to calibrate on) and a patrol with intruders; ends
    with a table of what was planted and found, and a folder of pictures. Exit code 0 only when most intruders
    were found and the account adds up. Scores on simulated flights are not comparable with real data.
    """
    if clips and video:
        raise UsageError("--clips learns from flights with labels, which --video has none of; leave one out")
    console, began = Console(), time.monotonic()
    _prepare(out)
    footage = _own(video, fps, out) if video else _simulated(out, fps, seed, console, clips)
    flown: tuple[object, ...] = ("--bundle", _learn(out, footage, console))
    if footage.bags is not None:
        flown = (*flown, "--clip-bundle", _learn_clips(out, footage, footage.bags, console))
    lines = _fly(out, flown, footage, console)
    account = draw_up(footage.planted, read_arrived(lines), _left(out))
    console.print(_table(account, time.monotonic() - began))
    sheet = _save_sheet(account, out)
    console.print(f"pictures: {sheet}; what the ground heard: {lines}", highlight=False, soft_wrap=True)
    _judge(account, footage)


def _prepare(out: Path) -> None:
    """An earlier demo may be replaced, anything else may not."""
    if out.exists() and any(out.iterdir()) and not (out / ".skerry-demo").exists():
        raise UsageError(f"--out {out} holds something that is not an earlier demo; name another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".skerry-demo").touch()
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror}") from None


def _own(videos: Sequence[Path], fps: float, out: Path) -> Footage:
    """A threshold needs footage that the model has not learned: the last third of NORMAL is kept for it."""
    import cv2

    if len(videos) != 2:
        raise UsageError(
            f"--video was given {len(videos)} times; give it twice: --video NORMAL --video PATROL"
        )
    normal, patrol = videos
    parts = out / "normal" / "learn", out / "normal" / "calibrate"
    for part in parts:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    with open_recording(normal) as recording:
        count = sum(1 for _ in sampled(recording, fps))
    with open_recording(normal) as recording:
        for number, frame in enumerate(sampled(recording, fps)):
            cv2.imwrite(str(parts[3 * number >= 2 * count] / f"{number:06d}.png"), frame.image)
    learn, calibrate = parts
    seconds = count / 3 / fps
    return Footage((learn,), calibrate, patrol, fps, seconds, block_s=min(5.0, max(1.0, seconds / 8)))


def _simulated(out: Path, fps: float, seed: int, console: Console, clips: bool) -> Footage:
    from train.simulator import FlightPlan, simulate_flights

    plan = FlightPlan(
        width=640, height=360, fps=round(fps), seconds=40, seed=seed, intruders=3,
        normals=3 + NORMALS * clips, patrols=1 + PATROLS * clips,
        smallest=140, largest=160, kinds=("boat",), shake=0.1, light=0.05,
    )  # fmt: skip  # calm air and large intruders: one 124 x 124 thumbnail sees no small ones
    columns = (TextColumn("simulating {task.description}"), BarColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        made = simulate_flights(
            plan,
            out / "flights",
            force=True,
            progress=lambda name, done, total: bar.update(
                task, description=name, completed=done, total=total
            ),
        )
    first, second, third, *more = (flight.video for flight in made.normal)
    patrol, *others = made.patrol
    assert patrol.truth is not None
    flights = f"{len(made.normal)} normal flights and {len(made.patrol)} with intruders"
    console.print(f"simulated {flights}: {out / 'flights'}", highlight=False)
    truth = read_truth(patrol.truth)
    bags = Bags(tuple(more), tuple(flight.video for flight in others)) if clips else None
    return Footage((first, second), third, patrol.video, float(plan.fps), plan.seconds, truth, bags=bags)


def _learn(out: Path, footage: Footage, console: Console) -> Path:
    checkpoint, bundle = out / "cae.ckpt", out / "bundle"
    rate = f"--fps={footage.fps:g}", f"--folder-fps={footage.fps:g}"
    _skerry(
        console,
        "train",
        "cae",
        "--recipe",
        "quick",
        *rate,
        "--force",
        "--out",
        checkpoint,
        "--normal",
        *footage.learn,
    )
    flown = ("--variants", "fp32,int8-cpu")  # nothing here has a use for a GPU's
    _skerry(console, "export", checkpoint, *flown, "--force", "--out", bundle)
    wanted = footage.alarms_per_hour
    console.print(
        f"\n{footage.seconds:.0f} s of normal flight support {wanted} false alarms an hour, 15 minutes one",
        style="dim",
        highlight=False,
    )
    _skerry(console, "calibrate", bundle, *rate, *footage.alarms, "--normal", footage.calibrate)
    return bundle


def _learn_clips(out: Path, footage: Footage, bags: Bags, console: Console) -> Path:
    run = partial(_skerry, console)
    return learn_clips(out, bags, footage.calibrate, footage.fps, footage.alarms, run)


def _command(*words: object) -> list[str]:
    return [sys.executable, "-m", "skerry", *map(str, words)]


def _skerry(console: Console, *words: object) -> None:
    """Run a verb as a person would; its own sentence is the error, and its exit code ours."""
    _show(console, words)
    code = subprocess.run(_command(*words), check=False).returncode
    if code:
        raise typer.Exit(code)


def _show(console: Console, words: Sequence[object]) -> None:
    console.print(f"\n$ skerry {shlex.join(map(str, words))}", style="bold", highlight=False, soft_wrap=True)


def _fly(out: Path, flown: Sequence[object], footage: Footage, console: Console) -> Path:
    """Daemon and subscriber as processes of their own, a broker between them. The subscriber's lines."""
    from export.loopback_broker import loopback_broker

    lines, state = out / "ground.jsonl", out / "state"
    for old in state.glob("outbox.sqlite*"):
        old.unlink()
    with loopback_broker() as uri:
        broker = ("--broker", uri, "--broker-protocol", "3.1.1")
        listen = ("watch", *broker, "--json", "--save", out / "pictures")
        fly = ("run", "--source", footage.patrol, *flown, "--state-dir", state, *broker)
        pace = ("--fps", f"{footage.fps:g}", "--replay", "fast", "--log", "warning")
        _show(console, listen)
        with _watching(listen, lines):
            _until(lines, "broker", "connected", _START_S)
            _skerry(console, *fly, *pace)
            _until(lines, "status", "offline", _FLIGHT_S)
    return lines


@contextmanager
def _watching(words: Sequence[object], lines: Path) -> Iterator[None]:
    with lines.open("w") as out, subprocess.Popen(_command(*words), stdout=out) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)


def _until(lines: Path, kind: str, state: str, seconds: float) -> None:
    """Wait until the subscriber wrote a line of this type whose state starts so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for line in lines.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                continue  # still being written
            said = json.loads(line)
            if said["type"] == kind and str(said.get("state", "")).startswith(state):
                return
        time.sleep(0.05)
    raise SkerryError(f"the subscriber heard of no {kind} {state} within {seconds:g} s; see {lines}")


def _save_sheet(account: Account, out: Path) -> Path:
    """The incidents on one picture; without any, the folder where the pictures would be."""
    import cv2

    from export.contact_sheet import contact_sheet

    sheet = contact_sheet(account.incidents, out / "pictures")
    if sheet is None:
        return out / "pictures"
    path = out / "pictures" / "incidents.png"
    cv2.imwrite(str(path), sheet)
    return path


def _left(out: Path) -> int:
    with Outbox(out / "state" / "outbox.sqlite") as outbox:
        return outbox.depth()


def _table(account: Account, seconds: float) -> Table:
    table = Table(title="The flight's account", show_header=False, title_justify="left")
    for intruder in account.planted:
        table.add_row(
            f"{intruder.kind}, frames {intruder.first} to {intruder.last}",
            "[green]found" if intruder in account.found else "[red]missed",
        )
    if account.planted:
        table.add_row("intruders found / planted", f"{len(account.found)} / {len(account.planted)}")
        table.add_row("false alarms", str(len(account.false_alarms)))
    else:
        table.add_row("incidents", str(len(account.incidents)))
    ordered = sorted(account.latencies_ms)
    if ordered:
        both = f"{quantile(ordered, 0.5):.1f} / {quantile(ordered, 0.99):.1f} ms over {len(ordered)} events"
        table.add_row("frame decoded to ground, p50 / p99", both)
    if begun_by(account):
        table.add_row("incidents begun by", begun_by(account))
    table.add_row("every message arrived", "[red]no" if account.faults else "[green]yes")
    table.add_row("seconds in all", f"{seconds:.0f}")
    return table


def _judge(account: Account, footage: Footage) -> None:
    """Raises SkerryError unless most intruders were found and the account adds up."""
    if account.faults:
        raise SkerryError(f"the account does not add up: {'; '.join(account.faults)}")
    if 2 * len(account.found) < len(footage.planted):
        raise SkerryError(f"only {len(account.found)} of {len(footage.planted)} planted intruders were found")
