"""The gate: a variant flies only if it says what PyTorch says, on held-out frames and on disturbed ones.

The score compared is the mean squared error of the whole picture. Calibration comes after export, so
"alarms" are counted at a provisional threshold taken from the undisturbed frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.bundle import Parity
from edge.errors import SkerryError
from edge.frames import Frame, Picture
from edge.localize import error_map
from edge.preprocess import InputSpec, to_tensor
from edge.runtimes import Tensor
from export.disturb import DISTURBANCES

Scores: TypeAlias = NDArray[np.float64]
Model: TypeAlias = Callable[[Tensor], Tensor]

# Room above the largest normal score: the frame that sets the threshold is not to flip on the last digit.
PROVISIONAL_MARGIN = 1.01


class ParityError(SkerryError):
    """A variant that answers otherwise than the network it was made from: it must not fly."""

    exit_code = 3  # as for any bundle that must not fly


@dataclass(frozen=True)
class Tolerance:
    """`max_drift`: largest relative change of any frame's score; `rank_correlation`: the least Spearman."""

    max_drift: float = 0.005
    rank_correlation: float = 0.999


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Pictures of the model's size, BGR: the undisturbed ones first, then each disturbance of all of them."""

    pictures: tuple[Picture, ...]
    undisturbed: int
    spec: InputSpec

    def scores(self, model: Model) -> Scores:
        """One mean squared error per picture."""
        tensors = (to_tensor(picture, self.spec) for picture in self.pictures)
        return np.array([error_map(tensor, model(tensor)).mean(dtype=np.float64) for tensor in tensors])


@dataclass(frozen=True, eq=False)
class Reference:
    """What PyTorch says of the held-out pictures."""

    scores: Scores
    threshold: float  # provisional


def held_out(frames: Iterable[Frame], wanted: int, spec: InputSpec, seed: int = 0) -> HeldOut:
    """`wanted` frames spread evenly over the stream, or all if it has fewer, and their disturbed versions.

    They are disturbed after shrinking: the noise of a large picture would average away and test nothing.
    """
    normal = evenly((shrunk(frame.image, spec) for frame in frames), wanted)
    disturbed = [
        disturb(picture, np.random.default_rng((seed, kind, number)))
        for kind, disturb in enumerate(DISTURBANCES.values())
        for number, picture in enumerate(normal)
    ]
    return HeldOut((*normal, *disturbed), len(normal), spec)


def shrunk(image: Picture, spec: InputSpec) -> Picture:
    """The picture at the model's size; `to_tensor` gives for it exactly what it gives for the original."""
    plain = spec.model_copy(update={"scale": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)})
    rgb = to_tensor(image, plain)[0].astype(np.uint8)  # shrinking gives whole grey levels
    return np.ascontiguousarray(rgb.transpose(1, 2, 0)[:, :, ::-1])


def evenly(pictures: Iterable[Picture], wanted: int) -> list[Picture]:
    """At most `wanted` of a stream of unknown length, evenly spread, holding twice as many at most."""
    kept: list[Picture] = []
    every = 1
    for number, picture in enumerate(pictures):
        if number % every:
            continue
        kept.append(picture)
        if len(kept) > 2 * wanted:
            kept, every = kept[::2], every * 2
    if len(kept) <= wanted:
        return kept
    return [kept[round(place)] for place in np.linspace(0, len(kept) - 1, wanted)]


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


def reference(frames: HeldOut, network: nn.Module) -> Reference:
    """Raises ParityError where the network itself gives NaN or infinity."""
    with one_thread():
        scores = frames.scores(eager(network))
    _must_be_finite(scores, "the checkpoint in PyTorch")
    return Reference(scores, PROVISIONAL_MARGIN * float(scores[: frames.undisturbed].max()))


def measure(frames: HeldOut, truth: Reference, model: Model, name: str, tolerance: Tolerance) -> Parity:
    """Raises ParityError only for NaN or infinity; whether the rest is good enough is in the result."""
    scores = frames.scores(model)
    _must_be_finite(scores, f"the variant {name}")
    drift = np.abs(scores - truth.scores) / np.maximum(truth.scores, np.finfo(np.float32).tiny)
    correlation = rank_correlation(truth.scores, scores)
    alarms, expected = scores >= truth.threshold, truth.scores >= truth.threshold
    worst = float(drift.max())
    return Parity(
        frames=len(scores),
        max_drift=worst,
        mean_drift=float(drift.mean()),
        rank_correlation=correlation,
        alarms_gained=int((alarms & ~expected).sum()),
        alarms_lost=int((expected & ~alarms).sum()),
        within_tolerance=worst <= tolerance.max_drift and correlation >= tolerance.rank_correlation,
    )


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


def _must_be_finite(scores: Scores, whose: str) -> None:
    wrong: Sequence[int] = np.flatnonzero(~np.isfinite(scores)).tolist()
    if wrong:
        raise ParityError(
            f"{whose} gives NaN or infinity on {len(wrong)} of {len(scores)} held-out frames: train it again"
        )
