from __future__ import annotations

import cv2
import numpy as np
import pytest

import edge.motion
from edge.changes import Gray, relit
from edge.frames import Picture
from edge.motion import (
    LONG_SIDE,
    STILL,
    Affine,
    Flow,
    as_structure,
    camera_motion,
    movement,
    registered,
    scaled,
    shrunk,
)

HEIGHT, WIDTH = 216, 384


def ground(seed: int = 0, margin: int = 60) -> Gray:
    """Ground with structure at every scale, larger than a picture by the margin on each side."""
    random = np.random.default_rng(seed)
    whole = np.zeros((HEIGHT + 2 * margin, WIDTH + 2 * margin), np.float32)
    for size in (2, 4, 8, 16, 32):
        coarse = random.normal(size=(whole.shape[0] // size + 2, whole.shape[1] // size + 2))
        whole += cv2.resize(coarse.astype(np.float32), whole.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(120 + 22 * whole, 0, 255), np.uint8)


def filmed(scene: Gray, motion: Affine, margin: int = 60) -> Gray:
    """What a camera sees after the picture's content moved by `motion` (pixels of the picture)."""
    inside = np.array([[1, 0, -margin], [0, 1, -margin]], np.float32)
    whole = np.vstack([motion, [0, 0, 1]]) @ np.vstack([inside, [0, 0, 1]])
    return np.asarray(cv2.warpAffine(scene, whole[:2], (WIDTH, HEIGHT)), np.uint8)


def turned(degrees: float, right: float, down: float) -> Affine:
    affine = np.asarray(cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, 1.0), np.float32)
    affine[:, 2] += right, down
    return affine


def noisy(picture: Gray, seed: int, level: float = 2.0) -> Gray:
    noise = np.random.default_rng(seed).normal(0, level, picture.shape)
    return np.asarray(np.clip(picture + noise, 0, 255), np.uint8)


def off_by(found: Affine, true: Affine) -> float:
    """Largest distance, over the picture's corners, between where two motions take a pixel."""
    corners = np.array([[0, 0, 1], [WIDTH, 0, 1], [0, HEIGHT, 1], [WIDTH, HEIGHT, 1]], np.float64)
    return float(np.linalg.norm(corners @ (found - true).T, axis=1).max())


@pytest.mark.parametrize(
    "motion", [turned(0, 7.3, -4.6), turned(1.5, 0, 0), turned(-1, -11, 6), turned(0.3, 1.2, 0.7)]
)
def test_the_camera_s_motion_is_found_to_a_third_of_a_pixel(motion: Affine) -> None:
    scene = ground()
    found = movement(noisy(filmed(scene, STILL), 1), noisy(filmed(scene, motion), 2), 0.2)
    assert found is not None
    assert off_by(found.affine, motion) < 0.3


def flow_of(motion: Affine, seed: int) -> Flow:
    """What dense flow says where all follows one motion, with errors of 0.15 pixels."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    there = np.stack([x, y, np.ones_like(x)], axis=-1) @ motion.T
    error = np.random.default_rng(seed).normal(0, 0.15, (HEIGHT, WIDTH, 2))
    return np.asarray(there - np.stack([x, y], axis=-1) + error, np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_walkers_of_a_pixel_do_not_pull_the_camera_s_motion_along(seed: int) -> None:
    motion = turned(0.4, 3.1, -1.7)
    flow = flow_of(motion, seed)
    flow[: HEIGHT // 2, : 2 * WIDTH // 5] += (1.0, 0.3)  # a fifth of the picture, all in one corner
    found = camera_motion(flow, ground(seed)[:HEIGHT, :WIDTH])
    assert found is not None
    assert off_by(found, motion) < 0.3  # RANSAC alone: 0.8


@pytest.mark.parametrize("seed", range(6))
def test_where_everything_errs_a_little_more_all_have_a_say(seed: int) -> None:
    motion = turned(-0.4, 2.1, 2.7)
    flow = flow_of(motion, seed)
    flow += np.random.default_rng(seed + 50).normal(0, 0.8, flow.shape).astype(np.float32)
    found = camera_motion(flow, ground(seed)[:HEIGHT, :WIDTH])
    assert found is not None
    assert off_by(found, motion) < 0.35


@pytest.mark.parametrize("seed", range(3))
def test_where_no_motion_explains_more_than_standing_still_the_camera_stands(seed: int) -> None:
    """As in heavy rain: a third of the vectors err by less than half a pixel, and some motion always fits."""
    errors = np.random.default_rng(seed).normal(0, 0.55, (HEIGHT, WIDTH, 2)).astype(np.float32)
    assert camera_motion(errors, ground(seed)[:HEIGHT, :WIDTH]) is STILL


@pytest.mark.parametrize("motion", [turned(0, 1.6, -1.2), turned(0.5, 0.8, 0.4), turned(0, 0, 2.4)])
def test_a_small_step_of_the_camera_over_smooth_ground_is_the_camera_s(motion: Affine) -> None:
    """Half of such a picture changes by no more than noise."""
    scene = ground()
    smooth = cv2.resize(np.random.default_rng(3).random((8, 12)).astype(np.float32), scene.shape[::-1]) > 0.4
    scene[smooth] = scene[smooth] // 12 + 110
    earlier, now = filmed(scene, STILL), filmed(scene, motion)
    assert np.median(cv2.blur(cv2.absdiff(earlier, now), (5, 5))) <= 2
    found = movement(noisy(earlier, 1, 0.5), noisy(now, 2, 0.5), 0.2)
    assert found is not None
    assert off_by(found.affine, motion) < 0.3


def streaked(picture: Gray, seed: int) -> Gray:
    rained: Gray = picture.copy()
    tops = np.random.default_rng(seed).integers((10, 10), (WIDTH - 10, HEIGHT - 20), (60, 2)).tolist()
    for x, y in tops:
        cv2.line(rained, (x, y), (x + 2, y + 9), 170, 1, cv2.LINE_AA)
    return rained


def test_streaks_of_rain_before_faint_ground_are_little_motion() -> None:
    highest = []
    for seed in range(5):
        scene = filmed(ground(seed), STILL) // 12 + 100
        found = movement(streaked(scene, 2 * seed + 10), streaked(scene, 2 * seed + 11), 0.2)
        assert found is not None
        highest.append(cv2.blur(found.speed, (31, 31)).max() * 0.2 * WIDTH)
    assert np.mean(highest) < 1.15  # pixels; 1.34 if flow is not asked whether it leads home again


def test_a_square_that_moves_otherwise_than_the_camera_stands_out_where_it_is_now() -> None:
    scene, mover = ground(), ground(5)[:50, :50]
    earlier, now = filmed(scene, STILL), filmed(scene, turned(0, 6, 2))
    earlier[80:130, 150:200] = mover
    now[82:132, 166:216] = mover  # ten pixels to the right of where the ground went
    found = movement(noisy(earlier, 1), noisy(now, 2), 0.2)
    assert found is not None
    inside = found.speed[87:127, 171:211]
    assert np.median(inside) == pytest.approx(10 / WIDTH / 0.2, rel=0.2)
    near = np.zeros(found.speed.shape, bool)
    near[72:142, 144:226] = True  # and the ground that it left or covers
    assert np.quantile(found.speed[~near], 0.99) < 0.1 * np.median(inside)
    leading = found.speed[87:127, 207:213]  # where it has only just arrived
    assert np.median(leading) > 0.8 * np.median(inside)


def test_a_large_mover_before_a_still_camera_is_no_motion_of_the_camera() -> None:
    scene, mover = ground(), ground(5)
    earlier, now = filmed(scene, STILL), filmed(scene, STILL)
    earlier[20:200, 20:180] = mover[20:200, 20:180]  # over a third of the picture
    now[20:200, 28:188] = mover[20:200, 20:180]
    found = movement(noisy(earlier, 1), noisy(now, 2), 0.2)
    assert found is not None
    np.testing.assert_array_equal(found.affine, STILL)
    assert np.median(found.speed[60:160, 60:140]) > 10 * np.median(found.speed[:, 250:])


def test_two_different_scenes_have_no_motion() -> None:
    assert movement(filmed(ground(1), STILL), filmed(ground(2), STILL), 0.2) is None


def test_pure_noise_gives_no_evidence() -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (HEIGHT, WIDTH), np.uint8) for _ in range(2)]
    assert movement(pictures[0], pictures[1], 0.2) is None


def test_sensor_noise_on_a_still_picture_is_hardly_any_motion() -> None:
    scene = filmed(ground(), STILL)
    found = movement(noisy(scene, 1), noisy(scene, 2), 0.2)
    assert found is not None
    np.testing.assert_array_equal(found.affine, STILL)
    assert found.speed.max() < 0.1 * 10 / WIDTH / 0.2


def under_shadow(picture: Gray, edge: float, soft: float = 20.0) -> Gray:
    """In half the light to the left of the edge, which is so many pixels wide."""
    passed = np.clip((edge - np.arange(picture.shape[1])) / soft + 0.5, 0, 1)
    return np.asarray(picture * (1 - 0.45 * passed), np.uint8)


def test_the_soft_edge_of_a_passing_shadow_is_hardly_any_motion_and_a_thing_as_fast_is() -> None:
    scene, mover = filmed(ground(), STILL) // 4 + 90, ground(5)[:40, :40]  # walked-on ground: faint structure
    earlier, now = under_shadow(scene, 150), under_shadow(scene, 162)
    earlier[100:140, 240:280] = mover
    now[100:140, 252:292] = mover
    found = movement(noisy(earlier, 1), noisy(now, 2), 0.2)
    assert found is not None
    seen = cv2.blur(found.speed, (31, 31))
    assert seen[:, :210].max() < 0.25 * seen[105:135, 257:287].max()


@pytest.mark.parametrize("seed", [2, 7])
def test_a_walker_under_the_fast_edge_of_a_shadow_keeps_its_speed(seed: int) -> None:
    scene, walker, runner = (
        filmed(ground(), STILL) // 2 + 90,
        ground(seed)[:40, :40] // 2 + 70,
        ground(seed + 1)[:40, :40] // 2 + 70,
    )
    pictures = []
    for step in (0, 1):
        picture = scene.copy()
        picture[60:100, 140 + 2 * step : 180 + 2 * step] = walker
        picture[150:190, 280 + 8 * step : 320 + 8 * step] = runner
        pictures.append(noisy(under_shadow(picture, 150 + 20 * step), step))
    found = movement(pictures[0], pictures[1], 0.2)
    assert found is not None
    seen = cv2.blur(found.speed, (31, 31))
    assert seen[:, :230].max() < 0.12 * seen[150:190, 285:325].max()


class There:
    """In place of DIS: one vector there, another back."""

    def __init__(self, there: float, back: float) -> None:
        self.vectors = [there, back]

    def calc(self, origin: Gray, other: Gray, _: None) -> Flow:
        return np.full((*origin.shape, 2), (self.vectors.pop(0), 0), np.float32)


@pytest.mark.parametrize(
    ("there", "back", "believed"), [(6, -5, 0.9), (30, -29, 0.9), (6, -2, 0.3), (40, -30, 0.05), (0, 5, 0.01)]
)
def test_flow_counts_as_far_as_it_leads_home(
    there: float, back: float, believed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A great vector over faint ground comes within a third of its length by chance."""
    monkeypatch.setattr(edge.motion, "_dis", lambda dis=There(there, back): dis)
    scene = filmed(ground(), STILL)
    agreed = float(np.median(edge.motion._both_ways(scene, scene)[1]))
    assert agreed > believed if believed > 0.5 else agreed < believed


WALKER = (slice(100, 140), slice(160, 184))


def test_a_walker_does_not_vouch_for_plain_ground_that_a_shadow_s_edge_crosses() -> None:
    speed, fine = np.full((HEIGHT, WIDTH), 12, np.float32), np.full((HEIGHT, WIDTH), 0.3, np.float32)
    speed[WALKER], fine[WALKER] = 2, 6
    held = as_structure(speed, fine)
    assert held[95:145, 155:189].max() < 2.5
    assert held[:, 220:].min() > 11.9  # what nothing is near is not decided here


def test_a_thing_with_structure_at_its_rim_alone_keeps_its_speed_to_the_middle() -> None:
    speed, fine = np.zeros((HEIGHT, WIDTH), np.float32), np.full((HEIGHT, WIDTH), 0.5, np.float32)
    speed[100:140, 160:200], fine[100:140, 160:200] = 10, 8
    fine[103:137, 163:197] = 0.1
    assert as_structure(speed, fine)[100:140, 160:200].min() > 9.5


@pytest.mark.parametrize("gain", [1.3, 1 / 1.3])
def test_a_step_of_exposure_is_hardly_any_motion(gain: float) -> None:
    scene = filmed(ground(), STILL)
    now = np.asarray(np.clip(scene * gain, 0, 255), np.uint8)
    found = movement(noisy(scene, 1), noisy(now, 2), 0.2)
    assert found is not None
    assert found.speed.max() < 0.1 * 10 / WIDTH / 0.2


@pytest.mark.parametrize("gain", [0.7, 1.3])
def test_a_step_of_exposure_hides_nothing_that_moves(gain: float) -> None:
    scene, mover = ground(), ground(5)[:50, :50]
    earlier, now = filmed(scene, STILL), filmed(scene, STILL)
    earlier[80:130, 150:200] = mover
    now[80:130, 156:206] = mover
    brighter = np.asarray(np.clip(now.astype(np.float32) * gain, 0, 255), np.uint8)
    steady, stepped = movement(earlier, now, 0.2), movement(earlier, brighter, 0.2)
    assert steady is not None
    assert stepped is not None
    inside = (slice(85, 125), slice(160, 202))
    assert stepped.speed[inside].mean() > 0.8 * steady.speed[inside].mean()
    assert stepped.speed[:, 240:].max() < 0.1 * steady.speed[inside].mean()


def test_a_steady_light_is_left_to_the_last_grey_level() -> None:
    scene = filmed(ground(), STILL)
    moved = scene.copy()
    moved[40:120, 40:200] = 10  # a large dark thing is no step of exposure
    assert relit(scene, moved) is scene


def test_bare_ground_counts_as_a_camera_that_stands_still() -> None:
    bare = np.full((HEIGHT, WIDTH), 120, np.uint8)
    found = movement(noisy(bare, 1, 1.0), noisy(bare + 20, 2, 1.0), 0.2)  # and a cloud went away
    assert found is not None
    np.testing.assert_array_equal(found.affine, STILL)


@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.5])
def test_speed_does_not_depend_on_how_far_apart_the_pictures_are(seconds: float) -> None:
    """30 pixels a second: the same square at each rate of frames; doubts cost up to a quarter."""
    scene, mover, far = ground(), ground(5)[:60, :60], round(30 * seconds)
    earlier, now = filmed(scene, STILL), filmed(scene, STILL)
    earlier[80:140, 100:160] = mover
    now[80:140, 100 + far : 160 + far] = mover
    found = movement(noisy(earlier, 1), noisy(now, 2), seconds)
    assert found is not None
    inside = found.speed[90:130, 110 + far : 150 + far]
    assert 0.75 < np.median(inside) * WIDTH / 30 <= 1.02


