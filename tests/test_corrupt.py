from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.scouting import footage, still, walked
from train import corrupt, weather
from train.corrupt import LARGEST, SMALLEST, Batch, batch, example
from train.pasts import DEPTH
from train.windows import SIDE, Windows


@pytest.fixture(scope="module")
def windows() -> Windows:
    return footage().train


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weather, and the earlier picture lies exactly on the one now."""
    monkeypatch.setattr(
        weather, "over", lambda clean, now, earlier, _: (clean, now, now if earlier is None else earlier)
    )
    monkeypatch.setattr(corrupt, "_ASIDE", 0.0)
    monkeypatch.setattr(corrupt, "_TURN", 0.0)


def same(a: Batch, b: Batch) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))


def chance(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def near(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask and all within so many pixels."""
    size = 2 * pixels + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)) > 0


def test_a_batch_follows_from_its_key_and_nothing_else(windows: Windows) -> None:
    first = batch(windows, 48, 3, (7, 1))
    batch(windows, 48, 2, (7, 2))
    np.random.default_rng().random()
    assert same(batch(windows, 48, 3, (7, 1)), first)
    for other in ((7, 2), (8, 1), (7, 1, 1)):
        assert not same(batch(windows, 48, 3, other), first)


def test_a_batch_leaves_its_windows_as_they_were(windows: Windows) -> None:
    before = windows.pictures.copy()
    batch(windows, 64, 30, (1,))
    np.testing.assert_array_equal(windows.pictures, before)


@pytest.mark.parametrize(("side", "size"), [(32, 1), (48, 3), (SIDE, 2)])
def test_a_batch_has_its_shapes_types_and_range(side: int, size: int, windows: Windows) -> None:
    made = batch(windows, side, size, (0,))
    assert made.seen.shape == (size, 6, side, side)
    assert made.clean.shape == (size, 3, side, side)
    assert made.foreign.shape == (size, 1, side, side)
    assert {part.dtype for part in made} == {np.dtype(np.uint8)}
    assert set(np.unique(made.foreign)) <= {0, 1}
    assert made.clean.max() > 60  # 255 is white
    assert all(part.flags.c_contiguous for part in made)


@pytest.mark.parametrize("side", [32, 96, SIDE])
def test_hundreds_of_seeds_give_finite_pictures_in_range(side: int, windows: Windows) -> None:
    for seed in range(250):
        made = example(windows, side, chance(seed))
        assert made.seen.shape == (side, side, 6)
        for part in made:
            assert part.dtype == np.float32
            assert np.isfinite(part).all(), seed
            assert part.min() >= 0, seed
            assert part.max() <= 1, seed


@pytest.mark.usefixtures("calm")
def test_what_is_marked_has_visibly_changed_and_most_of_what_changed_is_marked() -> None:
    windows = still(6)
    marked_changes, changed, marked = [], 0, 0
    for seed in range(150):
        made = example(windows, 64, chance(seed))
        change = np.abs(made.seen - np.concatenate([made.clean] * 2, axis=2)).max(axis=2)
        foreign = made.foreign > 0
        assert not (foreign & ~near(change > 0.01, 3)).any(), seed
        marked_changes.append(change[foreign])
        clear = np.abs(made.seen[..., :3] - made.clean).mean(axis=2) > 0.15
        changed, marked = changed + clear.sum(), marked + (clear & foreign).sum()
    assert np.median(np.concatenate(marked_changes)) > 0.1
    assert marked > 0.9 * changed > 1000


@pytest.mark.usefixtures("calm")
def test_clean_is_the_window_without_the_foreign() -> None:
    """A crop of it, pixel by pixel: nothing pasted is left in what has to be painted."""
    windows = still(1)
    whole = windows.pictures[0, 0].astype(np.float32) / 255
    for seed in range(60):
        clean = example(windows, 48, chance(seed)).clean
        match = cv2.matchTemplate(whole, clean, cv2.TM_SQDIFF)
        assert match.min() < 0.01, seed


