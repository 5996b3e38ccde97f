"""Bags in, a head out: resumable to the bit, and blind to filling and to what training may not know."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from edge.clips import windows
from edge.errors import UsageError
from tests.bagging import SPEC, WIDTH, bag, bags
from tests.extractors import splits
from train.bags import Bag, segmented
from train.checkpoint import Checkpoint
from train.draws import Draws
from train.mil import CausalHead, HeadConfig, build_head
from train.mil_fit import BagSet, clip_spec, fit_mil, loss_of
from train.mil_losses import bag_cross_entropy, prototype_contrast, ranking
from train.mil_recipes import MilRecipe, mil_recipe

CPU = torch.device("cpu")
RANKING = MilRecipe(model=HeadConfig(hidden=(16, 4)), batch=4, epochs=4)
CAUSAL = mil_recipe(
    "small", model=HeadConfig(kind="causal", channels=8, prototypes=2, noise=0.3), batch=4, epochs=4
)
WHITENED = mil_recipe("whitened", model=HeadConfig(hidden=(16, 4), whiten=5, unit=True), batch=4, epochs=4)


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MilRecipe, "STEPS", 5)


def bag_set(count: int = 6, clips: int = 12) -> BagSet:
    return BagSet(splits(()), bags(count, clips), [bag(90, False), bag(91, True)], SPEC)


def trained(recipe: MilRecipe, start: Checkpoint | None = None) -> Iterator[Checkpoint]:
    return fit_mil(recipe, bag_set(), CPU, start)


@pytest.mark.parametrize(
    "recipe", [RANKING, CAUSAL, WHITENED, RANKING.model_copy(update={"pairing": "one-to-one"})]
)
def test_a_training_that_was_interrupted_ends_in_the_same_weights_to_the_bit(recipe: MilRecipe) -> None:
    whole = list(trained(recipe))
    torch.manual_seed(12345)  # whatever happened in between
    resumed = list(trained(recipe, start=whole[1]))
    assert [one.record.history[-1].epoch for one in resumed] == [3, 4]
    for name, weights in whole[-1].weights.items():
        assert torch.equal(weights, resumed[-1].weights[name]), name
    one, two = whole[-1].optimiser["state"], resumed[-1].optimiser["state"]
    assert all(torch.equal(one[key]["step"], two[key]["step"]) for key in one)
    losses = [(epoch.train, epoch.validation) for epoch in whole[-1].history]
    assert losses == [(epoch.train, epoch.validation) for epoch in resumed[-1].history]


def test_the_seed_says_which_training_it_is() -> None:
    one, two, other = (list(trained(RANKING.model_copy(update={"seed": seed})))[-1] for seed in (0, 0, 1))
    name = "layers.0.weight"
    assert torch.equal(one.weights[name], two.weights[name])
    assert not torch.equal(one.weights[name], other.weights[name])


@pytest.mark.parametrize("recipe", [RANKING, CAUSAL])
def test_training_brings_anomalous_bags_above_normal_ones(
    recipe: MilRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MilRecipe, "STEPS", 40)
    last = list(trained(recipe.model_copy(update={"lr": 0.02})))[-1]
    head, spec = last.head(), last.clip
    unseen = bags(8)[4:] + [bag(seed, bool(seed % 2)) for seed in range(200, 212)]
    with torch.inference_mode():
        highest = [float(head(torch.from_numpy(windows(one.features, spec))).max()) for one in unseen]
    normal = [score for score, one in zip(highest, unseen, strict=True) if not one.anomalous]
    anomalous = [score for score, one in zip(highest, unseen, strict=True) if one.anomalous]
    assert min(anomalous) > max(normal)
    assert last.history[-1].train < last.history[0].train


def test_truth_of_clips_is_never_looked_at() -> None:
    """The same bags with all of their clips' truth turned round give the same weights."""
    known = [
        Bag(one.name, one.features, one.anomalous, one.sources, np.full(one.clips, not one.anomalous))
        for one in bags(6)
    ]
    plain = list(trained(RANKING))[-1]
    other = list(fit_mil(RANKING, BagSet(splits(()), known, [bag(90, False), bag(91, True)], SPEC), CPU))[-1]
    assert all(torch.equal(plain.weights[name], other.weights[name]) for name in plain.weights)


def test_validation_changes_nothing_but_its_own_loss() -> None:
    plain = list(trained(RANKING))[-1]
    other = list(fit_mil(RANKING, BagSet(splits(()), bags(6), [bag(7, True), bag(8, False)], SPEC), CPU))[-1]
    assert all(torch.equal(plain.weights[name], other.weights[name]) for name in plain.weights)
    assert plain.history[-1].validation != other.history[-1].validation


def test_without_validation_the_bags_of_training_stand_in() -> None:
    last = next(fit_mil(RANKING, BagSet(splits(()), bags(3), [], SPEC), CPU))
    assert np.isfinite(last.history[-1].validation)


def test_a_batch_has_as_many_of_each_class_and_none_twice_while_there_are_enough() -> None:
    draws = Draws(RANKING, bags(6))
    known = {segmented(one.features).tobytes(): one for one in bags(6)}
    generator = torch.Generator().manual_seed(0)
    seen: set[bytes] = set()
    for _ in range(20):
        batch = draws.batch(4, generator, CPU)
        assert batch.features.shape == (8, 32, WIDTH)
        assert batch.anomalous.tolist() == [True] * 4 + [False] * 4
        keys = [row.numpy().tobytes() for row in batch.features]
        assert len(set(keys)) == 8
        assert [known[key].anomalous for key in keys] == batch.anomalous.tolist()
        seen |= set(keys)
    assert seen == set(known)


