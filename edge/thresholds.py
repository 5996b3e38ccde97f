"""Block maxima of the causal score of normal footage -> the threshold for wanted false alarms per hour.

Where enough blocks lie above it, the threshold is a conformal quantile: right whatever the distribution.
Beyond that a generalised Pareto tail is fitted to the highest blocks and extrapolated, but only a little way:
a rate that the footage cannot support is refused. Simulated by `benchmarks/thresholds.py`, which the figures
in the comments are from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.errors import UsageError

LEAST_BLOCKS = 6
# How many times rarer than once in the footage an alarm may be asked for. At 4 the true rate is within a
# factor of 3 in 57 draws of 100 and over four times too high in 15; at 10 in 43 and in 28.
STRETCH = 4.0
# Expected blocks above a conformal quantile; with fewer the fitted tail is steadier (1 per hour from 1 hour
# lands between 0.5 and 2 in 63 draws of 100, the conformal quantile in 46).
_ENOUGH_ABOVE = 10
_TAIL = 0.2  # share of the blocks that the tail is fitted to
_LEAST_TAIL = 8  # blocks
# The shape of the tail is the noisiest number here: _PRIOR_BLOCKS blocks vote for the slightly bounded tail
# that maxima of Gaussian scores have; clamped to where a score of footage can plausibly be.
_PRIOR_SHAPE, _PRIOR_BLOCKS, _LARGEST_SHAPE = -0.05, 50, 0.3
_LEAST_APART = 0.5  # smallest share of high blocks taken for alarms of their own
_CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True)
class Threshold:
    """Alarm where the score is at least `value`.

    `smallest_rate`: false alarms per hour below which this much footage supports no threshold at all.
    `low`, `high`: 90 % interval of the true rate per hour, from counting blocks alone, without the tail;
    it takes unseen footage to be like this footage. `low` is 0 where no block reaches the threshold.
    """

    value: float
    method: Literal["conformal", "pareto"]
    smallest_rate: float
    low: float
    high: float


def threshold_for(maxima: Sequence[float], rate: float, block_s: float) -> Threshold:
    """The score that normal footage exceeds `rate` times an hour, alarms in adjacent blocks counted as one.

    `maxima`: in time order, one per block of `block_s` seconds; `rate`: false alarms per hour.
    Raises UsageError where the footage is too short for the rate, or the rate over one per block.
    """
    found = np.asarray(maxima, np.float64)
    _check(found, rate, block_s)
    ordered = np.sort(found)
    chance = _chance(found, rate * block_s / 3600)
    enough = chance * (len(found) + 1) >= _ENOUGH_ABOVE
    value = _conformal(ordered, chance) if enough else _pareto(ordered, chance)
    low, high = count_interval(alarms(found, value))
    hours = len(found) * block_s / 3600
    return Threshold(
        value,
        "conformal" if enough else "pareto",
        smallest_rate(len(found), block_s),
        low / hours,
        high / hours,
    )


def smallest_rate(blocks: int, block_s: float) -> float:
    """False alarms per hour below which this many blocks support no threshold."""
    return 3600 / block_s / (blocks + 1) / STRETCH


def alarms(maxima: NDArray[np.float64], threshold: float) -> int:
    """Runs of adjacent blocks that reach the threshold: what an operator would be told of."""
    high = maxima >= threshold
    return int(high[:1].sum() + (high[1:] & ~high[:-1]).sum())


def count_interval(count: int) -> tuple[float, float]:
    """Poisson means that a count is compatible with: the ends of their 90 % interval."""
    tail = (1 - _CONFIDENCE) / 2
    low = _mean_where(count - 1, 1 - tail) if count else 0.0
    return low, _mean_where(count, tail)


def at_most(count: int, mean: float) -> float:
    """Probability that a Poisson number with this mean is at most `count`."""
    if mean <= 0:
        return 1.0 if count >= 0 else 0.0
    terms = (math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(count + 1))
    return min(1.0, math.fsum(terms))


def _mean_where(count: int, probability: float) -> float:
    """The mean with which a Poisson number is at most `count` with this probability."""
    low, high = 0.0, 2.0 * count + 20
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(count, middle) > probability else (low, middle)
    return high


def _check(maxima: NDArray[np.float64], rate: float, block_s: float) -> None:
    must_support(len(maxima), rate, block_s)
    if not np.isfinite(maxima).all():
        raise UsageError("the normal footage has scores that are no numbers; check the model and its input")


def must_support(blocks: int, rate: float, block_s: float) -> None:
    """Raises UsageError where so many blocks of normal footage are too few for the rate, or it is no rate."""
    if not 0 < rate * block_s < 3600:
        raise UsageError(
            f"{rate:g} false alarms per hour is not between none and one per {block_s:g} s block; "
            f"ask for fewer than {3600 / block_s:g}"
        )
    if blocks < LEAST_BLOCKS:
        raise UsageError(
            f"the normal footage fills {blocks} blocks of {block_s:g} s; a threshold needs at least "
            f"{LEAST_BLOCKS}: give {LEAST_BLOCKS * block_s:g} s or more"
        )
    smallest = smallest_rate(blocks, block_s)
    if rate < smallest:  # named a little higher, so that the rounded figure is accepted
        needed = (math.ceil(3600 / block_s / rate / STRETCH) - 1) * block_s / 60
        raise UsageError(
            f"{blocks * block_s / 60:.3g} minutes of normal footage support no fewer than "
            f"{1.01 * smallest:.3g} false alarms per hour; {rate:g} needs {needed:.4g} minutes: "
            "give more footage or accept more alarms"
        )


def _chance(maxima: NDArray[np.float64], wanted: float) -> float:
    """The share of blocks that may reach the threshold, so that `wanted` alarms per block result.

    High blocks come in runs, one alarm each; how long, is measured at the level where the tail begins. The
    correction fades out towards that level, where most runs meet by chance.
    """
    level = float(np.quantile(maxima, 1 - _TAIL))
    high = maxima > level
    if wanted >= _TAIL or not high.any():
        return wanted
    by_chance = 1 - float(high.mean())  # also blocks that know nothing of each other meet
    apart = alarms(maxima, math.nextafter(level, math.inf)) / float(high.sum()) / by_chance
    longer = 1 / min(1.0, max(_LEAST_APART, apart)) - 1
    return wanted * (1 + longer * (1 - wanted / _TAIL))


def _conformal(ordered: NDArray[np.float64], chance: float) -> float:
    place = max(1, math.ceil((len(ordered) + 1) * (1 - chance)))
    return math.nextafter(float(ordered[place - 1]), math.inf)


def _pareto(ordered: NDArray[np.float64], chance: float) -> float:
    """Tail over the highest blocks, by L-moments (Hosking and Wallis 1987), its shape shrunk and clamped."""
    blocks = len(ordered)
    count = min(blocks - 1, max(_LEAST_TAIL, round(_TAIL * blocks)))
    start = float(ordered[-count - 1] + ordered[-count]) / 2
    if chance * blocks >= count:  # below the tail
        return _conformal(ordered, chance)
    excess = ordered[-count:] - start
    mean = float(excess.mean())
    spread = float(2 * np.arange(count) @ excess) / (count * (count - 1)) - mean
    free = 2 - mean / max(spread, 1e-12 * max(mean, 1e-300))
    shape = (count * free + _PRIOR_BLOCKS * _PRIOR_SHAPE) / (count + _PRIOR_BLOCKS)
    shape = min(_LARGEST_SHAPE, max(-_LARGEST_SHAPE, shape))
    rarer = math.log(count / (chance * blocks))
    reach = rarer if abs(shape) < 1e-9 else math.expm1(shape * rarer) / shape
    value = start + mean * (1 - shape) * reach
    if chance * (blocks + 1) < 1:
        value = max(value, float(ordered[-1]))
    return math.nextafter(value, math.inf)  # blocks that are all the same stay quiet
