"""The daemon as its user starts it: a process, a real broker, real pictures."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from edge.events import Event, Health, Message, Phase, PictureMessage, Status, WireError, parse
from tests.broker import Listener, Mosquitto, free_port, until
from tests.builders import INTRUDER, flying_bundle, folder_of, patrol_pictures

pytestmark = [pytest.mark.broker, pytest.mark.slow]
TOPIC = "skerry/v1/isle/d1"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("daemon")
    normal = folder_of(folder / "normal", patrol_pictures("." * 140, seed=0))
    return flying_bundle(folder / "bundle", normal).folder


@pytest.fixture
def patrol(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "patrol", patrol_pictures("." * 10 + "X" * 8 + "." * 12 + "X" * 6 + "." * 12))


@pytest.fixture
def listener(mosquitto: Mosquitto) -> Iterator[Listener]:
    listening = Listener(mosquitto.start().port).wait()
    yield listening
    listening.close()


class Daemon:
    """One `skerry run` process."""

    def __init__(
        self, tmp_path: Path, bundle: Path, *options: str, env: dict[str, str] | None = None
    ) -> None:
        self.state = tmp_path / "state"
        arguments = [
            "--bundle",
            bundle,
            "--site",
            "isle",
            "--drone",
            "d1",
            "--state-dir",
            self.state,
            "--folder-fps",
            "2",
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "skerry", "run", *map(str, arguments), *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )

    def finish(self, seconds: float = 30) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, errors

    def stop(self) -> tuple[int, str, float]:
        """SIGTERM; also says how long it took to obey."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code, errors = self.finish()
        return code, errors, time.monotonic() - started


def messages(listener: Listener) -> list[Message]:
    return [parse(topic, payload) for topic, payload, _ in listener.got if topic.startswith(TOPIC)]


def events(listener: Listener) -> list[Event]:
    return [message for message in messages(listener) if isinstance(message, Event)]


def statuses(listener: Listener) -> list[tuple[str, str]]:
    return [(m.state, m.reason) for m in messages(listener) if isinstance(m, Status)]


def test_a_flight_tells_each_intruder_with_a_box_on_it_and_ends_in_order(
    tmp_path: Path, bundle: Path, patrol: Path, mosquitto: Mosquitto, listener: Listener
) -> None:
    daemon = Daemon(tmp_path, bundle, "--source", str(patrol), "--replay", "fast", "--broker", mosquitto.uri)
    code, errors = daemon.finish()
    assert code == 0, errors
    until(lambda: ("offline", "stopped") in statuses(listener))
    told = events(listener)
    begins = [event for event in told if event.phase is Phase.BEGIN]
    ends = [event for event in told if event.phase is Phase.END]
    assert [event.id for event in begins] == [event.id for event in ends]
    assert [event.frame for event in begins] == [11, 31]  # the second frame in a row that is strange
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))
    x, y, width, height = INTRUDER
    for event in begins:
        box = event.boxes[0]
        assert box.x <= x + width / 2 <= box.x + box.width
        assert box.y <= y + height / 2 <= box.y + box.height
    shown = [message for message in messages(listener) if isinstance(message, PictureMessage)]
    assert {picture.id for picture in shown} == {event.id for event in begins}
    assert statuses(listener) == [("online", "started"), ("offline", "stopped")]
    assert any(isinstance(message, Health) for message in messages(listener))


def test_sigterm_ends_the_flight_within_a_second_and_the_incident_with_it(
    tmp_path: Path, bundle: Path, mosquitto: Mosquitto, listener: Listener
) -> None:
    endless = folder_of(tmp_path / "endless", patrol_pictures("." * 3 + "X" * 60))
    daemon = Daemon(tmp_path, bundle, "--source", str(endless), "--broker", mosquitto.uri)
    until(lambda: events(listener), what="the first event")
    code, errors, seconds = daemon.stop()
    assert code == 0, errors
    assert seconds < 1.5  # within a second, and the interpreter's own end
    until(lambda: ("offline", "stopped") in statuses(listener))
    assert events(listener)[-1].phase is Phase.END


def test_events_of_a_flight_without_a_broker_arrive_once_there_is_one(
    tmp_path: Path, bundle: Path, patrol: Path, mosquitto: Mosquitto
) -> None:
    options = ("--source", str(patrol), "--replay", "fast", "--broker", mosquitto.uri)
    code, errors = Daemon(tmp_path, bundle, *options).finish()
    assert code == 0, errors
    assert "broker" in errors
    listening = Listener(mosquitto.start().port).wait()
    code, errors = Daemon(tmp_path, bundle, *options).finish()
    assert code == 0, errors
    until(lambda: ("offline", "stopped") in statuses(listening))
    told = events(listening)
    sessions = list(dict.fromkeys(event.session for event in told))
    assert len(sessions) == 2
    for session in sessions:
        numbers = [event.sequence for event in told if event.session == session]
        assert numbers == list(range(1, len(numbers) + 1))
    assert all(event.historical for event in told if event.session == sessions[0])
    assert not any(event.historical for event in told if event.session == sessions[1])
    listening.close()


