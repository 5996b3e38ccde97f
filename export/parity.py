"""The gate: a variant flies only if it says what PyTorch says, on held-out pictures and on disturbed ones.

Calibration comes after export, so scores are compared raw and "alarms" are counted at a provisional threshold
taken from the undisturbed pictures, or at that of an earlier bundle if one is named. A scout's features are
compared too: calibration will measure distances between them. A clip's score is a logit, which has no zero to
be relative to: it drifts in standard deviations, and the feature behind it is compared as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.bundle import Parity
from edge.clip_gate import LEAST_SPREAD, cosines
from edge.errors import SkerryError
from edge.runtimes import Tensor
from export.held_out import Answers, Features, Heats, HeldOut, Model, Scores, Vectors

# Room above the largest normal score: the frame that sets the threshold is not to flip on the last digit.
PROVISIONAL_MARGIN = 1.01

LEAST = 1e-6  # a probability below it is rounding

# Until calibration says better, a place is hot above this quantile of all places of undisturbed pictures.
HOT = 0.99

SPREAD_FLOOR = 0.01  # of the widest channel's spread; calibration's covariance has the same floor


class ParityError(SkerryError):
    """A variant that answers otherwise than the network it was made from: it must not fly."""

    exit_code = 3  # as for any bundle that must not fly


@dataclass(frozen=True)
class Tolerance:
    """`max_drift`: largest relative change of any picture's score; `rank_correlation`: the least Spearman;
    `feature_drift`: largest mean change of a picture's features, in their standard deviations;
    `feature_cosine`: the least of a clip's feature with what it should be."""

    max_drift: float = 0.005
    rank_correlation: float = 0.999
    feature_drift: float = 0.02
    feature_cosine: float = 0.99


@dataclass(frozen=True)
class Levels:
    """Evidence in a place from which a calibrated bundle alarms, and from which the place is in a box."""

    alarm: float
    hot: float


@dataclass(frozen=True, eq=False)
class Reference:
    """What PyTorch says of the held-out pictures."""

    scores: Scores
    threshold: float  # provisional
    floor: float = float(np.finfo(np.float32).tiny)  # drifts of lower scores are relative to it
    unit: float | None = None  # of drifts that are not relative to the score: of clips
    features: Features | None = None
    spread: Features | None = None  # standard deviation of each channel
    heats: Heats | None = None
    levels: Levels | None = None  # calibrated; they take the place of the provisional threshold
    vectors: Vectors | None = None


