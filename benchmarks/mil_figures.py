"""Scores of bags -> the figures of the field, offline and streaming apart; of several runs, their spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmarks.contest import spread
from benchmarks.mil_scores import Told
from train.bags import Bools, Floats
from train.evaluation.frames import confusion, micro_auc, ratio
from train.evaluation.results import Confusion

Way = Literal["offline", "streaming"]
WAYS: tuple[Way, ...] = ("offline", "streaming")
ALARMING = 0.2  # share of the normal bags to validate on that may stand above the threshold


class Figures(BaseModel):
    """`threshold` is from normal bags of other sources; `hindsight`: the accuracy of the best there was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment_auc: float | None
    video_auc: float | None
    threshold: float
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    confusion: Confusion
    hindsight: float


def figures(test: Sequence[Told], validation: Sequence[Told], way: Way) -> Figures:
    """A video's score is its highest; positive is anomalous."""
    threshold = float(
        np.quantile(_highest([one for one in validation if not one.anomalous], way), 1 - ALARMING)
    )
    scores, labels = _highest(test, way), np.array([one.anomalous for one in test])
    table = confusion(scores, labels, threshold)
    hit, false, missed = table.true_positive, table.false_positive, table.false_negative
    return Figures(
        segment_auc=micro_auc(
            np.concatenate([getattr(one, way) for one in test]), np.concatenate([one.truth for one in test])
        ),
        video_auc=micro_auc(scores, labels),
        threshold=threshold,
        accuracy=ratio(hit + table.true_negative, len(labels)),
        precision=ratio(hit, hit + false),
        recall=ratio(hit, hit + missed),
        f1=ratio(2 * hit, 2 * hit + false + missed),
        confusion=table,
        hindsight=best_accuracy(scores, labels),
    )


def _highest(bags: Sequence[Told], way: Way) -> Floats:
    return np.array([float(getattr(one, way).max()) for one in bags])


def best_accuracy(scores: Floats, labels: Bools) -> float:
    """Of any threshold, alarms everywhere and nowhere among them."""
    levels = np.append(np.unique(scores), np.inf)
    return max(float(((scores >= level) == labels).mean()) for level in levels)


def summed(tables: Sequence[Confusion]) -> Confusion:
    """Of several parts."""
    return Confusion(**{name: sum(getattr(one, name) for one in tables) for name in Confusion.model_fields})


COLUMNS: dict[str, Callable[[Figures], float | None]] = {
    "segment AUC": lambda one: one.segment_auc,
    "video AUC": lambda one: one.video_auc,
    "accuracy": lambda one: one.accuracy,
    "precision": lambda one: one.precision,
    "recall": lambda one: one.recall,
    "F1": lambda one: one.f1,
    "best accuracy": lambda one: one.hindsight,
}


def cells(runs: Sequence[Figures]) -> list[str]:
    """Mean ± standard deviation over the runs, for each column; then the confusion of all of them."""
    shown = []
    for value in COLUMNS.values():
        both = spread(value(one) for one in runs)
        shown.append("-" if both is None else f"{both[0]:.3f} ± {both[1]:.3f}")
    table = summed([one.confusion for one in runs])
    counts = table.true_positive, table.false_negative, table.false_positive, table.true_negative
    return [*shown, " / ".join(map(str, counts))]


HEADINGS = ("", *COLUMNS, "TP / FN / FP / TN")
