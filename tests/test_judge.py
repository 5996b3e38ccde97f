from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import FootageError
from tests.scored_videos import box, scored
from train.evaluation.judge import judge
from train.evaluation.results import Judgement
from train.evaluation.scored import Scored
from train.evaluation.truth import Region

NORMAL = scored([0.1, 0.2, 0.1, 0.6, 0.1, 0.1], name="normal")
FOUND = scored([0.1, 0.1, 0.7, 0.9, 0.1, 0.3], (2, 3), name="found")
MISSED = scored([0.1, 0.3, 0.2, 0.4, 0.1, 0.1], (2, 3), name="missed")


def place(video: Scored) -> Scored:
    """The same with heat, masks, regions and boxes: the box right where the score is high."""
    here = np.array([[1, 1, 0, 0]], bool)
    inside = [bool(one) for one in video.abnormal]
    return scored(
        video.causal.tolist(),
        *video.video.abnormal,
        name=video.video.name,
        regions=[Region(n, 0, 0, 0, 2, 1) for n, one in enumerate(inside) if one],
        mask=lambda n: here if inside[n] else None,
        boxes=[(box(0, 0, 2, 1, score),) if score > 0.5 else () for score in video.causal],
        heat=[[[score, score / 2, score / 3, 0]] for score in video.causal],
    )


def test_figures_at_the_threshold_by_hand() -> None:
    strict = judge([NORMAL, FOUND, MISSED], 0.5, resamples=20).strict
    assert strict.confusion is not None
    assert strict.confusion.model_dump() == {
        "true_positive": 2,
        "false_positive": 1,
        "true_negative": 13,
        "false_negative": 2,
    }
    assert strict.precision.value == pytest.approx(2 / 3)
    assert strict.recall.value == pytest.approx(1 / 2)
    assert strict.f1.value == pytest.approx(4 / 7)
    assert strict.accuracy.value == pytest.approx(15 / 18)
    assert strict.positive_rate == pytest.approx(4 / 18)
    assert strict.threshold == 0.5


def test_ranking_figures_by_hand() -> None:
    """Abnormal 0.2, 0.4, 0.7, 0.9 against 14 normal ones: below 0.2 are 10, at it 1, then 0.3 0.3 0.6."""
    strict = judge([NORMAL, FOUND, MISSED], None, resamples=0).strict
    assert strict.auc_micro.value == pytest.approx((10.5 + 13 + 14 + 14) / (4 * 14))
    # without the first two of each: 0.2, 0.4, 0.7, 0.9 against 8 normal ones, of which 6 are 0.1
    assert strict.auc_begun.value == pytest.approx((6 + 7 + 8 + 8) / (4 * 8))
    assert strict.auc_macro.value == pytest.approx((1 + 7 / 8) / 2)
    assert strict.macro_skipped == 1
    assert strict.average_precision.value == pytest.approx((1 + 1 + 3 / 4 + 4 / 8) / 4)
    assert strict.oracle_f1.value == pytest.approx(6 / 8)  # at 0.4: three of four, one false


def test_alarm_figures_by_hand() -> None:
    strict = judge([NORMAL, FOUND, MISSED], 0.5, resamples=20).strict
    assert strict.events == 2
    assert strict.event_recall.value == 0.5
    assert strict.missed_events == 1
    assert strict.delay_median_s == strict.delay_p90_s == 0
    assert strict.hours_outside_events == pytest.approx(6 / 3600)
    assert strict.false_alarms_per_hour.value == pytest.approx(600)
    assert strict.false_alarms_at_recall == {"0.5": 0, "0.8": pytest.approx(600), "0.9": pytest.approx(600)}
    assert strict.recall_at_false_alarms == {"1": 0.5, "0.1": 0.5}


def test_delays_are_over_all_detected_events() -> None:
    videos = [scored([0.0] * late + [1.0] + [0.0] * (9 - late), (0, 9)) for late in (0, 2, 4)]
    strict = judge([*videos, NORMAL], 0.9, resamples=0).strict
    assert (strict.delay_median_s, strict.missed_events) == (2, 0)
    assert strict.delay_p90_s == pytest.approx(3.6)


def test_a_video_is_judged_by_its_largest_score() -> None:
    strict = judge([NORMAL, FOUND, MISSED], 0.5, resamples=0).strict
    assert strict.video_accuracy.value == pytest.approx(1 / 3)
    assert strict.video_auc.value == pytest.approx(1 / 2)
    assert strict.video_confusion is not None
    assert strict.video_confusion.model_dump() == {
        "true_positive": 1, "false_positive": 1, "true_negative": 0, "false_negative": 1
    }  # fmt: skip
    assert strict.video_precision.value == strict.video_recall.value == strict.video_f1.value == 0.5
    assert judge([FOUND, MISSED], 0.5, resamples=0).strict.video_auc.value is None


def test_figures_of_places_by_hand() -> None:
    """Boxes on both frames of one event, one false box elsewhere, none on the other event."""
    strict = judge([place(NORMAL), place(FOUND), place(MISSED)], 0.5, resamples=0).strict
    assert strict.box_hits.value == 0.5
    assert strict.rbdc.value == pytest.approx(0.5)
    assert strict.tbdc.value == pytest.approx(0.5)
    assert strict.pixel_auroc.value is not None
    assert 0.5 < strict.pixel_auroc.value < 1
    assert strict.au_pro.value is not None


