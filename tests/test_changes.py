from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.changes import Gray, Map, changed, passing
from edge.motion import STILL, movement
from tests.test_motion import HEIGHT, WIDTH, filmed, ground, noisy, under_shadow


def light_over(earlier: Gray, now: Gray) -> Map | None:
    return passing(changed(noisy(earlier, 1), noisy(now, 2)))


def walked_on(seed: int = 0) -> Gray:
    return filmed(ground(seed), STILL) // 4 + 90


@pytest.mark.parametrize("seed", range(3))
def test_light_passes_where_the_edge_of_a_shadow_moves_and_nowhere_else(seed: int) -> None:
    light = light_over(under_shadow(walked_on(seed), 150), under_shadow(walked_on(seed), 165))
    assert light is not None
    assert light.shape == (HEIGHT, WIDTH)
    assert light[:, 145:170].mean() > 0.95
    assert light[:, :90].max() == 0
    assert light[:, 225:].max() == 0


@pytest.mark.parametrize("edge", [-8, 8])
def test_a_shadow_that_comes_in_at_the_picture_s_edge_is_no_thing_there(edge: int) -> None:
    plain = np.full((HEIGHT, WIDTH), 150, np.uint8)
    assert changed(plain, under_shadow(plain, edge)).things[:, :20].max() < 0.2


def test_what_rounding_leaves_of_a_shadow_in_the_dark_is_no_thing() -> None:
    dim = 22 + 6 * ground(4, margin=0).astype(np.float64) / 255
    earlier, now = np.asarray(np.rint(dim), np.uint8), np.asarray(np.rint(0.85 * dim), np.uint8)
    assert changed(earlier, now).things.mean() < 0.005


def test_over_a_steady_scene_no_light_passes() -> None:
    assert light_over(walked_on(), walked_on()) is None


@pytest.mark.parametrize("side", [30, 80, 140])
def test_within_a_smooth_thing_that_moves_no_light_passes_however_large(side: int) -> None:
    pictures = []
    for left in (100, 115):
        picture = walked_on()
        picture[40 : 40 + side, left : left + side] = 190
        pictures.append(cv2.GaussianBlur(picture, (0, 0), 1.0))
    assert light_over(pictures[0], pictures[1]) is None


def test_a_walker_in_the_edge_of_a_shadow_is_left_out_of_the_light_that_passes() -> None:
    earlier, now = under_shadow(walked_on(), 150), under_shadow(walked_on(), 165)
    earlier[100:140, 130:150] = ground(5)[:40, :20]
    now[100:140, 138:158] = ground(5)[:40, :20]
    light = light_over(earlier, now)
    assert light is not None
    assert light[110:130, 140:155].max() == 0
    assert light[:40, 145:170].mean() > 0.95


def test_the_small_soft_shadow_of_a_thing_is_no_light_that_passes() -> None:
    """Another drone's, say: it is to be found."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    earlier, now = (
        np.asarray(walked_on() * (1 - 0.5 * np.exp(-((x - at) ** 2 + (y - 100) ** 2) / 200)), np.uint8)
        for at in (150, 160)
    )
    assert light_over(earlier, now) is None


@pytest.mark.parametrize("shape", [(16, 16), (16, 384), (1, 1)])
def test_pictures_smaller_than_what_is_looked_around_give_maps_of_their_size(shape: tuple[int, int]) -> None:
    dark, bright = np.full(shape, 60, np.uint8), np.full(shape, 120, np.uint8)
    change = changed(dark, bright)
    assert {part.shape for part in (change.percent, change.things, change.confidence)} == {shape}
    light = passing(change)
    assert light is not None
    np.testing.assert_array_equal(light, 1)


def test_a_movement_tells_of_it_in_the_light_of_now() -> None:
    """A step of exposure is taken out first: everything grew darker, and nothing passes."""
    shaded = movement(under_shadow(walked_on(), 150), under_shadow(walked_on(), 165), 0.2)
    stepped = movement(walked_on(), np.asarray(walked_on() * 0.7, np.uint8), 0.2)
    assert shaded is not None
    assert passing(shaded.change) is not None
    assert stepped is not None
    assert passing(stepped.change) is None
