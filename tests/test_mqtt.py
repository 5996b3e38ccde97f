"""The broker's settings, and one connection against brokers that are not what they should be."""

from __future__ import annotations

import os
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.broker import make_client
from edge.errors import BrokerError, SettingsError
from edge.mqtt import Backoff, BrokerSettings, Connection, LoginError, Terms, Will
from edge.options import Options
from tests.broker import Mosquitto, free_port

QUICK = Backoff(0.02, 0.1)


class Recorder:
    """A peer that records what it is told."""

    def __init__(self) -> None:
        self.terms: list[Terms] = []
        self.troubles: list[tuple[BrokerError, bool]] = []
        self.acknowledgements: list[tuple[int, str | None]] = []
        self.messages: list[tuple[str, bytes, bool]] = []
        self.subscriptions: list[str | None] = []

    def connected(self, terms: Terms) -> None:
        self.terms.append(terms)

    def lost(self, trouble: BrokerError, by_broker: bool) -> None:
        self.troubles.append((trouble, by_broker))

    def acknowledged(self, mid: int, refusal: str | None) -> None:
        self.acknowledgements.append((mid, refusal))

    def received(self, topic: str, payload: bytes, retained: bool) -> None:
        self.messages.append((topic, payload, retained))

    def subscribed(self, refusal: str | None) -> None:
        self.subscriptions.append(refusal)


def turn_until(connection: Connection, condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, connection.trouble
        connection.turn(0.05)


def sentence(**broker: object) -> str:
    class Verb(Options):
        broker: BrokerSettings = BrokerSettings()

    with pytest.raises(SettingsError) as caught:
        Verb.load({"broker": broker})
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("uri", "host", "port", "tls", "loopback"),
    [
        ("mqtt://127.0.0.1", "127.0.0.1", 1883, False, True),
        ("mqtt://localhost:1234", "localhost", 1234, False, True),
        ("mqtt://[::1]:1883/", "::1", 1883, False, True),
        ("mqtts://ground.example", "ground.example", 8883, True, False),
        ("mqtts://[2001:db8::1]:443", "2001:db8::1", 443, True, False),
    ],
)
def test_a_uri_names_host_port_and_encryption(
    uri: str, host: str, port: int, tls: bool, loopback: bool
) -> None:
    broker = BrokerSettings(uri=uri)
    assert (broker.host, broker.port, broker.tls, broker.loopback) == (host, port, tls, loopback)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "localhost",
        "tcp://localhost",
        "mqtt://",
        "mqtt://a b",
        "mqtt://h:port",
        "mqtt://h:0",
        "mqtt://h:99999",
        "mqtt://h/topic",
        "mqtt://h\n",
        "mqtts://h#",
        "mqtt://[::1",
    ],
)
def test_anything_else_is_refused_with_a_sentence(uri: str) -> None:
    assert "broker.uri" in sentence(uri=uri)


def test_no_login_is_taken_from_a_uri_and_none_is_repeated() -> None:
    told = sentence(uri="mqtts://pilot:hunter2@ground.example")
    assert "broker.password_file" in told
    assert "hunter2" not in told
    with pytest.raises(ValidationError) as caught:
        BrokerSettings(uri="mqtts://pilot:hunter2@ground.example")
    assert "hunter2" not in str(caught.value)


def test_plaintext_leaves_this_machine_only_when_asked_to() -> None:
    told = sentence(uri="mqtt://ground.example")
    assert "mqtts://" in told
    assert "allow_plaintext" in told
    assert not BrokerSettings(uri="mqtt://ground.example", allow_plaintext=True).tls


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"ca_file": "/ca.pem"}, "need mqtts://"),
        ({"uri": "mqtts://h", "cert_file": "/c.pem"}, "together"),
        ({"password_file": "/p"}, "needs broker.username"),
        ({"keepalive": 0}, "broker.keepalive"),
        ({"protocol": "4"}, "broker.protocol"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, object], word: str) -> None:
    assert word in sentence(**given)


def test_the_protocol_may_be_a_number_in_the_file() -> None:
    assert BrokerSettings(protocol=5).protocol == "5"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "word"), [(None, "No such file"), (b"\n", "is empty"), (b"\xff\xfe", "not text")]
)
def test_a_password_file_that_gives_no_password_is_an_error_at_start(
    tmp_path: Path, content: bytes | None, word: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=word):
        Connection(BrokerSettings(username="d", password_file=file), "c", Recorder())


