"""What a trained head says of whole videos, each scored as in flight: causally, clip by clip, smoothed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edge.clips import ClipSpec, Features, Window, smoothed
from train.bags import Bag, Bools, Floats, sources_of
from train.evaluation.frames import confusion, micro_auc, ratio
from train.evaluation.results import Confusion
from train.mil import Head

_AT_ONCE = 512  # windows; a long video has many thousands
SHARE = 0.1  # of normal videos that may come to lie above the threshold


def stream_scores(head: Head, spec: ClipSpec, raw: Features) -> Floats:
    """clips x width of one video -> the smoothed logit after each clip. `head` in evaluation mode."""
    with torch.inference_mode():
        logits = [head(torch.from_numpy(windows)).numpy() for windows in _windows(raw, spec)]
    return smoothed(np.concatenate(logits), spec)


def _windows(raw: Features, spec: ClipSpec) -> Iterator[NDArray[np.float32]]:
    window, waiting = Window(spec), []
    for row in raw:
        waiting.append(window.add(row))
        if len(waiting) == _AT_ONCE:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def video_scores(head: Head, spec: ClipSpec, bags: Sequence[Bag]) -> Floats:
    """The highest score of each."""
    return np.array([stream_scores(head, spec, bag.features).max() for bag in bags])


@dataclass(frozen=True)
class Threshold:
    """At or above it a video counts as anomalous. `normals`: from so many videos of `sources`; `expected`:
    the share of further normal ones like them that comes to lie there."""

    value: float
    normals: int
    sources: int
    expected: float


def threshold_of(normal: Floats, sources: int, share: float = SHARE) -> Threshold | None:
    """Just above the lowest of these scores that further normal videos exceed in at most `share` of all
    cases, else above the highest. None where there are none.

    Of n scores and one more from the same source, that one exceeds the k-th lowest in 1 - k / (n + 1).
    """
    count = len(normal)
    if not count:
        return None
    place = min(count, math.ceil((count + 1) * (1 - share) - 1e-9))
    value = float(np.nextafter(np.sort(normal)[place - 1], np.inf))
    return Threshold(value, count, sources, 1 - place / (count + 1))


@dataclass(frozen=True)
class Verdict:
    """Videos at a threshold, and `auc`, which needs none."""

    counted: Confusion
    auc: float | None

    @property
    def accuracy(self) -> float | None:
        c = self.counted
        return ratio(
            c.true_positive + c.true_negative,
            c.true_positive + c.true_negative + c.false_positive + c.false_negative,
        )

    def of_class(self, anomalous: bool) -> tuple[float | None, float | None, float | None]:
        """(precision, recall, F1) with that class as the positive one."""
        c = self.counted
        hits, strays, missed = (
            (c.true_positive, c.false_positive, c.false_negative)
            if anomalous
            else (c.true_negative, c.false_negative, c.false_positive)
        )
        return (
            ratio(hits, hits + strays),
            ratio(hits, hits + missed),
            ratio(2 * hits, 2 * hits + strays + missed),
        )


def verdict_of(scores: Floats, anomalous: Bools, threshold: float) -> Verdict:
    return Verdict(confusion(scores, anomalous, threshold), micro_auc(scores, anomalous))


@dataclass(frozen=True)
class Judged:
    """What held-out videos say of a head, at a threshold from other, normal videos."""

    verdict: Verdict
    threshold: Threshold

    def lines(self) -> list[str]:
        """For a person to read, with anomalous as the positive class."""
        t, v = self.threshold, self.verdict
        c = v.counted
        return [
            f"threshold {t.value:.4g} from {t.normals} normal validation videos, {t.sources} sources: of "
            f"further ones like them {t.expected:.0%} are expected at or above it",
            f"accuracy {_said(v.accuracy)}, AUC {_said(v.auc)}",
            *(
                f"{name:<10} precision {_said(p)}, recall {_said(r)}, F1 {_said(f)}"
                for name, (p, r, f) in (("anomalous", v.of_class(True)), ("normal", v.of_class(False)))
            ),
            f"anomalous videos: {c.true_positive} found, {c.false_negative} missed; "
            f"normal videos: {c.true_negative} passed, {c.false_positive} alarmed",
        ]


def judged(head: Head, spec: ClipSpec, validation: Sequence[Bag], test: Sequence[Bag]) -> Judged | None:
    """None where there is no normal video to take a threshold from."""
    normal = [bag for bag in validation if not bag.anomalous]
    threshold = threshold_of(video_scores(head, spec, normal), sources_of(normal))
    if threshold is None:
        return None
    labels = np.array([bag.anomalous for bag in test], bool)
    return Judged(verdict_of(video_scores(head, spec, test), labels, threshold.value), threshold)


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
