"""The link carries the outbox to a real broker, through all that a broker can do to it."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest

import edge.mqtt
from edge.clock import FakeClock
from edge.errors import BrokerError, UsageError
from edge.events import Event, Health, Moment, Phase, Severity, Status, Topics, uuid7
from edge.link import Link
from edge.mqtt import Backoff, BrokerSettings
from edge.outbox import Outbox, OutboxError
from tests.broker import Listener, free_port, until

pytestmark = pytest.mark.broker

TOPICS = Topics("skye", "drone-1")
QUICK = Backoff(0.05, 0.2)
MOMENT = Moment(mono_ns=1, boot_id="b", utc="2026-01-01T00:00:00Z", clock_synced=True)


def birth(session: UUID) -> Status:
    return Status(site="skye", drone="drone-1", session=session, state="online", reason="started")


def event(session: UUID, sequence: int) -> Event:
    return Event(
        site="skye",
        drone="drone-1",
        session=session,
        id=uuid7(),
        sequence=sequence,
        phase=Phase.BEGIN,
        severity=Severity.HIGH,
        begun=MOMENT,
        at=MOMENT,
        frame=1,
        frame_width=640,
        frame_height=480,
        score=2,
        peak_score=2,
        threshold=1,
        bundle="b",
    )


class Drone:
    """A link with an outbox and a session of its own, ended with the test."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder

    def __call__(self, uri: str, name: str = "outbox", **options: object) -> Link:
        given = {key: options.pop(key) for key in list(options) if key in ("backoff", "claim_s")}
        session = options.pop("session", None) or uuid7()
        assert isinstance(session, UUID)
        clock = options.pop("clock", None)
        self.outbox = self._stack.enter_context(Outbox(self._folder / name, clock))  # type: ignore[arg-type]
        broker = BrokerSettings(uri=uri, **options)  # type: ignore[arg-type]
        link = Link(broker, TOPICS, session, self.outbox, birth(session), **{"backoff": QUICK, **given})  # type: ignore[arg-type]
        self._stack.callback(link.close)
        link.start()
        return link


@pytest.fixture
def drone(tmp_path: Path) -> Iterator[Drone]:
    with ExitStack() as stack:
        yield Drone(stack, tmp_path)


@pytest.fixture
def listen() -> Iterator[Callable[[int], Listener]]:
    with ExitStack() as stack:

        def open_listener(port: int, session: str = "") -> Listener:
            listener = Listener(port, session=session)
            stack.callback(listener.close)
            return listener

        yield open_listener


def sequences(listener: Listener) -> list[int]:
    """In order of first arrival: QoS 1 may repeat."""
    return list(dict.fromkeys(json.loads(payload)["sequence"] for payload in listener.payloads(TOPICS.event)))


def states(listener: Listener) -> list[tuple[str, str]]:
    found = [json.loads(payload) for payload in listener.payloads(TOPICS.status)]
    return [(status["session"], status["reason"]) for status in found]


def test_birth_events_and_death_arrive_in_this_order(mosquitto, drone, listen) -> None:
    listener = listen(mosquitto.start().port).wait()
    link = drone(mosquitto.uri)
    for n in range(1, 60):  # more than a window
        link.publish_event(event(link.session, n))
    link.publish(TOPICS.picture(uuid7(), "snapshot"), b"\xff\xd8\xff" + bytes(100_000))
    until(lambda: drone.outbox.depth() == 0)
    link.close()
    until(lambda: states(listener)[-1:] == [(str(link.session), "stopped")])
    assert sequences(listener) == list(range(1, 60))
    order = [topic.rsplit("/", 1)[-1] for topic, _, _ in listener.got]
    assert order == ["status", *["event"] * 59, "snapshot", "status"]
    late = listen(mosquitto.port)
    until(lambda: late.got)
    assert json.loads(late.got[0][1])["state"] == "offline"
    assert late.got[0][2], "the status is retained"


def test_a_closed_link_leaves_no_thread_and_no_last_will(mosquitto, drone, listen) -> None:
    listener = listen(mosquitto.start().port).wait()
    link = drone(mosquitto.uri)
    until(lambda: link.connected)
    link.close("failed")
    assert not [thread for thread in threading.enumerate() if thread.name == "link"]
    until(lambda: len(states(listener)) == 2)
    assert [reason for _, reason in states(listener)] == ["started", "failed"]
    link.close()  # again: nothing happens


