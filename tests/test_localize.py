from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.localize import MAX_BOXES, PLACES, Scale, boxes, cells, error_map, fused, windowed


def heat_with(*spots: tuple[int, int, int, int, float]) -> np.ndarray:
    heat = np.zeros((124, 124), np.float32)
    for x, y, width, height, value in spots:
        heat[y : y + height, x : x + width] = value
    return heat


def test_the_error_map_is_the_squared_difference_averaged_over_colours() -> None:
    tensor = np.zeros((1, 3, 2, 2), np.float32)
    output = tensor.copy()
    output[0, :, 0, 1] = (0.3, 0.6, 0.0)
    np.testing.assert_allclose(error_map(tensor, output), [[0, (0.09 + 0.36) / 3], [0, 0]], atol=1e-7)


def test_the_window_averages_its_neighbourhood() -> None:
    error = np.zeros((9, 9), np.float32)
    error[4, 4] = 9
    assert windowed(error, 3)[3, 5] == pytest.approx(1)
    assert windowed(error, 3)[4, 6] == 0
    assert windowed(error, 1) is error
    assert windowed(error, None).tolist() == [[pytest.approx(9 / 81)]]


def test_a_region_becomes_a_box_in_native_pixels() -> None:
    (box,) = boxes(heat_with((31, 62, 2, 4, 5.0)), 3.0, width=1240, height=620)
    assert (box.x, box.y, box.width, box.height) == (310, 310, 20, 20)
    assert box.peak == 5
    assert box.area == 400


def test_boxes_come_hottest_first_and_at_most_sixteen() -> None:
    spots = [(n * 6, 10, 2, 2, 4.0 + n) for n in range(20)]
    found = boxes(heat_with(*spots), 3.0, 124, 124)
    assert len(found) == MAX_BOXES
    assert [box.peak for box in found] == sorted((box.peak for box in found), reverse=True)
    assert found[0].peak == 23


def test_nothing_hot_is_no_box() -> None:
    assert boxes(heat_with((1, 1, 3, 3, 2.9)), 3.0, 640, 360) == ()


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 4000), st.integers(8, 4000))
def test_boxes_stay_inside_the_picture(seed: int, width: int, height: int) -> None:
    heat = np.random.default_rng(seed).normal(size=(31, 31)).astype(np.float32)
    for box in boxes(heat, 1.0, width, height):
        assert box.x >= 0
        assert box.x + box.width <= width
        assert box.y + box.height <= height


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(2, 25), st.integers(0, 2**32 - 1))
def test_a_power_mean_is_that_of_its_definition_and_never_less_than_the_mean(
    power: int, window: int, seed: int
) -> None:
    evidence = np.random.default_rng(seed).exponential(size=(20, 30)).astype(np.float32)
    found = windowed(evidence, window, power)
    padded = np.pad(evidence.astype(np.float64), 25, mode="edge")
    before = window // 2
    for y, x in ((0, 0), (7, 11), (19, 29)):
        around = padded[25 + y - before :, 25 + x - before :][:window, :window]
        assert found[y, x] == pytest.approx((around**power).mean() ** (1 / power), rel=1e-3)
    assert (found >= windowed(evidence, window) * (1 - 1e-5)).all()
    assert windowed(evidence, None, power)[0, 0] == pytest.approx(
        (evidence.astype(np.float64) ** power).mean() ** (1 / power), rel=1e-3
    )


def test_the_higher_the_power_the_less_it_matters_how_much_of_a_window_a_thing_fills() -> None:
    walkers, rider = np.zeros((60, 60), np.float32), np.zeros((60, 60), np.float32)
    walkers[20:40, 10:50], rider[20:40, 25:37] = 1, 2  # many of speed 1, one of speed 2
    assert windowed(rider, 31).max() < windowed(walkers, 31).max()
    assert windowed(rider, 31, 3).max() > 1.3 * windowed(walkers, 31, 3).max()


def test_nothing_stays_nothing_in_a_power_mean() -> None:
    evidence = np.zeros((40, 40), np.float32)
    evidence[5, 5] = 1e3
    found = windowed(evidence, 5, 3)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found[8:].max() < 1e-3  # no rounding of the great sum is left behind


def test_a_score_of_the_whole_picture_has_no_box() -> None:
    assert boxes(np.full((1, 1), 9, np.float32), 3.0, 640, 360) == ()


def test_heat_is_0_where_typical_and_1_at_the_height_of_its_place() -> None:
    scale = Scale(2.0, np.array([[3.0, 4.0]], np.float32))
    evidence = np.array([[2, 3, 2, 4], [1, 4, 3, 6]], np.float32)
    np.testing.assert_allclose(scale.heat(evidence), [[0, 1, 0, 1], [-1, 2, 0.5, 2]])


sides = st.integers(1, 150)


@settings(deadline=None)
@given(sides, sides, st.integers(0, 2**32 - 1))
def test_a_frame_has_the_same_peak_by_places_as_pixel_by_pixel(height: int, width: int, seed: int) -> None:
    """Calibration keeps places, flight looks at pixels: both must hold a pixel against the same place."""
    random = np.random.default_rng(seed)
    evidence = random.exponential(size=(height, width)).astype(np.float32)
    places = cells(evidence)
    scale = Scale(0.1, (0.2 + random.exponential(size=places.shape)).astype(np.float32))
    assert max(places.shape) <= PLACES
    assert places.max() == evidence.max()
    assert scale.heat(places).max() == pytest.approx(scale.heat(evidence).max(), rel=1e-6)


def test_branches_meet_on_the_grid_of_the_first_and_the_hottest_wins() -> None:
    first = np.array([[0, 5], [0, 0]], np.float32)
    second = np.zeros((4, 4), np.float32)
    second[2:, :2] = 7
    np.testing.assert_allclose(
        fused([None, np.full((1, 1), 99, np.float32), first, second]), [[0, 5], [7, 0]]
    )


def test_where_no_branch_has_evidence_there_is_no_heat() -> None:
    assert fused([None, None]) is None
    whole = np.full((1, 1), 2, np.float32)
    assert fused([None, whole]) is whole
