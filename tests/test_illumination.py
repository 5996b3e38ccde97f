from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.illumination import TILES, fitted, relit
from edge.localize import error_map

SIDE = 124
Image = np.ndarray


def expected(seed: int = 0) -> Image:
    """3 x SIDE x SIDE with structure, in [0.1, 0.6]."""
    grey = np.random.default_rng(seed).uniform(0.1, 0.6, (1, SIDE, SIDE))
    return np.repeat(grey, 3, axis=0).astype(np.float32)


def error(picture: Image, rebuilt: Image, relight: bool) -> Image:
    return error_map(picture[None], rebuilt[None], relight=relight)


@pytest.mark.parametrize(("gain", "bias"), [(1.5, 0.0), (0.6, 0.0), (1.0, 0.3), (1.3, -0.1), (0.7, 0.2)])
def test_another_gain_and_bias_leave_almost_no_error(gain: float, bias: float) -> None:
    rebuilt = expected()
    picture = rebuilt * np.float32(gain) + np.float32(bias)
    plain, explained = (error(picture, rebuilt, relight).mean() for relight in (False, True))
    assert plain > 0.001
    assert explained < 0.01 * plain


def test_light_that_differs_from_place_to_place_is_explained() -> None:
    rebuilt = expected()
    picture = rebuilt * np.linspace(0.7, 1.4, SIDE, dtype=np.float32)
    plain, explained = (error(picture, rebuilt, relight).mean() for relight in (False, True))
    assert explained < 0.1 * plain


def test_the_same_light_changes_nothing() -> None:
    rebuilt = expected()
    np.testing.assert_allclose(relit(rebuilt, rebuilt), rebuilt, atol=1e-5)


@pytest.mark.parametrize(("gain", "bias"), [(1.0, 0.0), (1.4, 0.05)])
@pytest.mark.parametrize("side", [8, 16])
def test_a_dark_foreign_square_is_not_explained_away(side: int, gain: float, bias: float) -> None:
    rebuilt = expected()
    picture = rebuilt * np.float32(gain) + np.float32(bias)
    spot = (slice(40, 40 + side), slice(70, 70 + side))
    picture[(slice(None), *spot)] = 0.0
    left = error(picture, rebuilt, relight=True)
    wanted = (gain * rebuilt + bias)[(0, *spot)] ** 2  # as if the light were known
    assert left[spot].mean() > 0.8 * wanted.mean()
    left[spot] = 0
    assert left.mean() < 1e-4


@pytest.mark.parametrize(("true", "most"), [(5.0, 2.0), (0.1, 0.5), (-1.0, 0.5)])
def test_a_gain_beyond_the_bounds_is_held_at_them(true: float, most: float) -> None:
    grey = expected()[0] * np.float32(0.3)
    gain, bias = fitted(grey, grey * np.float32(true))
    np.testing.assert_allclose(gain, most)
    assert np.isfinite(bias).all()


def test_a_flat_tile_gets_a_bias_and_no_gain() -> None:
    """Where there is no structure, nothing tells a gain: 0.2 to 0.5 is not taken for 2.5 times."""
    flat = np.full((SIDE, SIDE), 0.2, np.float32)
    gain, bias = fitted(flat, flat + np.float32(0.3))
    np.testing.assert_allclose(gain, 1.0, atol=1e-3)
    np.testing.assert_allclose(bias, 0.3, atol=1e-3)


def test_each_tile_has_a_line_of_its_own() -> None:
    grey = expected()[0]
    picture = grey.copy()
    quarter = SIDE // TILES
    picture[:quarter, -quarter:] += 0.2
    gain, bias = fitted(grey, picture)
    assert gain.shape == bias.shape == (TILES, TILES)
    assert bias[0, -1] == pytest.approx(0.2, abs=0.01)
    others = np.delete(bias.ravel(), TILES - 1)
    np.testing.assert_allclose(others, 0, atol=1e-5)


values = st.floats(0, 1, width=32)


@settings(deadline=None, max_examples=60)
@given(
    st.data(),
    st.integers(8, 40),
    st.integers(8, 40),
)
def test_whatever_is_shown_the_answer_is_finite(data: st.DataObject, height: int, width: int) -> None:
    shape = (3, height, width)
    rebuilt, picture = (data.draw(arrays(np.float32, shape, elements=values, fill=values)) for _ in range(2))
    answer = relit(rebuilt, picture)
    assert answer.shape == shape
    assert answer.dtype == np.float32
    assert np.isfinite(answer).all()
    gain, _ = fitted(rebuilt.mean(axis=0), picture.mean(axis=0))
    assert gain.min() >= 0.5
    assert gain.max() <= 2.0


def test_what_is_given_is_left_as_it_was() -> None:
    rebuilt, picture = expected(), expected(1)
    kept = rebuilt.copy(), picture.copy()
    error(picture, rebuilt, relight=True)
    np.testing.assert_array_equal(rebuilt, kept[0])
    np.testing.assert_array_equal(picture, kept[1])
