"""What decoding without the loop filter spares the processor, and what it does to scores.

    python benchmarks/loop_filter.py FOOTAGE... --bundle B [--key 0.5] [--megabits 4] [--looks 24] [--json F]

Each piece of footage is encoded anew (x264 veryfast, no B-frames) with a key frame each `--key` seconds, and
looked at twice a second: decoded as it is meant, with the loop filter left out of key frames that are decoded
alone (`auto`), and of every picture (`never`). Scores are those of the bundle's model in float, each frame
judged on its own. A frame's change is relative to its score as it is meant; times are CPU times of decoding,
in turns. With `--as-it-is` nothing is encoded.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.capture import FPS, facts, ffmpeg
from edge.bundle import ModelBundle, load_bundle
from edge.clock import SystemClock
from edge.detector import open_detector, open_runtime
from edge.frames import Frame
from edge.leeway import Leeway, LoopFilter
from edge.recordings import Sampler
from edge.videos import VideoRecording

WAYS: tuple[LoopFilter, ...] = ("always", "auto", "never")


@dataclass(frozen=True)
class Change:
    """Of one way against `always`; scores in per cent."""

    footage: str
    way: LoopFilter
    looks: int
    score_median: float
    score_largest: float
    times_less: float


def encoded(footage: Path, key_s: float, megabits: float, folder: Path) -> Path:
    made = folder / f"{footage.stem}.mp4"
    coding = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-pix_fmt", "yuv420p", "-threads", "1"]
    coding += [word for name in ("-b:v", "-maxrate", "-bufsize") for word in (name, f"{megabits}M")]
    keys = ["-force_key_frames", f"expr:gte(t,n_forced*{key_s})", "-g", "9999", "-sc_threshold", "0"]
    ffmpeg("-i", footage, "-an", *coding, *keys, made)
    return made


def looked_at(path: Path, way: LoopFilter, looks: int) -> tuple[list[Frame], float]:
    """The frames, and the CPU seconds of decoding them."""
    before_s = time.thread_time()
    with VideoRecording(path, SystemClock(), Leeway(way)) as recording:
        frames = list(islice(recording.frames(Sampler(FPS).wants), looks))
    return frames, time.thread_time() - before_s


def changes(path: Path, bundle: ModelBundle, looks: int, rounds: int) -> Iterator[Change]:
    taken: dict[LoopFilter, list[float]] = {way: [] for way in WAYS}
    frames: dict[LoopFilter, list[Frame]] = {}
    for _ in range(rounds):
        for way in WAYS:
            frames[way], spent_s = looked_at(path, way, looks)
            taken[way].append(spent_s)
    with open_runtime(bundle, "fp32") as runtime:
        scores = {
            way: [open_detector(bundle, runtime).inspect(frame).score for frame in seen]
            for way, seen in frames.items()
        }
    for way in WAYS[1:]:
        moved = [abs(b / a - 1) * 100 for a, b in zip(scores["always"], scores[way], strict=True)]
        ratios = [a / b for a, b in zip(taken["always"], taken[way], strict=True)]
        middle = statistics.median
        yield Change(path.stem, way, len(moved), middle(moved), max(moved), middle(ratios))


def main(
    footage: Annotated[list[Path], typer.Argument(help="Videos.")],
    bundle: Annotated[Path, typer.Option(help="A calibrated bundle of an autoencoder.")],
    key: Annotated[float, typer.Option(min=0.1, help="Seconds from key frame to key frame.")] = 0.5,
    megabits: Annotated[float, typer.Option(min=0.05, help="A second, of the encoded footage.")] = 4.0,
    looks: Annotated[int, typer.Option(min=2, help="At most, of each.")] = 24,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of decoding.")] = 3,
    as_it_is: Annotated[bool, typer.Option("--as-it-is", help="Encode nothing.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure.")] = None,
) -> None:
    """Measure and print the table."""
    loaded, about = load_bundle(bundle), facts()
    table = Table("footage", "loop filter", "looks", "score, median", "largest", "decoding, times less")
    found: list[Change] = []
    with tempfile.TemporaryDirectory() as name:
        for path in footage:
            film = path if as_it_is else encoded(path, key, megabits, Path(name))
            found += changes(film, loaded, looks, rounds)
    for one in found:
        moved = f"{one.score_median:.3f} %", f"{one.score_largest:.3f} %"
        table.add_row(one.footage, one.way, str(one.looks), *moved, f"{one.times_less:.2f}")
    Console().print(table)
    Console().print(about)
    if json_file is not None:
        content = {"facts": about, "changes": [asdict(one) for one in found]}
        json_file.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    typer.run(main)
