from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.scouting import ground
from train import weather
from train.weather import Floats

SIDE = 64
SEEDS = range(200)


class Chosen:
    """Chance that is asked whether something happens answers `happens` in turn; all else stays chance."""

    def __init__(self, happens: Sequence[bool], noise: float = 0.0, seed: int = 0) -> None:
        self._happens, self._noise = iter(happens), noise
        self._chance = np.random.default_rng(seed)

    def random(self) -> float:
        return 0.0 if next(self._happens) else 0.999

    def choice(self, _: object) -> float:
        return self._noise

    def __getattr__(self, name: str) -> object:
        return getattr(self._chance, name)


def shown(seed: int = 0) -> Floats:
    return ground(SIDE, SIDE, seed).astype(np.float32) / np.float32(255)


def over(
    *happens: bool, noise: float = 0.0, earlier: Floats | None = None, seed: int = 0
) -> tuple[Floats, Floats, Floats]:
    picture = shown()
    chance = Chosen(happens, noise, seed)
    return weather.over(picture, picture.copy(), earlier, chance)  # type: ignore[arg-type]


GRADED, SHADED, EXPOSED, RAINED, COMPRESSED = 0, 1, 2, 3, 4


def only(what: int) -> list[bool]:
    return [place == what for place in range(5)]


def test_in_calm_weather_nothing_changes() -> None:
    clean, now, earlier = over(*[False] * 5, earlier=shown(1))
    np.testing.assert_array_equal(clean, shown())
    np.testing.assert_array_equal(now, shown())
    np.testing.assert_array_equal(earlier, shown(1))


@pytest.mark.parametrize("seed", range(5))
def test_light_falls_on_all_three_alike(seed: int) -> None:
    clean, now, earlier = over(*only(GRADED), earlier=shown(), seed=seed)
    assert np.abs(clean - shown()).max() > 0.01
    np.testing.assert_array_equal(now, clean)
    np.testing.assert_array_equal(earlier, clean)


@pytest.mark.parametrize("seed", range(5))
def test_a_shadow_darkens_and_falls_on_clean_and_now_alike(seed: int) -> None:
    # the last answer is whether it has moved since
    clean, now, earlier = over(False, True, True, False, False, False, earlier=shown(), seed=seed)
    assert (clean <= shown() + 1e-6).all()
    assert np.abs(clean - shown()).max() > 0.02
    np.testing.assert_array_equal(now, clean)
    assert np.abs(earlier - now).max() > 0.001


def test_an_exposure_step_is_the_earlier_pictures_alone() -> None:
    clean, now, earlier = over(*only(EXPOSED), earlier=shown())
    np.testing.assert_array_equal(clean, shown())
    np.testing.assert_array_equal(now, shown())
    ratio = earlier[shown() < 0.5] / shown()[shown() < 0.5]
    assert ratio.std() < 1e-5
    assert abs(ratio.mean() - 1) > 0.005


def test_noise_is_on_what_is_seen_only() -> None:
    clean, now, earlier = over(*[False] * 5, noise=0.03, earlier=shown())
    np.testing.assert_array_equal(clean, shown())
    assert (now - clean).std() == pytest.approx(0.03, rel=0.1)
    assert (earlier - clean).std() == pytest.approx(0.03, rel=0.1)
    assert (now - earlier).std() > 0.035  # each its own


def test_rain_and_compression_are_on_what_is_seen_only() -> None:
    for what in (RAINED, COMPRESSED):
        clean, now, earlier = over(*only(what), earlier=shown())
        np.testing.assert_array_equal(clean, shown())
        for seen in (now, earlier):
            assert 0.0005 < np.abs(seen - clean).mean() < 0.1
    _, now, earlier = over(*only(RAINED), earlier=shown())
    assert np.abs(now - earlier).max() > 0.05  # falls elsewhere


def test_compression_keeps_the_colours_in_their_order() -> None:
    _, now, _ = over(*only(COMPRESSED), earlier=shown())
    straight = np.abs(now - shown()).mean()
    assert straight < 0.3 * np.abs(now - shown()[:, :, ::-1]).mean()


def test_without_an_earlier_picture_it_is_the_one_now() -> None:
    for seed in range(20):
        _, now, earlier = weather.over(shown(), shown(), None, np.random.default_rng(seed))
        np.testing.assert_array_equal(now, earlier)


@pytest.mark.parametrize("much", [0.0, 1.0, 1.4, -0.3])
def test_every_weather_gives_finite_pictures_in_range(much: float) -> None:
    """Even of pictures that went a little out of it."""
    picture = shown() * np.float32(much) if much else np.zeros((SIDE, SIDE, 3), np.float32)
    for seed in SEEDS:
        for earlier in (None, shown(1)):
            for one in weather.over(picture, picture.copy(), earlier, np.random.default_rng(seed)):
                assert one.shape == (SIDE, SIDE, 3)
                assert one.dtype == np.float32
                assert np.isfinite(one).all()
                assert one.min() >= 0
                assert one.max() <= 1


def test_what_is_given_is_left_as_it_was_and_the_seed_decides() -> None:
    given = shown(), shown(), shown(1)
    for seed in SEEDS[:50]:
        once, twice = (weather.over(*given, np.random.default_rng(seed)) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(once, twice, strict=True))
    for picture, kept in zip(given, (shown(), shown(), shown(1)), strict=True):
        np.testing.assert_array_equal(picture, kept)


def test_clean_is_never_touched_by_what_repairing_sees_through() -> None:
    flat = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    for seed in SEEDS:
        clean, _, _ = weather.over(flat, flat.copy(), flat.copy(), np.random.default_rng(seed))
        assert np.median(np.abs(np.diff(clean, axis=1))) < 0.02  # a shadow's edge has few pixels or is soft
