"""Scores of one video as flight would have seen it: the contract between the detector's run and metrics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.events import Box
from train.evaluation.truth import Video

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scored:
    """The frames that were looked at, in time order; every array has one entry per such frame (n).

    `raw` is the detector's score of the frame alone, `causal` what the alarm looks at (strict figures use it
    and nothing else). `boxes` are in native pixels, hottest first; `heat` n x h x w float16 or None.
    """

    video: Video
    frame: NDArray[np.int64]  # native numbers, from 0
    stream_s: Floats
    raw: Floats
    causal: Floats
    abnormal: Bools
    counted: Bools  # False: neither normal nor abnormal, left out of every figure
    boxes: tuple[tuple[Box, ...], ...]
    heat: NDArray[np.float16] | None
    size: tuple[int, int]  # native height, width
    period_s: float  # between looked-at frames
    judged: float = 1.0  # mean share of the pictures that the detector could hold against something

    def __post_init__(self) -> None:
        n = len(self.frame)
        lengths = {len(self.stream_s), len(self.raw), len(self.causal), len(self.abnormal), len(self.counted)}
        if lengths != {n} or len(self.boxes) != n or (self.heat is not None and len(self.heat) != n):
            raise ValueError(f"{self.video.name}: scores and truth differ in length")
