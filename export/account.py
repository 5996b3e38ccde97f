"""What a flight should have told and what arrived: intruders against incidents, and the sums."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from edge.errors import UsageError
from edge.events import Box, Event, Phase


@dataclass(frozen=True, slots=True)
class Planted:
    """An intruder of truth.json, frames inclusive. `boxes`: x, y, width, height by frame, wake included."""

    track: int
    kind: str
    first: int
    last: int
    boxes: dict[int, tuple[int, int, int, int]]

    def shows(self, frame: int) -> bool:
        return self.first <= frame <= self.last


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event as the ground got it. `latency_ms`: from the decoded frame to the subscriber."""

    event: Event
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class Incident:
    id: UUID
    messages: tuple[Arrived, ...]

    @property
    def whole(self) -> bool:
        """It began and it ended."""
        phases = [message.event.phase for message in self.messages]
        return phases[0] is Phase.BEGIN and phases[-1] is Phase.END and phases.count(Phase.BEGIN) == 1

    def strange_frames(self) -> Iterator[Event]:
        """Messages about frames that were strange: an end is about a quiet one."""
        return (message.event for message in self.messages if message.event.phase is not Phase.END)

    def met(self, intruder: Planted) -> bool:
        """Some message came of a frame in which the intruder shows, with a box that touches it."""
        return any(
            intruder.shows(event.frame)
            and any(_touch(box, intruder.boxes.get(event.frame)) for box in event.boxes)
            for event in self.strange_frames()
        )


@dataclass(frozen=True, slots=True)
class Account:
    """`faults`: sentences, one for each thing that does not add up."""

    planted: tuple[Planted, ...]
    found: tuple[Planted, ...]
    incidents: tuple[Incident, ...]
    false_alarms: tuple[Incident, ...]
    latencies_ms: tuple[float, ...]
    faults: tuple[str, ...]


def draw_up(planted: Sequence[Planted], arrived: Sequence[Arrived], left_in_outbox: int) -> Account:
    """Match what arrived with what was planted, and check that nothing is missing."""
    incidents = _incidents(arrived)
    found = tuple(intruder for intruder in planted if any(incident.met(intruder) for incident in incidents))
    return Account(
        planted=tuple(planted),
        found=found,
        incidents=incidents,
        false_alarms=tuple(i for i in incidents if not any(i.met(intruder) for intruder in planted)),
        latencies_ms=tuple(m.latency_ms for m in arrived if m.latency_ms is not None),
        faults=tuple(_faults(arrived, incidents, left_in_outbox)),
    )


def _incidents(arrived: Sequence[Arrived]) -> tuple[Incident, ...]:
    by_id: dict[UUID, list[Arrived]] = {}
    for message in arrived:
        by_id.setdefault(message.event.id, []).append(message)
    return tuple(Incident(identity, tuple(messages)) for identity, messages in by_id.items())


def _faults(arrived: Sequence[Arrived], incidents: Sequence[Incident], left: int) -> Iterator[str]:
    numbers = [message.event.sequence for message in arrived]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"the sequence numbers have gaps, repetitions or another order: {numbers}"
    for incident in incidents:
        if not incident.whole:
            yield f"incident {incident.id} has no begin or no end"
    if left:
        yield f"{left} messages are still in the drone's outbox"


def _touch(box: Box, truth: tuple[int, int, int, int] | None) -> bool:
    if truth is None:
        return False
    x, y, width, height = truth
    across = box.x < x + width and x < box.x + box.width
    return across and box.y < y + height and y < box.y + box.height


def read_truth(path: Path) -> tuple[Planted, ...]:
    """The intruders of a simulated patrol. Raises UsageError for a file that is not such a truth."""
    try:
        truth = json.loads(path.read_text())
        boxes: dict[int, dict[int, tuple[int, int, int, int]]] = {}
        for box in truth["boxes"]:
            x, y, width, height = box["extent"]
            boxes.setdefault(box["track"], {})[box["frame"]] = (x, y, width, height)
        return tuple(_planted(intruder, boxes) for intruder in truth["intruders"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not the truth of a simulated patrol ({error}); simulate it again"
        ) from None


def _planted(intruder: dict[str, Any], boxes: dict[int, dict[int, tuple[int, int, int, int]]]) -> Planted:
    track = intruder["track"]
    first, last = intruder["touched"]
    return Planted(track, intruder["kind"], first, last, boxes.get(track, {}))


def read_arrived(path: Path) -> list[Arrived]:
    """The events among the lines that `skerry watch --json` wrote."""
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [
        Arrived(Event.model_validate(line), line.get("latency_ms"))
        for line in lines
        if line.get("type") == "event"
    ]
