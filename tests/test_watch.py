"""The ground's view of what the drones say, and `skerry watch` as a person runs it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import ground.view
from edge.errors import UsageError
from edge.events import Box, Event, Health, Moment, Phase, PictureMessage, Severity, Status, Topics
from ground.cli import WatchSettings
from ground.keep import Folder
from ground.sequences import MAX_MISSING, Sequences
from ground.table import newest_first, render
from ground.view import MAX_DRONES, MAX_INCIDENTS, MAX_REASON, MAX_SESSIONS, GroundView, Now, printable
from tests.broker import Listener, Mosquitto, free_port, until
from tests.test_house import FOR_THE_GROUND

UTC0 = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
SESSION, INCIDENT = UUID(int=1), UUID(int=2)
JPEG, PNG = b"\xff\xd8\xff" + bytes(50), b"\x89PNG\r\n\x1a\n" + bytes(50)


def now(seconds: float = 0.0) -> Now:
    return Now(round(seconds * 1e9), UTC0 + timedelta(seconds=seconds))


def moment(seconds: float = 0.0, boot: str = "boot", synced: bool = True) -> Moment:
    utc = UTC0 + timedelta(seconds=seconds)
    return Moment(mono_ns=round(seconds * 1e9), boot_id=boot, utc=utc, clock_synced=synced)


def event(sequence: int = 1, **given: object) -> Event:
    values: dict[str, object] = {
        "site": "skye",
        "drone": "d1",
        "session": SESSION,
        "id": INCIDENT,
        "sequence": sequence,
        "phase": Phase.BEGIN,
        "severity": Severity.HIGH,
        "begun": moment(),
        "at": moment(),
        "frame": 1,
        "frame_width": 640,
        "frame_height": 480,
        "score": 2.5,
        "peak_score": 2.5,
        "threshold": 1.0,
        "boxes": (Box(x=120, y=44, width=32, height=18, peak=2.0, area=300),),
        "bundle": "digest",
    }
    return Event.model_validate(values | given)


def status(state: str, reason: str, session: UUID = SESSION) -> Status:
    return Status(site="skye", drone="d1", session=session, state=state, reason=reason)


def health(last_sequence: int = 0, depth: int = 0, **given: object) -> Health:
    values: dict[str, object] = {
        "site": "skye",
        "drone": "d1",
        "session": SESSION,
        "at": moment(),
        "camera": "watching",
        "frames_read": 100,
        "frames_scored": 90,
        "frames_skipped": 7,
        "blind_s": 1.5,
        "threshold": 1.0,
        "outbox_depth": depth,
        "outbox_age_s": 0.0,
        "last_sequence": last_sequence,
    }
    return Health.model_validate(values | given)


def send(view: GroundView, message: Event | Health | Status | PictureMessage, seconds: float = 0.0):
    topics = Topics(message.site, message.drone)
    if isinstance(message, PictureMessage):
        return view.receive(topics.picture(message.id, message.kind), message.data, now(seconds))
    topic = {Event: topics.event, Health: topics.health, Status: topics.status}[type(message)]
    return view.receive(topic, message.to_json(), now(seconds))


def only_incident(view: GroundView):
    (incident,) = newest_first(view)
    return incident


def screen(view: GroundView, width: int = 160, seconds: float = 0.0) -> str:
    console = Console(file=io.StringIO(), width=width, height=40, force_terminal=False)
    console.print(render(view, now(seconds), "connected", 20))
    return console.file.getvalue()  # type: ignore[attr-defined]


# --- the view ---


def test_an_incident_shows_its_newest_phase_score_and_latency() -> None:
    view = GroundView()
    send(view, event(1), 0.05)
    send(view, event(3, phase=Phase.END, score=0.4, at=moment(4)), 4.25)
    send(view, event(2, phase=Phase.UPDATE), 4.3)  # overtaken on the way
    incident = only_incident(view)
    assert (incident.event.phase, incident.event.score) == (Phase.END, 0.4)
    assert incident.latency_s == pytest.approx(0.25)
    assert view.gaps == 0


def test_latency_is_measured_only_where_clocks_allow() -> None:
    shared, strangers = GroundView("boot"), GroundView("another boot")
    wrong_utc = moment(1).model_copy(update={"utc": UTC0 - timedelta(days=9)})
    assert send(shared, event(at=wrong_utc), 1.5).latency_s == pytest.approx(0.5)
    assert send(strangers, event(at=moment(1)), 1.5).latency_s == pytest.approx(0.5)
    assert send(strangers, event(2, at=moment(1, synced=False)), 1.5).latency_s is None
    assert send(strangers, event(3, at=moment(9)), 1.5).latency_s is None


def test_a_historical_event_is_shown_as_such_and_has_no_latency() -> None:
    view = GroundView()
    assert send(view, event(historical=True), 100).latency_s is None
    assert "begin (late)" in screen(view)


def test_a_repetition_is_counted_and_changes_nothing() -> None:
    view = GroundView()
    assert not send(view, event(), 0.1).repeated
    assert send(view, event(), 9.0).repeated
    assert view.duplicates == 1
    assert only_incident(view).latency_s == pytest.approx(0.1)


def test_another_drone_cannot_spend_this_ones_event_ids() -> None:
    view = GroundView()
    send(view, event(drone="forger"))
    assert not send(view, event()).repeated


def test_gaps_are_listed_until_the_late_ones_arrive() -> None:
    view = GroundView()
    for sequence in (4, 5, 8):
        send(view, event(sequence))
    assert view.gaps == 2
    assert view.drones["skye", "d1"].sequences[SESSION].missing() == [6, 7]
    send(view, event(7, historical=True))
    assert view.gaps == 1


def test_health_tells_of_an_event_that_never_came_once_the_outbox_is_empty() -> None:
    view = GroundView()
    send(view, health(last_sequence=2))  # before we listened: not missed
    send(view, health(last_sequence=4, depth=1))
    assert view.gaps == 0
    send(view, health(last_sequence=4))
    assert view.gaps == 2


@pytest.mark.parametrize(
    ("share", "shown"),
    [(None, "watching"), (0.4199, "watching 41%"), (0.9999, "watching 99%"), (1.0, "watching")],
)
def test_the_ground_sees_how_much_of_the_picture_could_be_judged(share: float | None, shown: str) -> None:
    view = GroundView()
    send(view, health(judged=share))
    row = next(line for line in screen(view).splitlines() if "skye/d1" in line)
    assert f" {shown}  " in row
    assert ("%" in row) == ("%" in shown)


def test_the_states_of_a_drone() -> None:
    view = GroundView()
    newer = UUID(int=9)
    told = []
    for message in (
        health(),
        status("online", "started"),
        status("offline", "lost"),
        status("online", "started", newer),
        status("offline", "lost"),  # the late last will of the session before
        status("offline", "stopped", newer),
    ):
        send(view, message)
        told.append(view.drones["skye", "d1"].state)
    assert told == ["unknown", "online", "lost", "online", "online", "offline"]


def test_the_screen_says_what_an_operator_asks() -> None:
    view = GroundView()
    send(view, status("online", "started"))
    send(view, event(), 0.042)
    send(view, PictureMessage("skye", "d1", INCIDENT, "snapshot", JPEG))
    send(view, health(last_sequence=1, depth=3, outbox_age_s=12), 1)
    view.receive("skerry/v1/skye/d1/event", b"{}", now())
    shown = screen(view, seconds=3)
    for words in ("skye/d1", "12:00:00", "high", "begin", "2.5/1", "1: 120,44 32x18", "42 ms"):
        assert words in shown, words
    for words in ("online", "watching", "90", "7", "2 s", "3 (12 s)", "2 s ago", "1 malformed", "connected"):
        assert words in shown, words


def test_a_narrow_terminal_costs_boxes_and_nothing_else() -> None:
    view = GroundView()
    boxes = tuple(Box(x=1111, y=1111, width=222, height=222, peak=2.0, area=300) for _ in range(16))
    send(view, status("online", "started"))
    send(view, event(boxes=boxes, historical=True))
    shown = screen(view, width=80)
    for words in ("skye/d1", "12:00:00", "high", "begin (late)", "2.5/1", "16:"):
        assert words in shown, words
    assert "ago" in shown


# --- hostile messages ---

TOPIC = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["status", "health", "event", "event/x/snapshot", f"event/{INCIDENT}/heatmap"]).map(
        lambda rest: f"skerry/v1/skye/d1/{rest}"
    ),
    st.builds(lambda site, rest: f"skerry/v1/{site}/d/{rest}", st.text(max_size=9), st.text(max_size=9)),
)
VALID = [event(), event(2, historical=True), health(), status("online", "started"), status("offline", "lost")]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid message, cut, overwritten or with one field replaced by something else."""
    message = draw(st.sampled_from(VALID))
    payload = bytearray(message.to_json())
    kind = draw(st.sampled_from(["cut", "overwrite", "replace"]))
    if kind == "cut":
        return bytes(payload[: draw(st.integers(0, len(payload)))])
    if kind == "overwrite":
        at = draw(st.integers(0, len(payload) - 1))
        junk = draw(st.binary(min_size=1, max_size=20))
        payload[at : at + len(junk)] = junk
        return bytes(payload)
    body = json.loads(payload)
    scalar = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30))
    body[draw(st.sampled_from(sorted(body)))] = draw(
        st.recursive(scalar, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=5)
    )
    return json.dumps(body).encode()


