"""The gate on the device: an engine flies only if it says what ONNX Runtime says of the same file.

The pictures are painted, alike on every machine, and need no calibration: this finds an engine that computes
something else than its file. How well the file keeps to fp32 was measured at export, on real footage; on
painted pictures it strays further. That is told beside, and only a file of another model is refused for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle import ModelBundle, Scoring
from edge.clip_gate import LIGHTS, ClipTolerance, gate_clips, not_finite
from edge.engines import GateResult
from edge.errors import BundleError
from edge.frames import Picture
from edge.localize import error_map
from edge.observer import HEAD, Raw, probability
from edge.preprocess import InputSpec, pair_to_tensor, to_tensor
from edge.runtimes import Tensor
from edge.simcam import Painter, Scene

FRAMES = 16
SCENE = Scene(width=640, height=480, fps=1.0, intruder_every=6.0)  # every other picture has an intruder
LEAST = 1e-6  # of a score: what is smaller is rounding
SPREAD_FLOOR = 0.01  # of the widest channel's spread, as in calibration
ALIEN = 0.1  # a file's drift from fp32: quantising an autoencoder makes 0.01, another training at least 0.34

Model = Callable[[Tensor], Tensor]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """`drift`: largest relative change of a score; `features`: largest mean change of a picture's features,
    in their standard deviations; `clips`: of models of clips. All of the engine against its file."""

    drift: float = 0.005
    features: float = 0.02
    clips: ClipTolerance = field(default_factory=ClipTolerance)

    @classmethod
    def of(cls, drift: float | None) -> Tolerance:
        """`drift` for whatever kind of model it is; None for what is usual of each."""
        return cls() if drift is None else cls(drift=drift, clips=ClipTolerance(drift=drift))


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a model says of every picture: pictures x branches, and pictures x channels x places."""

    scores: Scores
    features: NDArray[np.float32]

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.scores).all() and np.isfinite(self.features).all())


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """From one answer to another; relative, of features in their spread (None for a model without)."""

    drift: NDArray[np.float64]
    features: float | None

    @property
    def largest(self) -> float:
        return float(self.drift.max(initial=0))


def gate(bundle: ModelBundle, engine: Model, file: Model, fp32: Model, tolerance: Tolerance) -> GateResult:
    """`file`: what the engine was built from, by ONNX Runtime, as is `fp32`. `refusal` says why it fails.

    Raises BundleError for an fp32 model that gives NaN or infinity.
    """
    if bundle.manifest.kind == "clip":
        return gate_clips(bundle, engine, file, fp32, tolerance.clips)
    tensors, scoring = list(pictures(bundle.manifest.input)), bundle.manifest.scoring
    told, meant, truth = (answer(tensors, model, scoring) for model in (engine, file, fp32))
    if not truth.finite:
        raise BundleError(f"the fp32 model of {bundle.folder} gives NaN or infinity; train it again")
    if not meant.finite:
        return not_finite(len(tensors), "its ONNX file gives NaN or infinity")
    strayed = _change(meant, truth)
    if not told.finite:
        return not_finite(len(tensors), "it gives NaN or infinity", strayed.largest)
    change = _change(told, meant)
    return GateResult(
        frames=len(tensors),
        max_drift=change.largest,
        mean_drift=float(change.drift.mean()) if change.drift.size else 0.0,
        feature_drift=change.features,
        file_drift=strayed.largest,
        refusal=_alien(strayed.largest, tolerance) or _refusal(change, tolerance),
    )


def _change(told: Answer, truth: Answer) -> Change:
    usual = np.maximum(np.median(truth.scores, axis=0), LEAST)  # what is less foreign raises no alarm
    drift = np.abs(told.scores - truth.scores) / np.maximum(truth.scores, usual)
    return Change(drift, _moved(told.features, truth.features))


def _alien(strayed: float, tolerance: Tolerance) -> str:
    if strayed > max(ALIEN, tolerance.drift):
        return f"its ONNX file moves a score of fp32's by {strayed:.2%}, as that of another model would"
    return ""


def _refusal(change: Change, tolerance: Tolerance) -> str:
    drift, moved = change.largest, change.features
    if drift > tolerance.drift:
        return f"it moves a score by {drift:.2%}, more than the {tolerance.drift:.2%} allowed"
    if moved is not None and moved > tolerance.features:
        return f"it moves the features by {moved:.2%} of their spread, allowed are {tolerance.features:.2%}"
    return ""


def pictures(spec: InputSpec) -> Iterator[Tensor]:
    """The fixed pictures at the model's size; of a model of pairs each with the one before it."""
    painter = Painter(SCENE)
    shown = [_lit(painter.picture(n), LIGHTS[n % len(LIGHTS)]) for n in range(FRAMES + 1)]
    if spec.frames == 1:
        yield from (to_tensor(picture, spec) for picture in shown[1:])
        return
    sized = [np.asarray(cv2.resize(one, (spec.width, spec.height)), np.uint8) for one in shown]
    for before, now in itertools.pairwise(sized):
        yield pair_to_tensor(now, before, spec)


def _lit(picture: Picture, light: float) -> Picture:
    return np.asarray(cv2.convertScaleAbs(picture, alpha=light), np.uint8)


def answer(tensors: list[Tensor], model: Model, scoring: Scoring) -> Answer:
    """Per branch the peak of its windowed map, as in flight; what needs calibrating goes by its features."""
    scores, features = [], []
    for tensor in tensors:
        output = model(tensor)
        raw = _raw(tensor, output, scoring)
        scores.append([float(one.max()) for one in raw.maps(scoring, None) if one is not None])
        kept = output[0, HEAD:] if raw.head is not None else output[0, :0]
        features.append(kept.reshape(kept.shape[0], kept.shape[1] * kept.shape[2]))
    return Answer(np.array(scores, np.float64), np.stack(features))


def _raw(tensor: Tensor, output: Tensor, scoring: Scoring) -> Raw:
    if output.shape == tensor.shape:
        return Raw(error=error_map(tensor, output, relight=scoring.relight))
    return Raw(head=probability(output[0, :HEAD]))


def _moved(told: NDArray[np.float32], truth: NDArray[np.float32]) -> float | None:
    """The picture whose features moved most, on average over them; None for a model without."""
    if truth.size == 0:
        return None
    spread = truth.std(axis=(0, 2), keepdims=True, dtype=np.float64)
    floor = max(SPREAD_FLOOR * float(spread.max()), float(np.finfo(np.float32).tiny))
    return float((np.abs(told - truth) / np.maximum(spread, floor)).mean(axis=(1, 2)).max())
