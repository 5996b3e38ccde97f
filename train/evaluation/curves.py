"""Operating points from the highest score down, under any weights of the videos.

A bootstrap over videos draws each video so and so many times. Sorting is done once here; a draw is then a
weight per video and two running sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from train.evaluation.scored import Bools, Floats

Weights: TypeAlias = Floats  # how often each video is drawn


def dense_ranks(scores: Floats) -> NDArray[np.int64]:
    """Order and ties of the scores, without their values: -inf, a frame without evidence yet, is the least.

    Raises ValueError for NaN, which has no place in an order.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is not a number")
    return np.unique(scores, return_inverse=True)[1].astype(np.int64)


class Pool:
    """Scores of all videos together, each either right (positive) or wrong (negative) to raise."""

    def __init__(self, scores: Sequence[Floats], positive: Sequence[Bools]) -> None:
        ranks = dense_ranks(np.concatenate([*scores, np.zeros(0)]))
        order = np.argsort(-ranks, kind="stable")
        self._video = np.repeat(np.arange(len(scores)), [len(one) for one in scores])[order]
        self._positive = np.concatenate([*positive, np.zeros(0, bool)])[order].astype(np.float64)
        # Equal scores are raised together: only the last of them is an operating point.
        self._ends = np.append(np.flatnonzero(np.diff(ranks[order])), len(order) - 1) if len(order) else order

    def points(self, weights: Weights) -> tuple[Floats, Floats]:
        """(false, true): how many of each are raised; from (0, 0), then one point per distinct score."""
        drawn = weights[self._video]
        true = np.cumsum(drawn * self._positive)[self._ends]
        every = np.cumsum(drawn)[self._ends]
        return np.append(0.0, every - true), np.append(0.0, true)


def area_up_to(x: Floats, y: Floats, limit: float) -> float:
    """Area under (x, y) for x from 0 to `limit`, divided by `limit`; flat from the last point on.

    x ascends from 0; a point beyond the limit is cut by a straight line.
    """
    inside = x <= limit
    end = float(np.interp(limit, x, y)) if not inside.all() else float(y[-1])
    area = np.trapezoid(np.append(y[inside], end), np.append(x[inside], limit))
    return float(area) / limit


def roc_area(false: Floats, true: Floats) -> float | None:
    """Area under the ROC curve; None where one of the classes is absent."""
    if not (false[-1] > 0 and true[-1] > 0):
        return None
    return float(np.trapezoid(true, false) / (false[-1] * true[-1]))


def step_precision(false: Floats, true: Floats) -> float | None:
    """Average precision: sum of (R_n - R_n-1) P_n, no trapezoids."""
    if not (false[-1] > 0 and true[-1] > 0):
        return None
    raised = np.maximum(false + true, 1e-12)
    return float(np.sum(np.diff(true) / true[-1] * (true / raised)[1:]))


def equal_error(false: Floats, true: Floats) -> float | None:
    """Where the false positive rate equals the miss rate, by straight lines between operating points."""
    if not (false[-1] > 0 and true[-1] > 0):
        return None
    rate = false / false[-1]
    beyond = rate - (1 - true / true[-1])  # from -1 up to 1
    right = int(np.argmax(beyond >= 0))
    share = -beyond[right - 1] / (beyond[right] - beyond[right - 1])
    return float(rate[right - 1] + share * (rate[right] - rate[right - 1]))


def best_f1(false: Floats, true: Floats) -> float | None:
    """The largest F1 of any threshold."""
    if not (false[-1] > 0 and true[-1] > 0):
        return None
    return float(np.max(2 * true / (true + false + true[-1])))
