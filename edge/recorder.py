"""Findings in frame order -> events, pictures and health, kept and sent.

An event is on disk before the loop goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from edge.clock import Clock, boot_id
from edge.events import Event, Health, Moment, Phase, Topics
from edge.frames import Frame
from edge.health import Vitals, temperatures
from edge.heap import give_back
from edge.incidents import Incidents, Step
from edge.notify import notify
from edge.pipeline import Finding, FrameSource
from edge.settings import PictureSettings
from edge.snapshots import heat_picture, snapshot

log = logging.getLogger("skerry")


class Ground(Protocol):
    """What the recorder wants of the link to the ground."""

    def check(self) -> None:
        """Raises UsageError when another daemon flies under this name, BrokerError when the sender died."""
        ...

    def publish(self, topic: str, payload: bytes) -> None: ...
    def publish_health(self, health: Health) -> None: ...


class Backlog(Protocol):
    """What is still waiting to be sent."""

    def depth(self) -> int: ...
    def age_s(self) -> float: ...


@dataclass
class FlightRecorder:
    """The `Recorder` of a flight."""

    topics: Topics
    session: UUID
    bundle: str
    incidents: Incidents
    heat_level: float  # shown as mid-grey in the heat map
    pictures: PictureSettings
    ground: Ground
    backlog: Backlog
    source: FrameSource
    clock: Clock
    health_interval: float
    tell_systemd: Callable[[str], bool] = notify
    vitals: Vitals = field(default_factory=Vitals)
    sequence: int = 0
    _begun: Moment | None = None
    _raised_by: str | None = None
    _last: tuple[Frame, Finding] | None = None
    _seen_ns: int = 0
    _health_ns: int = 0

    def __post_init__(self) -> None:
        self._seen_ns = self._health_ns = self.clock.monotonic_ns()

    def observe(self, frame: Frame, finding: Finding) -> None:
        self.ground.check()
        started = time.perf_counter_ns()
        self._last = (frame.unseen(), finding)
        step = self.incidents.observe(frame.stream_s, finding.score, finding.whole)
        if step is not None:
            self._tell(step, frame, finding)
        stages = {**finding.stages_ns, "record": time.perf_counter_ns() - started}
        self.vitals.scored(finding.score, stages, finding.judged)
        self._seen_ns = self.clock.monotonic_ns()
        if self.vitals.frames_scored == 1:
            self.tell_systemd("READY=1\nSTATUS=watching")
            log.info("first frame scored; watching")
        elif self.vitals.frames_scored == 2:
            give_back()  # what the start took, and its first picture, which is free by now
        self.tell_systemd("WATCHDOG=1")  # fed here only, so that a blind daemon is restarted
        self._beat()

    def blind(self) -> None:
        """The camera had nothing new."""
        self.ground.check()
        now = self.clock.monotonic_ns()
        self.vitals.blind_ns += now - self._seen_ns
        self._seen_ns = now
        self._beat()

    def finish(self) -> None:
        """The flight is over: end what is going on, and say a last time how it was."""
        step = self.incidents.finish()
        if step is not None and self._last is not None:
            self._tell(step, *self._last)
        self.ground.publish_health(self.health())

    def health(self) -> Health:
        scores, stages = self.vitals.drain()
        return Health(
            site=self.topics.site,
            drone=self.topics.drone,
            session=self.session,
            at=moment(self.clock, boot_id()),
            camera=self.source.state,
            frames_read=self.vitals.frames_scored + self.source.skipped,
            frames_scored=self.vitals.frames_scored,
            frames_skipped=self.source.skipped,
            blind_s=self.vitals.blind_ns / 1e9,
            judged=self.vitals.judged,
            score_p50=scores[0] if scores else None,
            score_p99=scores[1] if scores else None,
            threshold=self.incidents.levels.threshold,
            stages_ms=stages,
            temperatures_c=temperatures(),
            outbox_depth=self.backlog.depth(),
            outbox_age_s=self.backlog.age_s(),
            last_sequence=self.sequence,
        )

    def _beat(self) -> None:
        now = self.clock.monotonic_ns()
        if now - self._health_ns >= self.health_interval * 1e9:
            self._health_ns = now
            self.ground.publish_health(self.health())
            give_back()

    def _tell(self, step: Step, frame: Frame, finding: Finding) -> None:
        at = of_frame(frame, self.clock)
        if step.phase is Phase.BEGIN or self._begun is None:
            self._begun, self._raised_by = at, finding.raised_by
        self.sequence += 1
        event = Event(
            site=self.topics.site,
            drone=self.topics.drone,
            session=self.session,
            id=step.incident.id,
            sequence=self.sequence,
            phase=step.phase,
            severity=step.incident.severity,
            begun=self._begun,
            at=at,
            frame=frame.index,
            frame_width=frame.width,
            frame_height=frame.height,
            score=finding.score,
            peak_score=step.incident.peak,
            threshold=self.incidents.levels.threshold,
            boxes=finding.boxes,
            bundle=self.bundle,
            raised_by=self._raised_by,
        )
        self.ground.publish(self.topics.event, event.to_json())
        log.info(
            "incident %s %s: %s, score %.2f of %.2f, %d boxes",
            step.phase.value, step.incident.id, step.incident.severity.value,
            finding.score, event.threshold, len(event.boxes),
        )  # fmt: skip
        if step.new_peak and self.pictures.send:
            self._show(step.incident.id, frame, finding)

    def _show(self, incident: UUID, frame: Frame, finding: Finding) -> None:
        chosen = self.pictures
        picture = snapshot(
            frame.image, finding.boxes if chosen.boxes else (), width=chosen.width, cap=chosen.cap
        )
        if picture is not None:
            self.ground.publish(self.topics.picture(incident, "snapshot"), picture)
        if finding.heat is not None:
            heat = heat_picture(finding.heat, self.heat_level, chosen.cap)
            if heat is not None:
                self.ground.publish(self.topics.picture(incident, "heatmap"), heat)


def moment(clock: Clock, boot: str) -> Moment:
    return Moment(mono_ns=clock.monotonic_ns(), boot_id=boot, utc=clock.utc(), clock_synced=clock.synced())


def of_frame(frame: Frame, clock: Clock) -> Moment:
    """When the frame was taken, not when it was judged."""
    return Moment(
        mono_ns=frame.mono_ns,
        boot_id=boot_id(),
        utc=frame.utc,
        clock_synced=clock.synced(),
        stream_s=frame.stream_s,
    )
