"""One connection to the broker; paho's errors and reason codes become sentences here.

`Connection` drives one paho client from the one thread that calls `turn`: paho's callbacks only note
what happened, and the peer hears of it afterwards, outside paho. A new client is made for every attempt,
so nothing of an old connection (queue, message ids, password) outlives it.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from paho.mqtt import MQTTException
from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.broker import BrokerSettings as BrokerSettings
from edge.broker import Will as Will
from edge.broker import connect_properties, make_client
from edge.errors import BrokerError, SettingsError

log = logging.getLogger("skerry.mqtt")

MQTT_MAX_PACKET = 268_435_460  # bytes the format can express
WINDOW = 20  # messages sent and not yet acknowledged
ANSWER_S = 5.0  # for the CONNACK
GOODBYE_S = 0.2  # for the DISCONNECT packet to leave
# What paho raises on bytes that are not MQTT.
_NOT_MQTT = (MQTTException, ValueError, IndexError, KeyError, struct.error)

_REFUSALS = {
    0x84: "does not speak this MQTT version; set broker.protocol to the other one (5 or 3.1.1)",
    0x85: "refuses our client id",
    0x86: "refuses the login: wrong username or password",
    0x87: "refuses the login: not authorised",
    0x8A: "has banned this client",
    0x8C: "refuses this way of logging in",
}
# Reasons for which a broker closes a connection whatever was sent over it: busy, shutting down,
# keep alive, taken over, administrative, other server, connect time.
_NOT_OUR_MESSAGE = {0x89, 0x8B, 0x8D, 0x8E, 0x98, 0x9C, 0x9D, 0xA0}


class LoginError(BrokerError):
    """The broker is there and does not want us; it takes a change on either side."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the broker allows, from its CONNACK."""

    max_packet: int = MQTT_MAX_PACKET
    window: int = WINDOW
    retain: bool = True

    def fits(self, topic: str, payload: bytes) -> bool:
        """Whether a QoS 1 publish of this stays within the broker's packet limit."""
        rest = 2 + len(topic.encode()) + 2 + 1 + len(payload)  # topic length, id, empty properties
        varint = 1 + (rest > 127) + (rest > 16_383) + (rest > 2_097_151)
        return 1 + varint + rest <= self.max_packet


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts: doubling from `first` to `longest`, shortened by up to a half at random
    so that a fleet does not return in step."""

    first: float = 1.0
    longest: float = 30.0

    def wait_s(self, failures: int) -> float:
        return min(self.first * 2.0 ** min(failures, 16), self.longest) * random.uniform(0.5, 1.0)


class Peer(Protocol):
    """Who uses a connection; called from `turn`, in the order in which things happened."""

    def connected(self, terms: Terms) -> None: ...

    def lost(self, trouble: BrokerError, by_broker: bool) -> None:
        """Also after an attempt that failed. `by_broker`: it closed an established connection and what
        we sent may be why."""
        ...

    def acknowledged(self, mid: int, refusal: str | None) -> None: ...
    def received(self, topic: str, payload: bytes, retained: bool) -> None: ...
    def subscribed(self, refusal: str | None) -> None: ...


class Connection:
    """Kept up, or tried again, for as long as `turn` is called. Only `wake` is for other threads."""

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        peer: Peer,
        *,
        will: Will | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Raises SettingsError for a password, certificate or key file that cannot be used."""
        self._settings, self._client_id, self._peer, self._will = settings, client_id, peer, will
        self._backoff = backoff or Backoff()
        make_client(settings, client_id, will)  # what a person got wrong is an error now, not in flight
        self._client: Client | None = None
        self._notes: deque[Callable[[], None]] = deque()
        self._ending: tuple[BrokerError, bool] | None = None
        self._failures, self._next_attempt, self._answer_by = 0, 0.0, 0.0
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self.up = False
        self.trouble: BrokerError | None = (
            None  # why we are not connected; None before the first attempt ends
        )

    def wake(self) -> None:
        """End a `turn` that waits in another thread."""
        try:
            self._waker.send(b"\0")
        except OSError:  # full: it is awake already; closed: nobody waits
            return

    def turn(self, timeout_s: float) -> None:
        """Attempt, read, write or wait, then tell the peer. Takes at most `timeout_s`, an attempt
        CONNECT_TIMEOUT_S."""
        rest_s = self._next_attempt - time.monotonic()
        if self._client is not None:
            self._serve(self._client, min(timeout_s, 1.0))
        elif rest_s > 0:
            self._wait([], [], min(rest_s, timeout_s))
        else:
            self._attempt()
        while self._notes:
            self._notes.popleft()()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> int | None:
        """The message id, or None when it was not sent."""
        if not self.up or self._client is None:
            return None
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        return None if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE else info.mid

    def subscribe(self, filters: Sequence[tuple[str, int]]) -> None:
        if self.up and self._client is not None:
            self._client.subscribe(list(filters))

    def close(self) -> None:
        """Say goodbye, so that the will is not sent. The connection cannot be used again."""
        client, self._client, self.up = self._client, None, False
        self._notes.clear()
        if client is not None:
            _say_goodbye(client)
        self._waker.close()
        self._woken.close()

    def _attempt(self) -> None:
        settings = self._settings
        try:
            client = make_client(settings, self._client_id, self._will)
            client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
            client.on_publish, client.on_subscribe = self._on_publish, self._on_subscribe
            client.on_message = self._on_message
            client.connect(
                settings.host, settings.port, settings.keepalive, properties=connect_properties(settings)
            )
        except SettingsError as error:  # a file that was there at start is gone
            self._failed(BrokerError(str(error)), by_broker=False)
        except (OSError, ValueError) as error:
            self._failed(_not_reached(settings, error), by_broker=False)
        else:
            self._client, self._answer_by = client, time.monotonic() + ANSWER_S

    def _serve(self, client: Client, timeout_s: float) -> None:
        sock: Any = client.socket()
        if sock is not None:
            buffered = getattr(sock, "pending", int)()  # TLS may hold decrypted bytes that select cannot see
            want = [sock] if client.want_write() else []
            readable, writable = self._wait([sock], want, 0.0 if buffered else timeout_s)
            self._exchange(client, bool(readable or buffered), bool(writable))
        if self._client is not client:
            return
        sock = client.socket()
        if sock is None:
            trouble, by_broker = self._ending or (_closed(self._settings, "without a word"), self.up)
            self._failed(trouble, by_broker)
        elif not self.up and time.monotonic() > self._answer_by:
            sock.close()
            self._failed(_no_answer(self._settings), by_broker=False)

    def _exchange(self, client: Client, readable: bool, writable: bool) -> None:
        try:
            if readable:
                client.loop_read()
            if writable:
                client.loop_write()
            client.loop_misc()
        except _NOT_MQTT as error:
            self._failed(_closed(self._settings, f"what it sent is not MQTT ({error})"), by_broker=False)

    def _wait(self, read: list[Any], write: list[Any], timeout_s: float) -> tuple[list[Any], list[Any]]:
        readable, writable, _ = select.select([*read, self._woken], write, [], max(timeout_s, 0.0))
        if self._woken in readable:
            readable.remove(self._woken)
            self._woken.recv(4096)
        return readable, writable

    def _failed(self, trouble: BrokerError, by_broker: bool) -> None:
        self._client, self._ending, self.up = None, None, False
        self._next_attempt = time.monotonic() + self._backoff.wait_s(self._failures)
        self._failures += 1
        if str(trouble) != str(self.trouble):  # once, not once an attempt
            log.warning("%s; trying again until it works", trouble)
        self.trouble = trouble
        self._notes.append(partial(self._peer.lost, trouble, by_broker))

    def _progress(self) -> None:
        """An answer to something we sent: not a broker that throws us out as soon as we are in."""
        self._failures = 0

    def _on_connect(self, client: Client, _: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._ending = (_refused(self._settings, reason), False)
            return
        log.info("connected to broker %s", self._settings.uri)
        self.up, self.trouble = True, None
        self._notes.append(partial(self._peer.connected, _terms(properties)))

    def _on_disconnect(
        self, client: Client, _: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if self._ending is None:
            by_broker = self.up and reason.value not in _NOT_OUR_MESSAGE
            told = str(reason) if flags.is_disconnect_packet_from_server else "the connection broke"
            trouble = _closed(self._settings, told) if self.up else _no_answer(self._settings)
            self._ending = (trouble, by_broker)

    def _on_publish(self, client: Client, _: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        self._progress()
        self._notes.append(partial(self._peer.acknowledged, mid, _refusal([reason])))

    def _on_subscribe(
        self, client: Client, _: Any, mid: int, reasons: list[ReasonCode], properties: Any
    ) -> None:
        self._progress()
        self._notes.append(partial(self._peer.subscribed, _refusal(reasons)))

    def _on_message(self, client: Client, _: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # MQTT 3.1.1 lets it through; no topic of ours is spelled like that
            topic = "\N{REPLACEMENT CHARACTER}"
        self._notes.append(partial(self._peer.received, topic, bytes(message.payload), message.retain))


def _terms(properties: Properties) -> Terms:
    """What an MQTT 3.1.1 broker does not say has the default."""
    return Terms(
        getattr(properties, "MaximumPacketSize", MQTT_MAX_PACKET),
        min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW)),
        bool(getattr(properties, "RetainAvailable", 1)),
    )


def _refused(settings: BrokerSettings, reason: ReasonCode) -> BrokerError:
    known = _REFUSALS.get(reason.value)
    if known:
        return LoginError(f"broker {settings.uri} {known}")
    return BrokerError(f"broker {settings.uri} refuses the connection: {reason}")


def _not_reached(settings: BrokerSettings, error: Exception) -> BrokerError:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted ({error.verify_message}); see broker.ca_file"
    else:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return BrokerError(f"broker {settings.uri} is not there: {why}")


def _no_answer(settings: BrokerSettings) -> BrokerError:
    other = {"5": "3.1.1", "3.1.1": "5"}[settings.protocol]
    return BrokerError(
        f"broker {settings.uri} does not answer to MQTT {settings.protocol}; "
        f"if it is one, try broker.protocol = {other}"
    )


def _closed(settings: BrokerSettings, why: str) -> BrokerError:
    return BrokerError(f"broker {settings.uri} has gone: {why}")


def _refusal(reasons: Sequence[ReasonCode]) -> str | None:
    failed = [str(reason) for reason in reasons if reason.is_failure]
    return ", ".join(failed) or None


def _say_goodbye(client: Client) -> None:
    client.disconnect()
    deadline = time.monotonic() + GOODBYE_S
    while client.want_write() and time.monotonic() < deadline:
        sock: Any = client.socket()
        if sock is None:
            return
        select.select([], [sock], [], max(deadline - time.monotonic(), 0.0))
        client.loop_write()