@settings(max_examples=100, deadline=None)
@given(messages=st.lists(st.tuples(TOPIC, st.one_of(st.binary(max_size=200), damaged())), max_size=6))
def test_nothing_that_arrives_breaks_the_view_or_the_terminal(messages: list[tuple[str, bytes]]) -> None:
    view = GroundView("boot")
    for topic, payload in messages:
        view.receive(topic, payload, now())
    assert view.received == len(messages)
    shown = screen(view)
    assert all(letter == "\n" or letter.isprintable() for letter in shown)


def test_terminal_escapes_in_a_refused_message_do_not_reach_the_screen() -> None:
    view = GroundView()
    body = json.loads(health().to_json()) | {
        "stages_ms": {"\x1b[2J\x1b]0;owned\x07[red]": {"p50": 1, "p99": 2}}
    }
    view.receive("skerry/v1/skye/d1/health", json.dumps(body).encode(), now())
    assert view.malformed == 1
    assert "\x1b" not in view.last_malformed
    assert "\x1b" not in screen(view)


def test_what_a_terminal_would_act_upon_is_replaced() -> None:
    assert printable("\x1b[2Ja\u202eb\nc\x9b") == "\ufffd[2Ja\ufffdb\ufffdc\ufffd"


def test_a_long_reason_is_cut() -> None:
    view = GroundView()
    view.receive("skerry/v1/" + "x" * 5000 + "/d/event", b"{}", now())
    assert len(view.last_malformed) <= MAX_REASON


