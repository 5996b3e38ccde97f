from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import BundleError
from edge.localize import MAX_BOXES, ErrorStatistics, boxes, error_map, windowed


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


def test_heat_counts_standard_deviations_above_the_mean() -> None:
    statistics = ErrorStatistics(np.full((2, 2), 2, np.float32), np.full((2, 2), 0.5, np.float32))
    np.testing.assert_allclose(statistics.heat(np.full((2, 2), 3, np.float32)), 2)


def test_statistics_survive_their_file() -> None:
    before = ErrorStatistics(np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float32))
    after = ErrorStatistics.from_bytes(before.to_bytes(), (2, 3))
    np.testing.assert_array_equal(after.mean, before.mean)
    np.testing.assert_array_equal(after.std, before.std)


@pytest.mark.parametrize("spoil", ["shape", "nan", "zero"])
def test_statistics_that_cannot_be_right_are_refused(spoil: str) -> None:
    mean, std = np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)
    if spoil == "nan":
        mean[0, 0] = np.nan
    if spoil == "zero":
        std[0, 0] = 0
    data = ErrorStatistics(mean, std).to_bytes()
    with pytest.raises(BundleError, match=r"does not fit a [23]x2"):
        ErrorStatistics.from_bytes(data, (2, 3) if spoil == "shape" else (2, 2))


def test_pickles_are_never_loaded() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, mean=np.array([{"a": 1}], dtype=object), std=np.ones(1))
    with pytest.raises(BundleError, match="cannot be read"):
        ErrorStatistics.from_bytes(buffer.getvalue(), (1, 1))


@given(st.binary(max_size=200))
def test_hostile_statistics_raise_nothing_but_bundle_errors(data: bytes) -> None:
    with pytest.raises(BundleError):
        ErrorStatistics.from_bytes(data, (2, 2))