def test_without_a_threshold_only_what_needs_one_is_left_out() -> None:
    with_one = judge([NORMAL, FOUND, MISSED], 0.5, resamples=30)
    without = judge([NORMAL, FOUND, MISSED], None, resamples=30)
    assert without.legacy == with_one.legacy
    lost = {name for name, value in without.strict if value != getattr(with_one.strict, name)}
    assert lost == {
        "threshold",
        "confusion",
        "precision",
        "recall",
        "f1",
        "accuracy",
        "event_recall",
        "false_alarms_per_hour",
        "delay_median_s",
        "delay_p90_s",
        "missed_events",
        "video_accuracy",
        "video_confusion",
        "video_precision",
        "video_recall",
        "video_f1",
    }
    assert without.strict.confusion is None
    assert without.strict.f1.value is None


def test_strict_figures_see_the_causal_scores_and_legacy_ones_the_raw() -> None:
    causal = [FOUND, MISSED]
    other = [scored(v.causal.tolist(), *v.video.abnormal, raw=[0, 9, 0, 0, 9, 9]) for v in causal]
    assert judge(other, 0.5, resamples=30).strict == judge(causal, 0.5, resamples=30).strict
    assert judge(other, 0.5, resamples=30).legacy != judge(causal, 0.5, resamples=30).legacy


def test_what_could_not_be_judged_is_counted_by_frames() -> None:
    half = replace(scored([0.1] * 2, (0, 0)), judged=0.5)
    assert judge([scored([0.1] * 6, (1, 1)), half], 0.5, resamples=2).judged == pytest.approx(7 / 8)


def test_regularity_is_judged_where_there_is_a_squared_error() -> None:
    mse = [np.array([0.1, 0.1, 0.7, 0.9, 0.1, 0.1]), np.array([0.1, 0.1, 0.2, 0.3, 0.4, 0.1])]
    assert judge([FOUND, MISSED], None, resamples=0).legacy.psnr_regularity_auc is None
    area = judge([FOUND, MISSED], None, resamples=0, mse=mse).legacy.psnr_regularity_auc
    assert area is not None
    # The second video's most irregular frame, at 0.4, is normal and ties with the first one's at 0.9.
    assert area.value == pytest.approx((7 + 7.5 + 7 + 7) / 32)


def test_intervals_hold_their_values_and_come_from_the_seed() -> None:
    videos = [place(one) for one in (NORMAL, FOUND, MISSED, FOUND, MISSED, NORMAL, FOUND)]
    first = judge(videos, 0.5, resamples=200, seed=5)
    assert first == judge(videos, 0.5, resamples=200, seed=5)
    assert first != judge(videos, 0.5, resamples=200, seed=6)
    for name in ("auc_micro", "auc_macro", "f1", "rbdc", "pixel_auroc", "event_recall", "video_accuracy"):
        figure = getattr(first.strict, name)
        assert figure.low < figure.value < figure.high, name


def test_only_normal_videos_still_tell_false_alarms() -> None:
    found = judge([NORMAL, NORMAL], 0.5, resamples=10)
    assert found.strict.auc_micro.value is None
    assert found.strict.events == 0
    assert found.strict.false_alarms_per_hour.value == pytest.approx(600)
    assert found.strict.false_alarms_at_recall == {"0.5": None, "0.8": None, "0.9": None}
    assert found.strict.recall.value is None


def test_a_judgement_is_plain_json_even_without_evidence() -> None:
    found = judge([scored([-math.inf, -math.inf, 1.0], (2, 2)), NORMAL], 0.5, resamples=10)
    text = found.model_dump_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert Judgement.model_validate(json.loads(text)) == found


def test_videos_of_which_no_frame_counts_are_left_out() -> None:
    nothing = scored([9.0, 9.0], (0, 1), ignored=((0, 1),))
    mse = [np.ones(2), np.ones(6), np.arange(6.0)]
    found = judge([nothing, NORMAL, FOUND], 0.5, resamples=30, mse=mse)
    assert found == judge([NORMAL, FOUND], 0.5, resamples=30, mse=mse[1:])
    assert found.videos == 2
    with pytest.raises(FootageError, match="nothing to evaluate"):
        judge([nothing], 0.5)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)
@given(st.lists(st.floats(-1, 9), min_size=4, max_size=4), st.booleans())
def test_frames_that_do_not_count_change_no_figure(scores: list[float], boxed: bool) -> None:
    """Frames 4 and 5 do not count, whatever was seen on them."""

    def video(first: float, second: float, heat: float, found: bool) -> Scored:
        causal = [0.1, 0.2, 0.7, 0.8, first, second, 0.1, 0.2, 0.1]
        return scored(
            causal,
            (2, 5),
            ignored=((4, 5),),
            regions=[Region(n, n % 2, 0, 0, 2, 1) for n in range(2, 6)],
            mask=lambda n: np.array([[1, 1, 0, 0]], bool),
            boxes=[(box(0, 0, 4, 1, 0.5),) if found or n not in (4, 5) else () for n in range(9)],
            heat=[[[0.5, 0.4, 0.3, heat if n in (4, 5) else 0.1]] for n in range(9)],
        )

    def of(one: Scored) -> Judgement:
        return judge([one, NORMAL], 0.5, resamples=5, mse=[one.raw + 2, NORMAL.raw])

    assert of(video(scores[0], scores[1], scores[2], boxed)) == of(video(0.0, 0.0, 0.0, False))
