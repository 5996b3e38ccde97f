"""Bags of the fight set: sources apart, truth known; and the head that is worked out at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.fight_bags import (
    DEVELOPMENT,
    PARTS,
    BagRules,
    bags_of,
    read_clips,
    sources,
    splits,
    told_apart,
)
from benchmarks.fight_runs import Kept, Run
from benchmarks.fights import choose
from benchmarks.mil_figures import ALARMING, best_accuracy, figures
from benchmarks.mil_scores import Told, told, trained
from benchmarks.motion_histograms import WIDTH, histograms, motion_extractor
from benchmarks.told_classifiers import CLASSIFIERS, classified
from edge.clips import ExtractorSpec
from edge.errors import UsageError
from train.bags import Bag
from train.feature_files import FeatureVideo, write_features
from train.mil import DiscriminantHead, HeadConfig, build_head
from train.mil_recipes import mil_recipe

TABLE = """https://video/one
fi001: 0.13.50 - 0.15.60
nofi001: 2.34.70 - 2.37.80

https://video/two
fi002: 0.1 - 0.2
nofi002 - nofi004 : A set
nofi004 - nofi005 : Another set
"""
RULES = BagRules(clips=3)
SPEC = ExtractorSpec(frames=4, stride=2, fps=8, width=6, sha256="0" * 64)


def clip(name: str, source: str, anomalous: bool, seed: int, width: int = 6) -> Bag:
    """Fights differ in their last number, sources in all the others."""
    place = np.random.default_rng(abs(hash_of(source))).uniform(1, 3, width)
    features = place + np.random.default_rng(seed).normal(0, 0.2, (5, width))
    features[:, -1] += 2.0 * anomalous
    truth = np.full(5, anomalous)
    return Bag(name, np.abs(features).astype(np.float32), anomalous, (source,), truth)


def hash_of(text: str) -> int:
    return sum(ord(letter) * 31**place for place, letter in enumerate(text)) % 2**31


def clips() -> list[Bag]:
    return [
        clip(f"{'fi' if fight else 'nofi'}{source}-{number}", f"s{source}", fight, 100 * source + number)
        for source in range(24)
        for number, fight in enumerate((True, False, False))
    ]


def test_the_list_of_sources_is_read_and_a_clip_in_two_ranges_belongs_to_the_first(tmp_path: Path) -> None:
    table = tmp_path / "videos.txt"
    table.write_text(TABLE)
    found = sources(table)
    assert found["fi001"] == found["nofi001"] == "https://video/one"
    assert found["fi002"] == "https://video/two"
    assert [found[f"nofi00{n}"] for n in (2, 4, 5)] == ["A set", "A set", "Another set"]


@pytest.mark.parametrize("text", ["", "nothing here\n", "fi001: 0 - 1\n"])
def test_a_list_without_sources_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "videos.txt").write_text(text)
    with pytest.raises(UsageError, match="does not list a source video"):
        sources(tmp_path / "videos.txt")


@pytest.mark.parametrize("develop", [False, True])
def test_no_source_is_tested_that_was_learnt_from_or_that_set_the_threshold(develop: bool) -> None:
    made = list(splits(clips(), BagRules(clips=3), 0, develop))
    assert len(made) == (DEVELOPMENT if develop else PARTS - DEVELOPMENT)
    for one in made:
        of = [{s for bag in bags for s in bag.sources} for bags in (one.train, one.validation, one.test)]
        assert not of[0] & of[1]
        assert not of[0] & of[2]
        assert not of[1] & of[2]


def test_what_is_tuned_on_is_never_reported() -> None:
    def tested(develop: bool) -> set[str]:
        return {
            s
            for one in splits(clips(), BagRules(clips=3), 0, develop)
            for bag in one.test
            for s in bag.sources
        }

    assert not tested(True) & tested(False)
    assert len(tested(True) | tested(False)) == 24


def test_a_clip_too_short_for_features_is_in_no_bag_and_moves_no_source(
    tmp_path: Path,
) -> None:
    made = clips()
    for one in made:
        out = tmp_path / ("fight" if one.anomalous else "noFight") / f"{one.name}.npz"
        out.parent.mkdir(exist_ok=True)
        if one.name != "fi3-0":
            write_features(out, FeatureVideo(one.name, one.features))
    known = {one.name: one.sources[0] for one in made}
    found = read_clips(tmp_path, known, ["fight/fi3-0"])
    assert {one.name for one in found} == set(known)
    for ours, whole in zip(splits(found, RULES, 0), splits(read_all(made), RULES, 0), strict=True):
        assert {s for bag in ours.test for s in bag.sources} == {s for bag in whole.test for s in bag.sources}
        assert not any(bag.name.startswith("fi3-0") for bag in (*ours.train, *ours.validation, *ours.test))


def read_all(made: list[Bag]) -> list[Bag]:
    """In the order in which they are read."""
    return sorted(made, key=lambda one: (not one.anomalous, one.name))


def test_clips_told_apart_are_the_same_clips_each_with_its_own_label() -> None:
    made = bags_of(clips(), RULES, 1)
    apart = told_apart(made)
    assert sum(bag.clips for bag in apart) == sum(bag.clips for bag in made)
    assert len(apart) == len(made) + sum(bag.anomalous for bag in made)
    for bag in apart:
        assert bag.truth is not None
        assert (bag.truth == bag.anomalous).all()


def test_a_bag_holds_one_fight_or_none_and_no_clip_twice() -> None:
    made = bags_of(clips(), BagRules(clips=4, uses=3), 1)
    assert sum(bag.anomalous for bag in made) == 3 * 24 == len(made) / 2
    for bag in made:
        assert bag.clips == 20
        assert bag.truth is not None
        assert int(bag.truth.sum()) == 5 * bag.anomalous
        parts = bag.features.reshape(4, 5, -1)
        assert len({part.tobytes() for part in parts}) == 4


def test_too_few_clips_for_a_bag_are_told() -> None:
    with pytest.raises(UsageError, match="give fewer --clips"):
        bags_of(clips()[:6], BagRules(clips=9), 0)


# The head that is worked out at once


def test_it_finds_the_fights_of_sources_it_never_saw_from_labels_of_bags_alone() -> None:
    split = next(splits(clips(), BagRules(clips=4), 0))
    made = trained(mil_recipe("discriminant", model={"kind": "discriminant", "axes": 5}), split.train, SPEC)
    found = figures(
        [told(made, b) for b in split.test], [told(made, b) for b in split.validation], "streaming"
    )
    assert found.segment_auc is not None
    assert found.segment_auc > 0.9
    assert found.accuracy is not None
    assert found.accuracy > 0.7


def test_what_stands_in_both_classes_cancels_out() -> None:
    """Where every anomalous bag holds the same normal clips as a normal one, only the rest has weight."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.rand(400, 4, generator=generator) + 1
    foreign = torch.rand(100, 4, generator=generator) + 1
    foreign[:, 2] += 2
    head = build_head(HeadConfig(kind="discriminant", axes=4), 4)
    assert isinstance(head, DiscriminantHead)
    head.fit(torch.cat([normal, foreign, normal]), torch.arange(900) < 500)
    weight = head.weight.detach()
    assert weight.argmax() == 2
    assert weight[2] > 5 * weight[[0, 1, 3]].abs().max()


