from __future__ import annotations

import numpy as np
import pytest

from edge.errors import UsageError
from edge.latent import PLACES, Features, LatentSums, places, pooled, spread

CHANNELS, SIZE = 6, (24, 32)


def normal(seed: int) -> Features:
    """Features that depend on each other, of very different size."""
    random = np.random.default_rng(seed)
    mixing = (
        np.random.default_rng(99).normal(size=(CHANNELS, CHANNELS)) * np.logspace(0, 1, CHANNELS)[:, None]
    )
    found = np.tensordot(mixing, random.normal(size=(CHANNELS, *SIZE)), axes=1)
    return np.asarray(found + np.arange(CHANNELS)[:, None, None] * 50, np.float32)


def sums_of(seeds: range) -> LatentSums:
    sums = LatentSums()
    for seed in seeds:
        sums.add(normal(seed))
    return sums


def test_distance_is_1_on_the_average_of_what_is_normal() -> None:
    latent = sums_of(range(60)).fit()
    assert np.mean([latent.distance(normal(seed)).mean() for seed in range(60)]) == pytest.approx(1, abs=0.05)
    assert np.mean([latent.distance(normal(s)).mean() for s in range(900, 920)]) == pytest.approx(1, abs=0.1)


def test_a_feature_that_is_out_of_place_stands_out_there_and_nowhere_else() -> None:
    latent, strange = sums_of(range(60)).fit(), normal(500)
    before = latent.distance(strange)
    spread_of_it = np.stack([normal(seed)[0] for seed in range(60)]).std()
    strange[0, 10:13, 20:23] += 8 * spread_of_it
    after = latent.distance(strange)
    assert after[10:13, 20:23].min() > 2 * before.max()
    changed = after != before
    assert changed.sum() == 9


def test_a_feature_that_breaks_a_habit_of_two_stands_out_though_each_is_usual() -> None:
    sums = LatentSums()
    random = np.random.default_rng(0)
    for _ in range(40):
        one = random.normal(size=(1, *SIZE))
        sums.add(np.concatenate([one, one + 0.1 * random.normal(size=one.shape)]).astype(np.float32))
    latent = sums.fit()
    assert latent.distance(np.full((2, *SIZE), 1, np.float32)).max() < 3
    assert latent.distance(np.stack([np.full(SIZE, v, np.float32) for v in (1, -1)])).min() > 50


def test_a_place_of_its_own_is_normal_there_once_it_was_seen_often() -> None:
    sums, corner = LatentSums(), normal(0) * 0
    corner[:, :6, :6] = 30
    for seed in range(200):
        sums.add(normal(seed) * 0.01 + corner)
    latent = sums.fit()
    there, elsewhere = normal(900) * 0.01 + corner, normal(900) * 0.01 + corner[:, ::-1, ::-1]
    assert latent.distance(there)[:5, :5].mean() < 0.2 * latent.distance(elsewhere)[-5:, -5:].mean()


def test_sums_of_two_flights_add_up_to_those_of_both() -> None:
    apart, together = (sums_of(range(10)) + sums_of(range(10, 30))).fit(), sums_of(range(30)).fit()
    np.testing.assert_allclose(apart.mean, together.mean, rtol=1e-4, atol=1e-3)
    probe = normal(700)
    np.testing.assert_allclose(apart.distance(probe), together.distance(probe), rtol=1e-3, atol=1e-3)


def test_adding_nothing_changes_nothing() -> None:
    some = sums_of(range(5))
    for both in (some + LatentSums(), LatentSums() + some):
        assert both.frames == 5
        np.testing.assert_array_equal(both.fit().mean, some.fit().mean)


def test_sums_are_not_changed_by_what_is_made_of_them() -> None:
    some = sums_of(range(5))
    both = some + LatentSums()
    both.add(normal(77))
    np.testing.assert_array_equal(some.fit().mean, sums_of(range(5)).fit().mean)


def test_a_channel_that_never_varies_does_no_harm() -> None:
    sums = LatentSums()
    for seed in range(30):
        sums.add(np.concatenate([normal(seed), np.zeros((2, *SIZE), np.float32)]))
    probe = np.concatenate([normal(800), np.zeros((2, *SIZE), np.float32)])
    assert sums.fit().distance(probe).mean() == pytest.approx(CHANNELS / (CHANNELS + 2), abs=0.2)


def test_without_any_frame_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(UsageError, match="no normal footage"):
        LatentSums().fit()


def test_places_are_few_and_keep_the_mean() -> None:
    features = normal(0)
    assert places(135, 240) == (27, PLACES)
    assert places(5, 9) == (5, 9)
    many = np.repeat(np.repeat(features, 4, axis=1), 4, axis=2)
    assert pooled(many).shape == (CHANNELS, 36, 48)
    np.testing.assert_allclose(pooled(many).mean(axis=(1, 2)), features.mean(axis=(1, 2)), rtol=1e-4)


def test_every_pixel_gets_its_place() -> None:
    assert spread(np.array([[1.0, 2.0]], np.float32), (2, 5)).tolist() == [[1, 1, 1, 2, 2]] * 2
