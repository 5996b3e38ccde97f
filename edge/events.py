"""The wire: messages and topic names, version 1. Imports nothing but pydantic and the standard library.

    skerry/v1/{site}/{drone}/status               retained, last will     Status
    skerry/v1/{site}/{drone}/health               QoS 0                   Health
    skerry/v1/{site}/{drone}/event                QoS 1                   Event
    skerry/v1/{site}/{drone}/event/{id}/snapshot  QoS 1                   JPEG
    skerry/v1/{site}/{drone}/event/{id}/heatmap   QoS 1                   PNG

What arrives is hostile until `parse` has read it: size, schema, and topic and body agreeing on the drone.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

ROOT = "skerry/v1"
MAX_JSON_BYTES = 4096
MAX_PICTURE_BYTES = 131_072
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"

# A name is one MQTT topic level: no wildcard, no separator, nothing a terminal would act upon.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME)]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Pixels = Annotated[int, Field(ge=0, le=65_535)]


class WireError(ValueError):
    """A message that is not of this wire; the text says why in one sentence."""


class Phase(str, Enum):
    BEGIN = "begin"
    UPDATE = "update"
    END = "end"


CameraState = Literal["watching", "stalled", "frozen", "reconnecting", "ended"]


class Severity(str, Enum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer drone may say more

    site: Name
    drone: Name
    session: UUID

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


class Moment(BaseModel):
    """When, in three ways: `mono_ns` counts within one boot only; `utc` may be wrong until `clock_synced`."""

    model_config = ConfigDict(frozen=True)

    mono_ns: Count
    boot_id: Text
    utc: AwareDatetime
    clock_synced: bool
    stream_s: Finite | None = None  # the source's own timeline


class Box(BaseModel):
    """Native pixels; `peak` is the largest heat in the box, `area` the hot pixels in it."""

    model_config = ConfigDict(frozen=True)

    x: Pixels
    y: Pixels
    width: Pixels
    height: Pixels
    peak: Finite
    area: Count


class Position(BaseModel):
    model_config = ConfigDict(frozen=True)

    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    altitude_m: Finite | None = None


class Status(_Message):
    """Birth and death of a session; the last will is the same message with `reason` lost."""

    state: Literal["online", "offline"]
    reason: Literal["started", "stopped", "lost", "failed"]
    software: Text | None = None
    bundle: Text | None = None  # digest
    clip_bundle: Text | None = None  # digest of the one that flies beside it
    runtime: Text | None = None  # what computes the bundle's model, and why nothing faster does
    settings: Text | None = None  # digest
    boot_id: Text | None = None
    since: Moment | None = None


class Latency(BaseModel):
    """Milliseconds over the reporting interval."""

    model_config = ConfigDict(frozen=True)

    p50: Finite
    p99: Finite


class Health(_Message):
    """What was watched and what was blind since the session began."""

    at: Moment
    camera: CameraState
    frames_read: Count
    frames_scored: Count
    frames_skipped: Count
    blind_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    judged: Share | None = None  # mean of the scored pictures: the rest lay where no normal flight was
    score_p50: Finite | None = None
    score_p99: Finite | None = None
    threshold: Finite
    stages_ms: Annotated[dict[Name, Latency], Field(max_length=16)] = Field(default_factory=dict)
    temperatures_c: Annotated[dict[Name, Finite], Field(max_length=16)] = Field(default_factory=dict)
    outbox_depth: Count
    outbox_age_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    last_sequence: Count  # of the newest event made; 0 before the first


class Event(_Message):
    """One phase of one incident. `sequence` counts the session's event messages from 1 without a gap."""

    id: UUID  # UUIDv7 of the incident; the same in begin, update and end
    sequence: Annotated[int, Field(ge=1, le=2**63 - 1)]
    phase: Phase
    severity: Severity
    begun: Moment
    at: Moment
    frame: Count
    frame_width: Pixels
    frame_height: Pixels
    score: Finite
    peak_score: Finite
    threshold: Finite
    boxes: Annotated[tuple[Box, ...], Field(max_length=16)] = ()
    bundle: Text
    raised_by: Name | None = None  # the kind of model that began it, where two fly
    position: Position | None = None
    historical: bool = False  # sent late: after a lost link or a restart


Picture = Literal["snapshot", "heatmap"]


