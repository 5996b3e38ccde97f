import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from train.evaluation.curves import (
    Pool,
    area_up_to,
    best_f1,
    dense_ranks,
    equal_error,
    roc_area,
    step_precision,
)

frame = st.tuples(st.integers(0, 6), st.booleans())
videos = st.lists(
    st.tuples(st.lists(frame, min_size=1, max_size=12), st.integers(0, 3)), min_size=1, max_size=5
)


def test_ranks_keep_order_and_ties_and_put_missing_evidence_last() -> None:
    assert dense_ranks(np.array([2.5, -math.inf, 2.5, 7.0])).tolist() == [1, 0, 1, 2]


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        dense_ranks(np.array([1.0, math.nan]))


def test_points_count_what_is_raised_from_the_highest_score_down_ties_together() -> None:
    pool = Pool(
        [np.array([3.0, 2.0]), np.array([2.0, 1.0])], [np.array([True, False]), np.array([True, False])]
    )
    false, true = pool.points(np.array([1.0, 1.0]))
    assert list(zip(false, true, strict=True)) == [(0, 0), (0, 1), (1, 2), (2, 2)]
    false, true = pool.points(np.array([0.0, 3.0]))
    assert list(zip(false, true, strict=True)) == [(0, 0), (0, 0), (0, 3), (3, 3)]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(videos)
def test_a_video_drawn_so_often_is_a_video_given_so_often(
    drawn: list[tuple[list[tuple[int, bool]], int]],
) -> None:
    scores = [np.array([score for score, _ in frames], np.float64) for frames, _ in drawn]
    truth = [np.array([abnormal for _, abnormal in frames]) for frames, _ in drawn]
    weights = [times for _, times in drawn]
    given_scores = np.concatenate([np.tile(s, w) for s, w in zip(scores, weights, strict=True)])
    given_truth = np.concatenate([np.tile(t, w) for t, w in zip(truth, weights, strict=True)])
    points = Pool(scores, truth).points(np.array(weights, np.float64))
    if len(given_truth) == 0 or given_truth.all() or not given_truth.any():
        assert (
            roc_area(*points) is step_precision(*points) is equal_error(*points) is best_f1(*points) is None
        )
        return
    assert roc_area(*points) == pytest.approx(roc_auc_score(given_truth, given_scores))
    assert step_precision(*points) == pytest.approx(average_precision_score(given_truth, given_scores))
    fpr, tpr, _ = roc_curve(given_truth, given_scores, drop_intermediate=False)
    assert equal_error(*points) == pytest.approx(equal_error(fpr, tpr))
    precision, recall, _ = precision_recall_curve(given_truth, given_scores)
    assert best_f1(*points) == pytest.approx(np.max(2 * precision * recall / (precision + recall + 1e-15)))


@pytest.mark.parametrize(
    ("x", "y", "limit", "share"),
    [
        ([0, 0.5, 1], [0, 1, 1], 1.0, 0.75),
        ([0, 0.5, 1], [0, 1, 1], 0.25, 0.25),  # a triangle of 0.25 x 0.5, cut in the middle of a line
        ([0, 0.2], [0, 0.5], 1.0, 0.45),  # flat from 0.2 on
        ([0, 0, 2], [0, 0.6, 1], 1.0, 0.7),  # straight up, then cut at 0.8
        ([0], [0], 1.0, 0.0),
    ],
)
def test_an_area_is_cut_at_its_limit_and_goes_on_flat(
    x: list[float], y: list[float], limit: float, share: float
) -> None:
    assert area_up_to(np.array(x, float), np.array(y, float), limit) == pytest.approx(share)