@pytest.mark.usefixtures("calm")
def test_away_from_what_is_marked_now_is_clean() -> None:
    windows = still(4)
    for seed in range(100):
        made = example(windows, 64, chance(seed))
        change = np.abs(made.seen[..., :3] - made.clean).mean(axis=2)
        assert change[~near(made.foreign, 12)].max(initial=0) < 0.45
        assert (change[~near(made.foreign, 12)] > 0.1).mean() < 0.01


def test_weather_alone_is_not_marked(monkeypatch: pytest.MonkeyPatch, windows: Windows) -> None:
    monkeypatch.setattr(corrupt, "_COUNTS", (0,))
    changes = []
    for seed in range(60):
        made = example(windows, 48, chance(seed))
        assert not made.foreign.any()
        changes.append(np.abs(made.seen[..., :3] - made.clean).max())
    assert max(changes) > 0.03  # noise was there to be put up with


def test_some_crops_hold_nothing_and_some_have_no_earlier_picture(windows: Windows) -> None:
    made = [example(windows, 48, chance(seed)) for seed in range(200)]
    empty = np.mean([not one.foreign.any() for one in made])
    alone = np.mean([np.array_equal(one.seen[..., :3], one.seen[..., 3:]) for one in made])
    assert 0.1 < empty < 0.7
    assert 0.05 < alone < 0.4


def test_a_window_without_an_earlier_picture_shows_now_twice(windows: Windows) -> None:
    first = Windows(windows.pictures, np.array([[True, False, False, False]] * len(windows)))
    for seed in range(40):
        seen = example(first, 48, chance(seed)).seen
        np.testing.assert_array_equal(seen[..., :3], seen[..., 3:])


# Time that ran faster