def test_a_body_of_another_drone_and_a_huge_one_are_refused() -> None:
    view = GroundView()
    assert view.receive("skerry/v1/skye/other/event", event().to_json(), now()) is None
    assert view.receive("skerry/v1/skye/d1/event", event().to_json() + b" " * 5000, now()) is None
    assert (
        view.receive(Topics("skye", "d1").picture(INCIDENT, "snapshot"), JPEG + bytes(200_000), now()) is None
    )
    assert (view.malformed, len(view.drones)) == (3, 0)


def test_a_flood_of_invented_drones_is_capped_and_the_real_one_stays() -> None:
    view = GroundView()
    for n in range(5):
        send(view, event(n + 1, id=UUID(int=n)))
    for n in range(3 * MAX_DRONES):
        send(view, event(drone=f"made-up-{n}"))
    assert len(view.drones) == MAX_DRONES
    assert len(view.drones["skye", "d1"].incidents) == 5
    assert view.crowded_out == 2 * MAX_DRONES + 1
    assert "drones crowded out" in screen(view)


def test_a_flood_of_invented_incidents_sessions_and_numbers_is_capped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ground.view, "MAX_SEEN", 900)
    view = GroundView()
    body = json.loads(event().to_json())
    for n in range(1000):
        body |= {"id": str(UUID(int=n)), "sequence": 1 + n * 10**12, "session": str(UUID(int=n % 50))}
        view.receive("skerry/v1/skye/d1/event", json.dumps(body).encode(), now())
    drone = view.drones["skye", "d1"]
    assert view.malformed == 0
    assert len(view._seen) == 900
    assert len(drone.incidents) == MAX_INCIDENTS
    assert len(drone.sequences) <= MAX_SESSIONS
    assert all(len(one.missing()) <= MAX_MISSING for one in drone.sequences.values())