def test_a_broker_that_comes_late_gets_everything(mosquitto, drone, listen) -> None:
    link = drone(mosquitto.uri)
    for n in range(1, 6):
        link.publish_event(event(link.session, n))
    until(lambda: link.trouble)
    assert isinstance(link.trouble, BrokerError)
    assert "is not there" in str(link.trouble)
    mosquitto.start()
    listener = listen(mosquitto.port).wait()
    until(lambda: drone.outbox.depth() == 0)
    link.publish_event(event(link.session, 6))
    until(lambda: 6 in sequences(listener))
    assert link.trouble is None


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_a_broker_that_goes_and_returns_loses_nothing_and_keeps_the_order(
    mosquitto, drone, listen, kill: bool
) -> None:
    # However late the listener returns, the broker knows it and has kept what came: written at every change,
    # so that being killed does not forget it.
    mosquitto.start("autosave_on_changes true", "autosave_interval 1")
    listener = listen(mosquitto.port, session="patient").wait()
    link = drone(mosquitto.uri)
    for n in range(1, 101):
        link.publish_event(event(link.session, n))
        if n == 40:
            until(lambda: sequences(listener))
            mosquitto.stop(kill=kill)
        if n == 70:
            mosquitto.start()
    until(lambda: drone.outbox.depth() == 0)
    until(lambda: 100 in sequences(listener))
    got = sequences(listener)
    assert got == sorted(got)
    # What a broker had acknowledged and not passed on when it was killed is beyond our promise.
    missing = set(range(1, 101)) - set(got)
    assert not missing or (kill and max(missing) <= 40)


def test_what_a_dead_session_left_is_sent_as_history(mosquitto, drone, listen) -> None:
    listener = listen(mosquitto.start().port).wait()
    first = drone(f"mqtt://127.0.0.1:{free_port()}")
    first.publish_event(event(first.session, 1))
    first.close()
    drone.outbox.close()
    second = drone(mosquitto.uri)
    second.publish_event(event(second.session, 1))
    until(lambda: len(listener.payloads(TOPICS.event)) == 2)
    flags = [json.loads(payload).get("historical", False) for payload in listener.payloads(TOPICS.event)]
    assert flags == [True, False]


def test_an_event_older_than_half_a_minute_is_history(mosquitto, drone, listen) -> None:
    clock = FakeClock()
    link = drone(mosquitto.uri, clock=clock)
    link.publish_event(event(link.session, 1))
    clock.advance(31)
    link.publish_event(event(link.session, 2))
    listener = listen(mosquitto.start().port).wait()
    until(lambda: drone.outbox.depth() == 0)
    link.publish_event(event(link.session, 3))
    until(lambda: 3 in sequences(listener))
    flags = {json.loads(p)["sequence"]: json.loads(p)["historical"] for p in listener.payloads(TOPICS.event)}
    assert flags.get(1, True)
    assert not flags.get(2, False)


def test_health_is_sent_when_there_is_someone_to_send_it_to(mosquitto, drone, listen) -> None:
    link = drone(mosquitto.uri)
    health = Health(
        site="skye",
        drone="drone-1",
        session=link.session,
        at=MOMENT,
        camera="watching",
        frames_read=1,
        frames_scored=1,
        frames_skipped=0,
        blind_s=0,
        threshold=1,
        outbox_depth=0,
        outbox_age_s=0,
        last_sequence=0,
    )
    link.publish_health(health)
    until(lambda: link.trouble)
    listener = listen(mosquitto.start().port).wait()
    until(lambda: link.connected)
    link.publish_health(health.model_copy(update={"frames_read": 2}))
    until(lambda: listener.payloads(TOPICS.health))
    assert [json.loads(payload)["frames_read"] for payload in listener.payloads(TOPICS.health)] == [2]


def test_a_refused_login_is_reported_and_the_flight_goes_on(mosquitto, drone, tmp_path, caplog) -> None:
    mosquitto.start(mosquitto.require_login("drone", "right"))
    (tmp_path / "password").write_text("wrong")
    link = drone(mosquitto.uri, username="drone", password_file=tmp_path / "password")
    link.publish_event(event(link.session, 1))
    until(lambda: link.trouble)
    assert "refuses the login" in str(link.trouble)
    assert drone.outbox.depth() == 1
    (tmp_path / "password").write_text("right")
    until(lambda: drone.outbox.depth() == 0)
    link.check()