def test_a_motion_of_the_small_picture_is_that_of_the_large_one() -> None:
    small = np.array([[0.99, 0.02, 3], [-0.01, 1.02, -2]], np.float32)
    large = scaled(small, (100, 200), (300, 800))
    point = np.array([40.0, 30.0, 1])
    there = small @ point
    np.testing.assert_allclose(large @ (160.0, 90.0, 1), there * (4, 3), rtol=1e-5)


def test_the_earlier_picture_lies_on_the_one_now_and_what_was_not_in_view_is_taken_from_now() -> None:
    scene, motion = ground(), turned(0, 20, 10)
    earlier, now = (cv2.merge([filmed(scene, one)] * 3) for one in (STILL, motion))
    laid = registered(earlier, motion, now)
    assert cv2.absdiff(laid, now).mean() < 0.5
    np.testing.assert_array_equal(laid[:9], now[:9])
    assert registered(earlier, STILL, now) is earlier


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((1080, 1920), (216, LONG_SIDE)),
        ((1920, 1080), (LONG_SIDE, 216)),
        ((200, 300), (200, 300)),
        ((4, 4000), (16, LONG_SIDE)),
    ],
)
def test_flow_is_sought_in_a_small_grey_picture(size: tuple[int, int], small: tuple[int, int]) -> None:
    picture: Picture = np.zeros((*size, 3), np.uint8)
    assert shrunk(picture).shape == small
