from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scored_videos import scored
from train.evaluation.alarms import alarms, delays, seconds, sweep, watch
from train.evaluation.scored import Scored
from train.evaluation.truth import Interval


def pattern(text: str, *abnormal: Interval, **more: object) -> Scored:
    """One frame a second, each digit its score; `.` is no evidence yet."""
    return scored([-math.inf if mark == "." else float(mark) for mark in text], *abnormal, **more)  # type: ignore[arg-type]


def test_a_gap_of_two_seconds_does_not_end_an_alarm_and_a_longer_one_does() -> None:
    assert alarms(pattern("100101"), 1) == [(0, 5)]
    assert alarms(pattern("1000101"), 1) == [(0, 0), (4, 6)]
    assert alarms(pattern("000"), 1) == []


def test_gaps_are_seconds_whatever_the_rate() -> None:
    fast = pattern("1" + "0" * 20 + "1" + "0" * 21 + "1", period_s=0.1)
    assert alarms(fast, 1) == [(0, 21), (43, 43)]


def test_alarms_name_native_frames() -> None:
    assert alarms(pattern("0110", every=15), 1) == [(15, 30)]


def test_an_event_is_detected_by_any_overlap_with_an_alarm() -> None:
    video = pattern("0050000300", (2, 3), (5, 6), (8, 9))
    assert watch(video).events.tolist() == [5, 0, 0]
    assert [watch(video).detected(level) for level in (6, 5, 1)] == [0, 1, 1]


def test_an_alarm_that_runs_on_over_a_short_event_detects_it() -> None:
    video = pattern("04003000", (2, 3))
    assert watch(video).events.tolist() == [3]
    assert delays(video, 3) == [0]
    assert watch(pattern("040003000", (2, 4))).events.tolist() == [0]


def test_an_event_between_two_looks_can_only_be_run_over() -> None:
    assert watch(pattern("0220", (16, 17), every=15)).events.tolist() == [2]
    assert delays(pattern("0200", (46, 50), every=15), 1) == [None]


def test_false_alarms_are_runs_outside_events_and_two_seconds_around_them() -> None:
    """Frames 3-10 are in or near the event; 2 and 11 are not."""
    video = pattern("00" + "0" + "111111111" + "0000", (5, 8))
    assert watch(video).outside_s == 3 + 5
    assert watch(video).false_alarms(1) == 1  # frame 11
    assert watch(pattern("0001111111100000", (5, 8))).false_alarms(1) == 0


def test_an_alarm_that_never_ends_is_false_before_and_after_the_event() -> None:
    always = watch(pattern("1" * 20, (9, 10)))
    assert always.false_alarms(1) == 2
    assert always.detected(1) == 1


def test_frames_without_evidence_never_alarm() -> None:
    video = pattern("..1", (0, 0))
    assert watch(video).detected(-1e300) == 0
    assert watch(video).false_alarms(-1e300) == 0


def test_frames_that_do_not_count_neither_alarm_nor_detect_nor_are_watched() -> None:
    video = pattern("0900090000", (4, 5), ignored=((1, 1), (5, 5)))
    assert alarms(video, 1) == []
    assert watch(video).events.tolist() == [0]
    assert watch(video).outside_s == 1 + 2
    assert delays(video, 1) == [None]


def test_an_event_in_frames_that_do_not_count_is_no_event() -> None:
    video = pattern("0000000009", (4, 5), ignored=((4, 5),))
    assert len(watch(video).events) == 0
    assert delays(video, 1) == []
    assert watch(video).outside_s == 8


def test_the_delay_is_from_the_onset_to_the_first_alarm() -> None:
    video = pattern("0000120010", (2, 6), (8, 9), period_s=0.5)
    assert delays(video, 1) == [1.0, 0.0]
    assert delays(video, 2) == [1.5, None]


def test_an_alarm_that_is_on_at_the_onset_has_no_delay() -> None:
    assert delays(pattern("011110", (3, 4)), 1) == [0.0]


def test_an_onset_between_two_looks_lies_between_their_times() -> None:
    video = pattern("0001", (20, 45), every=15)
    assert delays(video, 1) == [pytest.approx(3 - 20 / 15)]


