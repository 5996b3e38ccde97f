"""A bundle and its runtime -> what is strange in a frame. One class per kind of model, one contract."""

from __future__ import annotations

import time
from dataclasses import dataclass

from edge.bundle import ModelBundle, Scoring
from edge.errors import BundleError
from edge.frames import Frame, Picture
from edge.localize import ErrorStatistics, Map, boxes, error_map, windowed
from edge.pipeline import Finding
from edge.preprocess import InputSpec, to_tensor
from edge.runtimes import OnnxRuntime, Runtime

# Fastest first; "auto" takes the first that the bundle has. Only what passed the gate is in a bundle.
CPU_VARIANTS = ("int8-cpu", "fp32")


def choose_variant(bundle: ModelBundle, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    for variant in CPU_VARIANTS:
        if variant in bundle.manifest.variants:
            return variant
    raise BundleError(
        f"bundle {bundle.folder} has no model for this processor; export it with fp32 or int8-cpu"
    )


def open_runtime(bundle: ModelBundle, variant: str) -> Runtime:
    """The variant's model, checked against the manifest's input. Raises BundleError."""
    runtime = OnnxRuntime(
        bundle.model(variant), f"{bundle.folder}/{bundle.manifest.variants.get(variant, '')}"
    )
    spec = bundle.manifest.input
    wanted = (1, 3, spec.height, spec.width)
    if runtime.input_shape != wanted:
        found = "x".join(map(str, runtime.input_shape))
        raise BundleError(
            f"the {variant} model of {bundle.folder} takes {found}, its manifest says "
            f"{'x'.join(map(str, wanted))}; export it again"
        )
    return runtime


class Stopwatch:
    """Nanoseconds between laps, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, int] = {}
        self._last = time.perf_counter_ns()

    def lap(self, name: str) -> None:
        now = time.perf_counter_ns()
        self.laps[name], self._last = now - self._last, now


@dataclass(frozen=True, slots=True)
class Reconstructor:
    """Picture -> error maps: the part that calibration and flight share, and that needs no calibration."""

    runtime: Runtime
    spec: InputSpec
    scoring: Scoring

    def errors(self, image: Picture, watch: Stopwatch) -> tuple[Map, Map]:
        """H x W x 3 BGR -> error map and its windowed mean, both h x w."""
        tensor = to_tensor(image, self.spec)
        watch.lap("preprocess")
        output = self.runtime(tensor)
        watch.lap("infer")
        error = error_map(tensor, output)
        return error, windowed(error, self.scoring.window)


def raw_score(error: Map, heat: Map, scoring: Scoring) -> float:
    """One frame's score by the bundle's rule."""
    return float(heat.max()) if scoring.rule == "peak" else float(error.mean())


class ReconstructionDetector:
    """CAE family: what the model cannot rebuild, calibrated per place."""

    def __init__(self, bundle: ModelBundle, runtime: Runtime) -> None:
        manifest, calibration = bundle.manifest, bundle.calibration()
        self._reconstructor = Reconstructor(runtime, manifest.input, manifest.scoring)
        self._level = calibration.box_level
        shape = (manifest.input.height, manifest.input.width)
        self._statistics = ErrorStatistics.from_bytes(bundle.read(calibration.statistics), shape)

    def inspect(self, frame: Frame) -> Finding:
        watch = Stopwatch()
        error, smooth = self._reconstructor.errors(frame.image, watch)
        heat = self._statistics.heat(smooth)
        score = raw_score(error, heat, self._reconstructor.scoring)
        watch.lap("score")
        found = boxes(heat, self._level, frame.width, frame.height)
        watch.lap("localize")
        return Finding(score=score, heat=heat, boxes=found, stages_ns=watch.laps)


def open_detector(bundle: ModelBundle, runtime: Runtime) -> ReconstructionDetector:
    """The detector for the bundle's kind. Raises BundleError for a kind this version cannot fly."""
    if bundle.manifest.kind != "reconstruction":
        raise BundleError(
            f"bundle {bundle.folder} holds a {bundle.manifest.kind} model; this version flies reconstruction"
        )
    return ReconstructionDetector(bundle, runtime)
