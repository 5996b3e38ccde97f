"""A bundle and its runtime -> what is strange in a frame. One class per kind of model, one contract."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edge.bundle import Kind, ModelBundle
from edge.clip_detector import ClipDetector, clip_of, extractor_shape
from edge.errors import BundleError
from edge.frames import Frame
from edge.localize import Map, boxes, fused
from edge.observer import Memory, Observer, Stopwatch
from edge.openvino_runtime import MARK, openvino_here
from edge.pipeline import Detector, Finding
from edge.runtimes import ON_CUDA, OnnxRuntime, Runtime
from edge.yardsticks import Yardsticks

if TYPE_CHECKING:
    from edge.places import Walk

# Fastest first; "auto" takes the first that the bundle has. Only what passed the gate is in a bundle.
CPU_VARIANTS = ("int8-cpu", "fp32")
FLOWN: tuple[Kind, ...] = ("reconstruction", "evidence", "clip")
# A thumbnail gains nothing by a second thread; a picture in tiles, and a whole clip, need what there is.
TILE_THREADS = min(4, os.cpu_count() or 1)
_NAMES = {"": "ONNX Runtime", MARK: "OpenVINO", ON_CUDA: "ONNX Runtime on CUDA"}


def choose_variant(bundle: ModelBundle, wanted: str) -> str:
    """`wanted`: `auto`, or a variant, with `@openvino` or `@cuda` behind it for that runtime."""
    if wanted != "auto":
        return wanted
    for variant in processor_variants(bundle):
        return variant
    raise BundleError(
        f"bundle {bundle.folder} has no model for this processor; export it with fp32 or int8-cpu"
    )


def processor_variants(bundle: ModelBundle) -> tuple[str, ...]:
    """What of the bundle this processor can run, as choose_variant names it, the one to fly first.

    OpenVINO, where it is installed, is for clips: whole ones it computes in a third of the time, single
    pictures in the same.
    """
    present = [variant for variant in CPU_VARIANTS if variant in bundle.manifest.variants]
    if bundle.manifest.kind != "clip" or not openvino_here():
        return tuple(present)
    if _heavy(bundle):
        return tuple(variant + mark for variant in present for mark in (MARK, ""))
    return (*present, *(variant + MARK for variant in present))


def file_of(variant: str) -> str:
    """The bundle's variant in a variant's name with or without a runtime behind it."""
    return next((variant.removesuffix(mark) for mark in (MARK, ON_CUDA) if variant.endswith(mark)), variant)


def runtime_name(variant: str) -> str:
    """What computes it, for a person."""
    return _NAMES[variant.removeprefix(file_of(variant))]


def input_shape(bundle: ModelBundle) -> tuple[int, ...]:
    spec = bundle.manifest.input
    if bundle.manifest.kind == "clip":
        return extractor_shape(bundle)
    return 1, 3 * spec.frames, spec.height, spec.width


def open_runtime(bundle: ModelBundle, variant: str) -> Runtime:
    """The variant's model, checked against the manifest's input. Raises BundleError, UsageError."""
    wanted = input_shape(bundle)
    file = file_of(variant)
    make = _maker(variant.removeprefix(file))
    name = f"{bundle.folder}/{bundle.manifest.variants.get(file, '')}"
    runtime: Runtime = make(bundle.model(file), name, threads_of(bundle))
    if runtime.input_shape != wanted:
        found = "x".join(map(str, runtime.input_shape))
        raise BundleError(
            f"the {variant} model of {bundle.folder} takes {found}, its manifest says "
            f"{'x'.join(map(str, wanted))}; export it again"
        )
    return runtime


def _maker(mark: str) -> Callable[[bytes, str, int], Runtime]:
    """What makes a runtime of a model's bytes, imported only where the variant's name asks for it."""
    if mark == MARK:
        from edge.openvino_runtime import OpenVinoRuntime

        return OpenVinoRuntime
    if mark == ON_CUDA:
        from edge.cuda_runtime import CudaRuntime

        return CudaRuntime
    return OnnxRuntime


def threads_of(bundle: ModelBundle) -> int:
    """That compute its model at once."""
    return TILE_THREADS if _heavy(bundle) else 1


def _heavy(bundle: ModelBundle) -> bool:
    if bundle.manifest.kind == "clip":
        return clip_of(bundle).extractor.sees == "clip"
    return bundle.manifest.input.tiling != "none"


class CalibratedDetector:
    """What a model and the motion say of a frame, held against what is normal. One per flight or recording,
    frames in time order: it remembers."""

    def __init__(self, bundle: ModelBundle, runtime: Runtime) -> None:
        manifest, calibration = bundle.manifest, bundle.calibration()
        self._scoring = manifest.scoring
        self._observer = Observer(runtime, manifest.input, manifest.scoring, calibration.view, _walk(bundle))
        self._memory = Memory(manifest.scoring.memory_s)
        self._level = calibration.box_level
        self._yardsticks = Yardsticks.from_bytes(bundle.statistics(), len(manifest.scoring.branches))
        if self._yardsticks.latent is None and any(b.source == "latent" for b in self._scoring.branches):
            raise BundleError(
                f"the calibration of {bundle.folder} lacks its latent density; calibrate it again"
            )

    def inspect(self, frame: Frame) -> Finding:
        watch = Stopwatch()
        raw = self._observer.look(frame, watch)
        maps = self._memory(raw.maps(self._scoring, self._yardsticks.latent), frame.stream_s)
        heats = self._yardsticks.heats(maps)
        score, heat = peak(heats), fused(heats)
        watch.lap("score")
        found = () if heat is None else boxes(heat, self._level, frame.width, frame.height)
        watch.lap("localize")
        return Finding(score, heat, found, watch.laps, judged=raw.judged, whole=all_there(maps))


def all_there(maps: Sequence[object | None]) -> bool:
    """Every branch had evidence of the frame."""
    return all(evidence is not None for evidence in maps)


def _walk(bundle: ModelBundle) -> Walk | None:
    """Along the route, of a model that looks at its places."""
    known = bundle.route()
    if known is None:
        return None
    from edge.place_files import places_in

    return places_in(known).walk()


def peak(heats: Sequence[Map | None]) -> float:
    """One frame's score: the largest heat of any branch; 0, as if typical, where none has any evidence."""
    return max((float(heat.max()) for heat in heats if heat is not None), default=0.0)


def open_detector(bundle: ModelBundle, runtime: Runtime) -> Detector:
    """The detector for the bundle's kind. Raises BundleError for a kind this version cannot fly."""
    if bundle.manifest.kind not in FLOWN:
        raise BundleError(
            f"bundle {bundle.folder} holds a {bundle.manifest.kind} model; this version flies "
            f"{', '.join(FLOWN)}"
        )
    if bundle.manifest.kind == "clip":
        return ClipDetector(bundle, runtime)
    return CalibratedDetector(bundle, runtime)
