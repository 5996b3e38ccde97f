from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.errors import BundleError
from edge.frames import Picture
from edge.places import Gatherer, Place, Places, laid_on
from edge.sights import in_pixels, matched, sight_of
from tests.route import SIZE, flight, strip, view

GROUND = strip()


def gathered(*seeds: int) -> Places:
    gatherer = Gatherer()
    for seed in seeds:
        gatherer.begin()
        for picture in flight(GROUND, seed):
            gatherer.add(picture)
    return gatherer.places()


@pytest.fixture(scope="module")
def known() -> Places:
    return gathered(1, 2)


def error(one: Picture, other: Picture) -> float:
    inside = (slice(40, -40), slice(40, -40))
    return float(np.abs(one[inside].astype(np.float32) - other[inside]).mean())


def test_a_flight_is_kept_as_so_many_places_as_tell_it_apart(known: Places) -> None:
    """30 pictures, each 60 of 270 pixels farther than the last: nearly four show the same place."""
    kept = [int((known.flights == number).sum()) for number in (0, 1)]
    assert all(8 <= count <= 20 for count in kept)


def test_every_picture_of_another_flight_is_recalled_in_its_own_light(known: Places) -> None:
    walk, covered = known.walk(), []
    for number, picture in enumerate(flight(GROUND, 7)):
        found = walk.recall(picture)
        assert found is not None, number
        covered.append(float(found.known.mean()))
        assert error(found.picture, picture) < 8
        assert abs(float(found.picture.mean()) - float(picture.mean())) < 3
    assert min(covered) > 0.7
    assert np.mean(covered) > 0.93


def test_what_was_not_there_is_not_in_what_is_recalled(known: Places) -> None:
    picture = view(GROUND, 500)
    picture[100:130, 200:230] = (0, 0, 255)
    found = known.walk().recall(picture)
    assert found is not None
    place = (slice(100, 130), slice(200, 230))
    assert np.abs(found.picture[place].astype(float) - view(GROUND, 500)[place]).mean() < 20


def test_places_are_laid_side_by_side_where_one_does_not_cover_all() -> None:
    gatherer = Gatherer()
    for aside in (-110, 110):
        gatherer.begin()
        gatherer.add(view(GROUND, 500, aside=aside))
    found = gatherer.places().walk().recall(view(GROUND, 500))
    assert found is not None
    assert found.known.mean() > 0.98
    assert error(found.picture, view(GROUND, 500)) < 3


def test_a_flight_does_not_recall_itself_if_told_so() -> None:
    alone = gathered(1)
    picture = view(GROUND, 500)
    assert alone.walk().recall(picture) is not None
    assert alone.walk(but_not=0).recall(picture) is None


@pytest.mark.parametrize("along", range(100, 1600, 200))
def test_wherever_it_is_set_down_it_finds_itself_within_a_few_pictures(known: Places, along: int) -> None:
    walk, picture = known.walk(), view(GROUND, along)
    assert any(walk.recall(picture) is not None for _ in range(5))
    assert walk.recall(picture) is not None  # and stays


def test_another_ground_is_not_recalled(known: Places) -> None:
    walk = known.walk()
    for picture in flight(strip(seed=99), 3, count=12):
        assert walk.recall(picture) is None


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_a_picture_without_anything_to_hold_on_to_is_not_recalled_and_not_kept(
    known: Places, shade: int
) -> None:
    bare = np.full((*SIZE, 3), shade, np.uint8)
    assert known.walk().recall(bare) is None
    gatherer = Gatherer()
    gatherer.begin()
    gatherer.add(bare)
    assert gatherer.places().places == ()
    assert gatherer.places().walk().recall(bare) is None


def test_what_the_other_flight_did_not_see_is_taken_from_now(known: Places) -> None:
    picture = view(GROUND, 500, aside=150)  # a third of it lies outside of what any flight saw
    found = known.walk().recall(picture)
    assert found is not None
    np.testing.assert_array_equal(found.picture[:, -60:], picture[:, -60:])
    assert not found.known[:, -60:].any()
    assert found.known[100:-100, 100:200].all()


def test_it_is_found_at_another_size_of_the_picture(known: Places) -> None:
    small = view(GROUND, 700)
    large = np.asarray(cv2.resize(small, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), np.uint8)
    found = known.walk().recall(large)
    assert found is not None
    assert found.picture.shape == large.shape
    assert error(found.picture, large) < 10


def test_a_motion_in_small_pixels_is_the_same_motion_in_pictures() -> None:
    affine = np.array([[1, 0, 10], [0, 1, 4]], np.float32)
    whole = in_pixels(affine, (640, 360), (1080, 1920), (1080, 1920))
    np.testing.assert_allclose(whole, [[1, 0, 30], [0, 1, 12]], atol=1e-5)


def test_light_is_followed_by_at_most_a_half() -> None:
    seen = view(GROUND, 300)
    still = np.eye(2, 3, dtype=np.float32)
    dark = np.asarray(seen * 0.7, np.uint8)
    assert error(laid_on(seen, still, dark)[0], dark) < 3
    black = np.zeros_like(seen)
    assert laid_on(seen, still, black)[0].std() > 5  # a lens that is covered is not explained away


def test_a_match_needs_support() -> None:
    here, there = sight_of(view(GROUND, 300)), sight_of(view(GROUND, 340))
    match = matched(0, there, here)
    assert match is not None
    assert match.covered == pytest.approx(1 - 40 / SIZE[0], abs=0.05)
    assert matched(0, sight_of(view(strip(5), 300)), here) is None


def test_a_picture_that_is_no_jpeg_is_one_sentence(known: Places) -> None:
    spoilt = Places([Place(place.flight, place.sight, b"\xff\xd8 no picture") for place in known.places])
    with pytest.raises(BundleError, match="calibrate the bundle again"):
        spoilt.walk().recall(view(GROUND, 500))
