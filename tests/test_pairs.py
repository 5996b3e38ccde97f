from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from edge.frames import Picture
from edge.pairs import LAG_S, STALE_S, Pairs
from tests.test_motion import STILL, filmed, ground, turned


def picture(value: int, size: tuple[int, int] = (24, 32)) -> Picture:
    return np.full((*size, 3), value, np.uint8)


def paired(times: Iterable[float]) -> list[float | None]:
    """How many seconds earlier the picture is that each is paired with."""
    sequence, found = Pairs(), list[float | None]()
    for seconds in times:
        earlier = sequence.remember(picture(0), seconds)
        found.append(None if earlier is None else round(seconds - earlier.stream_s, 6))
    return found


@pytest.mark.parametrize(("fps", "lag"), [(2, 0.5), (4, 0.25), (5, 0.2), (10, 0.2), (30, 0.2), (12.5, 0.24)])
def test_the_earlier_picture_is_the_youngest_one_old_enough(fps: float, lag: float) -> None:
    found = paired(n / fps for n in range(40))
    assert found[0] is None
    assert found[-20:] == [pytest.approx(lag)] * 20


def test_at_the_beginning_the_oldest_there_is_will_do() -> None:
    assert paired(n / 30 for n in range(4)) == [None, *(pytest.approx(n / 30, abs=1e-5) for n in (1, 2, 3))]


def test_times_rounded_to_milliseconds_make_no_difference() -> None:
    assert paired(round(n / 30, 3) for n in range(60))[-20:] == [pytest.approx(LAG_S, abs=0.0015)] * 20


def test_after_a_short_gap_the_last_picture_before_it_is_used_and_after_a_long_one_none() -> None:
    assert paired([0.0, 0.1, 0.2, 1.0])[-1] == pytest.approx(0.8)
    assert paired([0.0, 0.1, 0.2, 0.25 + STALE_S])[-1] is None


@pytest.mark.parametrize("then", [0.5, 1.0])
def test_time_that_stands_or_runs_backwards_starts_anew(then: float) -> None:
    assert paired([0.5, 1.0, then, then + 0.5]) == [None, 0.5, None, 0.5]


def test_a_picture_of_another_size_starts_anew() -> None:
    sequence = Pairs()
    assert sequence.remember(picture(0), 0.0) is None
    assert sequence.remember(picture(0, (32, 24)), 0.5) is None
    assert sequence.remember(picture(0, (32, 24)), 1.0) is not None


def test_no_more_pictures_are_kept_than_are_needed() -> None:
    sequence = Pairs()
    for n in range(300):
        sequence.remember(picture(n % 255), n / 30)
    assert len(sequence._past) <= 30 * LAG_S + 2


def colour(gray: np.ndarray) -> Picture:
    return np.repeat(gray[..., None], 3, axis=2)


def test_a_pair_is_registered_and_tells_what_moved() -> None:
    scene, sequence = ground(), Pairs()
    earlier, now = colour(filmed(scene, STILL)), colour(filmed(scene, turned(0, 8, 3)))
    first, second = sequence.pair(earlier, 0.0), sequence.pair(now, 0.5)
    assert (first.earlier, first.speed) == (None, None)
    assert second.earlier is not None
    assert second.speed is not None
    assert np.abs(second.earlier.astype(int) - now).mean() < 0.2 * np.abs(earlier.astype(int) - now).mean()


def test_a_pair_without_registration_tells_of_motion_only() -> None:
    scene, sequence = ground(), Pairs(register=False)
    sequence.pair(colour(filmed(scene, STILL)), 0.0)
    pair = sequence.pair(colour(filmed(scene, turned(0, 8, 3))), 0.5)
    assert pair.earlier is None
    assert pair.speed is not None


@pytest.mark.parametrize("fps", [5, 10, 25, 30])
def test_pictures_too_close_in_time_tell_no_speed(fps: int) -> None:
    """Flow errs by pixels whatever lies between two pictures: in a thirtieth of a second they are speed."""
    scene, sequence = ground(), Pairs()
    pairs = [sequence.pair(colour(filmed(scene, turned(0, n, 0))), n / fps) for n in range(fps // 2 + 1)]
    assert [pair.speed is not None for pair in pairs] == [n / fps >= LAG_S for n in range(len(pairs))]
    assert all(pair.earlier is not None for pair in pairs[1:])  # and a network is shown both all the same


def test_where_the_camera_s_motion_cannot_be_told_there_is_no_earlier_picture() -> None:
    sequence = Pairs()
    sequence.pair(colour(filmed(ground(1), STILL)), 0.0)
    pair = sequence.pair(colour(filmed(ground(2), STILL)), 0.5)
    assert (pair.earlier, pair.speed) == (None, None)
