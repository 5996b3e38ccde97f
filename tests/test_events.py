from __future__ import annotations

import json
import string
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.events import (
    MAX_JSON_BYTES,
    MAX_PICTURE_BYTES,
    Box,
    Event,
    Health,
    Latency,
    Moment,
    Phase,
    PictureMessage,
    Position,
    Severity,
    Status,
    Topics,
    WireError,
    mark_historical,
    parse,
    subscriptions,
    uuid7,
)

SESSION = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
INCIDENT = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
TOPICS = Topics("harbour", "heron-1")
NOW = Moment(
    mono_ns=123_456_789,
    boot_id="b0a7c2f4-8a52-4e1c-9d7a-2f1f3f4c5d6e",
    utc=datetime(2026, 5, 1, 6, 30, 15, 250_000, tzinfo=timezone.utc),
    clock_synced=True,
    stream_s=12.5,
)
JPEG, PNG = b"\xff\xd8\xff\xe0 a jpeg", b"\x89PNG\r\n\x1a\n a png"


def an_event(**differences: Any) -> Event:
    plain: dict[str, Any] = {
        "site": "harbour",
        "drone": "heron-1",
        "session": SESSION,
        "id": INCIDENT,
        "sequence": 7,
        "phase": Phase.BEGIN,
        "severity": Severity.HIGH,
        "begun": NOW,
        "at": NOW,
        "frame": 250,
        "frame_width": 1920,
        "frame_height": 1080,
        "score": 1.75,
        "peak_score": 2.5,
        "threshold": 1.0,
        "boxes": (Box(x=10, y=20, width=30, height=40, peak=1.5, area=600),),
        "bundle": "sha256:" + "0123456789abcdef" * 4,
        "position": Position(latitude=59.3, longitude=18.1, altitude_m=42.0),
    }
    return Event(**{**plain, **differences})


def a_health() -> Health:
    return Health(
        site="harbour",
        drone="heron-1",
        session=SESSION,
        at=NOW,
        camera="watching",
        frames_read=100,
        frames_scored=98,
        frames_skipped=2,
        blind_s=0.5,
        score_p50=0.4,
        score_p99=0.9,
        threshold=1.0,
        stages_ms={"decode": Latency(p50=3.0, p99=9.0)},
        temperatures_c={"cpu-thermal": 61.5},
        outbox_depth=0,
        outbox_age_s=0.0,
        last_sequence=7,
    )


def a_status() -> Status:
    return Status(
        site="harbour", drone="heron-1", session=SESSION, state="online", reason="started", since=NOW
    )


def changed(**differences: Any) -> bytes:
    """An event's body with fields replaced by raw JSON values, as a stranger might send it."""
    return json.dumps({**json.loads(an_event().to_json()), **differences}).encode()


# Round trips


def test_an_event_arrives_as_it_was_sent() -> None:
    assert parse(TOPICS.event, an_event().to_json()) == an_event()


def test_an_event_without_boxes_or_position_arrives_as_it_was_sent() -> None:
    bare = an_event(boxes=(), position=None, phase=Phase.END)
    assert parse(TOPICS.event, bare.to_json()) == bare


def test_a_health_message_arrives_as_it_was_sent() -> None:
    assert parse(TOPICS.health, a_health().to_json()) == a_health()


def test_a_status_arrives_as_it_was_sent() -> None:
    assert parse(TOPICS.status, a_status().to_json()) == a_status()


@pytest.mark.parametrize(("kind", "data"), [("snapshot", JPEG), ("heatmap", PNG)])
def test_a_picture_arrives_as_it_was_sent(kind: Any, data: bytes) -> None:
    sent = PictureMessage("harbour", "heron-1", INCIDENT, kind, data)
    assert parse(TOPICS.picture(INCIDENT, kind), data) == sent


@given(
    score=st.floats(allow_nan=False, allow_infinity=False),
    sequence=st.integers(1, 2**63 - 1),
    boxes=st.lists(st.tuples(*[st.integers(0, 65_535)] * 4), max_size=16),
    utc=st.datetimes(timezones=st.just(timezone.utc)),
)
def test_any_event_that_can_be_made_arrives_as_it_was_sent(
    score: float, sequence: int, boxes: list[tuple[int, int, int, int]], utc: datetime
) -> None:
    sent = an_event(
        score=score,
        sequence=sequence,
        at=NOW.model_copy(update={"utc": utc}),
        boxes=tuple(Box(x=x, y=y, width=w, height=h, peak=score, area=w * h) for x, y, w, h in boxes),
    )
    assert parse(TOPICS.event, sent.to_json()) == sent