def test_a_bare_name_is_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mqtt-password").write_text("s3cret pass\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    client = make_client(BrokerSettings(username="d", password_file=Path("mqtt-password")), "c")
    assert client.password == "s3cret pass"


@pytest.mark.parametrize("spoil", ["missing", "not a certificate"])
def test_certificate_files_that_cannot_be_used_are_an_error_at_start(tmp_path: Path, spoil: str) -> None:
    file = tmp_path / "ca.pem"
    if spoil != "missing":
        file.write_text("hello")
    with pytest.raises(SettingsError, match=str(file)):
        make_client(BrokerSettings(uri="mqtts://h", ca_file=file), "c")


def test_packet_sizes_are_counted_as_mqtt_5_counts_them() -> None:
    # Fixed header 2, topic 2 + 3, id 2, properties 1, payload 100.
    assert Terms(max_packet=110).fits("a/b", bytes(100))
    assert not Terms(max_packet=109).fits("a/b", bytes(100))
    assert Terms(max_packet=3 + 8 + 200).fits("a/b", bytes(200))
    assert not Terms(max_packet=2 + 8 + 200).fits("a/b", bytes(200))


def test_backoff_doubles_to_its_limit_and_differs_between_drones() -> None:
    backoff = Backoff(1, 30)
    waits = [[backoff.wait_s(failures) for _ in range(50)] for failures in (0, 1, 4, 5, 1000)]
    for wait, longest in zip(waits, (1, 2, 16, 30, 30), strict=True):
        assert longest / 2 <= min(wait) < max(wait) <= longest


def test_a_broker_that_is_not_there_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    peer = Recorder()
    connection = Connection(BrokerSettings(uri=f"mqtt://127.0.0.1:{free_port()}"), "c", peer, backoff=QUICK)
    turn_until(connection, lambda: len(peer.troubles) == 3)
    assert "is not there: Connection refused" in str(connection.trouble)
    assert len([record for record in caplog.records if record.name == "skerry.mqtt"]) == 1
    connection.close()


