"""Intervals of native frames, from 0, both ends included."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from edge.errors import FootageError
from train.evaluation.layouts.outside import FRAMES
from train.evaluation.truth import Interval


def runs(labels: NDArray[np.bool_]) -> tuple[Interval, ...]:
    """Intervals of the true ones: first and last, both included."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], labels, [False])).astype(np.int8)))
    return tuple((int(first), int(last) - 1) for first, last in edges.reshape(-1, 2))


def joined(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """In order, with those that overlap or touch made one."""
    done: list[Interval] = []
    for first, last in sorted(intervals):
        if done and first <= done[-1][1] + 1:
            done[-1] = (done[-1][0], max(done[-1][1], last))
        else:
            done.append((first, last))
    return tuple(done)


def interval(first: int, last: int, place: str) -> Interval:
    """Both from 0 and included. Raises FootageError naming `place` for what is no interval."""
    if not 0 <= first <= last < FRAMES:
        raise FootageError(
            f"{place}: frames {first} to {last} are no interval; it begins at 0 or later and ends after it."
        )
    return first, last


def without(intervals: tuple[Interval, ...], taken: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """What is left of the intervals (in order, apart) outside those taken."""
    left: list[Interval] = []
    for first, last in intervals:
        for begin, end in taken:
            if end < first or begin > last:
                continue
            if first < begin:
                left.append((first, begin - 1))
            first = end + 1
        if first <= last:
            left.append((first, last))
    return tuple(left)
