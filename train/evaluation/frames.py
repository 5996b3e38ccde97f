"""Figures of frames: how well scores tell abnormal ones from normal ones.

Strict figures are of scores as they are. `legacy_scores` and `regularity_scores` use each video's own
extremes and, the former, its future; they exist to stand beside published figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d  # type: ignore[import-untyped]
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from train.evaluation.curves import dense_ranks, equal_error
from train.evaluation.results import Confusion
from train.evaluation.scored import Bools, Floats

LEGACY_SIGMA_S = 1.0  # ten frames at 10 fps; published sigmas go from a few frames to hundreds
_LEAST_MSE = 1e-12  # a perfect reconstruction has no finite PSNR


def both_classes(abnormal: Bools) -> bool:
    return bool(abnormal.any() and not abnormal.all())


def micro_auc(scores: Floats, abnormal: Bools) -> float | None:
    """All frames pooled, one ROC curve. None where one of the classes is absent."""
    return float(roc_auc_score(abnormal, dense_ranks(scores))) if both_classes(abnormal) else None


def macro_auc(videos: Sequence[tuple[Floats, Bools]]) -> tuple[float | None, int]:
    """Mean of each video's own AUC, and how many videos lack a class and so have none."""
    areas = [area for area in (micro_auc(*video) for video in videos) if area is not None]
    return (float(np.mean(areas)) if areas else None), len(videos) - len(areas)


def average_precision(scores: Floats, abnormal: Bools) -> float | None:
    """The step-wise sum, not the trapezoids that some papers call PR-AUC."""
    return float(average_precision_score(abnormal, dense_ranks(scores))) if both_classes(abnormal) else None


def equal_error_rate(scores: Floats, abnormal: Bools) -> float | None:
    """Where the false positive rate equals the miss rate, interpolated linearly."""
    if not both_classes(abnormal):
        return None
    false, true, _ = roc_curve(abnormal, dense_ranks(scores), drop_intermediate=False)
    return equal_error(false, true)


def oracle_f1(scores: Floats, abnormal: Bools) -> float | None:
    """The largest F1 that any threshold would have had, chosen in hindsight."""
    if not both_classes(abnormal):
        return None
    precision, recall, _ = precision_recall_curve(abnormal, dense_ranks(scores))
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


def confusion(scores: Floats, abnormal: Bools, threshold: float) -> Confusion:
    """Frames at or above the threshold are positive, as in flight."""
    table = confusion_matrix(abnormal, scores >= threshold, labels=[False, True])
    (true_negative, false_positive), (false_negative, true_positive) = table.tolist()
    return Confusion(
        true_positive=true_positive,
        false_positive=false_positive,
        true_negative=true_negative,
        false_negative=false_negative,
    )


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def legacy_scores(raw: Floats, period_s: float) -> Floats:
    """One video as many papers have it: its own extremes to 0 and 1, then a Gaussian over past and future."""
    sigma = LEGACY_SIGMA_S / period_s  # in looked-at frames
    smooth: Floats = gaussian_filter1d(_between_extremes(raw), sigma, mode="nearest")
    return smooth


def regularity_scores(mse: Floats) -> Floats:
    """1 - regularity, where regularity is the PSNR between the video's own extremes; high is abnormal.

    The pictures' largest value is no parameter: the extremes cancel it.
    """
    return 1 - _between_extremes(-10 * np.log10(np.maximum(mse, _LEAST_MSE)))


def _between_extremes(values: Floats) -> Floats:
    """0 to 1; a frame without a score has 0, and so has every frame of a video that never changes."""
    known = values[np.isfinite(values)]
    if not len(known) or known.max() == known.min():
        return np.zeros_like(values)
    low, high = float(known.min()), float(known.max())
    return (np.clip(values, low, high) - low) / (high - low)