def test_times_beyond_the_last_look_go_on_at_the_same_rate() -> None:
    assert seconds(pattern("000", every=15), 45) == pytest.approx(3)
    assert seconds(pattern("0"), 4) == 0


def test_a_sweep_goes_down_from_the_highest_threshold() -> None:
    """Ten events of one frame, 100 s apart; scores 10 to 1 in them, a false alarm of 5.5 and one of 1.5.

    1000 frames, of which 5 around each event (3 at the first) are not outside: 952 s.
    """
    scores = np.zeros(1000)
    scores[::100] = range(10, 0, -1)
    scores[50], scores[150] = 5.5, 1.5
    swept = sweep([watch(scored(scores.tolist(), *((n, n) for n in range(0, 1000, 100))))])
    assert swept is not None
    assert swept.per_hour_at(0.5) == 0
    assert swept.per_hour_at(0.8) == pytest.approx(3600 / 952)
    assert swept.per_hour_at(0.9) == pytest.approx(3600 / 952)
    assert swept.per_hour_at(1.0) == pytest.approx(2 * 3600 / 952)
    assert swept.recall_at(0.1) == pytest.approx(0.5)
    assert swept.recall_at(4) == pytest.approx(0.9)
    assert swept.recall_at(8) == 1


def test_false_alarms_that_run_together_are_not_fewer() -> None:
    """At 2 there are three, at 1 all frames are one alarm: still three to the operator's account."""
    swept = sweep([watch(pattern("2111211121111111" + "1", (16, 16)))])
    assert swept is not None
    assert swept.recall.tolist() == [0, 1]
    assert swept.per_hour.tolist() == pytest.approx([3 * 3600 / 14] * 2)


def test_a_first_false_alarm_over_the_rate_leaves_no_recall() -> None:
    swept = sweep([watch(pattern("9000000001", (9, 9)))])
    assert swept is not None
    assert swept.recall_at(1) == 0


def test_a_sweep_needs_events_and_time_outside_them() -> None:
    assert sweep([watch(pattern("0101"))]) is None
    assert sweep([watch(pattern("0101", (0, 3)))]) is None


def test_a_recall_that_no_threshold_reaches_has_no_rate() -> None:
    swept = sweep([watch(pattern(".000000100", (0, 0), (8, 9)))])
    assert swept is not None
    assert swept.per_hour_at(0.5) is not None
    assert swept.per_hour_at(0.8) is None


marks = st.text("0123.", min_size=1, max_size=40)
spans = st.lists(st.tuples(st.integers(0, 39), st.integers(0, 6)), max_size=3)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(marks, spans, spans, st.sampled_from([0.4, 1.0, 1.7]), st.integers(1, 3))
def test_what_is_counted_for_all_thresholds_at_once_is_what_each_alone_would_give(
    text: str,
    abnormal: list[tuple[int, int]],
    ignored: list[tuple[int, int]],
    period_s: float,
    threshold: int,
) -> None:
    inside = [(first, min(first + more, len(text) - 1)) for first, more in abnormal if first < len(text)]
    left_out = tuple((first, first + more) for first, more in ignored)
    video = pattern(text, *inside, ignored=left_out, period_s=period_s)
    watched = watch(video)
    late = delays(video, threshold)
    assert watched.detected(threshold) == sum(delay is not None for delay in late)
    assert len(watched.events) == len(late)
    quiet = np.array([min((gap(n, one) for one in counted(video)), default=99) for n in range(len(text))])
    outside = quiet * period_s > 2 + 1e-6
    alone = pattern(
        text,
        ignored=tuple((n, n) for n in range(len(text)) if not (outside[n] and video.counted[n])),
        period_s=period_s,
    )
    assert watched.false_alarms(threshold) == len(alarms(alone, threshold))


def gap(frame: int, event: Interval) -> int:
    return max(event[0] - frame, frame - event[1], 0)


def counted(video: Scored) -> list[Interval]:
    return [one for one in video.video.abnormal if video.counted[one[0] : one[1] + 1].any()]
