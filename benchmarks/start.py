"""From starting the daemon to its first score, and what it then holds, against OpenCV with PyTorch.

    python benchmarks/start.py --bundle B [--checkpoint C] [--rounds 10] [--explain] [--json out.json]

Each start is a process of its own, `skerry run` as systemd starts it: the time runs from before the process
is made to the moment at which READY=1 comes in on the socket that systemd would listen on, which the daemon
sends after the first frame is scored. The processor time that it took until then is given beside it: of a
machine with other work it says more. Files are in the system's cache, as after a restart and not after
power-on. Memory is read at that moment and again a while later; of `shared`, a page that other processes map
too counts in part.

The peer is `benchmarks/naive_watch.py` on the same film, in turns. `--explain` shows which packages the time
of importing goes to.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.capture import FILMS, facts, shot, spread
from benchmarks.process import QUIET, ROOT, Memory, skerry, watched, with_threshold
from edge.bench_broker import find_mosquitto, own_mosquitto
from edge.errors import SkerryError, UsageError

FILM_S = 20
SHOWN = 14  # packages of --explain


@dataclass(frozen=True)
class Start:
    """Milliseconds from nothing to the first score, and megabytes then and later."""

    wall_ms: float
    cpu_ms: float
    first: Memory
    later: Memory


def start(words: list[str], folder: Path, seconds: float) -> Start:
    """Raises SkerryError."""
    with watched(words, folder) as process:
        cpu_ms, first = process.cpu_s() * 1e3, process.memory()
        time.sleep(seconds)
        return Start(process.ready_s * 1e3, cpu_ms, first, process.memory())


def packages(words: list[str], folder: Path) -> list[tuple[str, int, float]]:
    """Package, modules, milliseconds of importing it in one start, dearest first. Raises SkerryError."""
    with watched([sys.executable, "-X", "importtime", *words], folder) as process:
        said = process.said()
    spent, modules = Counter[str](), Counter[str]()
    for line in said.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            package = parts[2].strip().partition(".")[0]
            spent[package] += int(parts[0])
            modules[package] += 1
    return [(name, modules[name], taken / 1e3) for name, taken in spent.most_common()]


def table(starts: dict[str, list[Start]]) -> Table:
    drawn = Table("", "first score, ms", "CPU, ms", "MB then", "MB later", "shared", "peak", "times faster")
    naive = starts["OpenCV + PyTorch"]
    for name, found in starts.items():
        ratios = [peer.wall_ms / ours.wall_ms for peer, ours in zip(naive, found, strict=True)]
        times = [spread([one.wall_ms for one in found]), spread([one.cpu_ms for one in found])]
        sizes = [(one.first.resident, one.later.resident, one.later.shared, one.later.peak) for one in found]
        memory = [f"{statistics.median(column):.0f}" for column in zip(*sizes, strict=True)]
        drawn.add_row(name, *times, *memory, spread(ratios))
    return drawn


def explained(spent: list[tuple[str, int, float]]) -> Table:
    drawn = Table("package", "modules", "ms of importing")
    for name, modules, taken in spent[:SHOWN]:
        drawn.add_row(name, str(modules), f"{taken:.1f}")
    rest = spent[SHOWN:]
    drawn.add_row("others", str(sum(n for _, n, _ in rest)), f"{sum(taken for *_, taken in rest):.1f}")
    drawn.add_row("all", str(sum(n for _, n, _ in spent)), f"{sum(taken for *_, taken in spent):.1f}")
    return drawn


def main(
    bundle: Annotated[Path, typer.Option(help="A calibrated bundle.")],
    checkpoint: Annotated[Path | None, typer.Option(help="The same network, for the peer.")] = None,
    source: Annotated[str | None, typer.Option(help="Default: a film of 1080p30.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Starts of each.")] = 10,
    seconds: Annotated[float, typer.Option(min=0, help="After the first score, to the later memory.")] = 3.0,
    explain: Annotated[bool, typer.Option("--explain", help="Show what is imported.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure.")] = None,
) -> None:
    """Measure and print the table."""
    films = Path(tempfile.gettempdir()) / "skerry-capture"
    films.mkdir(parents=True, exist_ok=True)
    watch = source or str(shot(FILMS[1], FILM_S, films))
    about = facts()
    try:
        starts, spent = _measured(bundle, checkpoint, watch, rounds, seconds, explain)
    except SkerryError as error:
        Console(stderr=True).print(f"start: {error}", style="red", highlight=False)
        raise typer.Exit(error.exit_code) from None
    Console(width=130).print(table(starts))
    if spent:
        Console().print(explained(spent))
    Console().print(about)
    if json_file is not None:
        found = {name: [asdict(one) for one in each] for name, each in starts.items()}
        json_file.write_text(json.dumps({"facts": about, "starts": found, "packages": spent}, indent=1))


def _measured(
    bundle: Path, checkpoint: Path | None, source: str, rounds: int, seconds: float, explain: bool
) -> tuple[dict[str, list[Start]], list[tuple[str, int, float]]]:
    program = find_mosquitto()
    if program is None:
        raise UsageError("mosquitto is not installed; the daemon is measured with a broker to send to")
    with tempfile.TemporaryDirectory() as name, own_mosquitto(program, Path(name)) as broker:
        folder = Path(name)
        quiet = with_threshold(bundle, QUIET, folder / "bundle").folder
        flown = ("run", "--source", source, "--bundle", quiet, "--broker", broker.uri)
        flown = (*flown, "--state-dir", folder / "state")
        weights = [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
        naive = [sys.executable, str(ROOT / "benchmarks" / "naive_watch.py"), source, *weights]
        ways = {"OpenCV + PyTorch": naive, "skerry run": skerry(*flown)}
        for words in ways.values():
            start(words, folder, 0.0)  # compiles modules, fills caches
        starts: dict[str, list[Start]] = {way: [] for way in ways}
        for round_ in range(rounds):
            for way in list(ways) if round_ % 2 == 0 else list(reversed(ways)):
                starts[way].append(start(ways[way], folder, seconds))
        program_words = ["-m", "skerry", *map(str, flown)]
        return starts, packages(program_words, folder) if explain else []


if __name__ == "__main__":
    typer.run(main)
