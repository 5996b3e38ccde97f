"""What the ground knows, from messages alone: no network, no terminal.

Everything that arrives is hostile until `edge.events.parse` has read it, and even then it may be made up:
all that is kept is capped, and a flood of invented drones cannot push out one that is really flying.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from edge.events import Event, Health, Message, Moment, Phase, PictureMessage, Status, WireError, parse
from ground.sequences import Sequences

MAX_DRONES = 128
MAX_INCIDENTS = 32  # of one drone
MAX_SESSIONS = 8  # of one drone
MAX_SEEN = 16_384  # event messages remembered to recognise a repetition
MAX_REASON = 160

State = Literal["unknown", "online", "offline", "lost"]


@dataclass(frozen=True, slots=True)
class Now:
    """When a message arrived, on the ground's own clocks."""

    mono_ns: int
    utc: datetime


@dataclass(frozen=True, slots=True)
class Received:
    """A valid message. `latency_s`: from the camera to here, where both clocks allow to say it."""

    message: Message
    latency_s: float | None = None
    repeated: bool = False


@dataclass(slots=True)
class Incident:
    """What is known of one incident; `event` is its newest message."""

    event: Event
    latency_s: float | None
    pictures: frozenset[str] = frozenset()


@dataclass(slots=True)
class Drone:
    """`heard` counts valid messages, `heard_ns` is the ground's monotonic time of the last one."""

    site: str
    name: str
    heard: int = 0
    heard_ns: int = 0
    state: State = "unknown"
    session: UUID | None = None
    status: Status | None = None
    health: Health | None = None
    incidents: OrderedDict[UUID, Incident] = field(default_factory=OrderedDict)
    sequences: OrderedDict[UUID, Sequences] = field(default_factory=OrderedDict)

    @property
    def gaps(self) -> int:
        return sum(sequences.gaps for sequences in self.sequences.values())


class GroundView:
    """`receive` what comes; read the rest."""

    def __init__(self, boot_id: str = "") -> None:
        """`boot_id` of this machine: a drone on the same one (a desk) shares its monotonic clock."""
        self._boot_id = boot_id
        self._seen: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self.drones: dict[tuple[str, str], Drone] = {}
        self.received = self.malformed = self.duplicates = self.crowded_out = 0
        self.last_malformed = ""

    @property
    def gaps(self) -> int:
        return sum(drone.gaps for drone in self.drones.values())

    def receive(self, topic: str, payload: bytes, now: Now) -> Received | None:
        """None for what is not of this wire: counted, with its reason in `last_malformed`."""
        self.received += 1
        try:
            message = parse(topic, payload)
        except WireError as error:
            self.malformed += 1
            self.last_malformed = printable(str(error))
            return None
        drone = self._drone(message.site, message.drone)
        drone.heard += 1
        drone.heard_ns = now.mono_ns
        return self._take(drone, message, now)

    def _take(self, drone: Drone, message: Message, now: Now) -> Received:
        if isinstance(message, Event):
            return self._take_event(drone, message, now)
        if isinstance(message, Status):
            _take_status(drone, message)
        elif isinstance(message, Health):
            _take_health(drone, message)
        else:
            _take_picture(drone, message)
        return Received(message)

    def _take_event(self, drone: Drone, event: Event, now: Now) -> Received:
        if self._repeated(event):
            self.duplicates += 1
            return Received(event, repeated=True)
        _sequences(drone, event.session).arrived(event.sequence)
        latency_s = None if event.historical else self._latency_s(event.at, now)
        _keep_incident(drone, event, latency_s)
        return Received(event, latency_s)

    def _repeated(self, event: Event) -> bool:
        key = (event.site, event.drone, event.session, event.id, event.sequence)
        if key in self._seen:
            return True
        if len(self._seen) >= MAX_SEEN:
            self._seen.popitem(last=False)
        self._seen[key] = None
        return False

    def _latency_s(self, at: Moment, now: Now) -> float | None:
        if self._boot_id and at.boot_id == self._boot_id:
            latency_s = (now.mono_ns - at.mono_ns) / 1e9
        elif at.clock_synced:
            latency_s = (now.utc - at.utc).total_seconds()
        else:
            return None
        return latency_s if latency_s >= 0 else None

    def _drone(self, site: str, name: str) -> Drone:
        known = self.drones.get((site, name))
        if known is not None:
            return known
        if len(self.drones) >= MAX_DRONES:
            # The one we heard least of: an invented drone speaks once, a flying one for as long as it flies.
            least = min(self.drones.values(), key=lambda drone: (drone.heard, drone.heard_ns))
            del self.drones[least.site, least.name]
            self.crowded_out += 1
        drone = self.drones[site, name] = Drone(site, name)
        return drone


def _take_status(drone: Drone, status: Status) -> None:
    if status.state == "online":
        drone.state, drone.session = "online", status.session
    elif drone.state != "online" or drone.session in (None, status.session):
        drone.state, drone.session = ("lost" if status.reason == "lost" else "offline"), status.session
    else:
        return  # a late last will of a session that another has followed
    drone.status = status


def _take_health(drone: Drone, health: Health) -> None:
    drone.health = health
    sequences = _sequences(drone, health.session)
    if health.outbox_depth == 0:  # else the newest may still be on their way
        sequences.announced(health.last_sequence)


def _take_picture(drone: Drone, picture: PictureMessage) -> None:
    incident = drone.incidents.get(picture.id)
    if incident is not None:
        incident.pictures |= {picture.kind}


def _keep_incident(drone: Drone, event: Event, latency_s: float | None) -> None:
    """The newest message of an incident counts, in whatever order they come."""
    known = drone.incidents.get(event.id)
    if known is not None and known.event.session == event.session and known.event.sequence > event.sequence:
        return
    if known is None and len(drone.incidents) >= MAX_INCIDENTS:
        ended = (id_ for id_, old in drone.incidents.items() if old.event.phase is Phase.END)
        del drone.incidents[next(ended, next(iter(drone.incidents)))]
    pictures = known.pictures if known else frozenset()
    drone.incidents[event.id] = Incident(event, latency_s, pictures)


def _sequences(drone: Drone, session: UUID) -> Sequences:
    known = drone.sequences.setdefault(session, Sequences())
    drone.sequences.move_to_end(session)
    if len(drone.sequences) > MAX_SESSIONS:
        drone.sequences.popitem(last=False)
    return known


def printable(text: str) -> str:
    """Fit for a terminal: a validation error may quote what a stranger sent."""
    kept = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return kept if len(kept) <= MAX_REASON else kept[: MAX_REASON - 1] + "…"
