"""A real mosquitto on a free loopback port, for tests marked `broker`, and what they publish to it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion


def find_mosquitto(name: str = "mosquitto") -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], object], seconds: float = 10.0, what: str = "") -> None:
    """Wait for another process, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.01)


class Mosquitto:
    """One broker; `start` after `stop` finds its retained messages again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._extra: list[str] = []

    @property
    def uri(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self, *extra: str) -> Mosquitto:
        """`extra`: lines of mosquitto.conf, kept for later starts."""
        self._extra += extra
        anonymous = [] if any("password_file" in line for line in self._extra) else ["allow_anonymous true"]
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {self.folder}/",
        ]
        config = self.folder / "mosquitto.conf"
        # As root mosquitto would become another user, who cannot write here.
        config.write_text("\n".join([*lines, "user root", *anonymous, *self._extra]) + "\n")
        with (self.folder / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen(
                [find_mosquitto() or "", "-c", str(config)], stdout=log, stderr=log
            )
        until(self._answers, what=f"mosquitto to listen; see {self.folder}/mosquitto.log")
        return self

    def require_login(self, username: str, password: str) -> str:
        """The configuration line that does it."""
        file = self.folder / "passwords"
        tool = find_mosquitto("mosquitto_passwd")
        assert tool is not None
        subprocess.run([tool, "-b", "-c", str(file), username, password], check=True, capture_output=True)
        return f"password_file {file}"

    def stop(self, *, kill: bool = False) -> None:
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(10)
            self.process = None

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "mosquitto.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Listener:
    """An independent subscriber that records (topic, payload, retained) of everything.

    With a `session` the broker keeps for it what comes while it is away.
    """

    def __init__(self, port: int, topic: str = "#", session: str = "") -> None:
        self.got: list[tuple[str, bytes, bool]] = []
        self._ready = False
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=session, clean_session=not session)
        self._client.reconnect_delay_set(0.02, 0.05)  # type: ignore[arg-type]
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._record
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def wait(self) -> Listener:
        until(lambda: self._ready, what="the listener to be subscribed")
        return self

    def payloads(self, topic: str) -> list[bytes]:
        return [payload for at, payload, _ in self.got if at == topic]

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribed(self, *_: object) -> None:
        self._ready = True

    def _record(self, client: Client, _: object, message: MQTTMessage) -> None:
        self.got.append((message.topic, bytes(message.payload), message.retain))
