"""What it costs to watch a live camera for an hour: `skerry run` against OpenCV and PyTorch.

    python benchmarks/daemon.py --bundle B [--checkpoint C] [--rounds 3] [--seconds 12] [--json out.json]

A small RTSP server in this process sends the films of `benchmarks/capture.py` at their own pace, as a camera
does, to one watcher after the other: the whole daemon as a process of its own, with a mosquitto of its own to
send to, and `benchmarks/naive_watch.py`. The CPU time of each is read from outside over the same number of
seconds, after its first score and a while to learn the stream's key frames, and is given for an hour of the
stream that was sent in them: on a crowded machine a watcher holds the sender up. Ratios are formed within a
round. Nobody alarms: the bundle's threshold is out of reach, as on nearly every frame of a flight. A watcher
that looked at fewer than two pictures a second of the stream is marked: its figure is too low.

The sub-stream is the same view as a camera's second, small stream gives it. The daemon on it is compared with
the naive watcher of the main stream, and, to be fair, with the naive watcher of the sub-stream.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.capture import FILMS, facts, ffmpeg, shot, spread
from benchmarks.process import QUIET, ROOT, Watched, skerry, watched, with_threshold
from edge.bench_broker import find_mosquitto, own_mosquitto
from edge.errors import SkerryError, UsageError
from tests.rtsp_server import Manners, RtspServer

FILM_S = 20
FPS = 30.0
LEAST = 1.8  # looks a second
MAIN, HALF, SUB = "1080p-1s", "1080p-0.5s", "sub-1s"
SETTLE_S = 4.0  # in which two key frames of every stream go by


@dataclass(frozen=True)
class Contest:
    """`peer`: the stream that the naive watcher sees."""

    name: str
    stream: str
    peer: str
    reach: float
    aim: float


CONTESTS = (
    Contest("1080p, key frame each 1 s", MAIN, MAIN, 2.4, 2.6),
    Contest("1080p, key frame each 0.5 s", HALF, HALF, 3.7, 4.2),
    Contest("640x360 sub-stream; peer on 1080p", SUB, MAIN, 13.0, 16.0),
    Contest("640x360 sub-stream; peer on it too", SUB, SUB, 1.0, 1.0),
)


@dataclass(frozen=True)
class Watch:
    """One watcher on one stream for a while."""

    who: str
    stream: str
    round: int
    cpu_s_per_hour: float
    looks_per_s: float  # both of the stream
    resident_mb: float


def annexb(name: str, folder: Path) -> Path:
    """The film as a camera's encoder gives it, made where it is not there yet."""
    path = folder / f"{name}-{FILM_S}s.h264"
    if path.exists():
        return path
    film = next(film for film in FILMS if film.name == (MAIN if name == SUB else name))
    made, half = shot(film, FILM_S, folder), path.with_name(f"half-{path.name}")
    coding = ["-c", "copy", "-bsf:v", "h264_mp4toannexb"]
    if name == SUB:
        coding = ["-vf", "scale=640:360:flags=area", "-c:v", "libx264", "-preset", "veryfast", "-bf", "0"]
        coding += ["-b:v", "512k", "-maxrate", "512k", "-bufsize", "512k", "-g", "30", "-sc_threshold", "0"]
    ffmpeg("-i", made, *coding, "-f", "h264", half)
    half.rename(path)
    return path


@dataclass(frozen=True)
class Bench:
    """What every turn needs."""

    folder: Path
    bundle: Path
    checkpoint: Path | None
    broker: str
    seconds: float

    def daemon(self, uri: str) -> list[str]:
        state = self.folder / "state"
        words = ("--bundle", self.bundle, "--state-dir", state, "--broker", self.broker)
        return skerry("run", "--source", uri, *words)

    def naive(self, uri: str) -> list[str]:
        words = ["--rate", str(FPS)]
        words += [] if self.checkpoint is None else ["--checkpoint", str(self.checkpoint)]
        return [sys.executable, str(ROOT / "benchmarks" / "naive_watch.py"), uri, *words]

    def turn(self, who: str, stream: str, round_: int, films: Path) -> Watch:
        with RtspServer(annexb(stream, films), Manners(fps=FPS)) as camera:
            words = self.daemon(camera.uri()) if who == "skerry" else self.naive(camera.uri())
            with watched(words, self.folder) as process:
                sent = camera.sent
                time.sleep(SETTLE_S)
                per_hour = self._spent(process, camera)
                resident, seen_s = process.memory().resident, (camera.sent - sent) / FPS
        return Watch(who, stream, round_, per_hour, _looks(process.said()) / seen_s, resident)

    def _spent(self, process: Watched, camera: RtspServer) -> float:
        """CPU seconds an hour of the stream."""
        sent, before_s = camera.sent, process.cpu_s()
        time.sleep(self.seconds)
        spent_s, stream_s = process.cpu_s() - before_s, (camera.sent - sent) / FPS
        process.check()
        return spent_s / stream_s * 3600