def test_a_field_of_a_newer_drone_is_ignored() -> None:
    assert parse(TOPICS.event, changed(mood="curious")) == an_event()


# Size


def test_an_event_with_sixteen_boxes_and_the_longest_names_fits_the_wire() -> None:
    long = 1234.5678901234567
    full = an_event(
        site="s" * 64,
        drone="d" * 64,
        sequence=2**63 - 1,
        frame=10**9,
        begun=NOW.model_copy(update={"mono_ns": 2**63 - 1, "stream_s": long}),
        at=NOW.model_copy(update={"mono_ns": 2**63 - 1, "stream_s": long}),
        score=long,
        peak_score=long,
        threshold=long,
        boxes=tuple(
            Box(x=65535, y=65535, width=65535, height=65535, peak=long, area=65535**2) for _ in range(16)
        ),
        position=Position(latitude=-59.123456789012345, longitude=-118.12345678901234, altitude_m=long),
    )
    body = full.to_json()
    assert len(body) <= MAX_JSON_BYTES
    assert len(mark_historical(body)) <= MAX_JSON_BYTES
    assert parse(Topics("s" * 64, "d" * 64).event, body) == full


def test_seventeen_boxes_are_refused_on_both_sides() -> None:
    box = Box(x=1, y=1, width=1, height=1, peak=1.0, area=1)
    with pytest.raises(ValidationError):
        an_event(boxes=(box,) * 17)
    with pytest.raises(WireError, match="boxes"):
        parse(TOPICS.event, changed(boxes=[box.model_dump()] * 17))


def test_json_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(WireError, match="4097 bytes of JSON"):
        parse(TOPICS.event, b"[" * 4097)


def test_json_of_exactly_the_limit_is_read() -> None:
    body = an_event().to_json()
    assert parse(TOPICS.event, body + b" " * (MAX_JSON_BYTES - len(body))) == an_event()


@pytest.mark.parametrize(("kind", "start"), [("snapshot", JPEG), ("heatmap", PNG)])
def test_a_picture_over_the_limit_is_refused(kind: Any, start: bytes) -> None:
    topic = TOPICS.picture(INCIDENT, kind)
    largest = start.ljust(MAX_PICTURE_BYTES, b"\0")
    assert isinstance(parse(topic, largest), PictureMessage)
    with pytest.raises(WireError, match="131073 bytes"):
        parse(topic, largest + b"\0")


# Hostile bytes

REAL_TOPICS = st.sampled_from(
    [
        TOPICS.status,
        TOPICS.health,
        TOPICS.event,
        TOPICS.picture(INCIDENT, "snapshot"),
        TOPICS.picture(INCIDENT, "heatmap"),
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def read(topic: str, payload: bytes) -> None:
    """Whatever comes, it is a message or a WireError whose one line is safe on a terminal."""
    try:
        parse(topic, payload)
    except WireError as error:
        sentence = str(error)
        assert sentence.isprintable(), sentence
        assert len(sentence) < 500


@given(topic=st.text(max_size=80) | REAL_TOPICS, payload=st.binary(max_size=300))
def test_random_bytes_are_a_wire_error_and_nothing_else(topic: str, payload: bytes) -> None:
    read(topic, payload)


@given(topic=REAL_TOPICS, start=st.sampled_from([JPEG, PNG]), rest=st.binary(max_size=50))
def test_a_picture_on_a_message_topic_is_a_wire_error_and_nothing_else(
    topic: str, start: bytes, rest: bytes
) -> None:
    read(topic, start + rest)


@given(
    message=st.sampled_from([an_event(), a_health(), a_status()]),
    key=st.text(max_size=20),
    value=json_values,
    data=st.data(),
)
def test_a_valid_message_with_one_hostile_value_never_breaks_the_reader(
    message: Event | Health | Status, key: str, value: Any, data: st.DataObject
) -> None:
    body = json.loads(message.to_json())
    known = data.draw(st.sampled_from(sorted(body)))
    inner = body[known]
    if isinstance(inner, dict) and data.draw(st.booleans()):
        inner[key] = value
    else:
        body[known] = value
    for topic in (TOPICS.event, TOPICS.health, TOPICS.status):
        read(topic, json.dumps(body).encode())


@given(where=st.integers(0, 2000), what=st.binary(max_size=8))
def test_a_valid_message_with_overwritten_bytes_never_breaks_the_reader(where: int, what: bytes) -> None:
    body = bytearray(an_event().to_json())
    body[where : where + len(what)] = what
    read(TOPICS.event, bytes(body))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 4096,
        b'{"a":' * 800,
        b"\xff\xfe{}",
        b'{"site": "\\ud800"}',
        b"1" * 4096,
        b'{"site":"harbour","site":"other"}',
    ],
)
def test_bodies_known_to_trip_readers_are_wire_errors(payload: bytes) -> None:
    with pytest.raises(WireError) as caught:
        parse(TOPICS.event, payload)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(number: str) -> None:
    body = an_event().to_json().replace(b'"score":1.75', f'"score":{number}'.encode())
    with pytest.raises(WireError, match="score"):
        parse(TOPICS.event, body)


