from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.evidence import Cusum


def evidence(scores: list[float], persistence: int = 2, fps: float = 2) -> list[float]:
    """Median 0 and spread 1: what is over 2 is added up."""
    look = Cusum(0.0, 1.0, persistence)
    return [look(n / fps, score) for n, score in enumerate(scores)]


def test_what_the_leasts_have_over_the_reference_is_added_up() -> None:
    """Leasts 3, 3, 2.5, 0: sums over 2 are 1, 2, 2.5, 0.5; on top of the reference, 2."""
    assert evidence([3, 3, 3, 2.5, 0])[1:] == [3, 4, 4.5, 2.5]


def test_below_the_reference_it_is_the_least_of_the_last_scores() -> None:
    assert evidence([1, 0.5, 1.5, -4, 2])[1:] == [0.5, 0.5, -4, -4]


def test_a_single_wild_frame_raises_nothing() -> None:
    assert max(evidence([0.0, 0, 1e9, 0, 0])) == 0


def test_nothing_is_said_before_enough_frames_were_seen() -> None:
    assert evidence([9.0] * 4, persistence=3)[:2] == [-math.inf, -math.inf]
    assert evidence([9.0] * 4, persistence=3)[2] == 9


def test_after_a_long_strong_event_it_calms_down_within_seconds() -> None:
    found = evidence([1000.0] * 600 + [0.0] * 8)
    assert found[599] == 1010
    assert max(found[606:]) <= 2


@pytest.mark.parametrize("resumes_s", [6.1, 0.2])
def test_a_gap_or_a_clock_that_runs_backwards_starts_anew(resumes_s: float) -> None:
    look = Cusum(0.0, 1.0, gap_s=5.0)
    assert [look(0.5 * n, 4.0) for n in range(3)] == [-math.inf, 4, 6]
    assert look(resumes_s, 4.0) == -math.inf
    assert look(resumes_s + 0.5, 4.0) == 4


def test_uneven_frame_times_within_the_gap_change_nothing() -> None:
    look = Cusum(0.0, 1.0, gap_s=5.0)
    assert [look(s, 3.0) for s in (0.0, 0.1, 3.0, 8.0)] == [-math.inf, 3, 4, 5]


def test_reset_forgets() -> None:
    look = Cusum(0.0, 1.0)
    before = [look(n / 2, 5.0) for n in range(4)]
    look.reset()
    assert [look(n / 2, 5.0) for n in range(4)] == before


def test_constant_normal_footage_without_any_spread_is_no_error() -> None:
    look = Cusum(1.0, 0.0)
    assert [look(n / 2, 1.0) for n in range(3)] == [-math.inf, 1, 1]
    assert look(1.5, 2.0) == 1
    assert look(2.0, 2.0) == 2


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=60), st.integers(1, 5))
def test_it_is_never_below_the_least_of_the_last_scores_nor_far_above_the_highest(
    scores: list[float], persistence: int
) -> None:
    for n, found in enumerate(evidence(scores, persistence)):
        if n + 1 >= persistence:
            least = min(scores[n + 1 - persistence : n + 1])
            assert least <= found <= least + 10


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=40), st.floats(0.01, 1000), st.floats(-1000, 1000))
def test_the_unit_of_the_score_does_not_matter(scores: list[float], scale: float, shift: float) -> None:
    other = Cusum(shift, scale)
    scaled = [other(n / 2, score * scale + shift) for n, score in enumerate(scores)]
    assert scaled[1:] == pytest.approx([x * scale + shift for x in evidence(scores)[1:]], rel=1e-6, abs=1e-3)


def test_a_weak_event_of_five_seconds_stands_out_more_than_its_least() -> None:
    """At a level that noise reaches in 1 of 500 flights of a minute each, by either."""
    random = np.random.default_rng(0)
    calm = random.standard_normal((500, 120))
    events = random.standard_normal((500, 120))
    events[:, 60:70] += 2.5

    def peaks(flights: np.ndarray, accumulate: bool) -> np.ndarray:
        spread = 1.0 if accumulate else 1e9  # a reference out of reach leaves the least alone
        looks = [(Cusum(0.0, spread), flight) for flight in flights]
        return np.array([max(look(n / 2, score) for n, score in enumerate(flight)) for look, flight in looks])

    found = {
        accumulate: np.mean(peaks(events, accumulate) > peaks(calm, accumulate).max())
        for accumulate in (True, False)
    }
    assert found[True] > found[False] + 0.03