def test_a_killed_daemon_is_announced_by_its_last_will_and_loses_nothing(
    tmp_path: Path, bundle: Path, mosquitto: Mosquitto, listener: Listener
) -> None:
    endless = folder_of(tmp_path / "endless", patrol_pictures("X" * 60))
    daemon = Daemon(tmp_path, bundle, "--source", str(endless), "--broker", mosquitto.uri)
    until(lambda: events(listener), what="the first event")
    daemon.process.kill()
    daemon.finish()
    until(lambda: ("offline", "lost") in statuses(listener), 30, "the last will")


def test_a_second_daemon_with_the_same_name_is_told_and_the_first_flies_on(
    tmp_path: Path, bundle: Path, mosquitto: Mosquitto, listener: Listener
) -> None:
    endless = folder_of(tmp_path / "endless", patrol_pictures("." * 120))
    options = ("--source", str(endless), "--broker", mosquitto.uri)
    first = Daemon(tmp_path / "first", bundle, *options)
    until(lambda: ("online", "started") in statuses(listener))
    time.sleep(2.5)  # the first's claim on the name is two seconds old: it is established
    second = Daemon(tmp_path / "second", bundle, *options)
    code, errors = second.finish()
    assert code == 2, errors
    assert "another daemon already flies as skerry/v1/isle/d1" in errors
    assert "--drone" in errors
    assert first.process.poll() is None
    assert first.stop()[0] == 0


def test_systemd_hears_ready_after_the_first_frame_then_the_watchdog_then_stopping(
    tmp_path: Path, bundle: Path, patrol: Path
) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        options = (
            "--source",
            str(patrol),
            "--replay",
            "fast",
            "--broker",
            f"mqtt://127.0.0.1:{free_port()}",
        )
        daemon = Daemon(tmp_path, bundle, *options, env={"NOTIFY_SOCKET": str(address)})
        heard = []
        systemd.settimeout(20)
        while not heard or heard[-1] != "STOPPING=1":
            heard.append(systemd.recv(200).decode())
        daemon.process.kill()
        daemon.finish()
    assert heard[0].startswith("READY=1")
    assert heard.count("WATCHDOG=1") == 48


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--source", "absent.mp4"), 2, "absent.mp4"),
        (("--source", "sim://", "--fps", "0"), 2, "setting fps = 0"),
        (("--source", "warp://x"), 2, "warp"),
        (("--source", "sim://", "--bundle", "nowhere"), 3, "not a bundle folder"),
        (("--source", "v4l2:///dev/video99"), 4, "/dev/video99"),
        (("--source", "sim://", "--broker", "mqtt://203.0.113.1"), 2, "plain"),
        (("--source", "sim://", "--variant", "int8-trt"), 3, "no variant"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_exit_code(
    tmp_path: Path, bundle: Path, options: tuple[str, ...], code: int, sentence: str
) -> None:
    found, errors = Daemon(tmp_path, bundle, *options).finish()
    assert (found, "Traceback" in errors) == (code, False), errors
    lines = [line for line in errors.splitlines() if line.startswith("skerry: ")]
    assert len(lines) == 1, errors
    assert sentence in lines[0]


def test_two_daemons_cannot_share_a_state_folder(tmp_path: Path, bundle: Path) -> None:
    endless = folder_of(tmp_path / "endless", patrol_pictures("." * 60))
    options = ("--source", str(endless), "--broker", f"mqtt://127.0.0.1:{free_port()}")
    first = Daemon(tmp_path, bundle, *options)
    until(lambda: (first.state / "lock").exists())
    time.sleep(0.3)
    code, errors = Daemon(tmp_path, bundle, *options).finish()
    assert code == 2, errors
    assert "--state-dir" in errors
    first.stop()


def test_junk_on_its_own_status_topic_does_not_hurt_a_daemon(
    tmp_path: Path, bundle: Path, mosquitto: Mosquitto, listener: Listener
) -> None:
    endless = folder_of(tmp_path / "endless", patrol_pictures("." * 60))
    daemon = Daemon(tmp_path, bundle, "--source", str(endless), "--broker", mosquitto.uri)
    until(lambda: ("online", "started") in statuses(listener))
    for junk in (b"", b"\xff" * 10, b"{}", b'{"session": 3}'):
        listener.publish(f"{TOPIC}/status", junk)
    until(lambda: len([1 for topic, _, _ in listener.got if topic.endswith("status")]) >= 5)
    with pytest.raises(WireError):
        messages(listener)  # the junk really went that way
    assert daemon.process.poll() is None
    assert daemon.stop()[0] == 0


def test_every_session_has_an_id_of_its_own(
    tmp_path: Path, bundle: Path, patrol: Path, mosquitto: Mosquitto, listener: Listener
) -> None:
    for _ in range(2):
        Daemon(
            tmp_path, bundle, "--source", str(patrol), "--replay", "fast", "--broker", mosquitto.uri
        ).finish()
    until(lambda: len(statuses(listener)) == 4)
    ids: set[UUID] = {message.session for message in messages(listener) if isinstance(message, Status)}
    assert len(ids) == 2
