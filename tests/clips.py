"""Clip bundles for tests, and streams of small pictures in which something red now and then appears."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge.bundle import Calibration, Manifest, ModelBundle, Scoring, write_bundle
from edge.clips import ClipSpec, ExtractorSpec
from edge.frames import Frame, Picture
from edge.preprocess import InputSpec
from tests.builders import NOON

FOLDER = Path(__file__).parent / "data"
FPS = 4.0
SMALL = InputSpec(height=32, width=32)


def extractor_spec(sees: Literal["frame", "clip"] = "frame", **changes: Any) -> ExtractorSpec:
    model = (FOLDER / ("patches.onnx" if sees == "frame" else "patches3d.onnx")).read_bytes()
    given = {"frames": 4, "stride": 2, "fps": FPS, "width": 48, **changes}
    return ExtractorSpec(sees=sees, sha256=sha256(model).hexdigest(), **given)


def clip_spec(extractor: ExtractorSpec | None = None, **changes: Any) -> ClipSpec:
    return ClipSpec(extractor=extractor or extractor_spec(), **{"history": 2, **changes})


def clip_bundle(
    path: Path,
    spec: ClipSpec | None = None,
    head: str = "red.onnx",
    extractor: str | None = None,
    **changes: Any,
) -> ModelBundle:
    """An uncalibrated clip bundle; the head says how red the stream is, or how much changes."""
    spec = spec or clip_spec()
    model = extractor or ("patches.onnx" if spec.extractor.sees == "frame" else "patches3d.onnx")
    given: dict[str, Any] = {"kind": "clip", "input": SMALL, "clip": spec, **changes}
    manifest = Manifest(
        name="red",
        created=NOON,
        scoring=Scoring(persistence=1),
        variants={"fp32": "model.fp32.onnx"},
        files={},
        **given,
    )
    files = {"model.fp32.onnx": (FOLDER / model).read_bytes()}
    return write_bundle(path, manifest, {**files, spec.head: (FOLDER / head).read_bytes()})


def calibrated(
    bundle: ModelBundle, threshold: float = 1.0, median: float = 0.0, **changes: Any
) -> ModelBundle:
    """With a calibration as if measured: block maxima evenly between the median and the threshold."""
    maxima = tuple(float(value) for value in np.linspace(median, threshold, 200))
    clip = bundle.manifest.clip
    found: dict[str, Any] = {
        "threshold": threshold,
        "release": median + 0.7 * (threshold - median),
        "median": median,
        "box_level": median + 0.4 * (threshold - median),
        "false_alarms_per_hour": 2.0,
        "method": "pareto",
        "smallest_rate": 0.5,
        "expected": (0.0, 4.0),
        "view": (32, 32),
        "block_s": 10.0,
        "block_maxima": maxima,
        "footage_s": 2000.0,
        "frames": 8000,
        "fps": clip.extractor.fps if clip else 2.0,
        "variant": "fp32",
        "statistics": None,
        "created": NOON,
    }
    calibration = Calibration(**{**found, **changes})
    return write_bundle(bundle.folder, bundle.manifest.model_copy(update={"calibration": calibration}), {})


def picture(seed: int, red: bool = False, size: tuple[int, int] = (48, 64)) -> Picture:
    """A grey gradient with noise; where red, half of it is."""
    random = np.random.default_rng(seed)
    found = np.linspace(60, 160, size[1])[None, :, None] + random.normal(0, 3, (*size, 3))
    if red:
        found[:, : size[1] // 2] = (20, 20, 200)
    return np.asarray(np.clip(found, 0, 255), np.uint8)


def pictures(plan: str, seed: int = 0) -> list[Picture]:
    """One picture per letter: `.` normal, `X` red."""
    return [picture(seed + n, letter == "X") for n, letter in enumerate(plan)]


def stream(shown: Sequence[Picture], fps: float = FPS, start_s: float = 0.0) -> list[Frame]:
    moments = [start_s + n / fps for n in range(len(shown))]
    return [Frame(p, n, s, round(s * 1e9), NOON) for n, (p, s) in enumerate(zip(shown, moments, strict=True))]
