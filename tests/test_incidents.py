from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edge.events import Phase, Severity
from edge.incidents import Evidence, Incidents, Levels, Step

LEVELS = Levels(threshold=10, release=7, median=2)


def steps(scores: list[float], *, persistence: int = 1, cool_down: float = 1.0) -> list[Step | None]:
    """One score each half second."""
    incidents = Incidents(LEVELS, persistence, cool_down_s=cool_down, update_s=2.0)
    return [incidents.observe(n / 2, score) for n, score in enumerate(scores)]


def phases(found: list[Step | None]) -> list[str]:
    return [step.phase.value if step else "-" for step in found]


def test_quiet_scores_make_no_incident() -> None:
    assert phases(steps([2, 9.9, 3, 8])) == ["-"] * 4


def test_an_incident_begins_at_the_threshold_and_ends_after_the_cool_down() -> None:
    assert phases(steps([2, 10, 11, 2, 2, 2])) == ["-", "begin", "-", "-", "end", "-"]


def test_between_release_and_threshold_an_incident_goes_on_but_none_begins() -> None:
    assert phases(steps([8, 12, 8, 8, 8, 8]))[:2] == ["-", "begin"]
    assert "end" not in phases(steps([8, 12, 8, 8, 8, 8]))


def test_a_dip_shorter_than_the_cool_down_is_one_incident() -> None:
    assert phases(steps([12, 2, 12, 2, 12], cool_down=2)).count("begin") == 1


def test_persistence_lets_a_single_glint_pass() -> None:
    assert phases(steps([2, 50, 2, 50, 2], persistence=2)) == ["-"] * 5
    assert phases(steps([2, 50, 50], persistence=2)) == ["-", "-", "begin"]


def test_updates_come_at_most_every_two_seconds_unless_it_gets_graver() -> None:
    assert phases(steps([12] * 9)) == ["begin", "-", "-", "-", "update", "-", "-", "-", "update"]
    assert phases(steps([12, 12, 40]))[2] == "update"


def test_one_id_lasts_from_begin_to_end_and_the_next_incident_has_another() -> None:
    found = [step for step in steps([12, 2, 2, 12, 2, 2]) if step]
    assert [step.phase for step in found] == [Phase.BEGIN, Phase.END, Phase.BEGIN, Phase.END]
    assert found[0].incident.id == found[1].incident.id != found[2].incident.id


def test_the_peak_is_kept_to_the_end() -> None:
    found = [step for step in steps([12, 33, 12, 2, 2]) if step]
    assert found[-1].incident.peak == 33


def test_severity_follows_the_distance_from_an_ordinary_score() -> None:
    assert LEVELS.severity(10) is Severity.LOW
    assert LEVELS.severity(2 + 1.5 * 8) is Severity.MEDIUM
    assert LEVELS.severity(2 + 2.5 * 8) is Severity.HIGH


def test_finishing_ends_what_is_going_on_and_nothing_else() -> None:
    incidents = Incidents(LEVELS, 1, 1.0, 2.0)
    assert incidents.finish() is None
    incidents.observe(0, 12)
    step = incidents.finish()
    assert step is not None
    assert step.phase is Phase.END
    assert incidents.finish() is None


@given(st.lists(st.floats(0, 100), max_size=80), st.integers(1, 4))
def test_begin_and_end_alternate_whatever_the_scores(scores: list[float], persistence: int) -> None:
    told = [step.phase for step in steps(scores, persistence=persistence) if step]
    edges = [phase for phase in told if phase is not Phase.UPDATE]
    assert all(phase is (Phase.BEGIN, Phase.END)[n % 2] for n, phase in enumerate(edges))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50), st.integers(1, 5))
def test_evidence_is_the_running_minimum(scores: list[float], persistence: int) -> None:
    look = Evidence(persistence)
    for n, score in enumerate(scores):
        window = scores[max(0, n - persistence + 1) : n + 1]
        expected = min(window) if len(window) == persistence else -math.inf
        assert look(score) == expected


def test_a_frame_that_could_not_be_judged_whole_vetoes_no_frame_that_could() -> None:
    """The camera's motion can be told in every second frame alone."""
    look = Evidence(2)
    told = [look(score, whole) for score, whole in ((1, False), (50, True), (1, False), (50, True))]
    assert told == [-math.inf, 50, 1, 50]


def test_frames_that_are_never_whole_must_agree_among_themselves() -> None:
    look = Evidence(2)
    assert [look(score, whole=False) for score in (50, 2, 50, 60)] == [-math.inf, 2, 2, 50]


def test_a_glint_in_one_whole_frame_is_vetoed_across_those_that_are_not() -> None:
    look = Evidence(2)
    told = [look(score, whole) for score, whole in ((2, True), (1, False), (50, True), (1, False), (2, True))]
    assert max(told) == 2


def test_an_incident_begins_with_the_first_frame_in_which_motion_can_be_told() -> None:
    incidents = Incidents(LEVELS, 2, cool_down_s=1.0, update_s=2.0)
    assert incidents.observe(0.0, 1, whole=False) is None
    step = incidents.observe(0.5, 12)
    assert step is not None
    assert step.phase is Phase.BEGIN
