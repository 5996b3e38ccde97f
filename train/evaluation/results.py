"""What an evaluation found, as it stands in the JSON: the contract between metrics and their report.

Two columns that are never mixed. `strict`: causal scores, one threshold for all videos, taken from normal
footage only, nothing normalised per video. `legacy`: scores normalised by each video's own smallest and
largest and smoothed with frames from the future, as many papers do; no drone can compute it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

BEGINNING = 2  # frames: one without a predecessor, and one whose predecessor had none to agree with


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(Part):
    """A metric; `low` and `high` are the 95 % bootstrap interval over videos. None: not defined here."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Confusion(Part):
    """Frames, or whole videos, at the calibrated threshold; positive is abnormal."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int


class Strict(Part):
    auc_micro: Figure
    auc_begun: Figure  # each video's first frames left out, in which nothing earlier was there to look at
    auc_macro: Figure
    macro_skipped: int  # videos without both classes, which no macro mean can hold
    average_precision: Figure
    equal_error_rate: Figure
    positive_rate: float  # what a coin would reach as average precision
    threshold: float | None  # calibrated, from normal footage; None: the bundle or method has none
    confusion: Confusion | None
    precision: Figure
    recall: Figure
    f1: Figure
    accuracy: Figure
    oracle_f1: Figure  # at the best threshold in hindsight: its distance to f1 is calibration's error
    pixel_auroc: Figure
    au_pro: Figure  # at 0.3
    rbdc: Figure
    tbdc: Figure
    box_hits: Figure  # abnormal frames on which a box overlaps an abnormal object, of those that have regions
    events: int
    event_recall: Figure  # at the calibrated threshold
    false_alarms_per_hour: Figure  # at the calibrated threshold, outside events
    false_alarms_at_recall: dict[str, float | None]  # "0.5", "0.8", "0.9" -> per hour
    recall_at_false_alarms: dict[str, float | None]  # "1", "0.1" per hour -> event recall
    delay_median_s: float | None  # over detected events, at the calibrated threshold
    delay_p90_s: float | None
    missed_events: int | None
    hours_outside_events: float
    video_accuracy: Figure  # whole videos: the highest causal score of each against the threshold
    video_auc: Figure
    video_confusion: Confusion | None = None
    video_precision: Figure = Figure(value=None)
    video_recall: Figure = Figure(value=None)
    video_f1: Figure = Figure(value=None)


class Legacy(Part):
    auc_micro: Figure
    auc_macro: Figure
    psnr_regularity_auc: Figure | None = None  # where the detector gives a mean squared error


class Judgement(Part):
    videos: int
    frames: int
    abnormal_frames: int
    judged: float = 1.0  # mean share of what the frames show that could be judged (models of a route)
    strict: Strict
    legacy: Legacy


class Evaluation(Part):
    """One bundle on one data set."""

    bundle: str
    bundle_digest: str
    data_set: str
    layout: str
    note: str
    fps: float
    variant: str
    false_alarms_per_hour_wanted: float
    judgement: Judgement
    software: str
    seconds: Annotated[float, Field(ge=0)]
