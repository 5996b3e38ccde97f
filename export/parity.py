"""The gate: a variant flies only if it says what PyTorch says, on held-out pictures and on disturbed ones.

Calibration comes after export, so scores are compared raw and "alarms" are counted at a provisional threshold
taken from the undisturbed pictures. A scout's features are compared too: calibration will measure distances
between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edge.bundle import Parity
from edge.errors import SkerryError
from edge.runtimes import Tensor
from export.held_out import Answers, Features, HeldOut, Model, Scores

# Room above the largest normal score: the frame that sets the threshold is not to flip on the last digit.
PROVISIONAL_MARGIN = 1.01

LEAST = 1e-6  # a probability below it is rounding

SPREAD_FLOOR = 0.01  # of the widest channel's spread; calibration's covariance has the same floor


class ParityError(SkerryError):
    """A variant that answers otherwise than the network it was made from: it must not fly."""

    exit_code = 3  # as for any bundle that must not fly


@dataclass(frozen=True)
class Tolerance:
    """`max_drift`: largest relative change of any picture's score; `rank_correlation`: the least Spearman;
    `feature_drift`: largest mean change of a picture's features, in their standard deviations."""

    max_drift: float = 0.005
    rank_correlation: float = 0.999
    feature_drift: float = 0.02


@dataclass(frozen=True, eq=False)
class Reference:
    """What PyTorch says of the held-out pictures."""

    scores: Scores
    threshold: float  # provisional
    floor: float = float(np.finfo(np.float32).tiny)  # drifts of lower scores are relative to it
    features: Features | None = None
    spread: Features | None = None  # standard deviation of each channel


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


def reference(pictures: HeldOut, network: nn.Module) -> Reference:
    """Raises ParityError where the network itself gives NaN or infinity."""
    with one_thread():
        said = pictures.ask(eager(network))
    _must_be_finite(said, "the checkpoint in PyTorch")
    normal = said.scores[: pictures.undisturbed]
    threshold = PROVISIONAL_MARGIN * float(normal.max())
    if said.features is None:
        return Reference(said.scores, threshold)
    floor = max(float(np.median(normal)), LEAST)  # what is less foreign than that raises no alarm
    spread = _spread(said.features[: pictures.undisturbed])
    return Reference(said.scores, threshold, floor, said.features, spread)


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
    drift = np.abs(scores - truth.scores) / np.maximum(truth.scores, truth.floor)
    alarms, expected = scores >= truth.threshold, truth.scores >= truth.threshold
    found = Parity(
        frames=len(scores),
        max_drift=float(drift.max()),
        mean_drift=float(drift.mean()),
        rank_correlation=rank_correlation(truth.scores, scores),
        alarms_gained=int((alarms & ~expected).sum()),
        alarms_lost=int((expected & ~alarms).sum()),
        within_tolerance=False,
        feature_drift=_feature_drift(said, truth),
    )
    return found.model_copy(update={"within_tolerance": not any(_failures(found, tolerance))})


def _feature_drift(said: Answers, truth: Reference) -> float | None:
    """The picture whose features moved most, on average over them."""
    if said.features is None or truth.features is None or truth.spread is None:
        return None
    moved = np.abs(said.features - truth.features) / truth.spread
    return float(moved.mean(axis=(1, 2)).max())


def check(parities: Mapping[str, Parity], tolerance: Tolerance) -> None:
    """Raises ParityError that names each failing variant, its figure and the tolerance."""
    failures = [
        f"{name} {failure}" for name, parity in parities.items() for failure in _failures(parity, tolerance)
    ]
    if failures:
        raise ParityError(
            f"{'; '.join(failures)}: leave that variant out with --variants, or accept it with --allow-drift"
        )


def _failures(parity: Parity, tolerance: Tolerance) -> Iterator[str]:
    if parity.max_drift > tolerance.max_drift:
        yield f"moves a score by {parity.max_drift:.3%}, more than the {tolerance.max_drift:.3%} allowed"
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
    wrong: Sequence[int] = np.flatnonzero(~sound).tolist()
    if wrong:
        raise ParityError(
            f"{whose} gives NaN or infinity on {len(wrong)} of {len(sound)} held-out frames: train it again"
        )
