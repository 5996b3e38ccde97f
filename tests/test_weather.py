from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
import pytest

from benchmarks.weather import (
    WEATHERS,
    Clean,
    ExposureSteps,
    Jpeg,
    MovingShadow,
    Rain,
    Random,
    Shake,
    disturbed,
)
from edge.frames import Picture
from tests.builders import frame

FPS = 10


def random(seed: int = 0) -> Random:
    return np.random.default_rng(seed)


def scene(height: int = 96, width: int = 128) -> Picture:
    """Soft hills, mid-grey: no value clips when it gets 30 % brighter."""
    rough = np.random.default_rng(1).uniform(60, 150, (8, 10, 3)).astype(np.float32)
    return np.asarray(
        cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 190), np.uint8
    )


def times(seconds: float) -> list[float]:
    return [number / FPS for number in range(round(seconds * FPS))]


@pytest.mark.parametrize("name", WEATHERS)
def test_pictures_keep_size_and_type_and_the_original_is_left_alone(name: str) -> None:
    picture = scene()
    before = picture.copy()
    weather = WEATHERS[name](random())
    for now in times(1):
        made = weather(picture, now)
        assert made.shape == picture.shape
        assert made.dtype == np.uint8
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("name", WEATHERS)
def test_the_same_seed_gives_the_same_pictures(name: str) -> None:
    one, other = WEATHERS[name](random(5)), WEATHERS[name](random(5))
    assert all(np.array_equal(one(scene(), now), other(scene(), now)) for now in times(8))


@pytest.mark.parametrize("name", [name for name in WEATHERS if name != "clean"])
def test_everything_but_clean_changes_pictures(name: str) -> None:
    weather = WEATHERS[name](random())
    assert any(not np.array_equal(weather(scene(), now), scene()) for now in times(8))


def test_clean_is_the_picture_itself() -> None:
    assert np.array_equal(Clean(random())(scene(), 1.0), scene())


def test_exposure_begins_as_filmed_and_steps_by_30_percent_every_2_to_6_seconds() -> None:
    weather, gains = ExposureSteps(random()), []
    for now in times(120):
        weather(scene(8, 8), now)
        gains.append(weather.gain)
    changes = [place for place, (a, b) in enumerate(itertools.pairwise(gains)) if a != b]
    ratios = [max(gains[p], gains[p + 1]) / min(gains[p], gains[p + 1]) for p in changes]
    apart = np.diff(changes) / FPS
    assert gains[0] == 1.0
    assert ratios == pytest.approx([1.3] * len(ratios))
    assert 2 - 1 / FPS <= apart.min() <= apart.max() <= 6 + 1 / FPS
    assert set(np.round(gains, 3)) == {0.769, 1.0, 1.3}


def test_a_step_of_exposure_multiplies_every_pixel() -> None:
    weather = ExposureSteps(random())
    for now in times(10):
        made = weather(scene(), now)
        assert np.abs(made - scene() * weather.gain).max() <= 0.5 + 1e-3


def test_the_shadow_enters_from_outside_crosses_and_leaves_all_in_shade() -> None:
    weather, picture = MovingShadow(random()), scene()
    shade = [float(weather(picture, now).mean() / picture.mean()) for now in times(MovingShadow.CROSSING_S)]
    assert shade[0] == pytest.approx(1, abs=0.01)
    assert shade[-1] == pytest.approx(MovingShadow.LIGHT, abs=0.02)
    assert np.all(np.diff(shade) <= 1e-3)


def test_an_edge_crosses_while_both_sides_are_in_view() -> None:
    weather, white = MovingShadow(random()), np.full((96, 128, 3), 200, np.uint8)
    weather(white, 0.0)
    half = weather(white, MovingShadow.CROSSING_S / 2)
    assert half.max() == 200
    assert half.min() == round(200 * MovingShadow.LIGHT)


def test_the_next_edge_brings_the_light_back_without_a_jump() -> None:
    weather, picture = MovingShadow(random()), scene()
    light = [
        float(weather(picture, now).mean() / picture.mean()) for now in times(2 * MovingShadow.CROSSING_S)
    ]
    assert light[-1] == pytest.approx(1, abs=0.02)
    assert np.abs(np.diff(light)).max() < 0.02


def test_edges_come_from_different_sides() -> None:
    weather, white = MovingShadow(random()), np.full((96, 128, 3), 200, np.uint8)
    seen = {now: weather(white, now) for now in (0.0, 4.0, 8.0, 12.0, 16.0, 20.0)}
    assert not np.array_equal(seen[4.0], seen[20.0])


def test_shake_stays_within_8_pixels_and_3_degrees_and_uses_them() -> None:
    weather = Shake(random())
    poses = np.array([weather.pose(now) for now in times(120)])
    assert np.all(np.abs(poses) <= [8, 8, 3])
    assert np.all(np.abs(poses).max(axis=0) > [7, 7, 2.6])


def test_shake_wanders_smoothly_with_a_little_jitter() -> None:
    weather = Shake(random())
    poses = np.array([weather.pose(now) for now in times(300)]) / Shake.MOST
    near = np.corrcoef(poses[1:, 0], poses[:-1, 0])[0, 1]
    far = np.corrcoef(poses[30:, 0], poses[:-30, 0])[0, 1]
    assert near > 0.7
    assert abs(far) < 0.3
    assert np.abs(np.diff(poses, 2, axis=0)).mean() > 0.05


def test_shake_moves_the_picture_by_its_pose() -> None:
    picture = np.zeros((97, 129, 3), np.uint8)
    picture[46:51, 62:67] = 255
    told, moved = Shake(random(3)), Shake(random(3))
    for now in times(2):
        right, down, _ = told.pose(now)
        weights = moved(picture, now)[:, :, 0].astype(float)
        y, x = np.mgrid[0:97, 0:129]
        centre = np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()
        assert centre == pytest.approx([64 + right, 48 + down], abs=0.15)


def test_jpeg_is_what_quality_30_leaves() -> None:
    noisy = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    _, data = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 30])
    assert np.array_equal(Jpeg(random())(noisy, 0.0), cv2.imdecode(data, cv2.IMREAD_COLOR))


def test_rain_only_brightens_and_falls_elsewhere_in_every_frame() -> None:
    weather, picture = Rain(random()), scene(240, 320)
    first, second = (weather(picture, now).astype(int) - picture for now in (0.0, 0.1))
    assert first.min() >= 0
    assert first.max() <= Rain.BRIGHT
    assert 0.01 < (first.max(axis=2) > 5).mean() < 0.5
    wet, then = (first.max(axis=2) > 5), (second.max(axis=2) > 5)
    assert math.isclose((wet & then).mean(), wet.mean() * then.mean(), rel_tol=0.5)


def test_a_disturbed_frame_keeps_its_number_and_time() -> None:
    here = frame(scene(), index=7)
    made = disturbed(here, Jpeg(random()))
    assert (made.index, made.stream_s, made.mono_ns) == (7, 3.5, here.mono_ns)
    assert not np.array_equal(made.image, here.image)