class Impostor(socketserver.TCPServer):
    """Answers each connection with the next of its answers, then with silence."""

    allow_reuse_address = True

    def __init__(self, answers: list[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.answers = answers
        self.uri = f"mqtt://127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        with suppress(OSError):  # the client may hang up at any time
            request.recv(4096)
            request.sendall(self.answers.pop(0) if self.answers else b"")


@pytest.fixture
def impostor() -> Iterator[Impostor]:
    with Impostor([]) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


def test_what_is_not_a_broker_is_trouble_and_no_crash(impostor: Impostor) -> None:
    connack = b"\x20\x03\x00\x00\x00"
    impostor.answers = [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\x03\x00\x00\x7f",  # properties longer than the packet
        b"\x20\xff\xff\xff\xff\xff",  # a length that never ends
        b"\x20\x03\x00\xee\x00",  # an unknown reason
        connack + b"\x30\x02\x00\x09",  # a publish whose topic is longer than the packet
        connack + b"\x40\x01\x00",  # half an id
        connack + b"\xf0\x00" + bytes(64),
        os.urandom(300),
    ]
    attempts = len(impostor.answers)
    peer = Recorder()
    connection = Connection(BrokerSettings(uri=impostor.uri), "c", peer, backoff=QUICK)
    turn_until(connection, lambda: len(peer.troubles) >= attempts)
    for trouble, _ in peer.troubles:
        assert "\n" not in str(trouble)
        assert f"broker {impostor.uri}" in str(trouble)
    connection.close()


@settings(max_examples=60, deadline=None)
@given(
    answer=st.one_of(
        st.binary(max_size=80),
        st.binary(max_size=80).map(lambda rest: b"\x20\x03\x00\x00\x00" + rest),
        st.tuples(st.integers(0, 255), st.binary(max_size=60)).map(
            lambda packet: bytes((0x20, 3, 0, 0, 0, packet[0], len(packet[1]))) + packet[1]
        ),
    ),
    protocol=st.sampled_from(["5", "3.1.1"]),
)
def test_no_bytes_from_the_other_end_raise(answer: bytes, protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        peer = Recorder()
        connection = Connection(BrokerSettings(uri=uri, protocol=protocol), "c", peer)
        connection.turn(1.0)
        client, _ = server.accept()
        with client:
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
            turn_until(connection, lambda: peer.troubles)
        connection.close()


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_refused_login_is_said_once_and_tried_again_with_the_file_as_it_then_is(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    mosquitto.start(mosquitto.require_login("drone", "right horse"))
    password = tmp_path / "password"
    password.write_text("wrong horse\n")
    peer = Recorder()
    broker = BrokerSettings(uri=mosquitto.uri, protocol=protocol, username="drone", password_file=password)
    connection = Connection(broker, "c", peer, backoff=QUICK)
    turn_until(connection, lambda: len(peer.troubles) == 3)
    assert isinstance(connection.trouble, LoginError)
    assert "refuses the login" in str(connection.trouble)
    assert caplog.text.count("refuses the login") == 1
    assert "horse" not in caplog.text
    password.write_text("right horse\n")
    turn_until(connection, lambda: peer.terms)
    assert connection.trouble is None
    connection.close()


def make_certificates(folder: Path) -> None:
    """An authority and a server certificate for 127.0.0.1."""
    steps = [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2"
        " -subj /CN=authority",
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr"
        " -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -days 2"
        " -out server.pem",
    ]
    for step in steps:
        subprocess.run(["openssl", *step.split()], cwd=folder, check=True, capture_output=True)


@pytest.mark.broker
def test_tls_is_spoken_to_a_trusted_broker_and_refused_to_another(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    make_certificates(tmp_path)
    mosquitto.start(f"certfile {tmp_path}/server.pem", f"keyfile {tmp_path}/server.key")
    uri = mosquitto.uri.replace("mqtt:", "mqtts:")
    stranger = Connection(BrokerSettings(uri=uri), "c", peer := Recorder(), backoff=QUICK)
    turn_until(stranger, lambda: peer.troubles)
    assert "certificate is not trusted" in str(stranger.trouble)
    stranger.close()
    peer = Recorder()
    connection = Connection(BrokerSettings(uri=uri, ca_file=tmp_path / "ca.pem"), "c", peer, backoff=QUICK)
    turn_until(connection, lambda: peer.terms)
    connection.subscribe([("a/#", 1)])
    for n in range(30):  # many records in one TLS read: what select cannot see must still arrive
        connection.publish("a/b", b"%d" % n)
    turn_until(connection, lambda: len(peer.messages) == 30)
    assert [payload for _, payload, _ in peer.messages] == [b"%d" % n for n in range(30)]
    connection.close()


@pytest.mark.broker
def test_a_wait_ends_when_another_thread_wakes_it(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    peer = Recorder()
    connection = Connection(BrokerSettings(uri=mosquitto.uri), "c", peer)
    turn_until(connection, lambda: peer.terms)
    begun = time.monotonic()
    threading.Timer(0.05, connection.wake).start()
    connection.turn(1.0)
    assert time.monotonic() - begun < 0.9
    connection.close()
    connection.wake()  # nobody waits any more; no error


@pytest.mark.broker
def test_a_goodbye_keeps_the_last_will_unsent(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    listener, dying = Recorder(), Recorder()
    ear = Connection(BrokerSettings(uri=mosquitto.uri), "ear", listener)
    turn_until(ear, lambda: listener.terms)
    ear.subscribe([("#", 1)])
    turn_until(ear, lambda: listener.subscriptions)
    for say_goodbye in (True, False):
        will = Will("will", b"goodbye" if say_goodbye else b"killed")
        connection = Connection(BrokerSettings(uri=mosquitto.uri), f"c{say_goodbye}", dying, will=will)
        known = len(dying.terms)
        turn_until(connection, lambda known=known: len(dying.terms) > known)
        if say_goodbye:
            connection.close()
        else:
            sock = connection._client.socket()  # type: ignore[union-attr]
            sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
    turn_until(ear, lambda: listener.messages)
    assert [payload for _, payload, _ in listener.messages] == [b"killed"]
    ear.close()
