"""Whole videos: scored as flight scores them, a threshold from normal ones, what it is worth on others."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edge.clips import ClipSpec, smoothed, windows
from tests.bagging import SPEC, WIDTH, bag, raw
from train.mil import HeadConfig, build_head
from train.mil_scores import judged, stream_scores, threshold_of, verdict_of, video_scores


@pytest.mark.parametrize("clips", [1, 7, 600])
def test_a_video_is_scored_as_flight_scores_it(clips: int) -> None:
    torch.manual_seed(0)
    config = HeadConfig(kind="causal", channels=8, prototypes=2)
    head = build_head(config, WIDTH).eval()
    spec = ClipSpec(extractor=SPEC, average=2, history=config.history, smooth_s=1.5)
    features = raw(3, True, clips)
    with torch.inference_mode():
        logits = [float(head(torch.from_numpy(window[None]))) for window in windows(features, spec)]
    found = stream_scores(head, spec, features)
    assert found == pytest.approx(smoothed(logits, spec), abs=1e-5)
    assert video_scores(head, spec, [bag(3, True, clips)])[0] == found.max()


def test_a_threshold_lies_just_above_the_score_that_one_in_ten_further_videos_exceeds() -> None:
    found = threshold_of(np.arange(19.0), sources=5)
    assert found is not None
    assert (found.normals, found.sources) == (19, 5)
    assert 17 < found.value < 17 + 1e-9  # the 18th of 19: 2 of 20 places lie above it
    assert found.expected == pytest.approx(0.1)


def test_few_normal_videos_give_their_highest_score_and_promise_less() -> None:
    found = threshold_of(np.array([3.0, 1.0, 2.0]), sources=3)
    assert found is not None
    assert 3 < found.value < 3 + 1e-9
    assert found.expected == pytest.approx(0.25)
    assert threshold_of(np.zeros(0), sources=0) is None


def test_what_is_promised_of_further_normal_videos_holds_on_average() -> None:
    random = np.random.default_rng(0)
    shares, promised = [], 0.0
    for _ in range(400):
        found = threshold_of(random.normal(size=12), sources=12)
        assert found is not None
        promised = found.expected
        shares.append((random.normal(size=200) >= found.value).mean())
    assert np.mean(shares) == pytest.approx(promised, abs=0.015)


def test_precision_recall_and_f1_are_those_of_the_published_table() -> None:
    """The founding report's tables: 35 and 35 videos; TP 20, FN 15, FP 3, TN 32."""
    scores = np.array([1.0] * 20 + [0.0] * 15 + [1.0] * 3 + [0.0] * 32)
    found = verdict_of(scores, np.arange(70) < 35, threshold=0.5)
    assert found.accuracy == pytest.approx(52 / 70)
    assert found.of_class(True) == pytest.approx((20 / 23, 20 / 35, 40 / 58))
    assert found.of_class(False) == pytest.approx((32 / 47, 32 / 35, 64 / 82))
    assert found.auc == pytest.approx((20 * 32 + 0.5 * (20 * 3 + 15 * 32)) / 35**2)


def test_a_figure_that_does_not_exist_is_none() -> None:
    found = verdict_of(np.zeros(2), np.array([False, False]), threshold=1.0)
    assert found.accuracy == 1
    assert found.auc is None
    assert found.of_class(True) == (None, None, None)


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=30), st.floats(-5, 5))
def test_every_video_is_counted_once(drawn: list[tuple[float, bool]], threshold: float) -> None:
    scores, labels = np.array([score for score, _ in drawn]), np.array([label for _, label in drawn])
    counted = verdict_of(scores, labels, threshold).counted
    assert counted.true_positive + counted.false_negative == labels.sum()
    assert counted.true_negative + counted.false_positive == (~labels).sum()
    assert counted.true_positive + counted.false_positive == (scores >= threshold).sum()


def test_the_threshold_knows_neither_test_videos_nor_anomalous_ones() -> None:
    torch.manual_seed(0)
    head = build_head(HeadConfig(hidden=(8, 4)), WIDTH).eval()
    spec = ClipSpec(extractor=SPEC)
    normal = [bag(seed, False) for seed in range(5)]
    found = judged(head, spec, [*normal, bag(9, True)], [bag(20, True), bag(21, False)])
    other = judged(head, spec, normal, [bag(30, True), bag(31, False), bag(32, False)])
    assert found is not None
    assert other is not None
    assert found.threshold == other.threshold
    highest = max(float(stream_scores(head, spec, one.features).max()) for one in normal)
    assert found.threshold.value == math.nextafter(highest, math.inf)
    assert judged(head, spec, [bag(9, True)], normal) is None
