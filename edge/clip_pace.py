"""Whether this machine keeps up with a clip bundle, measured, and the stride with which it would."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from edge.bundle import ModelBundle
from edge.clip_detector import clip_of, extractor_shape
from edge.clips import ExtractorSpec
from edge.runtimes import Runtime

SHARE = 0.5  # of the time between two clips that they may take: the rest is for the camera and other models
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """`call_s`: of the extractor once, a picture or a clip as it sees them."""

    extractor: ExtractorSpec
    call_s: float

    @property
    def clip_s(self) -> float:
        """All that one more clip costs."""
        made = self.extractor
        return self.call_s * (min(made.stride, made.frames) if made.sees == "frame" else 1)

    @property
    def share(self) -> float:
        """Of the time between two clips."""
        return self.clip_s * self.extractor.fps / self.extractor.stride

    @property
    def kept(self) -> int:
        """The smallest stride, in frames, that this machine keeps; the bundle's own where it keeps up."""
        made = self.extractor
        if self.share <= SHARE:
            return made.stride
        calls = made.frames if made.sees == "frame" else 1
        return max(made.stride + 1, math.ceil(calls * self.call_s * made.fps / SHARE))

    def said(self) -> str:
        """One sentence for the log, `status` and `skerry doctor`."""
        made = self.extractor
        takes = f"{1000 * self.clip_s:.0f} ms a clip each {made.stride / made.fps:.2g} s"
        if self.share <= SHARE:
            return f"the clip model keeps up: {takes}, {self.share:.0%} of the time"
        return (
            f"the clip model cannot keep up here: {takes}, {self.share:.0%} of the time, its share is "
            f"{SHARE:.0%}; export it with a stride of {self.kept} frames or more, it has {made.stride}"
        )


def measure_pace(bundle: ModelBundle, runtime: Runtime) -> Pace:
    """The quickest of a few calls counts: other work on the machine can only slow them."""
    empty = np.zeros(extractor_shape(bundle), np.float32)
    quickest = math.inf
    for _ in range(_TRIES):
        began = time.perf_counter()
        runtime(empty)
        quickest = min(quickest, time.perf_counter() - began)
    return Pace(clip_of(bundle).extractor, quickest)