def hurried(windows: Windows, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(what is marked, the earlier picture before, and after) of the whole first window."""
    now, earlier, further, _ = (windows.pictures[0, back].astype(np.float32) / 255 for back in range(DEPTH))
    foreign, kept = np.zeros((SIDE, SIDE), np.float32), earlier.copy()
    corrupt._hurry(now, earlier, further, foreign, chance(seed))
    return foreign > 0, kept, earlier


def test_hurry_marks_only_what_moved() -> None:
    windows, ever = walked(1)
    found = 0
    for seed in range(150):
        marked, before, after = hurried(windows, seed)
        assert not (marked & ~near(ever, 2)).any()
        found += marked.any()
        if marked.any():
            assert np.abs(after - before).max() > 0.04
    assert found > 20


def test_hurry_marks_nothing_where_all_stands_still() -> None:
    for seed in range(50):
        marked, before, after = hurried(still(1), seed)
        assert not marked.any()
        np.testing.assert_allclose(after, before, atol=1e-6)


def test_hurry_leaves_what_lies_outside_its_spot() -> None:
    windows, ever = walked(1)
    for seed in range(50):
        _, before, after = hurried(windows, seed)
        assert np.array_equal(before[~ever], after[~ever])


@pytest.mark.usefixtures("calm")
def test_time_that_ran_faster_does_not_wipe_away_what_was_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for name in ("_hurry", "_paste"):
        monkeypatch.setattr(corrupt, name, lambda *_, name=name: order.append(name))
    monkeypatch.setattr(corrupt, "_COUNTS", (3,))
    windows, seen = still(2), set()
    for seed in range(60):
        example(windows, 32, chance(seed))
        assert order == sorted(order)
        seen.add(tuple(order))
        order.clear()
    assert len(seen) == 4


@pytest.mark.usefixtures("calm")
def test_hurry_is_not_made_of_pictures_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch, windows: Windows
) -> None:
    used: list[int] = []
    monkeypatch.setattr(corrupt, "_hurry", lambda *_: used.append(1))
    there = np.array([[True, True, False, False]] * len(windows))
    for seed in range(100):
        example(Windows(windows.pictures, there), 32, chance(seed))
    assert not used
    for seed in range(100):
        example(windows, 32, chance(seed))
    assert len(used) > 20


# Sizes


@pytest.mark.parametrize("size", [SMALLEST, 16.0, LARGEST])
def test_a_blob_is_about_as_large_as_was_asked_for(size: float) -> None:
    areas = [(corrupt._blob(size, chance(seed)) > 0.3).sum() for seed in range(80)]
    assert 0.3 * size**2 < np.median(areas) < 1.1 * size**2
    assert max(areas) < 2.5 * size**2


def test_a_blob_is_whole_and_soft_at_its_edge() -> None:
    soft = 0
    for seed in range(80):
        mask = corrupt._blob(20.0, chance(seed))
        assert mask.dtype == np.float32
        assert mask.min() >= 0
        assert mask.max() <= 1 + 1e-6
        rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert rim.max() < 0.1, seed
        soft += ((mask > 0.02) & (mask < 0.3)).any()
    assert soft > 70


def test_small_things_are_as_many_as_large_ones() -> None:
    middle = np.sqrt(SMALLEST * LARGEST)
    sides = []
    for seed in range(300):
        spot = corrupt._Spot.random(chance(seed), 400, SMALLEST, LARGEST)
        if spot is not None:
            sides.append(np.sqrt((spot.mask > 0.3).sum() / 0.75))
    assert 0.35 < np.mean(np.array(sides) < middle) < 0.75
    assert min(sides) < 10
    assert max(sides) > 45


@pytest.mark.parametrize("side", [32, 96])
def test_a_spot_lies_in_its_crop(side: int) -> None:
    for seed in range(400):
        spot = corrupt._Spot.random(chance(seed), side, SMALLEST, 80.0)
        if spot is None:
            continue
        inside = np.zeros((side, side))[spot.inside]
        assert inside.shape == spot.mask.shape
        assert inside.size


@pytest.mark.parametrize("corner", [(-3, 5), (30, 30), (5, -9), (-20, 0), (0, 200), (32, 32), (28, -4)])
def test_what_is_pasted_beyond_the_edge_is_cut_there(corner: tuple[int, int]) -> None:
    picture, mask = np.zeros((32, 32, 3), np.float32), np.ones((8, 8), np.float32)
    corrupt._paste_at(picture, np.ones((8, 8, 3), np.float32), mask, corner)
    rows, columns = (max(0, min(32, at + 8) - max(0, at)) for at in corner)
    assert picture[..., 0].sum() == rows * columns


# Of a route


@pytest.fixture
def route() -> Windows:
    """Two flights over the same ground, the second a little brighter."""
    pair = still(8).pictures[:, :2].copy()
    pair[:, 1] = np.minimum(pair[:, 1].astype(np.int16) + 3, 255).astype(np.uint8)
    return Windows(pair, np.ones((8, 2), np.bool_))


def test_of_a_route_only_what_the_other_flight_did_not_see_is_foreign(calm: None, route: Windows) -> None:
    planted = kept = 0
    for seed in range(200):
        seen, clean, foreign = example(route, 64, chance(seed))
        now, other = seen[..., :3], seen[..., 3:]
        if np.array_equal(now, other):
            continue  # alone
        unlike = np.abs(now - other).max(axis=2) > 0.02
        assert not (near(unlike, 3) < (foreign > 0)).any()  # marked: the flights differ there
        landmark = (np.abs(clean - other).max(axis=2) < 0.05) & (np.abs(now - clean).max(axis=2) == 0)
        assert not foreign[landmark].any()
        planted += bool(foreign.any())
        kept += bool((unlike & (foreign == 0)).any())
    assert planted > 60
    assert kept > 5  # what only the other flight saw is no alarm


def test_of_a_route_without_another_flight_both_pictures_are_the_same(calm: None, route: Windows) -> None:
    alone = Windows(route.pictures, np.array([[True, False]] * len(route)))
    marked = 0
    for seed in range(30):
        seen, _, foreign = example(alone, 64, chance(seed))
        np.testing.assert_array_equal(seen[..., :3], seen[..., 3:])
        marked += bool(foreign.any())
    assert marked > 10
