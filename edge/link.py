"""The drone's sender: a thread that carries the outbox to the broker while the flight goes on.

What is put here is on disk first. The thread sends the oldest rows, at most a window of them, and removes
a row when the broker has acknowledged it; what the broker will never take becomes a dead letter, so that
one poisonous message cannot hold up the rest.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from edge.claim import CLAIM_S, Answer, Claim
from edge.clock import Clock, SystemClock
from edge.errors import BrokerError, UsageError
from edge.events import (
    MAX_PICTURE_BYTES,
    Event,
    Health,
    Status,
    Topics,
    WireError,
    mark_historical,
    parse,
)
from edge.mqtt import Backoff, BrokerSettings, Connection, Terms, Will
from edge.outbox import Outbox, OutboxError, Row

log = logging.getLogger("skerry.link")

HISTORICAL_S = 30.0  # an event sent later than this after it was made is history, not an alert
STRIKES = 3  # connections that ended with this one message under way
DRAIN_S = 0.5
FAREWELL_S = 0.2  # for the death's acknowledgement
IDLE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Farewell:
    reason: Literal["stopped", "failed"]
    drained_by: float  # time.monotonic()


class Link:
    """`start`, publish from any thread, `close`. While the broker is away everything waits in the outbox."""

    def __init__(
        self,
        settings: BrokerSettings,
        topics: Topics,
        session: UUID,
        outbox: Outbox,
        birth: Status,
        clock: Clock | None = None,
        *,
        backoff: Backoff | None = None,
        claim_s: float = CLAIM_S,
    ) -> None:
        """Raises SettingsError for a password, certificate or key file that cannot be used."""
        self.topics, self.session, self._outbox = topics, session, outbox
        claim = Claim(session, clock or SystemClock(), claim_s)
        self._sender = _Sender(settings, topics, session, outbox, birth, claim, backoff)
        self._thread = threading.Thread(target=self._sender.run, name="link", daemon=True)

    def start(self) -> None:
        """Returns at once; the broker may be absent."""
        self._thread.start()

    def publish(self, topic: str, payload: bytes) -> None:
        """On disk when this returns; on its way as soon as it can be read again."""
        self._outbox.put(topic, payload, readable=self._sender.connection.wake)

    def publish_event(self, event: Event) -> None:
        self.publish(self.topics.event, event.to_json())

    def publish_health(self, health: Health) -> None:
        """Sent now or never."""
        self._sender.health = health.to_json()
        self._sender.connection.wake()

    def close(self, reason: Literal["stopped", "failed"] = "stopped", drain_s: float = DRAIN_S) -> None:
        """Give the outbox `drain_s` to empty, say goodbye; what is left is sent by the next session."""
        if not self._thread.is_alive():
            return
        self._sender.farewell = _Farewell(reason, time.monotonic() + drain_s)
        self._sender.connection.wake()
        self._thread.join(drain_s + FAREWELL_S + 0.3)

    @property
    def connected(self) -> bool:
        return self._sender.connection.up

    @property
    def trouble(self) -> BrokerError | None:
        """Why we are not connected, if we are not and an attempt has failed; logged once by itself."""
        return self._sender.connection.trouble

    @property
    def rival(self) -> UUID | None:
        """The session that already flies under this drone's name; the link has then ended."""
        return self._sender.rival

    def check(self) -> None:
        """Raises UsageError when another daemon flies under this name, BrokerError when the sender died."""
        if self.rival is not None:
            raise UsageError(
                f"another daemon already flies as {self.topics.base} (session {self.rival}); stop that "
                "one or give this one another name with --drone"
            )
        if self._sender.broken:
            raise BrokerError("the sender stopped by a fault of its own; the traceback above says where")


