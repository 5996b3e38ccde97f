"""Stage latencies of the daemon's own chain, on the machine in front of you."""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from edge.bundle import ModelBundle
from edge.clock import SystemClock
from edge.detector import choose_variant, open_detector, open_runtime
from edge.errors import UsageError
from edge.events import MAX_PICTURE_BYTES
from edge.frames import Frame
from edge.observer import Stopwatch
from edge.outbox import Outbox
from edge.recordings import open_recording
from edge.simcam import Scene, SimCamera
from edge.snapshots import heat_picture, snapshot

WARM_UP = 10


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Milliseconds, one value per frame."""

    stages: Mapping[str, tuple[float, ...]]

    def percentiles(self) -> dict[str, dict[str, float]]:
        """Stage -> p50, p95, p99, max in milliseconds; `frame` is the sum of one frame's stages."""
        frames = [
            sum(values)
            for values in zip(
                *(self.stages[name] for name in EVERY_FRAME if name in self.stages), strict=True
            )
        ]
        table = {**self.stages, "frame": tuple(frames)}
        return {
            name: {
                **{f"p{q}": float(np.percentile(values, q)) for q in (50, 95, 99)},
                "max": max(values),
            }
            for name, values in table.items()
        }


EVERY_FRAME = ("decode", "preprocess", "motion", "infer", "score", "localize")


def measure(
    bundle: ModelBundle,
    footage: Path | None,
    frames: int,
    variant: str,
    progress: Callable[[int], None] = lambda _: None,
) -> StageTimes:
    """Run the chain over `frames` frames, back to back, after a warm-up. Every frame is treated as an event.

    Raises UsageError when the footage is too short.
    """
    variant = choose_variant(bundle, variant)
    stages: dict[str, list[float]] = defaultdict(list)
    level = bundle.calibration().box_level
    with open_runtime(bundle, variant) as runtime, tempfile.TemporaryDirectory() as folder:
        detector = open_detector(bundle, runtime)
        outbox = Outbox(Path(folder) / "outbox.sqlite")
        for done, (frame, decode_ns) in enumerate(_timed(footage, WARM_UP + frames)):
            finding = detector.inspect(frame)
            watch = Stopwatch()
            picture = snapshot(frame.image, finding.boxes, width=640, cap=MAX_PICTURE_BYTES)
            watch.lap("snapshot")
            if finding.heat is not None:
                heat_picture(finding.heat, level, MAX_PICTURE_BYTES)
            watch.lap("heatmap")
            row = outbox.put("bench", picture or b"")
            watch.lap("outbox")
            outbox.remove(row)
            times = {"decode": decode_ns, **finding.stages_ns, **watch.laps}
            if done >= WARM_UP:
                for name, taken in times.items():
                    stages[name].append(taken / 1e6)
            progress(done + 1)
        outbox.close()
    if not stages:
        raise UsageError(
            f"{footage} has fewer than {WARM_UP + 1} frames; bench needs more to warm up and measure"
        )
    return StageTimes({name: tuple(values) for name, values in stages.items()})


def facts(bundle: ModelBundle, variant: str) -> dict[str, str]:
    """What the figures belong to: without these a latency says nothing."""
    import onnxruntime

    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "bundle": bundle.digest,
        "variant": choose_variant(bundle, variant),
        "pace": "back to back, one thread; at 2 fps with idle gaps a frame takes longer",
    }


def write_json(path: Path, times: StageTimes, about: Mapping[str, str]) -> None:
    try:
        path.write_text(
            json.dumps({"facts": dict(about), "milliseconds": times.percentiles()}, indent=2) + "\n"
        )
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _timed(footage: Path | None, count: int) -> Iterator[tuple[Frame, int]]:
    """Frames with the nanoseconds it took to get each; a generated camera where no footage is named."""
    if footage is None:
        scene = Scene(width=1920, height=1080, frames=count)
        yield from _timed_frames(SimCamera(scene, SystemClock()).frames(_everything))
        return
    with open_recording(footage) as recording:
        yield from islice(_timed_frames(iter(recording)), count)


def _everything(_stream_s: float) -> bool:
    return True


def _timed_frames(frames: Iterable[Frame]) -> Iterator[tuple[Frame, int]]:
    started = time.perf_counter_ns()
    for frame in frames:
        yield frame, time.perf_counter_ns() - started
        started = time.perf_counter_ns()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
