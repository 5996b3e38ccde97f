from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import SkerryError, UsageError
from edge.frames import Picture
from edge.pairs import STALE_S, Pairs
from tests.builders import folder_of
from tests.route import flight, strip
from tests.scouting import ground
from train import windows
from train.footage import Sampling
from train.pasts import DEPTH, RECALLED, Histories, History
from train.windows import (
    LEAST,
    MOST,
    SIDE,
    WindowFootage,
    count,
    cut,
    read_windows,
    shared,
)

SAMPLING = Sampling(fps=10, folder_fps=10)
FRAMES = 12
BYTES = DEPTH * SIDE * SIDE * 3


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips, each of its own blue, over which a square walks."""
    home = tmp_path_factory.mktemp("flights")
    for clip in range(4):
        folder_of(home / f"clip{clip}", [shot(clip, number) for number in range(FRAMES)])
    return home


def shot(clip: int, number: int, size: tuple[int, int] = (180, 200)) -> Picture:
    picture = ground(*size, seed=clip)
    picture[20:50, 10 + 6 * number : 40 + 6 * number, 1:] = 250
    picture[..., 0] = 60 * clip
    return picture


def read(flights: Path, budget: int = 60 * BYTES, seed: int = 0) -> WindowFootage:
    return read_windows([flights], SAMPLING, seed, budget=budget)


@pytest.fixture(scope="module")
def found(flights: Path) -> WindowFootage:
    return read(flights)


@pytest.mark.parametrize("most", [1, 7, 60])
def test_the_budget_is_kept_and_used(most: int, flights: Path) -> None:
    made = read(flights, budget=most * BYTES + BYTES // 2)
    assert len(made.train) == most
    assert made.train.pictures.nbytes <= most * BYTES + BYTES // 2
    assert len(made.validation) <= most


def test_with_a_large_budget_a_frame_gives_only_so_many(flights: Path) -> None:
    made = read(flights, budget=10_000 * BYTES)
    assert len(made.train) == MOST * made.splits.frames("train")


def test_windows_train_and_validate_by_clip(found: WindowFootage) -> None:
    """The blue of each clip tells whose window it is."""
    assert found.splits.rule == "clips"
    for made, clips in ((found.train, found.splits.train), (found.validation, found.splits.validation)):
        wanted = {60 * int(clip.name[-1]) for clip in clips}
        assert set(np.unique(made.pictures[..., 2])) == wanted
    assert not {clip.name for clip in found.splits.train} & {clip.name for clip in found.splits.validation}


def test_a_window_holds_what_its_shapes_say(found: WindowFootage) -> None:
    assert found.train.pictures.shape == (len(found.train), DEPTH, SIDE, SIDE, 3)
    assert found.train.there.shape == (len(found.train), DEPTH)
    assert found.train.there[:, 0].all()
    assert found.train.there[:, 1:].any(axis=0).all()


def test_where_nothing_was_there_now_stands_in(found: WindowFootage) -> None:
    gone = ~found.train.there
    assert gone.any()
    for window, missing in zip(found.train.pictures, gone, strict=True):
        for place in np.flatnonzero(missing):
            np.testing.assert_array_equal(window[place], window[0])


def test_the_square_is_further_back_the_further_back_the_picture(found: WindowFootage) -> None:
    centres = []
    for window in found.train.pictures[found.train.there.all(axis=1)]:
        columns = [np.nonzero((shown[..., :2] == 250).all(axis=2))[1] for shown in window]
        if all(len(one) > 600 for one in columns):
            centres.append([one.mean() for one in columns])
    assert len(centres) >= 3
    steps = -np.diff(np.array(centres), axis=1)
    assert (steps > 6).all()  # 2 frames of 6 pixels each, less what a window's edge hides


def test_the_seed_decides_which_windows(flights: Path, found: WindowFootage) -> None:
    again, other = read(flights), read(flights, seed=1)
    np.testing.assert_array_equal(again.train.pictures, found.train.pictures)
    np.testing.assert_array_equal(again.validation.there, found.validation.there)
    assert not np.array_equal(other.train.pictures[:5], found.train.pictures[:5])


def test_too_little_footage_is_told(tmp_path: Path) -> None:
    folder_of(tmp_path / "short", [shot(0, 0)] * 3)
    with pytest.raises(UsageError, match="3 frames at 10 fps are too few to train on"):
        read(tmp_path / "short")
    with pytest.raises(SkerryError, match="nowhere"):
        read(tmp_path / "nowhere")


def test_one_long_clip_is_cut_in_time_and_its_parts_share_no_frame(tmp_path: Path) -> None:
    """The red of a frame is its number."""
    pictures = [np.full((SIDE, SIDE, 3), number, np.uint8) for number in range(60)]
    made = read(folder_of(tmp_path / "long", pictures), budget=1000 * BYTES)
    assert made.splits.rule == "blocks"
    train, validation = (set(np.unique(part.pictures[..., 0])) for part in (made.train, made.validation))
    assert train == set(range(made.splits.train[0].start, made.splits.train[0].stop))
    assert validation == set(range(made.splits.validation[0].start, made.splits.validation[0].stop))


@pytest.mark.parametrize("fps", [10, 5, 3, 2])
def test_counting_agrees_with_reading(fps: float, flights: Path) -> None:
    sampling = Sampling(fps=fps, folder_fps=10)
    told: list[str] = []
    made = windows.gather(
        [windows.Clip(name="clip0", path=str(flights / "clip0"), sha256="", start=0, stop=99)],
        sampling,
        1,
        0,
        told.append,
        Histories(),
    )
    assert len(told) == count(flights / "clip0", sampling)
    assert len(made) <= 1


@given(st.integers(1, 5000), st.integers(1, 700))
def test_windows_are_shared_evenly(wanted: int, frames: int) -> None:
    total = min(wanted, MOST * frames)
    given_by = list(shared(total, frames))
    assert len(given_by) == frames
    assert sum(given_by) == total
    assert max(given_by) <= MOST
    assert total < LEAST or min(filter(None, given_by)) >= LEAST or max(given_by) <= LEAST
    if total >= LEAST * 2:
        givers = np.flatnonzero(given_by)
        gaps = np.diff(np.concatenate([[-1], givers]))
        assert gaps.max() - gaps.min() <= 1


# Pairing


@pytest.mark.parametrize("fps", [2, 5, 10, 30])
def test_a_window_shows_the_earlier_picture_that_flight_would_show(fps: float) -> None:
    flight, history, pairs = Pairs(), History(), 0
    for number in range(14):
        picture = shot(0, number, (96, 128))
        wanted = flight.pair(picture, number / fps).earlier
        stack = history.stack(picture, number / fps, np.random.default_rng(0))
        assert stack[0] is picture
        assert (stack[1] is None) == (wanted is None)
        if wanted is not None:
            np.testing.assert_array_equal(stack[1], wanted)
            pairs += 1
    assert pairs == 13


def test_frames_that_give_no_window_are_remembered_all_the_same() -> None:
    whole, sparse = History(), History()
    for number in range(14):
        picture = shot(0, number, (96, 128))
        chance = np.random.default_rng(3) if number == 13 else None
        all_of_it = whole.stack(picture, number / 10, np.random.default_rng(3))
        some = sparse.stack(picture, number / 10, chance)
    assert len(some) == DEPTH
    for one, other in zip(all_of_it, some, strict=True):
        assert one is not None
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("fps", "lag"), [(2, 1), (10, 2), (30, 6)])
def test_what_is_further_back_is_two_and_three_or_four_lags_old(fps: float, lag: int) -> None:
    history, ages = History(), set()
    for number in range(60):
        picture = np.full((32, 32, 3), number, np.uint8)
        stack = history.stack(picture, number / fps, np.random.default_rng(number))
        if number > 4 * lag + 2:
            ages.add(tuple(number - int(shown[0, 0, 0]) for shown in stack if shown is not None))
    assert ages == {(0, lag, 2 * lag, 3 * lag), (0, lag, 2 * lag, 4 * lag)}


def test_after_a_cut_nothing_is_there() -> None:
    history, chance = History(), np.random.default_rng(0)
    for number in range(12):
        history.stack(shot(0, number, (64, 64)), number / 10, chance)
    for picture, at in ((shot(0, 0, (64, 64)), 1.2 + STALE_S), (shot(0, 0, (64, 80)), 1.3 + STALE_S)):
        assert history.stack(picture, at, chance)[1:] == [None] * (DEPTH - 1)


def test_no_more_pictures_are_kept_than_are_looked_back_to() -> None:
    history = History()
    for number in range(200):
        history.stack(np.zeros((16, 16, 3), np.uint8), number / 30, None)
    assert len(history._past) <= 32


# Cutting


@pytest.mark.parametrize("size", [(40, 60), (100, 300), (300, 100), (1, 1), (1, 200)])
def test_a_picture_smaller_than_a_window_goes_on_as_it_ends_not_enlarged(
    size: tuple[int, int],
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    window = cut([picture] * DEPTH, np.random.default_rng(0))
    assert window.shape == (DEPTH, SIDE, SIDE, 3)
    height, width = (min(side, SIDE) for side in size)
    if size[0] <= SIDE and size[1] <= SIDE:
        np.testing.assert_array_equal(window[0, :height, :width], picture[..., ::-1])
    if 1 < height < SIDE:
        np.testing.assert_array_equal(window[0, height, :width], window[0, height - 1, :width])
    shown = {tuple(pixel) for pixel in picture[..., ::-1].reshape(-1, 3)}
    assert {tuple(pixel) for pixel in window[0].reshape(-1, 3)} <= shown  # no colour was made up


def test_a_window_is_red_first_and_the_same_place_of_all_pictures() -> None:
    picture = ground(300, 400)
    later = np.asarray(255 - picture, np.uint8)
    window = cut([picture, later, None, picture], np.random.default_rng(5))
    np.testing.assert_array_equal(window[1], 255 - window[0])
    np.testing.assert_array_equal(window[2], window[0])
    match = cv2.matchTemplate(picture, np.ascontiguousarray(window[0][..., ::-1]), cv2.TM_SQDIFF)
    assert match.min() == 0


def reaches(size: tuple[int, int]) -> list[int]:
    return [windows._reach(*size, np.random.default_rng(seed)) for seed in range(200)]


def test_of_pictures_larger_than_a_tile_some_windows_span_more() -> None:
    assert set(reaches((384, 512))) == {SIDE}
    large = np.array(reaches((1080, 1920)))
    assert 0.1 < (large > SIDE).mean() < 0.4
    assert large.max() <= SIDE / 0.4 + 1
    assert min(reaches((200, 1920))) == SIDE
    assert max(reaches((200, 1920))) <= 200
    assert set(reaches((100, 1920))) == {SIDE}


def test_a_window_that_spans_more_is_shrunk() -> None:
    picture = ground(1080, 1920)
    for seed in range(40):
        window = cut([picture] * DEPTH, np.random.default_rng(seed))
        assert window.shape == (DEPTH, SIDE, SIDE, 3)


# Flights of one route


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home, land = tmp_path_factory.mktemp("routes"), strip()
    for seed in range(4):
        folder_of(home / f"flight{seed}", list(flight(land, seed)))
    return home


@pytest.mark.slow
def test_beside_a_picture_of_a_route_lies_the_same_place_on_another_flight(routes: Path) -> None:
    found = read_windows([routes], SAMPLING, 0, budget=60 * BYTES, beside="route")
    assert found.train.of_route
    assert found.train.pictures.shape[1:] == (RECALLED, SIDE, SIDE, 3)
    assert found.train.there[:, 1].mean() > 0.9
    assert found.validation.there[:, 1].mean() > 0.9
    now, other = (found.train.pictures[found.train.there[:, 1], part].astype(float) for part in (0, 1))
    assert 0 < np.abs(now - other).mean() < 10


def test_a_route_takes_flights_and_not_one(routes: Path) -> None:
    with pytest.raises(UsageError, match="name four flights or more"):
        read_windows([routes / "flight0"], SAMPLING, 0, beside="route")