def _looks(said: str) -> int:
    counted = re.search(r"stopped: (\d+) frames scored", said)
    return int(counted[1]) if counted else len(re.findall(r"^look ", said, re.MULTILINE))


@contextmanager
def bench(bundle: Path, checkpoint: Path | None, seconds: float) -> Iterator[Bench]:
    """Raises SkerryError."""
    program = find_mosquitto()
    if program is None:
        raise UsageError("mosquitto is not installed; the daemon is measured with a broker to send to")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        quiet = with_threshold(bundle, QUIET, folder / "bundle")
        if quiet.manifest.kind != "reconstruction":
            raise UsageError(f"{bundle} is of kind {quiet.manifest.kind}; the peer here is an autoencoder's")
        broker = stack.enter_context(own_mosquitto(program, folder))
        yield Bench(folder, quiet.folder, checkpoint, broker.uri, seconds)


def measure(here: Bench, films: Path, rounds: int, console: Console) -> list[Watch]:
    """Every watcher on every stream, in turns; every other round the other way round."""
    order = [(who, stream) for stream in (MAIN, HALF, SUB) for who in ("naive", "skerry")]
    found = []
    for round_ in range(rounds):
        for who, stream in order if round_ % 2 == 0 else reversed(order):
            one = here.turn(who, stream, round_, films)
            late = "" if one.looks_per_s >= LEAST else "  it missed looks"
            told = f"{one.cpu_s_per_hour:7.1f} CPU s/h, {one.looks_per_s:.2f} looks a second"
            console.print(f"{told}  {who:7} {stream}{late}", highlight=False)
            found.append(one)
    return found


def of(found: list[Watch], who: str, stream: str) -> list[Watch]:
    return sorted((w for w in found if (w.who, w.stream) == (who, stream)), key=lambda w: w.round)


def ratios(found: list[Watch], contest: Contest) -> list[float]:
    pairs = zip(of(found, "naive", contest.peer), of(found, "skerry", contest.stream), strict=True)
    return [naive.cpu_s_per_hour / ours.cpu_s_per_hour for naive, ours in pairs]


def table(found: list[Watch]) -> Table:
    columns = ("stream", "peer, CPU s/h", "skerry run", "times less", "reach", "aim", "looks/s", "MB")
    drawn = Table(*columns)
    for contest in CONTESTS:
        naive, ours = of(found, "naive", contest.peer), of(found, "skerry", contest.stream)
        spent = [spread([watch.cpu_s_per_hour for watch in watches]) for watches in (naive, ours)]
        wanted = (f"{contest.reach:g}", f"{contest.aim:g}") if contest.aim > 1 else ("", "")
        looks = "/".join(f"{min(one.looks_per_s for one in each):.1f}" for each in (naive, ours))
        memory = "/".join(f"{each[-1].resident_mb:.0f}" for each in (naive, ours))
        drawn.add_row(contest.name, *spent, spread(ratios(found, contest)), *wanted, looks, memory)
    return drawn


def main(
    bundle: Annotated[Path, typer.Option(help="A calibrated bundle of an autoencoder.")],
    checkpoint: Annotated[Path | None, typer.Option(help="The same network, for the peer.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each watcher on each stream.")] = 3,
    seconds: Annotated[float, typer.Option(min=2, help="Measured in each turn.")] = 12.0,
    folder: Annotated[Path | None, typer.Option(help="Where the films are kept.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure.")] = None,
) -> None:
    """Measure and print the table."""
    films = folder or Path(tempfile.gettempdir()) / "skerry-capture"
    films.mkdir(parents=True, exist_ok=True)
    for stream in (MAIN, HALF, SUB):
        annexb(stream, films)
    about = facts()
    try:
        with bench(bundle, checkpoint, seconds) as here:
            found = measure(here, films, rounds, Console(stderr=True))
    except SkerryError as error:
        Console(stderr=True).print(f"daemon: {error}", style="red", highlight=False)
        raise typer.Exit(error.exit_code) from None
    Console(width=130).print(table(found))
    Console().print(about)
    if json_file is not None:
        ratio = {contest.name: ratios(found, contest) for contest in CONTESTS}
        content = {"facts": about, "ratios": ratio, "watches": [asdict(watch) for watch in found]}
        json_file.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    typer.run(main)
