import math

import numpy as np
import pytest

from train.evaluation import frames
from train.evaluation.scored import Bools, Floats

SCORES = np.array([0.1, 0.4, 0.35, 0.8])
TRUTH = np.array([False, False, True, True])


def video(*pairs: tuple[float, int]) -> tuple[Floats, Bools]:
    return np.array([score for score, _ in pairs], np.float64), np.array([bool(label) for _, label in pairs])


def test_micro_auc_is_the_share_of_pairs_in_order() -> None:
    assert frames.micro_auc(SCORES, TRUTH) == pytest.approx(3 / 4)
    assert frames.micro_auc(np.array([1.0, 1.0]), np.array([False, True])) == pytest.approx(0.5)


def test_frames_without_evidence_yet_rank_below_all_others() -> None:
    assert frames.micro_auc(np.array([-math.inf, -5.0, -1.0]), np.array([False, False, True])) == 1
    assert frames.micro_auc(np.array([-math.inf, -5.0, -1.0]), np.array([True, False, False])) == 0


def test_with_one_class_there_is_no_ranking_figure() -> None:
    for truth in (np.zeros(4, bool), np.ones(4, bool)):
        assert frames.micro_auc(SCORES, truth) is None
        assert frames.average_precision(SCORES, truth) is None
        assert frames.equal_error_rate(SCORES, truth) is None
        assert frames.oracle_f1(SCORES, truth) is None


def test_macro_auc_is_the_mean_over_videos_with_both_classes_and_says_how_many_had_not() -> None:
    half = video((1, 0), (2, 1), (3, 0))
    right = video((1, 0), (2, 1))
    assert frames.macro_auc([half, right, video((1, 1)), video((5, 0), (6, 0))]) == (0.75, 2)
    assert frames.macro_auc([video((1, 1))]) == (None, 1)


def test_average_precision_is_a_sum_of_steps() -> None:
    """0.5 x 1 for the first, 0.5 x 2/3 for the second; trapezoids would give 0.79."""
    assert frames.average_precision(SCORES, TRUTH) == pytest.approx(5 / 6)


def test_the_equal_error_rate_lies_on_a_line_between_two_thresholds() -> None:
    """(false, true) goes from (0, 0) straight to (1/2, 1): equal at a third."""
    scores, truth = video((2, 1), (2, 1), (2, 0), (1, 0))
    assert frames.equal_error_rate(scores, truth) == pytest.approx(1 / 3)
    assert frames.equal_error_rate(SCORES, TRUTH) == pytest.approx(1 / 2)
    assert frames.equal_error_rate(TRUTH.astype(float), TRUTH) == 0


def test_the_oracle_takes_the_best_threshold() -> None:
    """At 0.35 two of two are found with one false: 2x2 / (2x2 + 1)."""
    assert frames.oracle_f1(SCORES, TRUTH) == pytest.approx(0.8)


def test_a_frame_at_the_threshold_is_positive() -> None:
    table = frames.confusion(SCORES, TRUTH, 0.4)
    found = (table.true_positive, table.false_positive, table.true_negative, table.false_negative)
    assert found == (1, 1, 1, 1)
    table = frames.confusion(SCORES, TRUTH, 0.35)
    found = (table.true_positive, table.false_positive, table.true_negative, table.false_negative)
    assert found == (2, 1, 1, 0)


def test_a_confusion_of_one_class_has_all_four_cells() -> None:
    table = frames.confusion(np.array([1.0, -math.inf]), np.zeros(2, bool), 0.5)
    assert (table.false_positive, table.true_negative, table.true_positive) == (1, 1, 0)


def test_legacy_scores_lie_between_the_videos_own_extremes() -> None:
    assert frames.legacy_scores(np.array([3.0, 5.0, 7.0]), period_s=100.0) == pytest.approx([0, 0.5, 1])
    assert frames.legacy_scores(np.array([2.0, 2.0]), period_s=1.0) == pytest.approx([0, 0])


def test_a_frame_without_a_score_is_as_normal_as_any_in_legacy_scores() -> None:
    assert frames.legacy_scores(np.array([-math.inf, 5.0, 7.0]), period_s=100.0) == pytest.approx([0, 0, 1])
    assert frames.legacy_scores(np.array([-math.inf, -math.inf]), period_s=1.0) == pytest.approx([0, 0])


def test_legacy_scores_are_smoothed_by_a_gaussian_of_one_second_to_both_sides() -> None:
    glint = np.zeros(41)
    glint[20] = 9.0
    smooth = frames.legacy_scores(glint, period_s=0.5)
    weights = np.exp(-0.5 * (np.arange(-8, 9) / 2) ** 2)
    assert smooth[12:29] == pytest.approx(weights / weights.sum())


def test_regularity_is_the_psnr_between_the_videos_own_extremes() -> None:
    """0, 10 and 20 dB."""
    assert frames.regularity_scores(np.array([1.0, 0.1, 0.01])) == pytest.approx([1, 0.5, 0])


def test_a_perfect_reconstruction_is_the_most_regular() -> None:
    assert frames.regularity_scores(np.array([0.0, 1.0])) == pytest.approx([0, 1])