@dataclass(frozen=True, slots=True)
class PictureMessage:
    """A picture of incident `id`: a JPEG snapshot or a PNG heat map."""

    site: str
    drone: str
    id: UUID
    kind: Picture
    data: bytes


Message: TypeAlias = Status | Health | Event | PictureMessage


@dataclass(frozen=True, slots=True)
class Topics:
    """The topic names of one drone."""

    site: str
    drone: str

    def __post_init__(self) -> None:
        for what, name in (("site", self.site), ("drone", self.drone)):
            if not re.fullmatch(NAME, name):
                raise WireError(f"{what} name {name!r} must match {NAME}")

    @property
    def base(self) -> str:
        return f"{ROOT}/{self.site}/{self.drone}"

    @property
    def status(self) -> str:
        return f"{self.base}/status"

    @property
    def health(self) -> str:
        return f"{self.base}/health"

    @property
    def event(self) -> str:
        return f"{self.base}/event"

    def picture(self, event: UUID, kind: Picture) -> str:
        return f"{self.base}/event/{event}/{kind}"


def subscriptions(site: str = "+", drone: str = "+") -> list[tuple[str, int]]:
    """(topic filter, QoS) for everything a ground station wants."""
    base = f"{ROOT}/{site}/{drone}"
    return [
        (f"{base}/status", 1),
        (f"{base}/health", 0),
        (f"{base}/event", 1),
        (f"{base}/event/+/snapshot", 1),
        (f"{base}/event/+/heatmap", 1),
    ]


_TOPIC = re.compile(
    rf"{ROOT}/(?P<site>[^/]+)/(?P<drone>[^/]+)/"
    r"(?:(?P<plain>status|health|event)|event/(?P<id>[^/]+)/(?P<picture>snapshot|heatmap))"
)
_MODELS: dict[str, type[Status] | type[Health] | type[Event]] = {
    "status": Status,
    "health": Health,
    "event": Event,
}


def parse(topic: str, payload: bytes) -> Message:
    """One received message, validated.

    Raises WireError for anything else, including a body that names another drone than its topic.
    """
    match = _TOPIC.fullmatch(topic)
    if match is None:
        raise WireError("the topic is not one of this wire")
    topics = Topics(match["site"], match["drone"])
    if match["picture"]:
        return _parse_picture(topics, match["id"], match["picture"], payload)
    if len(payload) > MAX_JSON_BYTES:
        raise WireError(f"{len(payload)} bytes of JSON, more than {MAX_JSON_BYTES}")
    try:
        message = _MODELS[match["plain"]].model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise WireError(_plain(f"{match['plain']}: {where}: {first['msg']}")) from None
    if (message.site, message.drone) != (topics.site, topics.drone):
        raise WireError("the body names another drone than the topic")
    return message


def _plain(text: str) -> str:
    """One short line safe on a terminal: pydantic's sentences quote keys and characters of the body."""
    return "".join(character if character.isprintable() else "?" for character in text[:200])


def _parse_picture(topics: Topics, event: str, kind: str, payload: bytes) -> PictureMessage:
    if len(payload) > MAX_PICTURE_BYTES:
        raise WireError(f"{len(payload)} bytes of {kind}, more than {MAX_PICTURE_BYTES}")
    if not payload.startswith(_JPEG if kind == "snapshot" else _PNG):
        raise WireError(f"the {kind} is not a {'JPEG' if kind == 'snapshot' else 'PNG'}")
    try:
        identity = UUID(event)
    except ValueError:
        raise WireError("the topic's event id is not a UUID") from None
    if str(identity) != event:
        raise WireError("the topic's event id is not in canonical form")
    return PictureMessage(
        topics.site, topics.drone, identity, "snapshot" if kind == "snapshot" else "heatmap", payload
    )


def uuid7(now_ns: int | None = None) -> UUID:
    """RFC 9562 version 7: 48 bits of Unix milliseconds, then 74 random bits, so ids sort by time.

    The standard library has it from Python 3.14 only.
    """
    milliseconds = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def mark_historical(payload: bytes) -> bytes:
    """The same event, marked as sent late."""
    late = {**json.loads(payload), "historical": True}
    # Not as \u escapes: they could lift a message over MAX_JSON_BYTES.
    return json.dumps(late, separators=(",", ":"), ensure_ascii=False).encode()
