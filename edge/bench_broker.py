"""The broker that a bench publishes to: the one named, or a mosquitto of its own on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError

from edge.bundle import ModelBundle
from edge.clock import Clock, boot_id
from edge.errors import BrokerError, UsageError
from edge.events import Status, Topics
from edge.link import Link
from edge.mqtt import BrokerSettings
from edge.outbox import Outbox
from edge.recorder import moment

START_S = 5.0
_CONFIG = "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"


def find_mosquitto() -> str | None:
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def broker_settings(uri: str) -> BrokerSettings:
    """Raises UsageError."""
    try:
        return BrokerSettings(uri=uri)
    except ValidationError as error:
        raise UsageError(f"--broker: {error.errors(include_url=False)[0]['msg']}") from None


@contextmanager
def own_mosquitto(program: str, folder: Path) -> Iterator[BrokerSettings]:
    """Runs until the context ends. Raises BrokerError where it does not start."""
    port = _free_port()
    config, log = folder / "mosquitto.conf", folder / "mosquitto.log"
    config.write_text(_CONFIG.format(port=port))
    with log.open("wb") as output:
        process = subprocess.Popen([program, "-c", str(config)], stdout=output, stderr=output)
    try:
        _await_port(process, port, log)
        yield BrokerSettings(uri=f"mqtt://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(START_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    said = (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1][:200]
    raise BrokerError(f"mosquitto did not start (it said: {said}); give --broker URI or --broker none")


@contextmanager
def linked(
    settings: BrokerSettings, topics: Topics, session: UUID, bundle: ModelBundle, outbox: Outbox, clock: Clock
) -> Iterator[Link]:
    """The daemon's sender, connected. Raises BrokerError where the broker cannot be reached."""
    birth = Status(
        site=topics.site,
        drone=topics.drone,
        session=session,
        state="online",
        reason="started",
        software="skerry bench",
        bundle=bundle.digest,
        runtime="bench",
        settings=bundle.digest,
        boot_id=boot_id(),
        since=moment(clock, boot_id()),
    )
    link = Link(settings, topics, session, outbox, birth, clock)
    link.start()
    try:
        deadline = time.monotonic() + START_S
        while not link.connected:
            if link.trouble is not None or time.monotonic() > deadline:
                raise BrokerError(str(link.trouble or f"broker {settings.uri} does not answer"))
            time.sleep(0.005)
        yield link
    finally:
        link.close("stopped")
