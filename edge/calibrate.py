"""Normal footage -> error statistics per place, and the threshold for wanted false alarms per hour.

Needs no PyTorch, so it runs on the drone after a normal flight. The threshold comes from block maxima of the
same causal score that flight uses. Statistics are cross-fitted: a frame's score, while the threshold is
sought, is computed with statistics of footage it was not part of, as every frame in flight will be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Calibration, ModelBundle, Scoring, write_bundle
from edge.detector import Reconstructor, Stopwatch, choose_variant, open_runtime, raw_score
from edge.errors import UsageError
from edge.incidents import Evidence
from edge.localize import ErrorStatistics
from edge.recordings import open_recording, sampled

BLOCK_S = 10.0
LEAST_BLOCKS = 6
_EULER = 0.5772156649015329
# Parts of the way from an ordinary score to the threshold: below the first an incident ends; from the second
# a pixel belongs to a box. On bicycles and carts, boxes at the first overlap them (IoU) by 0.09-0.17, at the
# second by 0.25-0.30.
_RELEASE = 0.7
_BOX = 0.4


@dataclass(frozen=True, slots=True)
class Plan:
    """What to calibrate on. `rate` is wanted false alarms per hour; `fps` must be the rate of flight."""

    footage: tuple[Path, ...]
    rate: float
    fps: float = 2.0
    folder_fps: float = 10.0
    block_s: float = BLOCK_S


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """One frame of normal footage. `smooth`: h x w float16, which keeps three digits in half the memory."""

    fold: int
    recording: int
    stream_s: float
    error: float
    smooth: NDArray[np.float16]


def calibrate(
    bundle: ModelBundle,
    plan: Plan,
    variant: str = "auto",
    progress: Callable[[int], None] = lambda _: None,
) -> ModelBundle:
    """Measure, set the threshold, write both into the bundle. Raises UsageError for too little footage."""
    variant = choose_variant(bundle, variant)
    scoring, spec = bundle.manifest.scoring, bundle.manifest.input
    with open_runtime(bundle, variant) as runtime:
        seen = list(_observe(Reconstructor(runtime, spec, scoring), plan, progress))
    scores = _scores(seen, scoring)
    maxima = block_maxima(_evidence(seen, scores, scoring), plan.block_s)
    _check_enough(maxima, plan)
    threshold, method = threshold_for(maxima, plan.rate, plan.block_s)
    data = statistics([frame.smooth for frame in seen]).to_bytes()
    name = f"calibration-{sha256(data).hexdigest()[:8]}.npz"
    median = float(np.median(scores))
    release = median + _RELEASE * (threshold - median)
    calibration = Calibration(
        threshold=threshold,
        release=release,
        median=median,
        box_level=_box_level(median + _BOX * (threshold - median), seen, scoring),
        false_alarms_per_hour=plan.rate,
        method=method,
        smallest_rate=3600 / plan.block_s / (len(maxima) + 1),
        block_s=plan.block_s,
        block_maxima=tuple(maxima),
        footage_s=len(seen) / plan.fps,
        frames=len(seen),
        fps=plan.fps,
        variant=variant,
        statistics=name,
        created=datetime.now(timezone.utc),
    )
    return write_bundle(
        bundle.folder, bundle.manifest.model_copy(update={"calibration": calibration}), {name: data}
    )


def _observe(model: Reconstructor, plan: Plan, progress: Callable[[int], None]) -> Iterator[Observed]:
    """Every sampled frame; folds are recordings in turn, or the two halves of a single one."""
    count = 0
    for number, path in enumerate(plan.footage):
        with open_recording(path, folder_fps=plan.folder_fps) as recording:
            for frame in sampled(recording, plan.fps):
                error, smooth = model.errors(frame.image, Stopwatch())
                count += 1
                progress(count)
                yield Observed(
                    number % 2, number, frame.stream_s, float(error.mean()), smooth.astype(np.float16)
                )


def _folds(seen: Sequence[Observed]) -> NDArray[np.int_]:
    folds = np.array([frame.fold for frame in seen])
    if len(seen) and folds.min() == folds.max():  # a single recording: first half, second half
        folds[len(folds) // 2 :] = 1 - folds[0]
    return folds


def _scores(seen: Sequence[Observed], scoring: Scoring) -> NDArray[np.float64]:
    """Each frame's score with the statistics of the other fold."""
    if len(seen) < 2:
        return np.zeros(len(seen))
    folds = _folds(seen)
    other = {
        fold: statistics([frame.smooth for frame, own in zip(seen, folds, strict=True) if own != fold])
        for fold in (0, 1)
    }
    return np.array(
        [
            raw_score(
                np.full((1, 1), frame.error, np.float32),
                other[fold].heat(frame.smooth.astype(np.float32)),
                scoring,
            )
            for frame, fold in zip(seen, folds, strict=True)
        ]
    )