def test_its_logits_spread_by_one_and_its_window_is_its_sequence() -> None:
    features = torch.rand(200, 5, generator=torch.Generator().manual_seed(1))
    head = build_head(HeadConfig(kind="discriminant", axes=3), 5)
    assert isinstance(head, DiscriminantHead)
    head.fit(features, torch.arange(200) < 100)
    logits = head.sequence(features[None])[0].detach()
    assert float(logits.std()) == pytest.approx(1, rel=0.01)
    assert torch.allclose(head(features[:, None]), logits)


def test_features_below_zero_have_roots_too() -> None:
    features = torch.randn(200, 5, generator=torch.Generator().manual_seed(2))
    head = build_head(HeadConfig(kind="discriminant", axes=3), 5)
    assert isinstance(head, DiscriminantHead)
    head.fit(features, torch.arange(200) < 100)
    assert torch.isfinite(head.sequence(-features.abs())).all()


# Classifiers that are told the label of each clip


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_told_the_label_of_each_clip_finds_fights_of_sources_it_never_saw(name: str) -> None:
    split = next(splits(clips(), BagRules(clips=4), 0))
    made = classified(name, mil_recipe("discriminant"), told_apart(split.train), SPEC)
    found = figures(
        [told(made, b) for b in split.test], [told(made, b) for b in split.validation], "streaming"
    )
    assert found.segment_auc is not None
    assert found.segment_auc > 0.8


