from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import UsageError
from edge.thresholds import LEAST_BLOCKS, alarms, at_most, count_interval, smallest_rate, threshold_for

HOUR = 360  # blocks of 10 s


def gumbel(seed: int, blocks: int) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).gumbel(5, 2, blocks)]


def test_enough_footage_is_a_conformal_quantile() -> None:
    """100 an hour is a chance of 5/18 a block: of 359 blocks the 260th lets exactly 99 pass."""
    maxima = np.random.default_rng(0).permutation(359).astype(float).tolist()
    found = threshold_for(maxima, 100, 10)
    assert found.method == "conformal"
    assert found.value == math.nextafter(259.0, math.inf)
    assert sum(value >= found.value for value in maxima) == 99


def test_an_hour_at_one_per_hour_is_a_tail_that_lands_near_the_truth() -> None:
    found = [threshold_for(gumbel(seed, HOUR), 1, 10) for seed in range(60)]
    true = [HOUR * -math.expm1(-math.exp(-(one.value - 5) / 2)) for one in found]
    assert {one.method for one in found} == {"pareto"}
    assert np.mean([0.5 <= rate <= 2 for rate in true]) > 0.6
    assert 0.7 < np.median(true) < 1.4


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.2])
def test_a_pareto_tail_is_found_whatever_its_shape(shape: float) -> None:
    """The highest fifth has its true quantile at 1 per hour; six hours of blocks."""
    rates = []
    for seed in range(40):
        unit = np.random.default_rng(seed).exponential(size=6 * HOUR)
        maxima = np.expm1(shape * unit) / shape if shape else unit
        value = threshold_for(maxima.tolist(), 1, 10).value
        beyond = math.log1p(shape * value) / shape if shape else value
        rates.append(HOUR * math.exp(-beyond))
    assert 0.7 < np.median(rates) < 1.5
    assert np.mean([0.5 <= rate <= 2 for rate in rates]) > 0.85


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=LEAST_BLOCKS, max_size=60), st.floats(0.01, 359))
def test_a_threshold_is_finite_and_an_extrapolated_one_above_every_normal_block(
    maxima: list[float], rate: float
) -> None:
    rate = max(rate, smallest_rate(len(maxima), 10))
    found = threshold_for(maxima, rate, 10)
    assert math.isfinite(found.value)
    assert 0 <= found.low < found.high
    if rate * 10 / 3600 * (len(maxima) + 1) < 0.5:  # runs of blocks can at most double the chance
        assert found.value > max(maxima)


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(4, 300), st.floats(1.05, 3))
def test_fewer_alarms_wanted_never_lowers_the_threshold_of_a_method(
    seed: int, rate: float, times: float
) -> None:
    few, many = (threshold_for(gumbel(seed, 60), r, 10) for r in (rate, min(rate * times, 350)))
    if few.method == many.method:
        assert few.value >= many.value


@given(st.floats(0.001, 1000), st.floats(-1000, 1000))
def test_the_unit_of_the_score_does_not_matter(scale: float, shift: float) -> None:
    maxima = np.array(gumbel(3, 60))
    plain = threshold_for(maxima.tolist(), 4, 10).value
    other = threshold_for((maxima * scale + shift).tolist(), 4, 10).value
    assert other == pytest.approx(plain * scale + shift, rel=1e-6, abs=1e-6)


def test_equal_blocks_give_a_threshold_just_above_them() -> None:
    assert threshold_for([2.0] * 30, 12, 10).value == math.nextafter(2.0, math.inf)


def test_high_blocks_that_come_in_runs_count_once() -> None:
    """The same values, their high ones together: an alarm lasts over several blocks, so more may reach."""
    random = np.random.default_rng(0)
    apart = random.exponential(size=6 * HOUR)
    order = np.argsort(apart.reshape(-1, 4).max(axis=1))
    together = np.sort(apart)[::-1].reshape(-1, 4)[order.argsort()].ravel()
    assert threshold_for(together.tolist(), 1, 10).value < threshold_for(apart.tolist(), 1, 10).value - 0.3


def test_a_rate_the_footage_cannot_support_is_refused_with_what_is_needed() -> None:
    with pytest.raises(
        UsageError, match=r"5 minutes .* no fewer than 2\.93 .* 1 needs 14\.83 minutes"
    ) as told:
        threshold_for(gumbel(0, 30), 1, 10)
    needed = float(re.findall(r"needs ([\d.]+)", str(told.value))[0])
    named = float(re.findall(r"no fewer than ([\d.]+)", str(told.value))[0])
    assert threshold_for(gumbel(0, round(needed * 6)), 1, 10).smallest_rate <= 1
    assert threshold_for(gumbel(0, 30), named, 10).method == "pareto"
    with pytest.raises(UsageError):
        threshold_for(gumbel(0, round(needed * 6) - 1), 1, 10)


def test_too_few_blocks_say_how_many_seconds_are_needed() -> None:
    with pytest.raises(UsageError, match=r"fills 5 blocks of 10 s; .* at least 6: give 60 s or more"):
        threshold_for([1.0] * 5, 100, 10)


@pytest.mark.parametrize("rate", [0.0, -1.0, 360.0, math.nan, math.inf])
def test_a_rate_that_no_block_can_have_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="ask for fewer than 360"):
        threshold_for(gumbel(0, 60), rate, 10)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(UsageError, match="no numbers"):
        threshold_for([*gumbel(0, 60), bad], 12, 10)


def test_the_interval_holds_the_true_rate() -> None:
    held = []
    for seed in range(200):
        found = threshold_for(gumbel(seed, 2 * HOUR), 4, 10)
        rate = HOUR * -math.expm1(-math.exp(-(found.value - 5) / 2))
        held.append(found.low <= rate <= found.high)
    assert np.mean(held) > 0.88


def test_an_hour_without_any_alarm_promises_at_most_three_an_hour() -> None:
    found = threshold_for(gumbel(2, HOUR), 0.3, 10)
    assert found.low == 0
    assert found.high == pytest.approx(-math.log(0.05), rel=1e-6)


def test_alarms_are_runs_of_blocks() -> None:
    assert alarms(np.array([3.0, 3, 1, 3, 1, 1, 3, 3, 3]), 3.0) == 3
    assert alarms(np.array([1.0]), 3.0) == 0


def test_poisson_figures_agree_with_tables() -> None:
    assert at_most(2, 1.0) == pytest.approx(2.5 / math.e)
    assert at_most(0, 0.0) == 1
    assert at_most(-1, 3.0) == 0
    assert count_interval(0) == pytest.approx((0, 2.9957), abs=1e-3)
    assert count_interval(1) == pytest.approx((0.0513, 4.7439), abs=1e-3)
    assert count_interval(10) == pytest.approx((5.4254, 16.9622), abs=1e-3)
