"""A clip bundle and its runtime -> a score for a stream: when something does not belong, but not where.

Of a stream that may be faster, pictures are taken at the extractor's own rate; every stride one clip is
complete, one feature is made of it and the head's logit moves the score, which is held until the next.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge.bundle import ModelBundle
from edge.clips import ClipMaker, ClipSpec, Feature, Smoother, Window
from edge.errors import BundleError
from edge.frames import Frame
from edge.light import LightGuard
from edge.observer import Stopwatch
from edge.pipeline import Finding
from edge.recordings import Sampler
from edge.runtimes import OnnxRuntime, Runtime, Tensor

log = logging.getLogger("skerry")

_LEAST_GAP = 3  # periods without a picture after which the ring begins anew, if that is more than ...
_GAP = 0.25  # ... this share of a clip; the last picture stands in for fewer
_PATIENCE = 4  # clips that changes of light may cost in a row; then they count, whatever the light


def clip_of(bundle: ModelBundle) -> ClipSpec:
    """How the bundle makes scores of a stream. Raises BundleError where it does not say, or not soundly."""
    manifest = bundle.manifest
    if manifest.kind != "clip" or manifest.clip is None:
        raise BundleError(
            f"bundle {bundle.folder} ({manifest.kind}) does not say how its clips are made; export it again"
        )
    if manifest.input.frames != 1 or manifest.input.tiling != "none":
        raise BundleError(
            f"bundle {bundle.folder}: a clip model sees whole single pictures, its manifest says otherwise; "
            "export it again"
        )
    return manifest.clip


def extractor_shape(bundle: ModelBundle) -> tuple[int, ...]:
    """Of the extractor's input: 1 x 3 x h x w, or 1 x 3 x frames x h x w."""
    spec, extractor = bundle.manifest.input, clip_of(bundle).extractor
    if extractor.sees == "frame":
        return 1, 3, spec.height, spec.width
    return 1, 3, extractor.frames, spec.height, spec.width


class Extractor:
    """The bundle's extractor, asked once whether its features fit. Raises BundleError."""

    def __init__(self, bundle: ModelBundle, runtime: Runtime) -> None:
        self._runtime = runtime
        self.watch = Stopwatch()
        spec = clip_of(bundle).extractor
        whole = bundle.manifest.files.get(bundle.manifest.variants.get("fp32", ""), spec.sha256)
        if whole != spec.sha256:
            raise BundleError(
                f"the extractor of {bundle.folder} ({whole[:12]}) is not the one that its head was trained "
                f"with ({spec.sha256[:12]}); export it again with that"
            )
        found = self(np.zeros(extractor_shape(bundle), np.float32))
        wanted = spec.width // (2 if spec.sees == "frame" and spec.pooling == "mean-change" else 1)
        if found.shape != (1, wanted):
            raise BundleError(
                f"the extractor of {bundle.folder} gives {_by(found.shape)}, its manifest says "
                f"{_by((1, wanted))}; export it again"
            )
        if not np.isfinite(found).all():
            raise BundleError(f"the extractor of {bundle.folder} gives NaN or infinity; export it again")

    def __call__(self, tensor: Tensor) -> Tensor:
        self.watch.lap("preprocess")
        found = self._runtime(tensor)
        self.watch.lap("infer")
        return found


class Head:
    """1 x history x width -> the newest clip's logit. Raises BundleError for one that does not fit."""

    def __init__(self, bundle: ModelBundle) -> None:
        spec = clip_of(bundle)
        name = f"{bundle.folder}/{spec.head}"
        self._runtime = OnnxRuntime(bundle.read(spec.head), name)
        wanted = 1, spec.history, spec.extractor.width
        found = self._runtime.input_shape
        if found != wanted:
            raise BundleError(
                f"{name} takes {_by(found)}, the manifest says {_by(wanted)}; export the bundle again"
            )
        answer = np.asarray(self._runtime(np.zeros(wanted, np.float32)))
        if answer.size != 1 or not np.isfinite(answer).all():
            raise BundleError(f"{name} does not answer with one number; export the bundle again")

    def __call__(self, window: NDArray[np.float32]) -> float:
        return float(np.asarray(self._runtime(window)).ravel()[0])


class ClipStream:
    """Frames of one flight or recording, in time order -> the smoothed logit, which needs no calibration."""

    def __init__(self, bundle: ModelBundle, runtime: Runtime) -> None:
        self._spec = clip_of(bundle)
        self._extract, self._head = Extractor(bundle, runtime), Head(bundle)
        extractor = self._spec.extractor
        self._sampler = Sampler(extractor.fps)
        self._maker = ClipMaker(extractor, bundle.manifest.input, self._extract)
        self._patience = _PATIENCE * max(extractor.frames, extractor.stride)
        self._gap_s = max(_LEAST_GAP, _GAP * extractor.frames) / extractor.fps
        self._restart()

    def _restart(self, stream_s: float | None = None) -> None:
        self._maker.restart()
        self._window, self._smoother = Window(self._spec), Smoother(self._spec)
        self._guard = LightGuard()
        self._last_s = stream_s
        self._waiting = 0  # pictures since a clip last counted
        self._score: float | None = None

    def observe(self, frame: Frame, watch: Stopwatch) -> float | None:
        """The score by now, held between clips; None before the first clip is complete."""
        self._extract.watch = watch
        due_s = self._sampler.next_s
        if self._sampler.wants(frame.stream_s):
            missed = self._missed(frame.stream_s, due_s)
            for raw in self._clips(frame, missed):
                self._count(raw)
                watch.lap("score")
        return self._score

    def _missed(self, stream_s: float, due_s: float) -> int:
        """Pictures that should have come since the last; after a gap, or time going back, a new start."""
        last_s, self._last_s = self._last_s, stream_s
        if last_s is None:
            return 0
        if not 0 <= stream_s - last_s <= self._gap_s:
            if self._score is not None:
                log.info("a gap of %.1f s in the stream: the clip model starts anew", stream_s - last_s)
            self._restart(stream_s)
            return 0
        return max(0, round((self._sampler.next_s - due_s) / self._sampler.period_s) - 1)

    def _clips(self, frame: Frame, missed: int) -> Iterator[Feature]:
        """Of the clips that this picture, and those missed before it, complete."""
        for _ in range(missed):
            yield from _if_any(self._maker.repeat())
        self._waiting += 1
        if self._guard.stepped(frame.image) and self._waiting < self._patience:
            self._maker.restart()  # a clip with both lights in it would be of neither
        yield from _if_any(self._maker.add(frame.image))

    def _count(self, raw: Feature) -> None:
        self._waiting = 0
        logit = self._head(self._window.add(raw))
        if math.isfinite(logit):  # one that is not would stay in the mean for good
            self._score = self._smoother.add(logit)


class ClipDetector:
    """A calibrated clip bundle. One per flight or recording, frames in time order: it remembers.

    Before the first clip is complete, and after a gap in the stream, the score is the calibrated median.
    """

    def __init__(self, bundle: ModelBundle, runtime: Runtime) -> None:
        self._median = bundle.calibration().median
        self._stream = ClipStream(bundle, runtime)

    def inspect(self, frame: Frame) -> Finding:
        watch = Stopwatch()
        score = self._stream.observe(frame, watch)
        return Finding(score=self._median if score is None else score, stages_ns=watch.laps)


def _if_any(feature: Feature | None) -> Iterator[Feature]:
    if feature is not None:
        yield feature


def _by(shape: tuple[int, ...]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape)
