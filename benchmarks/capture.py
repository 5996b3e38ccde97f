"""What it costs the processor to watch a 30 fps stream at 2 fps, against reading every frame with OpenCV.

    python benchmarks/capture.py [--rounds 3] [--seconds 20] [--early 0.1] [--only 1080p-1s] [--json out.json]

Films an aerial view (terrain of several scales, panned and turned, sensor noise) into H.264 with key frames
at several distances, and reads each film in turns: every frame with `cv2.VideoCapture.read()`; Skerry's
source at 2 fps; the same film sent over TCP as a live camera sends it. All give BGR pictures. CPU time is the
process's own, all threads, so that other work on the machine matters little; ratios are formed within a
round and given as median and range. A look may come as early as in the flight of an autoencoder; `--early 0`
keeps it to its moment. Films are kept in the folder for the next time.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import socket
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edge.clock import SystemClock
from edge.errors import CameraError, UsageError
from edge.leeway import EARLY_S, Leeway
from edge.pipeline import EndOfStream
from edge.sources import open_source
from edge.streams import StreamCamera

FPS = 2.0


@dataclass(frozen=True)
class Film:
    name: str
    width: int
    height: int
    key_s: float  # seconds from key frame to key frame
    b_frames: int
    megabits: int
    reach: float  # times less CPU than OpenCV
    aim: float


FILMS = (
    Film("1080p-0.5s", 1920, 1080, 0.5, 0, 8, 3.5, 4.0),
    Film("1080p-1s", 1920, 1080, 1.0, 0, 8, 2.2, 2.5),
    Film("1080p-8s", 1920, 1080, 8.0, 0, 8, 1.3, 1.6),
    Film("1080p-8s-B", 1920, 1080, 8.0, 3, 8, 1.75, 2.0),
    Film("4K-1s", 3840, 2160, 1.0, 0, 25, 2.5, 2.9),
)


def terrain(height: int, width: int) -> NDArray[np.uint8]:
    """Fractal ground with sharp-edged roofs, BGR."""
    rng = np.random.default_rng(0)
    relief = np.zeros((height, width), np.float32)
    for cells in (4, 8, 16, 32, 64, 128, 256, 512):
        coarse = rng.random((cells, cells), dtype=np.float32)
        relief += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / cells**0.7
    relief = (relief - relief.min()) / np.ptp(relief)
    ground = np.array((60, 110, 100), np.float32) * (0.4 + 1.2 * relief[:, :, None])
    image = np.clip(ground, 0, 255).astype(np.uint8)
    for _ in range(400):
        x, y, w, h = rng.integers((0, 0, 20, 20), (width, height, 120, 120)).tolist()
        cv2.rectangle(image, (x, y), (x + w, y + h), rng.integers(60, 230, 3).tolist(), cv2.FILLED)
    return np.asarray(image, np.uint8)


def shot(film: Film, seconds: int, folder: Path) -> Path:
    """The film, made where it is not there yet."""
    path = folder / f"{film.name}-{seconds}s.mp4"
    if path.exists():
        return path
    ground = folder / f"ground-{film.height}.png"
    if not ground.exists():
        cv2.imwrite(str(ground), terrain(film.height * 2, film.width * 2))
    view = (
        f"rotate=0.05*sin(t/3):bilinear=1,crop={film.width}:{film.height}"
        f":x='iw/4+iw/8*sin(t/5)':y='ih/4+ih/8*sin(t/7)',noise=alls=5:allf=t"
    )
    keys = ["-g", str(round(30 * film.key_s)), "-keyint_min", "1", "-sc_threshold", "0"]
    rate = [f"{film.megabits}M"] * 3
    coding = ["-c:v", "libx264", "-preset", "veryfast", "-bf", str(film.b_frames), "-pix_fmt", "yuv420p"]
    coding += [word for pair in zip(("-b:v", "-maxrate", "-bufsize"), rate, strict=True) for word in pair]
    half = path.with_name(f"half-{path.name}")
    ffmpeg("-loop", "1", "-framerate", "30", "-t", seconds, "-i", ground, "-vf", view, *coding, *keys, half)
    half.rename(path)
    return path


def as_sent(path: Path) -> Path:
    """The same packets as an MPEG transport stream."""
    sent = path.with_suffix(".ts")
    if not sent.exists():
        ffmpeg("-i", path, "-c", "copy", sent)
    return sent


def ffmpeg(*words: object) -> None:
    line = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *map(str, words)]
    subprocess.run(line, check=True)


def read_all(path: Path, _: Leeway) -> int:
    """OpenCV: every frame decoded and converted; those of 2 fps counted."""
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return round(count * FPS / 30)


def read_recorded(path: Path, leeway: Leeway) -> int:
    clock, count = SystemClock(), 0
    source = open_source(str(path), fps=FPS, replay="fast", folder_fps=10, clock=clock, leeway=leeway)
    try:
        while True:
            count += source.read() is not None
    except EndOfStream:
        return count
    finally:
        source.close()


def read_live(path: Path, leeway: Leeway) -> int:
    with sending(as_sent(path)) as uri:
        camera, count = StreamCamera(uri, "camera", fps=FPS, leeway=leeway), 0
        camera.open()
        try:
            while True:
                picture = camera.read()
                count += picture is not None and picture().size > 0
        except CameraError:  # the sender hung up
            return count
        finally:
            camera.close()


@contextmanager
def sending(path: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = threading.Thread(target=_send, args=(listener, path), daemon=True)
        sender.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        sender.join(5)


def _send(listener: socket.socket, path: Path) -> None:
    client, _ = listener.accept()
    with client, path.open("rb") as data:
        client.sendfile(data)


WAYS: dict[str, Callable[[Path, Leeway], int]] = {
    "opencv": read_all,
    "recorded": read_recorded,
    "live": read_live,
}


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(path: Path, rounds: int, leeway: Leeway) -> dict[str, list[tuple[float, int]]]:
    """Way -> CPU seconds and frames looked at, a round each; the order turns from round to round."""
    figures: dict[str, list[tuple[float, int]]] = {name: [] for name in WAYS}
    for turn in range(rounds):
        names = list(WAYS) if turn % 2 == 0 else list(reversed(WAYS))
        for name in names:
            before = cpu_s()
            count = WAYS[name](path, leeway)
            figures[name].append((cpu_s() - before, count))
    return figures


def ratios(figures: dict[str, list[tuple[float, int]]], way: str) -> list[float]:
    return [naive[0] / ours[0] for naive, ours in zip(figures["opencv"], figures[way], strict=True)]


def facts() -> dict[str, Any]:
    model = next(
        (line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine()
    )
    return {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": model.partition(":")[2].strip() or model,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("av", "opencv-python-headless", "numpy")},
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each way over each film.")] = 3,
    seconds: Annotated[int, typer.Option(min=4, help="Length of a film.")] = 20,
    early: Annotated[
        float, typer.Option(min=0, max=0.25, help="Seconds by which a look may come early.")
    ] = EARLY_S,
    only: Annotated[list[str] | None, typer.Option(help="Names of films; all without it.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where the films are kept.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure.")] = None,
) -> None:
    """Measure and print the table."""
    films = [film for film in FILMS if not only or film.name in only]
    if not films:
        raise UsageError(f"No such film; there are {', '.join(film.name for film in FILMS)}.")
    folder = folder or Path(tempfile.gettempdir()) / "skerry-capture"
    folder.mkdir(parents=True, exist_ok=True)
    table = Table("film", "OpenCV, CPU s/min", "recorded", "live", "reach", "aim", "looks")
    found = []
    for film in films:
        path = shot(film, seconds, folder)
        figures = measure(path, rounds, Leeway(early_s=early))
        naive = [spent * 60 / seconds for spent, _ in figures["opencv"]]
        looks = "/".join(str(figures[way][0][1]) for way in WAYS)
        times = [f"{spread(ratios(figures, way))} x" for way in ("recorded", "live")]
        table.add_row(film.name, spread(naive), *times, f"{film.reach:g}", f"{film.aim:g}", looks)
        found.append({"film": asdict(film), "figures": figures})
        Console(stderr=True).print(film.name, *times)
    Console().print(table)
    about = facts()
    Console().print(about)
    if json_file is not None:
        json_file.write_text(json.dumps({"facts": about, "found": found}, indent=1))


if __name__ == "__main__":
    typer.run(main)
