"""From a decoded frame to its alert at a subscriber, through the whole daemon and a mosquitto on loopback.

    python benchmarks/alert.py --bundle B [--seconds 60] [--fps 2] [--json out.json]

`skerry run` watches a live camera of 1080p30 (a small RTSP server in this process, on the film of
`benchmarks/capture.py`) and looks at it twice a second; its threshold lies below every score, so that every
frame is an event. A subscriber in this process notes when each arrives. An event carries the moment at which
its frame had been decoded, on the clock that both processes share: the difference is the whole way, waiting
to be looked at, the conversion, the shrinking, the network, the boxes, the message, the disk, the broker.

The outbox is synchronised to the disk before the loop goes on. What that costs is shown by flying the same
beside it, in turns, with the outbox in memory (/dev/shm), which no drone may do. Below stands what the daemon
itself says of each stage in its health message: `record` is from the score to the disk, pictures included.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table

from benchmarks.capture import facts
from benchmarks.daemon import MAIN, annexb
from benchmarks.process import LOUD, skerry, watched, with_threshold
from edge.bench_broker import find_mosquitto, own_mosquitto
from edge.errors import SkerryError, UsageError
from edge.events import Event, Health, WireError, parse, subscriptions
from edge.mqtt import BrokerSettings
from tests.rtsp_server import Manners, RtspServer

REACH_MS, AIM_MS = 15.0, 8.0
WARM_UP = 5  # events of a session that do not count: caches, the first connection
MEMORY = Path("/dev/shm")
Stages = dict[str, tuple[float, float]]  # p50 and p99 in milliseconds


@dataclass
class Heard:
    """What came of one session."""

    alerts_ms: list[float] = field(default_factory=list)
    pictures: int = 0
    stages: Stages = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)

    def note(self, message: MQTTMessage) -> None:
        now_ns = time.monotonic_ns()
        try:
            said = parse(message.topic, message.payload)
        except WireError as error:
            raise SkerryError(f"the daemon sent what is no message: {error}") from None
        if isinstance(said, Event):
            if said.phase.value != "end":
                self.alerts_ms.append((now_ns - said.at.mono_ns) / 1e6)
        elif isinstance(said, Health):
            self.stages = {name: (taken.p50, taken.p99) for name, taken in said.stages_ms.items()}
            self.done.set()
        elif not hasattr(said, "state"):
            self.pictures += 1


@contextmanager
def listening(broker: BrokerSettings) -> Iterator[Heard]:
    heard, ready = Heard(), threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id="subscriber")
    client.on_message = lambda *said: heard.note(said[2])
    client.on_subscribe = lambda *_: ready.set()
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe(subscriptions())
    try:
        if not ready.wait(5):
            raise SkerryError("mosquitto took no subscription within 5 s")
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


@dataclass(frozen=True)
class Bench:
    """What every turn needs."""

    folder: Path
    bundle: Path
    broker: BrokerSettings
    film: Path  # H.264 as a camera sends it
    fps: float

    def fly(self, state: Path, seconds: float) -> Heard:
        words = ("run", "--bundle", self.bundle, "--broker", self.broker.uri, "--state-dir", state)
        pace = ("--fps", self.fps, "--health-interval", 3600, "--incidents-update", 0.001)
        with RtspServer(self.film, Manners(fps=30.0)) as camera, listening(self.broker) as heard:
            with watched(skerry(*words, *pace, "--source", camera.uri()), self.folder):
                time.sleep(seconds)
            heard.done.wait(2)  # the last thing it sends is its health
        return heard


def measure(bench: Bench, seconds: float, turns: int, console: Console) -> dict[str, list[Heard]]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as memory:
        ways = {"outbox on disk": bench.folder / "state", "outbox in memory": Path(memory)}
        found: dict[str, list[Heard]] = {name: [] for name in ways}
        for turn in range(turns):
            for name in list(ways) if turn % 2 == 0 else list(reversed(ways)):
                heard = bench.fly(ways[name], seconds / turns)
                found[name].append(heard)
                console.print(f"{name}: {len(heard.alerts_ms)} alerts, {heard.pictures} pictures")
    return found


def counted(sessions: list[Heard]) -> list[float]:
    return [alert for heard in sessions for alert in heard.alerts_ms[WARM_UP:]]


def figures(alerts_ms: list[float]) -> dict[str, float]:
    found = dict(
        zip(("p50", "p90", "p95", "p99"), np.quantile(alerts_ms, (0.5, 0.9, 0.95, 0.99)), strict=True)
    )
    return {**{name: float(value) for name, value in found.items()}, "max": max(alerts_ms)}


def table(found: dict[str, list[Heard]]) -> Table:
    drawn = Table(
        "decoded frame to subscriber, ms", "events", "p50", "p90", "p95", "p99", "max", "reach, aim"
    )
    for name, sessions in found.items():
        alerts = counted(sessions)
        wanted = f"p99 {REACH_MS:g}, {AIM_MS:g}" if name == "outbox on disk" else ""
        numbers = [f"{value:.1f}" for value in figures(alerts).values()]
        drawn.add_row(name, str(len(alerts)), *numbers, wanted)
    return drawn


def stages(found: dict[str, list[Heard]]) -> Table:
    drawn = Table("stage, ms (p50 / p99)", *found)
    names = dict.fromkeys(name for each in found.values() for heard in each for name in heard.stages)
    for name in names:
        drawn.add_row(name, *(_between(each, name) for each in found.values()))
    return drawn


def _between(sessions: list[Heard], name: str) -> str:
    """Medians over the sessions."""
    each = [heard.stages[name] for heard in sessions if name in heard.stages]
    return " / ".join(f"{statistics.median(column):.2f}" for column in zip(*each, strict=True))


def main(
    bundle: Annotated[Path, typer.Option(help="A calibrated bundle.")],
    seconds: Annotated[float, typer.Option(min=4, help="Of flight, each way.")] = 60.0,
    turns: Annotated[int, typer.Option(min=1, help="Flights that the seconds are cut into.")] = 2,
    fps: Annotated[float, typer.Option(min=0.1, max=30, help="Frames looked at per second.")] = 2.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure.")] = None,
) -> None:
    """Measure and print the tables."""
    sys.setswitchinterval(0.0005)  # the camera's thread must not hold up the subscriber's
    films = Path(tempfile.gettempdir()) / "skerry-capture"
    films.mkdir(parents=True, exist_ok=True)
    film, about = annexb(MAIN, films), facts()
    try:
        program = find_mosquitto()
        if program is None:
            raise UsageError("mosquitto is not installed, and an alert needs a broker")
        with tempfile.TemporaryDirectory() as name, own_mosquitto(program, Path(name)) as broker:
            loud = with_threshold(bundle, LOUD, Path(name) / "bundle").folder
            bench = Bench(Path(name), loud, broker, film, fps)
            found = measure(bench, seconds, turns, Console(stderr=True))
    except SkerryError as error:
        Console(stderr=True).print(f"alert: {error}", style="red", highlight=False)
        raise typer.Exit(error.exit_code) from None
    Console(width=130).print(table(found))
    Console().print(stages(found))
    Console().print(about)
    if json_file is not None:
        written: dict[str, Any] = {
            name: {"ms": figures(counted(sessions)), "alerts_ms": [heard.alerts_ms for heard in sessions],
                   "stages": [heard.stages for heard in sessions]}
            for name, sessions in found.items()
        }  # fmt: skip
        json_file.write_text(json.dumps({"facts": about, "fps": fps, "found": written}, indent=1))


if __name__ == "__main__":
    typer.run(main)