@pytest.mark.parametrize(("name", "finds"), [("logistic", False), ("svm", True), ("trees", True)])
def test_only_classifiers_that_are_not_linear_find_what_no_line_parts(name: str, finds: bool) -> None:
    """Foreign is where both numbers are large, or neither."""
    chance = np.random.default_rng(0)
    signs = chance.choice([-1.0, 1.0], (600, 2))
    features = (signs + chance.normal(0, 0.2, (600, 2))).astype(np.float32)
    foreign = signs.prod(1) > 0
    bags = [Bag(kind, features[foreign == (kind == "a")], kind == "a", (kind,)) for kind in "an"]
    made = classified(name, mil_recipe("discriminant"), bags, SPEC.model_copy(update={"width": 2}))
    logits = made.head(torch.from_numpy(features)[:, None]).numpy()
    right = float(((logits > 0) == foreign).mean())
    assert right > 0.95 if finds else right < 0.65


# Figures


def bag(name: str, anomalous: bool, *scores: float) -> Told:
    found = np.array(scores)
    truth = (found == found.max()) & anomalous
    return Told(name, anomalous, truth, found, found[::-1].copy())


def test_the_threshold_comes_from_normal_bags_alone() -> None:
    validation = [bag("n", False, float(score)) for score in range(11)] + [bag("a", True, 1000.0)]
    test = [bag("a", True, 0.0, 9.0), bag("b", True, 1.0, 2.0), bag("n", False, 7.0, 8.5)]
    found = figures(test, validation, "offline")
    assert found.threshold == pytest.approx(10 * (1 - ALARMING))
    assert found.confusion.model_dump() == {
        "true_positive": 1, "false_positive": 1, "true_negative": 0, "false_negative": 1
    }  # fmt: skip
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.precision == found.recall == found.f1 == 0.5
    assert found.video_auc == 0.5
    assert found.hindsight == pytest.approx(2 / 3)


def test_the_best_accuracy_may_be_that_of_no_alarm() -> None:
    assert best_accuracy(np.array([3.0, 1.0, 2.0]), np.array([False, False, True])) == pytest.approx(2 / 3)


# What is without a network, and what is kept


def test_a_still_clip_has_no_motion_and_a_moving_one_has() -> None:
    still = np.full((1, 3, 4, 120, 160), 90.0, np.float32)
    moving = still.copy()
    moving[:, :, 1::2, :60, :80] += 50
    quiet, loud = histograms(still)[0], histograms(moving)[0]
    assert quiet.shape == loud.shape == (WIDTH,)
    assert quiet[0] == 1  # every pixel in the bin of no change
    assert quiet[1:].sum() == 0
    assert loud[4] == pytest.approx(0.25)  # a quarter of the pixels by 32 to 64
    assert motion_extractor(8, 2, 8.0).spec.width == WIDTH


def test_a_training_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    found = figures([bag("a", True, 1.0), bag("n", False, 0.0)], [bag("n", False, 0.0)], "offline")
    run = Run(row="r", part="p", seed=0, settings="s", parameters=1, offline=found, streaming=found)
    path = tmp_path / "kept.jsonl"
    path.write_text("half a li\n")
    made = []
    for _ in range(2):
        assert Kept(path).or_made("r", "p", 0, "s", lambda: made.append(1) or run) == run
    Kept(path).or_made("r", "p", 0, "other", lambda: made.append(1) or run)
    assert len(made) == 2


def test_an_unknown_row_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean faithful"):
        choose("faithfull")