def test_ended_incidents_make_room_before_open_ones() -> None:
    view = GroundView()
    send(view, event(1, id=UUID(int=1000)))
    for n in range(2, MAX_INCIDENTS + 50):
        send(view, event(n, id=UUID(int=n), phase=Phase.END))
    assert UUID(int=1000) in view.drones["skye", "d1"].incidents


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_gaps_are_exactly_the_numbers_between_the_first_and_the_highest_that_did_not_come(
    numbers: list[int],
) -> None:
    sequences = Sequences()
    for number in numbers:
        sequences.arrived(number)
    assert set(sequences.missing()) == set(range(numbers[0], max(numbers))) - set(numbers)
    assert sequences.gaps == len(sequences.missing())


# --- saving ---


def test_pictures_are_saved_under_names_made_of_ids(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "new")
    file = folder.save_picture(PictureMessage("skye", "d.1", INCIDENT, "heatmap", PNG))
    assert file == tmp_path / "new" / "skye" / "d.1" / f"{INCIDENT}-heatmap.png"
    assert file.read_bytes() == PNG
    assert [path.name for path in file.parent.iterdir()] == [file.name], "no part is left over"


def test_saving_stops_before_the_disk_is_full(tmp_path: Path) -> None:
    folder = Folder(tmp_path, max_bytes=100)
    assert folder.save_picture(PictureMessage("s", "d", INCIDENT, "snapshot", JPEG))
    assert folder.save_picture(PictureMessage("s", "d", SESSION, "snapshot", JPEG)) is None
    assert folder.refused == 1


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"^cannot write .*; see --save$"):
        Folder(tmp_path / "file" / "folder")


# --- the verb ---