class _Sender:
    """Everything that belongs to the thread; the peer of the connection."""

    def __init__(
        self,
        settings: BrokerSettings,
        topics: Topics,
        session: UUID,
        outbox: Outbox,
        birth: Status,
        claim: Claim,
        backoff: Backoff | None,
    ) -> None:
        self._topics, self._session, self._outbox = topics, session, outbox
        self._birth, self._claim = birth, claim
        client_id = f"skerry-{topics.drone}-{session.hex}"
        will = Will(topics.status, self._death("lost").to_json())
        self.connection = Connection(settings, client_id, self, will=will, backoff=backoff)
        self.health: bytes | None = None
        self.farewell: _Farewell | None = None
        self.rival: UUID | None = None
        self.broken = False
        self._done = False
        self._terms = Terms()
        self._greeted = False  # our birth was answered on this connection
        self._status_mid: int | None = None
        self._death_sent_at: float | None = None
        self._flight: dict[int, Row] = {}  # by message id
        self._newest = 0  # id of the newest row sent on this connection
        self._acknowledged: list[int] = []  # to be removed from the outbox after the turn
        self._refused: list[tuple[int, str]] = []  # to become dead letters after the turn
        self._careful_to = 0  # up to this id one at a time, to find the message that ends connections
        self._strikes: dict[int, int] = {}
        self._disk_trouble = False

    def run(self) -> None:
        try:
            while not self._done:
                self.connection.turn(0.05 if self.farewell else IDLE_S)
                self._step()
        finally:
            if not self._done:  # the traceback follows, from threading.excepthook
                self.broken = True
                log.critical("the sender stops by a fault of its own; what is not sent stays in the outbox")
            self.connection.close()

    # --- the connection's peer ---

    def connected(self, terms: Terms) -> None:
        self._terms = terms
        self._newest, self._greeted = 0, False
        self._flight.clear()
        self._claim.connected()
        # Subscribed before born: what is retained at that moment shows whether someone flew before us.
        self.connection.subscribe([(self._topics.status, 1)])
        self._send_status(self._birth)

    def lost(self, trouble: BrokerError, by_broker: bool) -> None:
        if by_broker and self._greeted and self._flight:
            self._suspect()
        self._flight.clear()

    def acknowledged(self, mid: int, refusal: str | None) -> None:
        if mid == self._status_mid:
            self._greeted, self._status_mid = True, None
            if refusal:
                log.error("the broker refuses our status on %s: %s", self._topics.status, refusal)
            return
        row = self._flight.pop(mid, None)
        if row is None:
            return
        if refusal:
            self._refuse(row, f"the broker refused it: {refusal}")
        else:
            self._acknowledged.append(row.id)
        self._strikes.pop(row.id, None)

    def received(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            status = parse(topic, payload)
        except WireError as error:
            log.warning("our own status topic holds something else: %s", error)
            return
        if self.farewell or not isinstance(status, Status):
            return
        answer = self._claim.hears(status, retained)
        if answer is Answer.YIELD:
            self.rival = status.session
            self._finish()
        elif answer is Answer.REPEAT:
            log.warning(
                "session %s spoke as this drone (%s); repeating our birth", status.session, status.state
            )
            self._send_status(self._birth)

    def subscribed(self, refusal: str | None) -> None:
        if refusal:
            log.warning("the broker hides our own status (%s): a second daemon would go unnoticed", refusal)

    # --- between turns ---

    def _step(self) -> None:
        if self._done:
            return
        try:
            if self._greeted and self.connection.up:
                self._pump()
            self._settle()
            if self.farewell:
                self._take_leave(self.farewell)
            self._disk_trouble = False
        except OutboxError as error:
            if not self._disk_trouble:
                log.error("%s", error)
            self._disk_trouble = True
            if self.farewell:
                self._finish()
        health, self.health = self.health, None
        if health and not self._done:
            self.connection.publish(self._topics.health, health, qos=0)

    def _settle(self) -> None:
        if self._acknowledged:
            self._outbox.remove(*self._acknowledged)
            self._acknowledged.clear()
        while self._refused:
            self._outbox.refuse(*self._refused[0])
            self._refused.pop(0)

    def _pump(self) -> None:
        """Fill the window with the oldest rows not sent yet."""
        while True:
            room = self._window() - len(self._flight)
            rows = self._outbox.read(after=self._newest, limit=room) if room > 0 else []
            if not rows or not all(self._send(row) for row in rows):
                return

    def _window(self) -> int:
        suspects = any(row.id <= self._careful_to for row in self._flight.values())
        return 1 if suspects or self._newest < self._careful_to else self._terms.window

    def _send(self, row: Row) -> bool:
        """False when the connection takes nothing now."""
        try:
            payload = self._as_sent(row)
            if len(payload) > MAX_PICTURE_BYTES or not self._terms.fits(row.topic, payload):
                raise ValueError(f"{len(payload)} bytes are more than the broker or the ground takes")
            mid = self.connection.publish(row.topic, payload, retain=row.retain)
        except ValueError as error:  # too large, not JSON, or no topic: a damaged row
            self._refuse(row, str(error))
            return True
        if mid is None:
            return False
        self._flight[mid] = row
        self._newest = row.id
        return True

    def _as_sent(self, row: Row) -> bytes:
        late = row.inherited or row.age_s > HISTORICAL_S
        return mark_historical(row.payload) if late and row.topic == self._topics.event else row.payload

    def _refuse(self, row: Row, reason: str) -> None:
        log.error("message %d on %s becomes a dead letter: %s", row.id, row.topic, reason)
        self._newest = max(self._newest, row.id)
        self._refused.append((row.id, reason))

    def _suspect(self) -> None:
        """The broker hung up on us: one of these messages may be why, so they go one at a time."""
        rows = list(self._flight.values())
        self._careful_to = max(self._careful_to, *(row.id for row in rows))
        if len(rows) > 1:
            return
        row = rows[0]
        self._strikes[row.id] = self._strikes.get(row.id, 0) + 1
        if self._strikes[row.id] >= STRIKES:
            del self._strikes[row.id]
            self._refuse(row, f"{STRIKES} connections ended when it was sent")

    def _send_status(self, status: Status) -> None:
        payload = status.to_json()
        if not self._terms.fits(self._topics.status, payload):
            log.error("our status does not fit into the broker's %d bytes", self._terms.max_packet)
            self._greeted = True
            return
        self._status_mid = self.connection.publish(self._topics.status, payload, retain=self._terms.retain)

    def _death(self, reason: Literal["lost", "stopped", "failed"]) -> Status:
        site, drone = self._topics.site, self._topics.drone
        return Status(site=site, drone=drone, session=self._session, state="offline", reason=reason)

    def _take_leave(self, farewell: _Farewell) -> None:
        now = time.monotonic()
        if self._death_sent_at is not None:
            if self._status_mid is None or now > self._death_sent_at + FAREWELL_S or not self.connection.up:
                self._finish()
        elif not self.connection.up:
            if self.connection.trouble or now > farewell.drained_by:
                self._finish()
        elif now > farewell.drained_by or not self._outbox.depth():
            self._death_sent_at = now
            self._send_status(self._death(farewell.reason))

    def _finish(self) -> None:
        self._done = True
        self.connection.close()