@contextmanager
def one_thread() -> Iterator[None]:
    """One picture hardly gains by a second thread, and on a busy machine waits for it 30 times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def eager(network: nn.Module) -> Model:
    """PyTorch as it is, behind the same call as a runtime."""

    def run(tensor: Tensor) -> Tensor:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(tensor)).numpy(), np.float32)

    return run


def reference(pictures: HeldOut, network: nn.Module, levels: Levels | None = None) -> Reference:
    """Raises ParityError where the network itself gives NaN or infinity."""
    with one_thread():
        return truth_of(pictures.ask(eager(network)), pictures.undisturbed, levels)


def truth_of(said: Answers, undisturbed: int, levels: Levels | None = None) -> Reference:
    """What the original said, as what others are held against. Raises ParityError for NaN or infinity."""
    _must_be_finite(said, "the checkpoint in PyTorch")
    normal = said.scores[:undisturbed]
    if said.vectors is not None:
        unit = max(float(said.scores.std()), LEAST_SPREAD)
        threshold = float(normal.max()) + (PROVISIONAL_MARGIN - 1) * unit
        return Reference(said.scores, threshold, unit=unit, levels=levels, vectors=said.vectors)
    threshold = PROVISIONAL_MARGIN * float(normal.max())
    truth = Reference(said.scores, threshold, heats=said.heats, levels=levels)
    if said.features is None:
        return truth
    floor = max(float(np.median(normal)), LEAST)  # what is less foreign than that raises no alarm
    spread = _spread(said.features[:undisturbed])
    return replace(truth, floor=floor, features=said.features, spread=spread)


def _spread(features: Features) -> Features:
    """1 x channels x 1. A channel that never changes must not turn rounding into drift."""
    spread = features.std(axis=(0, 2), keepdims=True)
    least = max(SPREAD_FLOOR * float(spread.max()), float(np.finfo(np.float32).tiny))
    return np.asarray(np.maximum(spread, least), np.float32)


def measure(pictures: HeldOut, truth: Reference, model: Model, name: str, tolerance: Tolerance) -> Parity:
    """Raises ParityError only for NaN or infinity; whether the rest is good enough is in the result."""
    said = pictures.ask(model)
    _must_be_finite(said, f"the variant {name}")
    scores = said.scores
    unit = np.maximum(truth.scores, truth.floor) if truth.unit is None else truth.unit
    drift = np.abs(scores - truth.scores) / unit
    alarms, expected = (_alarms(who, truth) for who in (said, truth))
    found = Parity(
        frames=len(scores),
        max_drift=float(drift.max()),
        mean_drift=float(drift.mean()),
        rank_correlation=rank_correlation(truth.scores, scores),
        alarms_gained=int((alarms & ~expected).sum()),
        alarms_lost=int((expected & ~alarms).sum()),
        within_tolerance=False,
        feature_drift=_feature_drift(said, truth),
        heat_iou=_heat_iou(said, truth, pictures.undisturbed),
        feature_cosine=_feature_cosine(said, truth),
    )
    return found.model_copy(update={"within_tolerance": not any(_failures(found, tolerance))})


def _alarms(said: Answers | Reference, truth: Reference) -> NDArray[np.bool_]:
    if truth.levels is None or said.heats is None:
        return np.asarray(said.scores >= (truth.threshold if truth.levels is None else truth.levels.alarm))
    return np.asarray(said.heats.max(axis=(1, 2)) >= truth.levels.alarm)


def _heat_iou(said: Answers, truth: Reference, undisturbed: int) -> float | None:
    """Over all places of all pictures; 1 where neither finds any hot."""
    if said.heats is None or truth.heats is None:
        return None
    normal = truth.heats[:undisturbed]
    level = float(np.quantile(normal, HOT)) if truth.levels is None else truth.levels.hot
    ours, theirs = said.heats >= level, truth.heats >= level
    either = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / either if either else 1.0


def _feature_drift(said: Answers, truth: Reference) -> float | None:
    """The picture whose features moved most, on average over them."""
    if said.features is None or truth.features is None or truth.spread is None:
        return None
    moved = np.abs(said.features - truth.features) / truth.spread
    return float(moved.mean(axis=(1, 2)).max())


def _feature_cosine(said: Answers, truth: Reference) -> float | None:
    """Of the clip whose feature turned most."""
    if said.vectors is None or truth.vectors is None:
        return None
    return float(cosines(said.vectors, truth.vectors).min())


def check(parities: Mapping[str, Parity], tolerance: Tolerance) -> None:
    """Raises ParityError that names each failing variant, its figure and the tolerance."""
    failures = [
        f"{name} {failure}" for name, parity in parities.items() for failure in _failures(parity, tolerance)
    ]
    if failures:
        raise ParityError(
            f"{'; '.join(failures)}: leave that variant out with --variants, or accept it with --allow-drift"
        )


def strain(parity: Parity, tolerance: Tolerance) -> float:
    """How much of the tolerance a variant uses up: above 1 it fails. A flipped alarm alone is too much."""
    lost_order = (1 - parity.rank_correlation) / max(1 - tolerance.rank_correlation, LEAST)
    shares = [parity.max_drift / max(tolerance.max_drift, LEAST), lost_order]
    if parity.feature_drift is not None:
        shares.append(parity.feature_drift / max(tolerance.feature_drift, LEAST))
    if parity.feature_cosine is not None:
        shares.append((1 - parity.feature_cosine) / max(1 - tolerance.feature_cosine, LEAST))
    flipped = parity.alarms_gained + parity.alarms_lost
    return max(*shares, 1.0 + flipped if flipped else 0.0)


def _failures(parity: Parity, tolerance: Tolerance) -> Iterator[str]:
    if parity.max_drift > tolerance.max_drift:
        of = "" if parity.feature_cosine is None else " of the scores' spread"
        yield f"moves a score by {parity.max_drift:.3%}{of}, more than the {tolerance.max_drift:.3%} allowed"
    if parity.rank_correlation < tolerance.rank_correlation:
        yield (
            f"has a rank correlation of {parity.rank_correlation:.5f} with PyTorch, "
            f"less than the {tolerance.rank_correlation:g} demanded"
        )
    if parity.feature_drift is not None and parity.feature_drift > tolerance.feature_drift:
        yield (
            f"moves the features of a picture by {parity.feature_drift:.3%} of their spread, "
            f"more than the {tolerance.feature_drift:.3%} allowed"
        )
    if parity.feature_cosine is not None and parity.feature_cosine < tolerance.feature_cosine:
        yield (
            f"has features with a cosine of {parity.feature_cosine:.4f} with the original's, "
            f"less than the {tolerance.feature_cosine:g} demanded"
        )


def rank_correlation(first: Scores, second: Scores) -> float:
    """Spearman's, ties sharing their mean rank. A constant series has no order: 1 against another, else 0."""
    a, b = (ranks - ranks.mean() for ranks in (_ranks(first), _ranks(second)))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    if spread == 0:
        return float(not a.any() and not b.any())
    return float(a @ b) / spread


def _ranks(values: Scores) -> Scores:
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return np.asarray((last - (sizes - 1) / 2)[group], np.float64)


def _must_be_finite(said: Answers, whose: str) -> None:
    sound = np.isfinite(said.scores)
    if said.features is not None:
        sound &= np.isfinite(said.features).all(axis=(1, 2))
    if said.vectors is not None:
        sound &= np.isfinite(said.vectors).all(axis=1)
    wrong: Sequence[int] = np.flatnonzero(~sound).tolist()
    if wrong:
        raise ParityError(
            f"{whose} gives NaN or infinity on {len(wrong)} of {len(sound)} held-out frames: train it again"
        )
