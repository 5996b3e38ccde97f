"""An evaluation as rows that a person reads, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from train.evaluation.results import BEGINNING, Evaluation, Figure, Judgement, Strict

NONE = "-"
STRICT = (
    "strict: what flight would have seen. Causal scores, one threshold for all videos, taken from normal "
    "footage alone, nothing normalised per video."
)
LEGACY = (
    "legacy: each video's scores normalised by its own smallest and largest and smoothed with frames from "
    "the future, as many papers do; comparable with papers, not reachable in flight."
)


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    strict: str
    legacy: str = NONE


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    rows: tuple[Row, ...]


def plain(text: str) -> str:
    """What a terminal, a page and UTF-8 take as it is: file names may hold control signs and broken bytes."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def shown(figure: Figure | None, digits: int = 2) -> str:
    """0.93 (0.90-0.95); the brackets are the 95 % interval over videos."""
    if figure is None or figure.value is None:
        return NONE
    value = f"{figure.value:.{digits}f}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({figure.low:.{digits}f}-{figure.high:.{digits}f})"


def shown_rate(figure: Figure) -> str:
    return shown(figure, rate_digits(figure.value))


def rate_digits(rate: float | None) -> int:
    """Three figures say all that a rate of alarms can tell."""
    size = abs(rate or 0.0)
    return 2 if size < 10 else 1 if size < 100 else 0


def duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def number(value: float | None, unit: str = "", digits: int = 1) -> str:
    return NONE if value is None else f"{value:.{digits}f}{unit}"


def groups(judgement: Judgement) -> tuple[Group, ...]:
    strict = judgement.strict
    return (
        Group("Ranking of frames", tuple(_ranking(judgement))),
        Group(f"Alarms, calibrated threshold ({_threshold(strict)})", tuple(_alarms(strict))),
        Group("Alarms, thresholds in hindsight", tuple(_hindsight(strict))),
        Group("Frames, calibrated threshold", tuple(_frames(strict))),
        Group("Places", tuple(_places(strict))),
        Group("Whole videos", tuple(_videos(strict))),
    )


def _threshold(strict: Strict) -> str:
    return "none" if strict.threshold is None else f"{strict.threshold:.4g}"


def _ranking(judgement: Judgement) -> Iterator[Row]:
    strict, legacy = judgement.strict, judgement.legacy
    having = judgement.videos - strict.macro_skipped
    yield Row("AUC, all frames (micro)", shown(strict.auc_micro, 3), shown(legacy.auc_micro, 3))
    yield Row(f"AUC without the first {BEGINNING} frames of each video", shown(strict.auc_begun, 3))
    yield Row(f"AUC, mean of {having} videos (macro)", shown(strict.auc_macro, 3), shown(legacy.auc_macro, 3))
    yield Row(f"Average precision (coin {strict.positive_rate:.2f})", shown(strict.average_precision, 3))
    yield Row("Equal error rate", shown(strict.equal_error_rate, 3))
    if legacy.psnr_regularity_auc is not None:
        yield Row("AUC of PSNR regularity", NONE, shown(legacy.psnr_regularity_auc, 3))


def _alarms(strict: Strict) -> Iterator[Row]:
    missed = NONE if strict.missed_events is None else f"{strict.missed_events} of {strict.events}"
    yield Row("Event recall", shown(strict.event_recall))
    yield Row("Events missed", missed)
    label = f"False alarms per hour (in {duration(strict.hours_outside_events)})"
    yield Row(label, shown_rate(strict.false_alarms_per_hour))
    yield Row("Delay, median of found events", number(strict.delay_median_s, " s"))
    yield Row("Delay, 90th percentile", number(strict.delay_p90_s, " s"))


def _hindsight(strict: Strict) -> Iterator[Row]:
    for recall, rate in strict.false_alarms_at_recall.items():
        yield Row(f"False alarms/h at recall {recall}", number(rate, digits=rate_digits(rate)))
    for wanted, found in strict.recall_at_false_alarms.items():
        yield Row(f"Event recall at {wanted} false alarms/h", number(found, digits=2))


def _frames(strict: Strict) -> Iterator[Row]:
    yield Row("Precision", shown(strict.precision))
    yield Row("Recall", shown(strict.recall))
    yield Row("F1", shown(strict.f1))
    yield Row("F1, threshold in hindsight", shown(strict.oracle_f1))
    yield Row("Accuracy", shown(strict.accuracy))
    if found := strict.confusion:
        yield Row("Abnormal: alarm / none", f"{found.true_positive} / {found.false_negative}")
        yield Row("Normal: alarm / none", f"{found.false_positive} / {found.true_negative}")


def _places(strict: Strict) -> Iterator[Row]:
    yield Row("Pixel AUROC", shown(strict.pixel_auroc))
    yield Row("AU-PRO at 0.3", shown(strict.au_pro))
    yield Row("RBDC", shown(strict.rbdc))
    yield Row("TBDC", shown(strict.tbdc))
    yield Row("Abnormal frames boxed rightly", shown(strict.box_hits))


def _videos(strict: Strict) -> Iterator[Row]:
    yield Row("Video accuracy", shown(strict.video_accuracy))
    yield Row("Video precision", shown(strict.video_precision))
    yield Row("Video recall", shown(strict.video_recall))
    yield Row("Video F1", shown(strict.video_f1))
    if found := strict.video_confusion:
        yield Row("With something abnormal: alarm / none", f"{found.true_positive} / {found.false_negative}")
        yield Row("Normal throughout: alarm / none", f"{found.false_positive} / {found.true_negative}")
    yield Row("Video AUC", shown(strict.video_auc))


def unjudged(found: Judgement) -> str:
    """Behind what was looked at: how much of it said nothing, where any did."""
    return f"; {found.judged:.1%} of what they show could be judged" if found.judged < 0.9995 else ""


def about(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """What was measured on what."""
    found = evaluation.judgement
    data = f"{evaluation.data_set} ({evaluation.layout})" + (
        f", {evaluation.note}" if evaluation.note else ""
    )
    return (
        ("bundle", f"{evaluation.bundle}, digest {evaluation.bundle_digest[:12]}, {evaluation.variant}"),
        ("data set", data),
        (
            "looked at",
            f"{found.frames} frames of {found.videos} videos at {evaluation.fps:g} fps, "
            f"{found.abnormal_frames} of them abnormal{unjudged(found)}",
        ),
        ("calibrated for", f"{evaluation.false_alarms_per_hour_wanted:g} false alarms per hour"),
        ("made by", f"skerry {evaluation.software} in {evaluation.seconds:.0f} s"),
    )