def statistics(maps: Sequence[NDArray[np.float16]]) -> ErrorStatistics:
    """Mean and standard deviation per place, shrunk towards the neighbourhood and the whole picture.

    A place that few calibration frames made interesting has a variance that is wrong, and too small.
    """
    total = np.zeros(maps[0].shape, np.float64)
    squares = np.zeros_like(total)
    for smooth in maps:
        exact = smooth.astype(np.float64)
        total += exact
        squares += exact**2
    mean = total / len(maps)
    variance = np.maximum(squares / len(maps) - mean**2, 0)
    side = max(3, min(mean.shape) // 8) | 1
    near = cv2.blur(variance, (side, side), borderType=cv2.BORDER_REPLICATE)
    shrunk = 0.5 * near + 0.5 * variance.mean()
    std = np.sqrt(shrunk + 1e-12)
    return ErrorStatistics(mean.astype(np.float32), std.astype(np.float32))


def _evidence(
    seen: Sequence[Observed], scores: NDArray[np.float64], scoring: Scoring
) -> list[list[tuple[float, float]]]:
    """Per recording: (seconds since its first frame, causal score)."""
    flights: dict[int, list[tuple[float, float]]] = {}
    through: dict[int, Evidence] = {}
    starts: dict[int, float] = {}
    for frame, score in zip(seen, scores, strict=True):
        look = through.setdefault(frame.recording, Evidence(scoring.persistence))
        start = starts.setdefault(frame.recording, frame.stream_s)
        flights.setdefault(frame.recording, []).append((frame.stream_s - start, look(float(score))))
    return list(flights.values())


def block_maxima(flights: Sequence[Sequence[tuple[float, float]]], block_s: float) -> list[float]:
    """Largest causal score of every block; a last block counts when at least half of it was seen."""
    maxima: list[float] = []
    for flight in flights:
        blocks: dict[int, float] = {}
        for seconds, score in flight:
            number = int(seconds // block_s)
            blocks[number] = max(score, blocks.get(number, -math.inf))
        last = max(blocks)
        if flight[-1][0] - last * block_s < block_s / 2 and len(blocks) > 1:
            del blocks[last]
        maxima += [value for value in blocks.values() if math.isfinite(value)]
    return maxima


def threshold_for(
    maxima: Sequence[float], rate: float, block_s: float
) -> tuple[float, Literal["conformal", "gumbel"]]:
    """The score that a block of normal footage exceeds with probability rate x block / 3600.

    Conformal quantile where there are enough blocks: valid whatever the distribution. Otherwise a Gumbel
    tail fitted by L-moments (Hosking 1990), an extrapolation, and never below the largest block seen.
    """
    chance = rate * block_s / 3600
    ordered = sorted(maxima)
    place = math.ceil((len(ordered) + 1) * (1 - chance))
    if place <= len(ordered):
        return math.nextafter(ordered[place - 1], math.inf), "conformal"
    n = len(ordered)
    mean = sum(ordered) / n
    second = 2 * sum(i * value for i, value in enumerate(ordered)) / (n * (n - 1)) - mean
    scale = second / math.log(2)
    tail = mean - _EULER * scale - scale * math.log(-math.log1p(-chance))
    return max(tail, math.nextafter(ordered[-1], math.inf)), "gumbel"


def _check_enough(maxima: Sequence[float], plan: Plan) -> None:
    if len(maxima) < LEAST_BLOCKS:
        raise UsageError(
            f"the normal footage fills {len(maxima)} blocks of {plan.block_s:g} s at {plan.fps:g} fps; "
            f"calibration needs at least {LEAST_BLOCKS}: give {LEAST_BLOCKS * plan.block_s:g} s or more"
        )
    if plan.rate * plan.block_s >= 3600:
        raise UsageError(
            f"{plan.rate:g} false alarms per hour is over one per {plan.block_s:g} s block; ask for fewer"
        )


def _box_level(level: float, seen: Sequence[Observed], scoring: Scoring) -> float:
    """Heat from which a pixel belongs to a box: with the peak rule the unit is the same as the score's."""
    if scoring.rule == "peak":
        return level
    whole = statistics([frame.smooth for frame in seen])
    peaks = [float(whole.heat(frame.smooth.astype(np.float32)).max()) for frame in seen]
    return float(np.quantile(peaks, 0.99))
