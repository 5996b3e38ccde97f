"""Scored videos -> every figure of an evaluation, strict and legacy apart.

Strict figures come from `Scored.causal` alone, legacy ones from `Scored.raw`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from edge.errors import FootageError
from train.evaluation import frames
from train.evaluation.alarms import RATES, RECALLS, Watch, delays, sweep, watch
from train.evaluation.bootstrap import Bootstrap
from train.evaluation.curves import Pool, Weights, best_f1, equal_error, roc_area, step_precision
from train.evaluation.pixels import PixelFigures, count_pixels
from train.evaluation.regions import RegionFigures, find
from train.evaluation.results import BEGINNING, Figure, Judgement, Legacy, Strict
from train.evaluation.scored import Bools, Floats, Scored

_Fields: TypeAlias = dict[str, Any]  # some of a model's; pydantic refuses wrong and missing ones
_NONE = Figure(value=None)


def judge(
    scored: Sequence[Scored],
    threshold: float | None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    mse: Sequence[Floats] | None = None,
) -> Judgement:
    """Judge all videos of one data set together.

    `threshold` is the bundle's, from normal footage; None leaves out what needs one. `mse` is the mean
    squared error of each looked-at frame, per video, where the detector has it. Same seed, same intervals.
    Raises FootageError where no frame counts, ValueError for scores that are not numbers.
    """
    kept = [place for place, video in enumerate(scored) if video.counted.any()]
    if not kept:
        raise FootageError("no frame of these videos counts; there is nothing to evaluate")
    videos = [scored[place] for place in kept]
    errors = None if mse is None else [mse[place][scored[place].counted] for place in kept]
    chance = Bootstrap(len(videos), resamples, seed)
    abnormal = [video.abnormal[video.counted] for video in videos]
    return Judgement(
        videos=len(videos),
        frames=sum(len(one) for one in abnormal),
        abnormal_frames=sum(int(one.sum()) for one in abnormal),
        judged=_judged(videos),
        strict=_strict(videos, abnormal, threshold, chance),
        legacy=_legacy(videos, abnormal, errors, chance),
    )


def _judged(videos: Sequence[Scored]) -> float:
    frames = sum(len(video.frame) for video in videos)
    return sum(video.judged * len(video.frame) for video in videos) / frames if frames else 1.0


def _strict(
    videos: Sequence[Scored], abnormal: Sequence[Bools], threshold: float | None, chance: Bootstrap
) -> Strict:
    causal = [video.causal[video.counted] for video in videos]
    curve = _Curve(causal, abnormal, chance)
    macro, skipped = _macro(causal, abnormal, chance)
    return Strict(
        auc_micro=curve.figure(frames.micro_auc, roc_area),
        auc_begun=_begun(videos, chance),
        auc_macro=macro,
        macro_skipped=skipped,
        average_precision=curve.figure(frames.average_precision, step_precision),
        equal_error_rate=curve.figure(frames.equal_error_rate, equal_error),
        oracle_f1=curve.figure(frames.oracle_f1, best_f1),
        positive_rate=float(np.concatenate(abnormal).mean()),
        threshold=threshold,
        **_at_threshold(causal, abnormal, threshold, chance),
        **_places(videos, chance),
        **_operator(videos, threshold, chance),
        **_per_video(causal, abnormal, threshold, chance),
    )


class _Curve:
    """Figures of a ranking: the value by scikit-learn, the interval by sums under weights."""

    def __init__(self, scores: Sequence[Floats], abnormal: Sequence[Bools], chance: Bootstrap) -> None:
        self._scores, self._abnormal = np.concatenate(scores), np.concatenate(abnormal)
        self._pool, self._chance = Pool(scores, abnormal), chance

    def figure(
        self,
        value: Callable[[Floats, Bools], float | None],
        of_points: Callable[[Floats, Floats], float | None],
    ) -> Figure:
        return self._chance.figure(
            value(self._scores, self._abnormal), lambda weights: of_points(*self._pool.points(weights))
        )


def _begun(videos: Sequence[Scored], chance: Bootstrap) -> Figure:
    """Micro AUC without the first BEGINNING looked-at frames of each video: a flight begins once, a data set
    of cut clips with every one of them. Methods that predict leave out theirs too."""
    later = [video.counted & (np.arange(len(video.counted)) >= BEGINNING) for video in videos]
    if not any(which.any() for which in later):
        return _NONE
    causal = [video.causal[which] for video, which in zip(videos, later, strict=True)]
    abnormal = [video.abnormal[which] for video, which in zip(videos, later, strict=True)]
    return _Curve(causal, abnormal, chance).figure(frames.micro_auc, roc_area)


def _macro(scores: Sequence[Floats], abnormal: Sequence[Bools], chance: Bootstrap) -> tuple[Figure, int]:
    videos = list(zip(scores, abnormal, strict=True))
    value, skipped = frames.macro_auc(videos)
    areas = [frames.micro_auc(*video) for video in videos]
    has = np.array([area is not None for area in areas], np.float64)
    known = np.array([area or 0.0 for area in areas])
    return chance.figure(value, _share(known, has)), skipped


def _share(part: Floats, whole: Floats) -> Callable[[Weights], float | None]:
    """Of per-video amounts: their sums' ratio under weights."""
    return lambda weights: frames.ratio(float(weights @ part), float(weights @ whole))


