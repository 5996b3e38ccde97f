from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.drift import compare, correlation_length
from edge.errors import UsageError


def flight(seed: int, blocks: int, together: float = 0.0) -> NDArray[np.float64]:
    """Block maxima of a quiet flight; `together`: correlation of neighbouring blocks."""
    noise = np.random.default_rng(seed).standard_normal(blocks)
    for n in range(1, blocks):
        noise[n] = together * noise[n - 1] + math.sqrt(1 - together**2) * noise[n]
    return noise


@pytest.mark.parametrize("together", [0.0, 0.5, 0.9])
def test_flights_like_the_calibration_are_seldom_called_drifted(together: float) -> None:
    p_values = [
        compare(
            flight(seed, 360, together).tolist(), flight(seed + 500, 120, together).tolist(), 1, 10, 4
        ).p_value
        for seed in range(150)
    ]
    assert np.mean([p < 0.01 for p in p_values]) <= 0.04


@pytest.mark.parametrize(("shift", "state"), [(1.0, "higher"), (-1.0, "lower")])
def test_a_shift_of_one_deviation_is_seen_in_twenty_minutes(shift: float, state: str) -> None:
    found = [
        compare(flight(seed, 360, 0.3).tolist(), (flight(seed + 500, 120, 0.3) + shift).tolist(), 1, 10, 6)
        for seed in range(40)
    ]
    assert np.mean([one.state == state for one in found]) > 0.95
    assert all(one.recalibrate and "calibrate again" in one.verdict for one in found if one.state == state)


def test_more_scatter_with_the_same_middle_is_seen() -> None:
    found = compare(flight(0, 360).tolist(), (4 * flight(1, 240)).tolist(), 1, 10, 20)
    assert found.recalibrate


def test_a_small_shift_over_many_hours_is_not_worth_a_calibration() -> None:
    found = compare(flight(0, 20_000).tolist(), (flight(1, 20_000) + 0.1).tolist(), 1, 10, 6)
    assert found.p_value < 0.01
    assert not found.recalibrate


def test_many_alarms_over_ordinary_scores_are_told_apart() -> None:
    quiet = flight(1, 120).clip(-2, 2)
    quiet[::20] = 9.0
    found = compare(flight(0, 360).tolist(), quiet.tolist(), 1, 10, 5)
    assert (found.state, found.alarms) == ("alarms", 6)
    assert found.expected == pytest.approx(1 / 3)
    assert found.verdict.startswith(
        "Ordinary scores are like the calibration's but alarms are many (6 alarms"
    )


def test_a_long_alarm_is_one() -> None:
    quiet = flight(1, 120).clip(-2, 2)
    quiet[50:60] = 9.0
    found = compare(flight(0, 360).tolist(), quiet.tolist(), 1, 10, 5)
    assert found.alarms == 1
    assert found.alarm_p_value == pytest.approx(1 - math.exp(-1 / 3))
    assert found.verdict == (
        "The flight is like the calibration (1 alarm where 0.33 would be usual): keep the threshold."
    )


def test_without_a_threshold_the_calibration_says_it() -> None:
    before = flight(0, 360)
    found = compare(before.tolist(), np.full(30, before.max() + 9).tolist(), 1, 10)
    assert (found.alarms, found.state) == (1, "higher")
    assert found.distance == 1


def test_blocks_that_resemble_each_other_count_for_fewer() -> None:
    """Of an autoregression with 0.8 one in (1 + 0.8) / (1 - 0.8) = 9 is independent."""
    lengths = [correlation_length(flight(seed, 2000, 0.8)) for seed in range(20)]
    assert 7 < np.mean(lengths) < 10
    assert correlation_length(flight(0, 2000)) < 1.4
    assert correlation_length(np.ones(10)) == 1


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=40),
    st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=40),
)
def test_any_scores_give_probabilities_and_the_way_back_has_the_same_distance(
    before: list[float], now: list[float]
) -> None:
    there, back = compare(before, now, 20, 10, 0.0), compare(now, before, 20, 10, 0.0)
    assert there.distance == pytest.approx(back.distance)
    assert there.p_value == pytest.approx(back.p_value)
    for found in (there, back):
        assert 0 <= found.distance <= 1
        assert 0 <= found.p_value <= 1
        assert 0 <= found.alarm_p_value <= 1


def test_a_flight_against_itself_has_no_distance() -> None:
    found = compare(flight(0, 60).tolist(), flight(0, 60).tolist(), 4, 10, 5)
    assert (found.distance, found.p_value, found.state) == (0, 1, "same")


def test_the_p_value_agrees_with_the_table() -> None:
    """Two samples of 100, independent: 5 % is at 1.358 x sqrt(2 / 100) (Smirnov), less a little for size."""
    before = np.random.default_rng(1).permutation(100).astype(float)
    now = np.random.default_rng(2).permutation(100) + 19.0
    found = compare(before.tolist(), now.tolist(), 1, 10, 1000)
    root = math.sqrt(found.independent[0] * found.independent[1] / sum(found.independent))
    assert found.distance == pytest.approx(0.19)
    assert found.p_value == pytest.approx(
        2 * math.exp(-2 * ((root + 0.12 + 0.11 / root) * 0.19) ** 2), rel=0.02
    )


def test_a_short_flight_is_refused_with_what_is_needed() -> None:
    with pytest.raises(UsageError, match=r"fills 5 blocks of 10 s; .* at least 6: give 60 s"):
        compare([1.0] * 60, [1.0] * 5, 4, 10, 2)


def test_a_flight_without_numbers_is_refused() -> None:
    with pytest.raises(UsageError, match="no numbers"):
        compare([1.0] * 60, [math.nan] * 10, 4, 10, 2)