def test_a_message_above_the_announced_limit_becomes_a_dead_letter_and_blocks_nothing(
    mosquitto, drone, listen
) -> None:
    listener = listen(mosquitto.start("max_packet_size 3000").port).wait()
    link = drone(mosquitto.uri)
    link.publish_event(event(link.session, 1))
    link.publish(TOPICS.picture(uuid7(), "snapshot"), b"\xff\xd8\xff" + bytes(5000))
    link.publish_event(event(link.session, 2))
    until(lambda: drone.outbox.depth() == 0)
    until(lambda: sequences(listener) == [1, 2])
    assert drone.outbox.refused() == 1
    assert [reason for _, reason in states(listener)] == ["started"], "the connection never broke"


@pytest.mark.parametrize("limit", ["max_packet_size 3000", "message_size_limit 3000"])
def test_a_message_above_a_limit_nobody_announced_does_not_loop(mosquitto, drone, listen, limit) -> None:
    listener = listen(mosquitto.start(limit).port).wait()
    link = drone(mosquitto.uri, protocol="3.1.1")
    until(lambda: link.connected)
    for n in range(1, 10):
        link.publish_event(event(link.session, n))
        if n == 5:
            link.publish(TOPICS.picture(uuid7(), "snapshot"), b"\xff\xd8\xff" + bytes(5000))
    until(lambda: drone.outbox.depth() == 0, 20)
    until(lambda: sequences(listener) == list(range(1, 10)))
    # message_size_limit lets MQTT 3.1.1 acknowledge what it drops; there is nothing to notice.
    assert drone.outbox.refused() == (1 if limit.startswith("max_packet") else 0)
    link.publish_event(event(link.session, 10))
    until(lambda: 10 in sequences(listener))


def test_what_the_broker_forbids_becomes_a_dead_letter(mosquitto, drone, listen, tmp_path) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {TOPICS.status}\ntopic readwrite {TOPICS.event}\n")
    mosquitto.start(f"acl_file {acl}")
    link = drone(mosquitto.uri)
    link.publish(TOPICS.picture(uuid7(), "heatmap"), b"\x89PNG\r\n\x1a\n")
    link.publish_event(event(link.session, 1))
    until(lambda: drone.outbox.depth() == 0)
    assert drone.outbox.refused() == 1


def test_a_damaged_row_becomes_a_dead_letter(mosquitto, drone) -> None:
    mosquitto.start()
    link = drone(mosquitto.uri)
    for topic in ("no/#/topic", "", "a\0b"):
        link.publish(topic, b"1")
    drone.outbox.put(TOPICS.event, b"{}")
    link.publish_event(event(link.session, 1))
    until(lambda: drone.outbox.depth() == 0)
    assert drone.outbox.refused() >= 2
    link.check()


def test_a_failing_disk_is_said_once_and_the_sender_lives(mosquitto, drone, caplog, monkeypatch) -> None:
    mosquitto.start()
    link = drone(mosquitto.uri)
    until(lambda: link.connected)

    def broken(*_: object, **__: object) -> list[object]:
        raise OutboxError("outbox x cannot be read or written (disk I/O error); check the disk")

    with monkeypatch.context() as patch:
        patch.setattr(drone.outbox, "read", broken)
        for n in range(1, 4):
            link.publish_event(event(link.session, n))
        until(lambda: "disk I/O error" in caplog.text)
    link.publish_event(event(link.session, 4))
    until(lambda: drone.outbox.depth() == 0)
    assert caplog.text.count("disk I/O error") == 1


def test_the_last_will_says_that_the_drone_is_lost(mosquitto, drone, listen) -> None:
    listener = listen(mosquitto.start().port).wait()
    link = drone(mosquitto.uri, backoff=Backoff(30, 30))
    until(lambda: states(listener))
    link._sender.connection._client.socket().shutdown(2)
    until(lambda: len(states(listener)) == 2)
    assert states(listener)[1] == (str(link.session), "lost")


def test_a_late_last_will_is_answered_with_our_birth(mosquitto, drone, listen) -> None:
    listener = listen(mosquitto.start().port).wait()
    link = drone(mosquitto.uri)
    until(lambda: link.connected and states(listener))
    before = Status(site="skye", drone="drone-1", session=uuid7(), state="offline", reason="lost")
    listener.publish(TOPICS.status, before.to_json(), retain=True)
    until(lambda: len(states(listener)) == 3)
    assert states(listener)[-1] == (str(link.session), "started")