def test_control_characters_in_a_text_are_refused() -> None:
    with pytest.raises(WireError, match="bundle"):
        parse(TOPICS.event, changed(bundle="\x1b[2Jgone"))


def test_a_hostile_key_does_not_reach_the_error_text_raw() -> None:
    body = json.loads(a_health().to_json())
    body["stages_ms"] = {"\x1b[2J" + "k" * 3000: {"p50": 1, "p99": 1}}
    with pytest.raises(WireError) as caught:
        parse(TOPICS.health, json.dumps(body).encode())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_hostile_value_does_not_reach_the_error_text_raw() -> None:
    with pytest.raises(WireError, match=r"session: .* found `\?`") as caught:
        parse(TOPICS.event, changed(session="\x1b" * 36))
    assert str(caught.value).isprintable()


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(WireError, match=r"at\.utc"):
        parse(TOPICS.event, changed(at={**json.loads(NOW.model_dump_json()), "utc": "2026-05-01T06:30:15"}))


# Topics


def test_the_topics_of_a_drone_are_those_of_the_design() -> None:
    assert TOPICS.status == "skerry/v1/harbour/heron-1/status"
    assert TOPICS.health == "skerry/v1/harbour/heron-1/health"
    assert TOPICS.event == "skerry/v1/harbour/heron-1/event"
    assert TOPICS.picture(INCIDENT, "heatmap") == f"skerry/v1/harbour/heron-1/event/{INCIDENT}/heatmap"


@pytest.mark.parametrize("name", ["", "+", "#", "a/b", "-a", "a b", "a\n", "é", "\x00", "$SYS", "x" * 65])
def test_a_name_that_is_not_one_plain_topic_level_is_refused(name: str) -> None:
    with pytest.raises(WireError, match="site name"):
        Topics(name, "heron-1")
    with pytest.raises(WireError, match="drone name"):
        Topics("harbour", name)
    with pytest.raises(ValidationError):
        an_event(drone=name)


@given(name=st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=64))
def test_names_and_bodies_agree_on_what_a_name_is(name: str) -> None:
    if name[0] in "._-":
        with pytest.raises(WireError):
            Topics("harbour", name)
    else:
        event = an_event(drone=name)
        assert parse(Topics("harbour", name).event, event.to_json()) == event


@pytest.mark.parametrize(
    "topic",
    [
        "skerry/v1/harbour/heron-1",
        "skerry/v1/harbour/heron-1/events",
        "skerry/v1/harbour/heron-1/event/",
        "skerry/v2/harbour/heron-1/event",
        "/skerry/v1/harbour/heron-1/event",
        "skerry/v1/harbour//event",
        "skerry/v1/harbour/heron-1/event\n",
        f"skerry/v1/harbour/heron-1/event/{INCIDENT}",
        f"skerry/v1/harbour/heron-1/event/{INCIDENT}/video",
    ],
)
def test_other_topics_are_not_of_this_wire(topic: str) -> None:
    with pytest.raises(WireError):
        parse(topic, an_event().to_json())


