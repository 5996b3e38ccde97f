"""Two bundles over one stream: one that says where, now and then, and a clip model that says when.

Each has its own rate, persistence and threshold. The thresholds are set anew for half of the wanted false
alarms each, so that the two together raise as many as one alone; then their scores are put on one scale,
where 0 is ordinary and 1 the threshold, and the larger counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge.bundle import Calibration, ModelBundle
from edge.calibrate import RELEASE
from edge.errors import UsageError
from edge.frames import Frame
from edge.incidents import Evidence, Levels
from edge.pipeline import Detector, Finding
from edge.recordings import Sampler
from edge.thresholds import threshold_for

LEVELS = Levels(threshold=1.0, release=RELEASE, median=0.0)  # of the scores that both are put on
_BELOW = math.nextafter(1.0, 0.0)
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Share:
    """The threshold of one of two. `refused`: why it is the one for the whole rate, where it is."""

    median: float
    threshold: float
    refused: str = ""

    def on_scale(self, score: float) -> float:
        return (score - self.median) / max(self.threshold - self.median, _LEAST)


def half_of(found: Calibration) -> Share:
    """For half of the false alarms that the bundle was calibrated for, where its footage supports so few."""
    rate = found.false_alarms_per_hour / 2
    try:
        higher = threshold_for(found.block_maxima, rate, found.block_s).value
    except UsageError as error:
        return Share(found.median, found.threshold, str(error))
    return Share(found.median, max(found.threshold, higher))


class Voice:
    """One of the two, on the common scale. A score reaches 1 only when as many looks in a row agree as its
    bundle wants; the incident then lives, as with one bundle alone, on what single looks say."""

    def __init__(self, bundle: ModelBundle, detector: Detector) -> None:
        self.kind = bundle.manifest.kind
        self.share = half_of(bundle.calibration())
        self._detector = detector
        self._evidence = Evidence(bundle.manifest.scoring.persistence)
        self.score = 0.0
        self.finding: Finding | None = None

    def look(self, frame: Frame) -> Finding:
        self.finding = self._detector.inspect(frame)
        raw = self.share.on_scale(self.finding.score)
        agreed = self.share.on_scale(self._evidence(self.finding.score, self.finding.whole))
        self.score = raw if agreed >= 1 else min(raw, _BELOW)
        return self.finding


class Together:
    """The `Detector` of both. Boxes and heat are those of the last look of the one that knows places."""

    def __init__(self, places: Voice, clips: Voice, fps: float) -> None:
        self._places, self._clips = places, clips
        self._sampler = Sampler(fps)

    def inspect(self, frame: Frame) -> Finding:
        stages: dict[str, int] = {}
        if self._sampler.wants(frame.stream_s):
            stages.update(self._places.look(frame).stages_ns)
        clip = self._clips.look(frame)
        stages.update({f"clip.{name}": taken for name, taken in clip.stages_ns.items()})
        louder = self._clips if self._clips.score > self._places.score else self._places
        latest = self._places.finding
        return Finding(
            score=louder.score,
            heat=latest.heat if latest else None,
            boxes=latest.boxes if latest else (),
            stages_ns=stages,
            raised_by=louder.kind,
            judged=latest.judged if latest else 1.0,
        )
