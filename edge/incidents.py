"""Scores over time -> begin, update and end of an incident, with hysteresis."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from uuid import UUID

from edge.events import Phase, Severity, uuid7


class Evidence:
    """The causal score: the least of the last `persistence` frame scores, so that one glint raises nothing.

    A frame that is not `whole`, of which some branch had no evidence, is no witness of calm for the whole
    ones: where the camera's motion can be told in every second frame alone, nothing that moves would ever be
    found. Calibration and flight both look through this, or the threshold would be for another quantity.
    """

    def __init__(self, persistence: int) -> None:
        self._persistence, self._seen = persistence, 0
        self._whole, self._all = (deque[float](maxlen=persistence - 1) for _ in range(2))

    def __call__(self, score: float, whole: bool = True) -> float:
        agreed = min((score, *(self._whole if whole else self._all)))
        self._all.append(score)
        if whole:
            self._whole.append(score)
        self._seen += 1
        return agreed if self._seen >= self._persistence else -math.inf


@dataclass(frozen=True, slots=True)
class Levels:
    """An incident begins at `threshold` and ends below `release`; `median` is an ordinary score."""

    threshold: float
    release: float
    median: float

    def severity(self, score: float) -> Severity:
        """By how often the way from an ordinary score to the threshold fits into the way to this score."""
        times = (score - self.median) / max(self.threshold - self.median, 1e-12)
        if times >= 2.5:
            return Severity.HIGH
        return Severity.MEDIUM if times >= 1.5 else Severity.LOW


@dataclass(frozen=True, slots=True)
class Incident:
    """One run of strange frames; times are in the source's seconds."""

    id: UUID
    begun_s: float
    last_hot_s: float
    peak: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class Step:
    """What to tell the ground; `new_peak` says that this frame is the best picture of it so far."""

    phase: Phase
    incident: Incident
    new_peak: bool


@dataclass
class Incidents:
    """One incident at a time: everything hot at once in the picture belongs to it.

    It ends when the score has stayed below `release` for `cool_down_s`, so that a swimmer between two
    waves is one incident and not ten.
    """

    levels: Levels
    persistence: int
    cool_down_s: float
    update_s: float
    current: Incident | None = None
    _evidence: Evidence = field(init=False)
    _told_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._evidence = Evidence(self.persistence)

    def observe(self, stream_s: float, score: float, whole: bool = True) -> Step | None:
        """One frame's score, in time order; `whole` as for Evidence."""
        evidence = self._evidence(score, whole)
        if self.current is None:
            return self._begin(stream_s, score) if evidence >= self.levels.threshold else None
        if score >= self.levels.release:
            return self._continue(self.current, stream_s, score)
        if stream_s - self.current.last_hot_s >= self.cool_down_s:
            return self.finish()
        return None

    def finish(self) -> Step | None:
        """End what is going on: the scene is quiet again, or the flight is over."""
        ended, self.current = self.current, None
        return None if ended is None else Step(Phase.END, ended, new_peak=False)

    def _begin(self, stream_s: float, score: float) -> Step:
        self.current = Incident(uuid7(), stream_s, stream_s, score, self.levels.severity(score))
        self._told_s = stream_s
        return Step(Phase.BEGIN, self.current, new_peak=True)

    def _continue(self, incident: Incident, stream_s: float, score: float) -> Step | None:
        higher = score > incident.peak
        peak = max(score, incident.peak)
        graver = self.levels.severity(peak) != incident.severity
        self.current = replace(incident, last_hot_s=stream_s, peak=peak, severity=self.levels.severity(peak))
        if not graver and stream_s - self._told_s < self.update_s:
            return None
        self._told_s = stream_s
        return Step(Phase.UPDATE, self.current, new_peak=higher)
