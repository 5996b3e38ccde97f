"""Footage scored by a calibrated bundle as in flight, broker and incidents left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edge.bundle import ModelBundle
from edge.calibrate import block_maxima
from edge.detector import choose_variant, open_detector, open_runtime
from edge.incidents import Evidence
from edge.recordings import FOLDER_FPS, expected_looks, open_recording, sampled
from edge.runtimes import Runtime

Progress = Callable[[int, int], None]  # frames done, of about how many


def causal_scores(
    bundle: ModelBundle,
    runtime: Runtime,
    recording: Path,
    folder_fps: float = FOLDER_FPS,
    tell: Callable[[], None] = lambda: None,
) -> list[tuple[float, float]]:
    """(seconds since the first frame, the score that meets the threshold) of every frame looked at.

    Detector and persistence begin anew, as in a flight of its own.
    """
    inspect = open_detector(bundle, runtime).inspect
    evidence = Evidence(bundle.manifest.scoring.persistence)
    found: list[tuple[float, float]] = []
    with open_recording(recording, folder_fps=folder_fps) as frames:
        for frame in sampled(frames, bundle.calibration().fps):
            finding = inspect(frame)
            found.append((frame.stream_s, evidence(finding.score, finding.whole)))
            tell()
    return [(seconds - found[0][0], score) for seconds, score in found]


def flight_maxima(
    bundle: ModelBundle,
    recordings: Sequence[Path],
    folder_fps: float = FOLDER_FPS,
    variant: str = "auto",
    progress: Progress = lambda *_: None,
) -> list[float]:
    """Block maxima of flights, in the blocks and at the rate of the bundle's calibration.

    Raises BundleError without a calibration, FootageError for what cannot be read.
    """
    calibration = bundle.calibration()
    expected = sum(expected_looks(path, calibration.fps, folder_fps) for path in recordings)
    flights: list[list[tuple[float, float]]] = []
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        progress(done, expected)

    with open_runtime(bundle, choose_variant(bundle, variant)) as runtime:
        for path in recordings:
            flights.append(causal_scores(bundle, runtime, path, folder_fps, tell))
    return block_maxima([flight for flight in flights if flight], calibration.block_s)