def test_more_bags_than_there_are_are_drawn_in_whole_rounds() -> None:
    batch = Draws(RANKING, bags(2)).batch(5, torch.Generator().manual_seed(0), CPU)
    keys = [row.numpy().tobytes() for row in batch.features[:5]]
    assert sorted(keys.count(key) for key in set(keys)) == [2, 3]


@pytest.mark.parametrize("recipe", [RANKING, CAUSAL])
def test_bags_of_any_length_are_trained_on(recipe: MilRecipe) -> None:
    lengths = [1, 2, 31, 33, 200]
    many = [bag(seed, bool(seed % 2), lengths[seed % 5]) for seed in range(10)]
    last = next(fit_mil(recipe, BagSet(splits(()), many, [], SPEC), CPU))
    assert all(torch.isfinite(weights).all() for weights in last.weights.values())


def test_what_fills_a_short_stream_changes_no_loss() -> None:
    """A bag beside a longer one has the loss that it has alone."""
    recipe = CAUSAL.model_copy(update={"contrast": 0.7, "smooth": 0.1, "sparse": 0.1})
    torch.manual_seed(0)
    head = build_head(recipe.model, WIDTH).eval()
    short = [bag(1, True, 5), bag(0, False, 5)]
    alone = Draws(recipe, short).whole(CPU)
    beside = Draws(recipe, [*short, bag(3, True, 40), bag(2, False, 40)]).whole(CPU)
    picked = torch.tensor([0, 2])  # the short anomalous and the short normal one
    assert beside.valid[picked].sum(1).tolist() == [5, 5]
    chosen = type(beside)(beside.features[picked], beside.valid[picked], beside.anomalous[picked])
    with torch.inference_mode():
        assert float(loss_of(recipe, head, chosen)) == pytest.approx(
            float(loss_of(recipe, head, alone)), abs=1e-6
        )


@pytest.mark.parametrize("recipe", [RANKING, CAUSAL, WHITENED])
def test_what_is_prepared_once_has_the_loss_of_what_the_whole_head_sees(recipe: MilRecipe) -> None:
    torch.manual_seed(0)
    head = build_head(recipe.model, WIDTH)
    plain = Draws(recipe, bags(6))
    head.fit(*plain.labelled())
    head.eval()
    with torch.inference_mode():
        whole = float(loss_of(recipe, head, plain.whole(CPU)))
        ready = Draws(recipe, bags(6), head.prepared).whole(CPU)
        assert float(loss_of(recipe, head.learner, ready)) == pytest.approx(whole, abs=1e-6)
    assert ready.features.shape[-1] == (recipe.model.whiten or WIDTH)


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    recipe = CAUSAL.model_copy(
        update={"hinge": 0.3, "top": 0.7, "contrast": 0.2, "smooth": 0.01, "sparse": 0.02}
    )
    torch.manual_seed(0)
    head = build_head(recipe.model, WIDTH).eval()
    assert isinstance(head, CausalHead)
    batch = Draws(recipe, bags(3)).whole(CPU)
    with torch.inference_mode():
        logits, likeness = head.likened(batch.features)
        scores, which = torch.sigmoid(logits), batch.anomalous
        wanted = (
            0.3 * ranking(scores[which], scores[~which], recipe.pairing, 0.01, 0.02)
            + 0.7 * bag_cross_entropy(logits, batch.valid, which)
            + 0.2 * prototype_contrast(likeness, logits, batch.valid, which)
        )
        assert float(loss_of(recipe, head, batch)) == pytest.approx(float(wanted), abs=1e-6)


def test_flight_averages_as_many_clips_as_a_usual_segment_held_but_waits_for_no_more_than_8() -> None:
    def average(clips: int) -> int:
        return clip_spec(RANKING, SPEC, [bag(0, False, clips)]).average

    assert [average(clips) for clips in (1, 32, 100, 300)] == [1, 1, 3, 8]
    assert clip_spec(RANKING.model_copy(update={"average": 5}), SPEC, [bag(0, False, 300)]).average == 5


def test_what_flight_must_know_stands_in_the_checkpoint() -> None:
    ranking_clip, causal_clip = (next(trained(recipe)).clip for recipe in (RANKING, CAUSAL))
    assert (ranking_clip.history, causal_clip.history) == (1, 15)
    assert ranking_clip.extractor == causal_clip.extractor == SPEC
    assert ranking_clip.smooth_s == pytest.approx(SPEC.stride / SPEC.fps)
    assert ranking_clip.normalise == RANKING.normalise


def test_a_loss_that_stops_being_a_number_is_one_sentence() -> None:
    recipe = RANKING.model_copy(update={"normalise": "none", "epochs": 1})
    huge = [
        Bag(one.name, np.clip(one.features * np.float32(1e38), -3e38, 3e38), one.anomalous, one.sources)
        for one in bags(3)
    ]
    with pytest.raises(
        UsageError, match=r"the loss stopped being a number in epoch 1; train with a lower --lr"
    ):
        list(fit_mil(recipe, BagSet(splits(()), huge, [], SPEC), CPU))