class Watch:
    """One `skerry watch` process."""

    def __init__(self, *options: str) -> None:
        arguments = [sys.executable, "-m", "skerry", "watch", *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SKERRY_")}
        self.process = subprocess.Popen(arguments, env=environment, **pipes)  # type: ignore[call-overload]
        self.broker: list[str] = []

    def lines(self, count: int) -> list[dict[str, object]]:
        """The next messages; what is said of the connection in between is kept in `broker`."""
        told: list[dict[str, object]] = []
        while len(told) < count:
            line = json.loads(self.process.stdout.readline())
            if line["type"] == "broker":
                self.broker.append(line["state"])
            else:
                told.append(line)
        return told

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@pytest.fixture
def speaker(mosquitto: Mosquitto):
    listener = Listener(mosquitto.start().port, "skerry/#").wait()
    yield listener
    listener.close()


def say(speaker: Listener, message: Event | Status) -> None:
    topics = Topics(message.site, message.drone)
    is_event = isinstance(message, Event)
    speaker.publish(topics.event if is_event else topics.status, message.to_json(), retain=not is_event)


@pytest.mark.broker
def test_watch_survives_a_restart_of_the_broker_and_junk_and_saves(
    mosquitto: Mosquitto, speaker: Listener, tmp_path: Path
) -> None:
    say(speaker, status("online", "started"))
    watch = Watch("--broker", mosquitto.uri, "--json", "--count", "3", "--save", str(tmp_path / "kept"))
    (first,) = watch.lines(1)
    assert (first["type"], first["state"]) == ("status", "online")
    say(speaker, event(1))
    speaker.publish(Topics("skye", "d1").picture(INCIDENT, "snapshot"), JPEG)
    got = watch.lines(2)
    assert [line["type"] for line in got] == ["event", "snapshot"]
    assert Path(str(got[1]["file"])).read_bytes() == JPEG
    mosquitto.stop()
    mosquitto.start()
    assert watch.lines(1)[0]["type"] == "status", "the retained status again, after the restart"
    until(lambda: speaker._client.is_connected())
    for n in range(200):
        speaker.publish("skerry/v1/skye/d1/event", os.urandom(n))
    assert {line["type"] for line in watch.lines(200)} == {"malformed"}
    say(speaker, event(1))
    say(speaker, event(2))
    say(speaker, event(3))
    assert [line["sequence"] for line in watch.lines(2)] == [2, 3], "the repeated one is not told again"
    link = "".join("+" if state.startswith("connected") else "-" for state in watch.broker)
    assert "+-" in link, "a pipe is told that the connection was gone"
    assert link.endswith("+")
    code, _, err = watch.finish()
    assert code == 0
    assert "Traceback" not in err
    assert "200 malformed messages" in err
    kept = (tmp_path / "kept" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["sequence"] for line in kept] == [1, 2, 3]


@pytest.mark.broker
def test_watch_without_a_terminal_prints_a_line_per_event(mosquitto: Mosquitto, speaker: Listener) -> None:
    say(speaker, status("online", "started"))
    watch = Watch("--broker", mosquitto.uri, "--count", "1")
    assert "skye/d1  online  started" in watch.process.stdout.readline()
    say(speaker, event(historical=True))
    assert watch.process.stdout.readline().endswith(
        "skye/d1  begin  high  score 2.5 / 1  boxes 1: 120,44 32x18  late\n"
    )
    assert watch.finish() == (0, "", "")


@pytest.mark.broker
def test_a_reader_that_has_seen_enough_ends_watch_quietly(mosquitto: Mosquitto, speaker: Listener) -> None:
    say(speaker, status("online", "started"))
    watch = Watch("--broker", mosquitto.uri, "--json")
    watch.lines(1)
    watch.process.stdout.close()
    say(speaker, event(1))
    assert watch.process.wait(10) == 0
    assert watch.process.stderr.read() == ""


@pytest.mark.broker
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_watch_stops_as_asked(mosquitto: Mosquitto, speaker: Listener, asked: signal.Signals) -> None:
    say(speaker, status("online", "started"))
    watch = Watch("--broker", mosquitto.uri, "--json")
    watch.lines(1)
    watch.process.send_signal(asked)
    assert watch.finish() == (0, "", "")


@pytest.mark.broker
def test_a_refused_login_ends_watch_with_a_sentence(mosquitto: Mosquitto) -> None:
    mosquitto.start(mosquitto.require_login("operator", "secret"))
    code, _, err = Watch("--broker", mosquitto.uri).finish()
    assert code == 70
    assert err.splitlines()[-1].startswith(f"skerry: broker {mosquitto.uri} refuses the login")
    assert "Traceback" not in err


def test_a_broker_that_is_not_there_is_waited_for_and_said_once() -> None:
    code, out, err = Watch("--broker", f"mqtt://127.0.0.1:{free_port()}", "--for", "2").finish()
    assert (code, out) == (0, "")
    assert err.count("is not there") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--broker", "mqtt://203.0.113.9"), "use mqtts://"),
        (("--broker", "mqtts://me:secret@ground.example"), "broker.password_file"),
        (("--site", "a/b"), "--site"),
        (("--for", "-1"), "--for"),
        (("--save", "/dev/null/x"), "cannot write"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_code_2(options: tuple[str, str], words: str) -> None:
    code, _, err = Watch(*options).finish()
    assert code == 2
    assert words in err
    assert "secret" not in err
    assert len(err.splitlines()) == 1


def test_the_ground_needs_nothing_heavy() -> None:
    script = "import ground.cli, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"numpy", "cv2", "onnxruntime", "av", "torch", "train", "export"}
    of_the_edge = {name for name in done.stdout.split() if name.startswith("edge.")}
    assert of_the_edge <= FOR_THE_GROUND


def test_the_settings_read_their_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKERRY_BROKER_URI", "mqtt://127.0.0.1:1999")
    assert WatchSettings.load().broker.port == 1999
