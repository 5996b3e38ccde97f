"""Figures of alarms and events: what an operator is called for, how late, and how often for nothing.

An alarm is a run of frames at or above the threshold; gaps of up to 2 s do not end it. An event is an
abnormal interval of the truth, detected if any alarm overlaps it. False alarms are counted on the time
outside events and the 2 s around them: what an alarm does inside takes nothing from what it does outside,
else one that never ends would be no false alarm at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from train.evaluation.scored import Bools, Floats, Scored
from train.evaluation.truth import Interval

MERGE_S = 2.0
MARGIN_S = 2.0
RECALLS = (0.5, 0.8, 0.9)
RATES = (1.0, 0.1)  # false alarms per hour
_ROUNDING = 1e-6  # seconds: times of frames are sums of fractions


@dataclass(frozen=True, eq=False)
class Watch:
    """One video at every threshold at once.

    `events`: each is detected at thresholds up to this score. `peaks` and `before`, one per frame outside
    events: it begins a false alarm at thresholds above `before` and up to `peaks`.
    """

    events: Floats
    peaks: Floats
    before: Floats
    outside_s: float

    def detected(self, threshold: float) -> int:
        return int((self.events >= threshold).sum())

    def false_alarms(self, threshold: float) -> int:
        return int(((self.before < threshold) & (threshold <= self.peaks)).sum())


def watch(scored: Scored) -> Watch:
    """Frames that do not count neither detect nor alarm, and their time is not watched."""
    events = events_of(scored)
    outside = scored.counted & ~near(scored, events)
    peaks = scored.causal[outside]
    return Watch(
        events=np.array([_event_score(scored, event) for event in events], np.float64),
        peaks=peaks,
        before=_highest_before(peaks, scored.stream_s[outside], MERGE_S + scored.period_s),
        outside_s=float(outside.sum()) * scored.period_s,
    )


def delays(scored: Scored, threshold: float) -> list[float | None]:
    """Seconds from each event's onset to its first alarm; 0 if one is on already, None if none comes."""
    return [_delay(scored, event, alarms(scored, threshold)) for event in events_of(scored)]


def alarms(scored: Scored, threshold: float) -> list[Interval]:
    """First and last positive native frame of each alarm."""
    positive = np.flatnonzero(scored.counted & (scored.causal >= threshold))
    if not len(positive):
        return []
    gaps = np.diff(scored.stream_s[positive]) - scored.period_s
    runs = np.split(positive, 1 + np.flatnonzero(gaps > MERGE_S + _ROUNDING))
    return [(int(scored.frame[run[0]]), int(scored.frame[run[-1]])) for run in runs]


def seconds(scored: Scored, frame: int) -> float:
    """Stream time of a native frame, looked at or not."""
    last, known = int(scored.frame[-1]), scored.stream_s
    if frame <= last:
        return float(np.interp(frame, scored.frame, known))
    span = max(last - int(scored.frame[0]), 1)
    return float(known[-1] + (frame - last) * (known[-1] - known[0]) / span)


def events_of(scored: Scored) -> list[Interval]:
    """Those of the truth, but for any whose looked-at frames all do not count."""
    return [event for event in scored.video.abnormal if _counts(scored, event)]


def _counts(scored: Scored, event: Interval) -> bool:
    within = _within(scored, event)
    return bool(scored.counted[within].any() or not within.any())


def _within(scored: Scored, event: Interval) -> Bools:
    return (scored.frame >= event[0]) & (scored.frame <= event[1])


def near(scored: Scored, events: Sequence[Interval]) -> Bools:
    """Which looked-at frames lie in an event or within the margin around one."""
    found = np.zeros(len(scored.frame), bool)
    for first, last in events:
        begin, end = seconds(scored, first) - MARGIN_S, seconds(scored, last) + MARGIN_S
        found |= (scored.stream_s >= begin - _ROUNDING) & (scored.stream_s <= end + _ROUNDING)
    return found


def _event_score(scored: Scored, event: Interval) -> float:
    """The highest threshold at which an alarm overlaps: by a frame inside, or by running on over it."""
    inside = _within(scored, event) & scored.counted
    best = float(scored.causal[inside].max(initial=-math.inf))
    before = np.flatnonzero(scored.counted & (scored.frame < event[0]))
    after = np.flatnonzero(scored.counted & (scored.frame > event[1]))
    longest = MERGE_S + scored.period_s + _ROUNDING
    if not len(before) or not len(after):
        return best
    onset, end = scored.stream_s[before[-1]], scored.stream_s[after[0]]
    before = before[scored.stream_s[before] >= end - longest]
    after = after[scored.stream_s[after] <= onset + longest]
    bridged = scored.stream_s[after][:, None] - scored.stream_s[before] <= longest
    both = np.minimum(scored.causal[after][:, None], scored.causal[before])
    return max(best, float(both[bridged].max(initial=-math.inf)))


def _highest_before(scores: Floats, at_s: Floats, reach_s: float) -> Floats:
    """The highest score of earlier frames at most `reach_s` before each frame; -inf where there is none."""
    highest = np.full(len(scores), -math.inf)
    for back in range(1, len(scores)):
        near = at_s[back:] - at_s[:-back] <= reach_s + _ROUNDING
        if not near.any():
            break
        highest[back:][near] = np.maximum(highest[back:], scores[:-back])[near]
    return highest


def _delay(scored: Scored, event: Interval, found: Sequence[Interval]) -> float | None:
    for first, last in found:
        if first <= event[1] and last >= event[0]:
            return max(0.0, seconds(scored, first) - seconds(scored, event[0]))
    return None


@dataclass(frozen=True, eq=False)
class Sweep:
    """All videos from the highest threshold down: share of events detected, false alarms per hour.

    The rate never falls again on the way down: where alarms run together into one that does not end they
    become fewer, not better.
    """

    recall: Floats
    per_hour: Floats

    def per_hour_at(self, recall: float) -> float | None:
        """At the highest threshold that detects this share of events; None where none does."""
        enough = np.flatnonzero(self.recall >= recall - 1e-12)
        return float(self.per_hour[enough[0]]) if len(enough) else None

    def recall_at(self, per_hour: float) -> float:
        """At the lowest threshold that keeps to this rate."""
        quiet = np.flatnonzero(self.per_hour <= per_hour)
        return float(self.recall[quiet[-1]]) if len(quiet) else 0.0


def sweep(watches: Sequence[Watch]) -> Sweep | None:
    """None without events or without any time outside them."""
    events = np.concatenate([one.events for one in watches])
    hours = sum(one.outside_s for one in watches) / 3600
    if not len(events) or hours <= 0:
        return None
    peaks = np.concatenate([one.peaks for one in watches])
    before = np.minimum(np.concatenate([one.before for one in watches]), peaks)
    levels = np.unique(np.concatenate([events, peaks]))
    levels = levels[np.isfinite(levels)][::-1]
    false = _at_least(peaks, levels) - _at_least(before, levels)
    return Sweep(_at_least(events, levels) / len(events), np.maximum.accumulate(false) / hours)


def _at_least(values: Floats, levels: Floats) -> Floats:
    """How many values reach each level."""
    return (len(values) - np.searchsorted(np.sort(values), levels, side="left")).astype(np.float64)
