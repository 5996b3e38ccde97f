"""Whether the last flight's scores are still those the threshold was set on, and when to calibrate again.

Two questions of the block maxima: is their distribution another one (Kolmogorov and Smirnov), and did more of
them reach the threshold than was promised (Poisson)? Neighbouring blocks resemble each other, and so do the
blocks of one flight; both are allowed for by counting only as many blocks as would be independent. In
simulated flights that are alike 1 in 100 is told to differ; where each has a level of its own, half of its
noise apart, 1 in 2 after calibrating on one flight, which is then too few, and 1 in 100 after eight.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.errors import UsageError
from edge.thresholds import LEAST_BLOCKS, alarms, at_most, threshold_for

_SURE = 0.01  # of flights like the calibration that are called drifted, for each question
_MATTERS = 0.15  # a smaller distance between distributions is of no use to a person, however certain
_RUN = 5.0  # an autocorrelation is summed over this many times its own length (Sokal 1997)

State: TypeAlias = Literal["same", "higher", "lower", "alarms"]


@dataclass(frozen=True, slots=True)
class Drift:
    """What a flight's block maxima say of a calibration.

    `state`: scores are the same, higher or lower, or the same but with more alarms than were promised.
    `distance`: largest gap between the two distributions, 0 to 1; `p_value`: its chance if nothing drifted.
    `independent`: how many blocks of calibration and flight count as independent.
    `alarms`, `expected`: runs of blocks that reached the threshold, and how many were wanted in that time;
    `alarm_p_value`: chance of that many or more.
    """

    state: State
    distance: float
    p_value: float
    independent: tuple[float, float]
    alarms: int
    expected: float
    alarm_p_value: float
    verdict: str

    @property
    def recalibrate(self) -> bool:
        return self.state != "same"


def compare(
    calibration_maxima: Sequence[float],
    flight_maxima: Sequence[float],
    rate: float,
    block_s: float,
    threshold: float | None = None,
) -> Drift:
    """Maxima in time order, one per block of `block_s` seconds; `rate`: wanted false alarms per hour.

    `threshold`: what the flight flew with; without it, what the calibration's maxima say.
    Raises UsageError for a flight of too few blocks.
    """
    before, now = np.asarray(calibration_maxima, np.float64), np.asarray(flight_maxima, np.float64)
    _check(now, block_s)
    level = threshold_for(calibration_maxima, rate, block_s).value if threshold is None else threshold
    distance, upwards = _distance(before, now)
    length = max(correlation_length(before), correlation_length(now))
    independent = (len(before) / length, len(now) / length)
    p_value = _kolmogorov(distance, independent)
    count = alarms(now, level)
    expected = len(now) * block_s * rate / 3600
    alarm_p_value = 1 - at_most(count - 1, expected)
    state: State = "alarms" if alarm_p_value < _SURE else "same"
    if p_value < _SURE and distance > _MATTERS:
        state = "higher" if upwards else "lower"
    verdict = _verdict(state, count, expected, distance)
    return Drift(state, distance, p_value, independent, count, expected, alarm_p_value, verdict)


def correlation_length(maxima: NDArray[np.float64]) -> float:
    """In how many blocks there is one independent one: 1 + 2 x the sum of the ranks' autocorrelations."""
    ranks = _ranks(maxima)
    centred = ranks - ranks.mean()
    power = float(centred @ centred)
    if power <= 0:
        return 1.0
    length = 1.0
    for lag in range(1, len(maxima) // 2):
        if lag > _RUN * length:
            break
        length += 2 * float(centred[lag:] @ centred[:-lag]) / power
    return max(1.0, length)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, equal values sharing theirs, so that one freak block does not hide the rest."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def _distance(before: NDArray[np.float64], now: NDArray[np.float64]) -> tuple[float, bool]:
    """Largest gap between the distributions, and whether it is from `now` being higher."""
    places = np.concatenate([before, now])
    share_before = np.searchsorted(np.sort(before), places, "right") / len(before)
    share_now = np.searchsorted(np.sort(now), places, "right") / len(now)
    gaps = share_before - share_now  # positive: fewer of now's blocks are below
    return float(np.abs(gaps).max()), bool(gaps.max() >= -gaps.min())


def _kolmogorov(distance: float, sizes: tuple[float, float]) -> float:
    """Asymptotic p-value of a distance, corrected for small samples (Stephens 1970)."""
    root = math.sqrt(sizes[0] * sizes[1] / (sizes[0] + sizes[1]))
    reach = (root + 0.12 + 0.11 / root) * distance
    if reach < 0.3:  # where the series converges too slowly the p-value is 1 to five digits
        return 1.0
    terms = (2 * (-1) ** (n - 1) * math.exp(-2 * (n * reach) ** 2) for n in range(1, 30))
    return min(1.0, max(0.0, math.fsum(terms)))


def write_json(path: Path, found: Drift) -> None:
    """Raises UsageError where it cannot be written."""
    try:
        path.write_text(json.dumps({**asdict(found), "recalibrate": found.recalibrate}, indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _check(flight: NDArray[np.float64], block_s: float) -> None:
    if len(flight) < LEAST_BLOCKS:
        raise UsageError(
            f"the flight fills {len(flight)} blocks of {block_s:g} s; comparing needs at least "
            f"{LEAST_BLOCKS}: give {LEAST_BLOCKS * block_s:g} s or more"
        )
    if not np.isfinite(flight).all():
        raise UsageError("the flight has scores that are no numbers; check the model and its input")


def _verdict(state: State, count: int, expected: float, distance: float) -> str:
    seen = f"{count} alarm{'' if count == 1 else 's'} where {expected:.2g} would be usual"
    apart = f"{distance:.0%} of the distributions apart, {seen}"
    again = "calibrate again with this flight added."
    return {
        "same": f"The flight is like the calibration ({seen}): keep the threshold.",
        "higher": f"Scores are higher than in the calibration ({apart}): unless what was reported was real, "
        + again,
        "lower": f"Scores are lower than in the calibration ({apart}), and the threshold may hide weak "
        f"events: {again}",
        "alarms": f"Ordinary scores are like the calibration's but alarms are many ({seen}): unless they "
        f"were real, the calibration saw too little; {again}",
    }[state]
