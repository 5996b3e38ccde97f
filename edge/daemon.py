"""The wiring of `skerry run`: settings -> bundle, source, detector, outbox, link, recorder -> the loop."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.thread import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TextIO

from edge.clock import Clock, SystemClock, boot_id
from edge.collector import uncollected
from edge.errors import SettingsError, SkerryError
from edge.events import Status, Topics, uuid7
from edge.flight import Chosen, Flight, choose, open_flight
from edge.incidents import Incidents
from edge.link import Link
from edge.notify import notify
from edge.outbox import Outbox
from edge.pipeline import FrameSource, patrol
from edge.recorder import FlightRecorder, moment
from edge.settings import Settings
from edge.sources import open_source, redact
from edge.stop import StopSignals

log = logging.getLogger("skerry")

DRAIN_S = 5.0


def run(settings: Settings) -> None:
    """Watch the camera and report what does not belong, until the recording ends or SIGTERM asks to stop."""
    configure_log(settings.log)
    clock = SystemClock()
    with StopSignals() as stop, ExitStack() as stack:
        stack.enter_context(_only_one(settings.state_dir))
        with uncollected():
            flight, source = _opened(settings, clock, stack)
        outbox = stack.enter_context(closing(Outbox(settings.state_dir / "outbox.sqlite")))
        link = _open_link(settings, flight, outbox, clock)
        link.start()
        recorder = _recorder(settings, flight, link, outbox, source, clock)
        log.info("flying %s as %s on %s", flight.name, link.topics.base, redact(settings.source))
        try:
            patrol(source, flight.detector, recorder, stop.wait)
            recorder.finish()
        except SkerryError:
            link.close("failed")
            raise
        notify("STOPPING=1")
        _drain(outbox, stop)
        link.close("stopped")
        log.info("stopped: %d frames scored, %d events", recorder.vitals.frames_scored, recorder.sequence)


def _drain(outbox: Outbox, stop: StopSignals) -> None:
    """After a recording there is time to send what is left; after a signal there is not."""
    deadline = time.monotonic() + DRAIN_S
    while outbox.depth() and time.monotonic() < deadline and not stop.wait(0.02):
        pass


def _opened(settings: Settings, clock: Clock, stack: ExitStack) -> tuple[Flight, FrameSource]:
    """The camera is opened, and its first picture decoded, while the model is loaded."""
    chosen = choose(settings)
    with ThreadPoolExecutor(1, "opening") as beside:
        camera = beside.submit(_open_camera, settings, chosen, clock)
        stack.callback(_close, camera)
        flight = open_flight(chosen, settings, stack)
    return flight, camera.result()


def _open_camera(settings: Settings, chosen: Chosen, clock: Clock) -> FrameSource:
    return open_source(
        settings.source,
        fps=chosen.fps,
        replay=settings.replay,
        folder_fps=settings.folder_fps,
        clock=clock,
        leeway=chosen.leeway,
    )


def _close(camera: Future[FrameSource]) -> None:
    if camera.exception() is None:
        camera.result().close()


def _open_link(settings: Settings, flight: Flight, outbox: Outbox, clock: Clock) -> Link:
    session = uuid7()
    topics = Topics(settings.site, settings.drone)
    birth = Status(
        site=settings.site,
        drone=settings.drone,
        session=session,
        state="online",
        reason="started",
        software=_software(),
        bundle=flight.bundle,
        clip_bundle=flight.clip_bundle,
        runtime=flight.why,
        settings=hashlib.sha256(settings.model_dump_json().encode()).hexdigest(),
        boot_id=boot_id(),
        since=moment(clock, boot_id()),
    )
    return Link(settings.broker, topics, session, outbox, birth, clock)


def _recorder(
    settings: Settings,
    flight: Flight,
    link: Link,
    outbox: Outbox,
    source: FrameSource,
    clock: Clock,
) -> FlightRecorder:
    incidents = Incidents(
        flight.levels,
        persistence=flight.persistence,
        cool_down_s=settings.incidents.cool_down,
        update_s=settings.incidents.update,
    )
    return FlightRecorder(
        topics=link.topics,
        session=link.session,
        bundle=flight.bundle,
        incidents=incidents,
        heat_level=flight.heat_level,
        pictures=settings.pictures,
        ground=link,
        backlog=outbox,
        source=source,
        clock=clock,
        health_interval=settings.health_interval,
    )


@contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    """Hold the state folder: two daemons on one outbox would send each other's events."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        lock = (state_dir / "lock").open("w")
    except OSError as error:
        raise SettingsError(
            f"setting state_dir = {str(state_dir)!r}: {error.strerror}; name a writable folder"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"another `skerry run` holds {state_dir}; stop it, or give this one its own --state-dir"
            ) from None
        yield


def _software() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"skerry {version('skerry')}"
    except PackageNotFoundError:
        return "skerry"


_PRIORITY = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}  # syslog levels, sd-daemon(3)


class _JournalFormatter(logging.Formatter):
    """`<N>` before each line tells the journal how grave it is."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITY.get(record.levelname, 6)}>{super().format(record)}"


def configure_log(level: str, stream: TextIO | None = None) -> None:
    """One line per record on stderr, with a time of day unless the journal adds its own."""
    handler = logging.StreamHandler(stream or sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("skerry")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