@pytest.mark.parametrize(("field", "other"), [("drone", "heron-2"), ("site", "marsh")])
def test_a_body_that_names_another_drone_than_its_topic_is_refused(field: str, other: str) -> None:
    with pytest.raises(WireError, match="another drone"):
        parse(TOPICS.event, changed(**{field: other}))


def test_a_message_on_another_messages_topic_is_refused() -> None:
    with pytest.raises(WireError, match="health: "):
        parse(TOPICS.health, an_event().to_json())


def matches(topic_filter: str, topic: str) -> bool:
    want, have = topic_filter.split("/"), topic.split("/")
    return len(want) == len(have) and all(w in ("+", h) for w, h in zip(want, have, strict=True))


def test_subscriptions_cover_each_topic_exactly_once() -> None:
    topics = [TOPICS.status, TOPICS.health, TOPICS.event]
    topics += [TOPICS.picture(INCIDENT, "snapshot"), TOPICS.picture(INCIDENT, "heatmap")]
    for filters in (subscriptions(), subscriptions("harbour"), subscriptions("harbour", "heron-1")):
        assert [sum(matches(f, topic) for f, _ in filters) for topic in topics] == [1] * 5
    assert not any(matches(f, TOPICS.event) for f, _ in subscriptions("marsh"))


# Pictures


@pytest.mark.parametrize(("kind", "data"), [("snapshot", PNG), ("heatmap", JPEG), ("snapshot", b"")])
def test_a_picture_of_the_wrong_type_is_refused(kind: Any, data: bytes) -> None:
    with pytest.raises(WireError, match=f"the {kind} is not a"):
        parse(TOPICS.picture(INCIDENT, kind), data)


@pytest.mark.parametrize(
    "identity", ["1", "..", str(INCIDENT).upper(), INCIDENT.hex, f"{{{INCIDENT}}}", f"urn:uuid:{INCIDENT}"]
)
def test_a_picture_whose_id_is_not_a_canonical_uuid_is_refused(identity: str) -> None:
    with pytest.raises(WireError, match="event id"):
        parse(f"{TOPICS.event}/{identity}/snapshot", JPEG)


# Ids


@given(now_ns=st.integers(0, ((1 << 48) - 1) * 1_000_000))
def test_uuid7_has_its_version_its_variant_and_its_time(now_ns: int) -> None:
    identity = uuid7(now_ns)
    assert identity.version == 7
    assert identity.variant == "specified in RFC 4122"
    assert identity.int >> 80 == now_ns // 1_000_000


@given(earlier=st.integers(0, 2**60), later_by_ms=st.integers(1, 10**9))
def test_uuid7_sorts_by_time_as_text_and_as_bytes(earlier: int, later_by_ms: int) -> None:
    first, second = uuid7(earlier), uuid7(earlier + later_by_ms * 1_000_000)
    assert str(first) < str(second)
    assert first.bytes < second.bytes


def test_uuid7_of_one_millisecond_do_not_repeat_and_use_all_their_random_bits() -> None:
    ids = [uuid7(0).int for _ in range(2000)]
    assert len(set(ids)) == 2000
    ones, zeros = 0, 0
    for value in ids:
        ones, zeros = ones | value, zeros | ~value
    fixed = 0xF << 76 | 0x3 << 62
    random = ((1 << 80) - 1) & ~fixed
    assert ones & random == random
    assert zeros & random == random


def test_uuid7_takes_the_time_of_now_by_itself() -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    made = datetime.fromtimestamp((uuid7().int >> 80) / 1000, timezone.utc)
    assert before < made < datetime.now(timezone.utc) + timedelta(seconds=1)


# Late messages


def test_a_historical_event_is_the_same_event_marked() -> None:
    late = parse(TOPICS.event, mark_historical(an_event().to_json()))
    assert late == an_event(historical=True)


def test_marking_twice_changes_nothing_more() -> None:
    once = mark_historical(an_event().to_json())
    assert mark_historical(once) == once


def test_marking_does_not_make_a_message_larger() -> None:
    wordy = an_event(bundle="Möwe " * 40)
    assert len(mark_historical(wordy.to_json())) <= len(wordy.to_json())
    assert parse(TOPICS.event, mark_historical(wordy.to_json())) == an_event(
        bundle="Möwe " * 40, historical=True
    )
