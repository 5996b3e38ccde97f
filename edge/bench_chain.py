"""The daemon's own chain with a stopwatch in it: its source, detector, recorder, outbox and link.

Every frame is treated as an event that has reached its peak: the dearest frame there is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from uuid import UUID

from edge.bundle import ModelBundle
from edge.clock import Clock
from edge.errors import BrokerError, CameraError, UsageError
from edge.events import CameraState, Health, Topics
from edge.frames import Frame
from edge.incidents import Incidents, Levels, Step
from edge.outbox import Outbox
from edge.pipeline import Detector, EndOfStream
from edge.recorder import FlightRecorder, Ground
from edge.settings import PictureSettings
from edge.sources import Replay, WatchedSource

WARM_UP = 10  # frames that each model sees before anything counts
ANSWER_S = 5.0  # within which a broker must have acknowledged, and a camera given a picture
TOPICS = Topics("bench", "bench")


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A frame, when it was captured, and what it took to get it."""

    frame: Frame
    captured_ns: int
    stages_ns: dict[str, int]


class Feed:
    """Frames without end: a recording begins anew when it is over, on one timeline.

    A recording's frame counts as captured when it is asked for, so that its decoding is in the alert's time.
    Raises UsageError for a recording too short to measure on, CameraError for a camera that gives nothing.
    """

    def __init__(
        self, name: str, make: Callable[[], WatchedSource], clock: Clock, wait: Callable[[float], object]
    ) -> None:
        self._name, self._make, self._clock, self._wait = name, make, clock, wait
        self.source = make()
        self._skipped_before = 0
        self._shift_s = self._last_s = self._step_s = 0.0
        self._given = 0

    @property
    def skipped(self) -> int:
        return self._skipped_before + self.source.skipped

    @property
    def state(self) -> CameraState:
        return self.source.state

    def due_s(self) -> float:
        return self.source.due_s()

    def read(self) -> Frame | None:
        try:
            frame = self.source.read()
        except EndOfStream:
            self._rewind()
            return None
        if frame is None:
            return None
        stream_s = frame.stream_s + self._shift_s
        self._step_s, self._last_s = stream_s - self._last_s if self._given else 0.0, stream_s
        self._given += 1
        return replace(frame, stream_s=stream_s)

    def show(self) -> Shown:
        """The next frame, as soon as it is due."""
        began = asked = self._clock.monotonic_ns()
        while True:
            due_s = self.due_s()
            if due_s > 0:
                self._wait(due_s)
            asked = self._clock.monotonic_ns()
            frame = self.read()
            if frame is not None:
                break
            if asked - began > ANSWER_S * 1e9:
                raise CameraError(f"{self._name} gave no picture for {ANSWER_S:g} s; see that it sends any")
        stages = {"wait": asked - began, "decode": self._clock.monotonic_ns() - asked}
        captured = asked if isinstance(self.source, Replay) else frame.mono_ns
        return Shown(frame, captured, stages)

    def close(self) -> None:
        self.source.close()

    def _rewind(self) -> None:
        if self._given <= WARM_UP:
            raise UsageError(
                f"{self._name} has fewer than {WARM_UP + 1} frames to look at; "
                "bench needs more to warm up and measure"
            )
        self._skipped_before += self.source.skipped
        self.source.close()
        self._shift_s = self._last_s + self._step_s
        self.source = self._make()


@dataclass(frozen=True, slots=True)
class Note:
    """A message that was written; times are monotonic nanoseconds."""

    id: int
    topic: str
    began_ns: int
    ended_ns: int


class NotedOutbox(Outbox):
    """The outbox, noting when each message was on disk and when the broker had it, which go on at once."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self.notes: list[Note] = []
        self._now = clock.monotonic_ns
        self._gone: dict[int, int] = {}
        self._changed = threading.Condition()

    def put(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        readable: Callable[[], None] = lambda: None,
    ) -> int:
        began = self._now()
        id_ = super().put(topic, payload, retain=retain, readable=readable)
        self.notes.append(Note(id_, topic, began, self._now()))
        return id_

    def remove(self, *ids: int) -> None:
        now = self._now()
        super().remove(*ids)
        with self._changed:
            self._gone.update(dict.fromkeys(ids, now))
            self._changed.notify_all()

    def fresh(self) -> None:
        """Forget the last frame's messages."""
        self.notes.clear()
        with self._changed:
            self._gone.clear()

    def gone_ns(self, id_: int) -> int:
        """When the broker had it. Raises BrokerError unless it has all of the frame's in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: all(n.id in self._gone for n in self.notes), ANSWER_S):
                raise BrokerError(
                    f"the broker did not acknowledge within {ANSWER_S:g} s; see its log, or leave it out "
                    "with --broker none"
                )
            return self._gone[id_]


class OnDisk:
    """The ground, where no broker takes part."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def check(self) -> None:
        """Nothing can be wrong."""

    def publish(self, topic: str, payload: bytes) -> None:
        self._outbox.put(topic, payload)

    def publish_health(self, health: Health) -> None:
        """Goes nowhere."""


class Always(Incidents):
    """Every frame begins an incident."""

    def observe(self, stream_s: float, score: float, whole: bool = True) -> Step | None:
        self.finish()
        return self._begin(stream_s, score)


def flight_recorder(
    bundle: ModelBundle, session: UUID, ground: Ground, outbox: Outbox, feed: Feed, clock: Clock
) -> FlightRecorder:
    known = bundle.calibration()
    levels = Levels(known.threshold, known.release, known.median)
    return FlightRecorder(
        topics=TOPICS,
        session=session,
        bundle=bundle.digest,
        incidents=Always(levels, persistence=1, cool_down_s=0.0, update_s=0.0),
        heat_level=known.box_level,
        pictures=PictureSettings(),  # type: ignore[call-arg]
        ground=ground,
        backlog=outbox,
        source=feed,
        clock=clock,
        health_interval=10.0,
        tell_systemd=lambda _: False,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """From a frame to its alert. `linked`: a broker takes part."""

    recorder: FlightRecorder
    outbox: NotedOutbox
    linked: bool
    clock: Clock

    def look(self, shown: Shown, detector: Detector) -> dict[str, int]:
        """Nanoseconds per stage, and of the whole as `alert`."""
        finding = detector.inspect(shown.frame)
        inspected = self.clock.monotonic_ns()
        self.outbox.fresh()
        self.recorder.observe(shown.frame, finding)
        event = self.outbox.notes[0]
        stages = {**shown.stages_ns, **finding.stages_ns}
        stages |= {"event": event.began_ns - inspected, "outbox": event.ended_ns - event.began_ns}
        alerted = event.ended_ns
        if self.linked:
            alerted = self.outbox.gone_ns(event.id)
            stages["publish"] = alerted - event.began_ns
        else:
            self.outbox.remove(*(note.id for note in self.outbox.notes))
        return {**stages, **_pictures(self.outbox.notes), "alert": alerted - shown.captured_ns}


def _pictures(notes: Iterable[Note]) -> dict[str, int]:
    """What making each picture took: from the end of one message to the beginning of the next."""
    return {
        note.topic.rsplit("/", 1)[-1]: note.began_ns - before.ended_ns for before, note in pairwise(notes)
    }
