"""95 % intervals by drawing whole videos: frames of one video are too alike to be drawn one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from train.evaluation.curves import Weights
from train.evaluation.results import Figure

Metric: TypeAlias = Callable[[Weights], float | None]

_TAILS = (2.5, 97.5)  # per cent
_MOST_UNDEFINED = 0.05  # of the draws: where more lack a class, an interval would be of something else


class Bootstrap:
    """The same draws for every figure: `videos` out of `videos`, with replacement, `resamples` times."""

    def __init__(self, videos: int, resamples: int, seed: int) -> None:
        chance = np.random.default_rng(seed)
        self._draws = chance.multinomial(videos, [1 / videos] * videos, resamples).astype(np.float64)
        self._videos = videos

    def figure(self, value: float | None, metric: Metric) -> Figure:
        """`value` with its interval; without one where a single video or too many draws say nothing."""
        if value is None or self._videos < 2 or not len(self._draws):
            return Figure(value=value)
        drawn = [metric(weights) for weights in self._draws]
        defined = [one for one in drawn if one is not None]
        if len(defined) < (1 - _MOST_UNDEFINED) * len(drawn):
            return Figure(value=value)
        low, high = np.percentile(defined, _TAILS)
        return Figure(value=value, low=float(low), high=float(high))

    def measured(self, metric: Metric) -> Figure:
        """A figure whose value is the metric of every video once."""
        return self.figure(metric(np.ones(self._videos)), metric)