@pytest.mark.parametrize("younger_is_smaller", [False, True])
def test_the_second_of_two_daemons_with_one_name_is_told(
    mosquitto, drone, listen, caplog, younger_is_smaller: bool
) -> None:
    sessions = sorted((uuid7(), uuid7()), reverse=younger_is_smaller)
    listener = listen(mosquitto.start().port).wait()
    first = drone(mosquitto.uri, name="first", session=sessions[0], claim_s=0.0)
    until(lambda: states(listener))
    second = drone(mosquitto.uri, name="second", session=sessions[1])
    until(lambda: second.rival)
    assert second.rival == first.session
    with pytest.raises(UsageError, match="another daemon already flies as skerry/v1/skye/drone-1"):
        second.check()
    until(lambda: not second.connected)
    second.close()
    first.check()
    assert caplog.text.count("repeating our birth") == 1
    first.publish_event(event(first.session, 1))
    until(lambda: sequences(listener) == [1])
    late = listen(mosquitto.port).wait()
    until(lambda: late.got)
    assert states(late) == [(str(first.session), "started")]
    assert (str(second.session), "stopped") not in states(listener)
    assert (str(second.session), "lost") not in states(listener)


def test_of_two_that_start_at_once_exactly_one_flies(mosquitto, drone, listen) -> None:
    listener = listen(mosquitto.start().port).wait()
    links = [drone(mosquitto.uri, name=f"{n}") for n in range(2)]
    until(lambda: any(link.rival for link in links))
    told, flying = sorted(links, key=lambda link: link.rival is None)
    assert told.rival == flying.session
    assert flying.rival is None
    until(lambda: states(listener)[-1] == (str(flying.session), "started"))


def test_junk_on_our_own_status_topic_is_survived(mosquitto, drone, listen) -> None:
    listener = listen(mosquitto.start().port).wait()
    link = drone(mosquitto.uri)
    until(lambda: states(listener))
    for junk in (b"", b"\xff" * 100, b"{}", b"[" * 4000, bytes(200_000)):
        listener._client.publish(TOPICS.status, junk, qos=1)
    link.publish_event(event(link.session, 1))
    until(lambda: sequences(listener) == [1])
    link.check()


def test_closing_does_not_wait_for_a_broker_that_is_away(drone) -> None:
    link = drone(f"mqtt://127.0.0.1:{free_port()}")
    link.publish_event(event(link.session, 1))
    until(lambda: link.trouble)
    closing = threading.Thread(target=link.close)
    closing.start()
    closing.join(0.9)
    assert not closing.is_alive()
    assert drone.outbox.depth() == 1


def test_a_fault_of_its_own_is_no_silent_death(mosquitto, drone, monkeypatch, caplog) -> None:
    mosquitto.start()
    link = drone(mosquitto.uri)
    until(lambda: link.connected)
    seen: list[object] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    monkeypatch.setattr(link._sender, "_step", lambda: 1 / 0)
    link._sender.connection.wake()
    until(lambda: not link._thread.is_alive())
    assert seen
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)
    with pytest.raises(BrokerError, match="by a fault of its own"):
        link.check()


@pytest.fixture
def embedded() -> Iterator[int]:
    """The demo's broker: amqtt, which speaks MQTT 3.1.1 only."""
    amqtt = pytest.importorskip("amqtt.broker")
    port = free_port()
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    loop = asyncio.new_event_loop()
    broker = loop.run_until_complete(_started(amqtt, config))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield port
    asyncio.run_coroutine_threadsafe(broker.shutdown(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


async def _started(amqtt, config):
    broker = amqtt.Broker(config)
    await broker.start()
    return broker


def test_the_embedded_broker_is_served_with_3_1_1(embedded: int, drone, listen) -> None:
    listener = listen(embedded).wait()
    link = drone(f"mqtt://127.0.0.1:{embedded}", protocol="3.1.1")
    for n in range(1, 30):
        link.publish_event(event(link.session, n))
    until(lambda: drone.outbox.depth() == 0)
    until(lambda: sequences(listener) == list(range(1, 30)))
    link.close()
    until(lambda: [reason for _, reason in states(listener)] == ["started", "stopped"])
    assert link.rival is None


def test_a_broker_that_leaves_version_5_unanswered_is_met_with_a_hint(
    embedded: int, drone, monkeypatch
) -> None:
    monkeypatch.setattr(edge.mqtt, "ANSWER_S", 0.3)
    link = drone(f"mqtt://127.0.0.1:{embedded}")
    until(lambda: link.trouble)
    assert "does not answer to MQTT 5; if it is one, try broker.protocol = 3.1.1" in str(link.trouble)
