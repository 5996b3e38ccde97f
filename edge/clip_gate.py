"""Clips that a clip model is tried on, what it says of them, and the gate for an engine of its extractor.

The painted clips are alike on every machine and need no footage: they find an extractor that computes
something else. How a little less precision does on somebody's footage was measured at export.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle import ModelBundle
from edge.clip_detector import Head, clip_of
from edge.clips import ClipMaker, ClipSpec, Extract, Features, Window
from edge.engines import GateResult
from edge.errors import BundleError
from edge.frames import Picture
from edge.preprocess import InputSpec
from edge.simcam import Painter, Scene

CLIPS = 8
LIGHTS = (1.0, 0.4, 1.6)  # by day, at dusk, blinding
LEAST_SPREAD = 0.1  # of logits: a fortieth of a probability is no drift, however alike the clips are
ALIEN = 0.9  # least cosine of a file's features with fp32's: quantised it is 0.98, of another network 0.3

Clip = Sequence[Picture]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClipTolerance:
    """`drift`: largest change of a logit, in their standard deviations; `cosine`: the least of a feature."""

    drift: float = 0.5
    cosine: float = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What a model says of each clip, as if a stream began with it: logits, and clips x width."""

    logits: Scores
    features: Features

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.logits).all() and np.isfinite(self.features).all())


def painted(spec: ClipSpec, picture: InputSpec, count: int = CLIPS) -> Iterator[list[Picture]]:
    """In every other clip something crosses that does not belong; the light differs from clip to clip."""
    made = spec.extractor
    clip_s = made.frames / made.fps
    painter = Painter(Scene(width=640, height=480, fps=made.fps, intruder_every=2 * clip_s))
    size = picture.width, picture.height
    for number in range(count):
        light = LIGHTS[number % len(LIGHTS)]
        shown = (painter.picture(number * made.frames + offset) for offset in range(made.frames))
        lit = (cv2.convertScaleAbs(one, alpha=light) for one in shown)
        yield [np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA), np.uint8) for one in lit]


def feature_of(clip: Clip, spec: ClipSpec, picture: InputSpec, extract: Extract) -> NDArray[np.float32]:
    """The raw feature of exactly one clip's pictures."""
    maker = ClipMaker(spec.extractor, picture, extract)
    found = [feature for image in clip if (feature := maker.add(image)) is not None]
    assert len(found) == 1, "a clip has as many pictures as its extractor sees"
    return found[0]


def told(clips: Iterable[Clip], spec: ClipSpec, picture: InputSpec, extract: Extract, head: Extract) -> Told:
    features = np.stack([feature_of(clip, spec, picture, extract) for clip in clips])
    logits = [float(np.asarray(head(Window(spec).add(feature))).ravel()[0]) for feature in features]
    return Told(np.array(logits), features)


def drifts(ours: Scores, truth: Scores) -> Scores:
    """Changes of logits in the standard deviation of the true ones."""
    return np.asarray(np.abs(ours - truth) / max(float(truth.std()), LEAST_SPREAD))


def cosines(ours: Features, truth: Features) -> Scores:
    """Row by row; 1 where both are the same, 0 where one is nothing but zeros."""
    a, b = ours.astype(np.float64), truth.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    alike = (a == b).all(axis=1)
    return np.asarray(np.where(alike, 1.0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)))


def gate_clips(
    bundle: ModelBundle, engine: Extract, file: Extract, fp32: Extract, tolerance: ClipTolerance
) -> GateResult:
    """As `edge.engine_gate.gate`, which is how it is called."""
    spec, picture, head = clip_of(bundle), bundle.manifest.input, Head(bundle)

    def one(window: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array([head(window)], np.float32)

    clips = list(painted(spec, picture))
    ours, meant, truth = (told(clips, spec, picture, model, one) for model in (engine, file, fp32))
    if not truth.finite:
        raise BundleError(f"the fp32 model of {bundle.folder} gives NaN or infinity; train it again")
    if not meant.finite:
        return not_finite(len(clips), "its ONNX file gives NaN or infinity")
    strayed = float(drifts(meant.logits, truth.logits).max())
    if not ours.finite:
        return not_finite(len(clips), "it gives NaN or infinity", strayed)
    drift, cosine = drifts(ours.logits, meant.logits), float(cosines(ours.features, meant.features).min())
    return GateResult(
        frames=len(clips),
        max_drift=float(drift.max()),
        mean_drift=float(drift.mean()),
        feature_cosine=cosine,
        file_drift=strayed,
        refusal=_alien(meant.features, truth.features) or _refusal(float(drift.max()), cosine, tolerance),
    )


def not_finite(frames: int, refusal: str, strayed: float | None = None) -> GateResult:
    return GateResult(frames=frames, max_drift=None, mean_drift=None, file_drift=strayed, refusal=refusal)


def _alien(file: Features, truth: Features) -> str:
    cosine = float(cosines(file, truth).min())
    if cosine < ALIEN:
        return f"its ONNX file's features have a cosine of {cosine:.2f} with fp32's, as another model's would"
    return ""


def _refusal(drift: float, cosine: float, tolerance: ClipTolerance) -> str:
    if drift > tolerance.drift:
        return f"it moves a score by {drift:.2%} of their spread, more than the {tolerance.drift:.2%} allowed"
    if cosine < tolerance.cosine:
        return (
            f"its features have a cosine of {cosine:.4f} with its file's, at least {tolerance.cosine:g} "
            "is needed"
        )
    return ""