def _at_threshold(
    causal: Sequence[Floats], abnormal: Sequence[Bools], threshold: float | None, chance: Bootstrap
) -> _Fields:
    if threshold is None:
        return {"confusion": None, "precision": _NONE, "recall": _NONE, "f1": _NONE, "accuracy": _NONE}
    tables = [frames.confusion(*video, threshold) for video in zip(causal, abnormal, strict=True)]
    hit = np.array([table.true_positive for table in tables], np.float64)
    false = np.array([table.false_positive for table in tables], np.float64)
    quiet = np.array([table.true_negative for table in tables], np.float64)
    missed = np.array([table.false_negative for table in tables], np.float64)
    return {
        "confusion": frames.confusion(np.concatenate(causal), np.concatenate(abnormal), threshold),
        "precision": chance.measured(_share(hit, hit + false)),
        "recall": chance.measured(_share(hit, hit + missed)),
        "f1": chance.measured(_share(2 * hit, 2 * hit + false + missed)),
        "accuracy": chance.measured(_share(hit + quiet, hit + false + quiet + missed)),
    }


def _places(videos: Sequence[Scored], chance: Bootstrap) -> _Fields:
    pixels = PixelFigures([count_pixels(video) for video in videos])
    regions = RegionFigures([find(video) for video in videos])
    return {
        "pixel_auroc": chance.measured(pixels.auroc),
        "au_pro": chance.measured(pixels.au_pro),
        "rbdc": chance.measured(regions.rbdc),
        "tbdc": chance.measured(regions.tbdc),
        "box_hits": chance.measured(regions.box_hits),
    }


def _operator(videos: Sequence[Scored], threshold: float | None, chance: Bootstrap) -> _Fields:
    watches = [watch(video) for video in videos]
    swept = sweep(watches)
    return {
        "events": sum(len(one.events) for one in watches),
        "hours_outside_events": sum(one.outside_s for one in watches) / 3600,
        "false_alarms_at_recall": {
            f"{r:g}": None if swept is None else swept.per_hour_at(r) for r in RECALLS
        },
        "recall_at_false_alarms": {f"{r:g}": None if swept is None else swept.recall_at(r) for r in RATES},
        **_alarms(watches, threshold, chance),
        **_delays(videos, threshold),
    }


def _alarms(watches: Sequence[Watch], threshold: float | None, chance: Bootstrap) -> _Fields:
    if threshold is None:
        return {"event_recall": _NONE, "false_alarms_per_hour": _NONE}
    detected = np.array([one.detected(threshold) for one in watches], np.float64)
    events = np.array([len(one.events) for one in watches], np.float64)
    false = np.array([one.false_alarms(threshold) for one in watches], np.float64)
    hours = np.array([one.outside_s / 3600 for one in watches])
    return {
        "event_recall": chance.measured(_share(detected, events)),
        "false_alarms_per_hour": chance.measured(_share(false, hours)),
    }


def _delays(videos: Sequence[Scored], threshold: float | None) -> _Fields:
    if threshold is None:
        return {"delay_median_s": None, "delay_p90_s": None, "missed_events": None}
    all_events = [delay for video in videos for delay in delays(video, threshold)]
    detected = [delay for delay in all_events if delay is not None]
    return {
        "delay_median_s": float(np.median(detected)) if detected else None,
        "delay_p90_s": float(np.percentile(detected, 90)) if detected else None,
        "missed_events": len(all_events) - len(detected),
    }


def _per_video(
    causal: Sequence[Floats], abnormal: Sequence[Bools], threshold: float | None, chance: Bootstrap
) -> _Fields:
    """A video's score is the largest of its causal scores; it is abnormal if any of its frames is."""
    scores = np.array([one.max() for one in causal])
    truth = np.array([one.any() for one in abnormal])
    pool = Pool(list(scores[:, None]), list(truth[:, None]))
    area = chance.figure(frames.micro_auc(scores, truth), lambda weights: roc_area(*pool.points(weights)))
    if threshold is None:
        return {"video_accuracy": _NONE, "video_auc": area}
    alarms = scores >= threshold
    hit, false, missed = ((alarms & truth), (alarms & ~truth), (~alarms & truth))
    right, each = (alarms == truth), np.ones(len(truth))
    return {
        "video_accuracy": chance.measured(_share(right.astype(float), each)),
        "video_auc": area,
        "video_confusion": frames.confusion(scores, truth, threshold),
        "video_precision": chance.measured(_share(hit.astype(float), alarms.astype(float))),
        "video_recall": chance.measured(_share(hit.astype(float), truth.astype(float))),
        "video_f1": chance.measured(_share(2.0 * hit, 2.0 * hit + false + missed)),
    }


def _legacy(
    videos: Sequence[Scored], abnormal: Sequence[Bools], mse: Sequence[Floats] | None, chance: Bootstrap
) -> Legacy:
    smooth = [frames.legacy_scores(video.raw[video.counted], video.period_s) for video in videos]
    regularity = None if mse is None else [frames.regularity_scores(one) for one in mse]
    return Legacy(
        auc_micro=_Curve(smooth, abnormal, chance).figure(frames.micro_auc, roc_area),
        auc_macro=_macro(smooth, abnormal, chance)[0],
        psnr_regularity_auc=(
            None
            if regularity is None
            else _Curve(regularity, abnormal, chance).figure(frames.micro_auc, roc_area)
        ),
    )
