"""Scored videos -> every figure of an evaluation, strict and legacy apart."""

from __future__ import annotations

from collections.abc import Sequence

from train.evaluation.results import Judgement
from train.evaluation.scored import Floats, Scored


def judge(
    scored: Sequence[Scored],
    threshold: float | None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    mse: Sequence[Floats] | None = None,
) -> Judgement:
    """Judge all videos of one data set together.

    `threshold` is the bundle's, from normal footage; None leaves out what needs one. `mse` is the mean squared
    error of each looked-at frame, per video, where the detector has it. Same seed, same intervals.
    """
    raise NotImplementedError
