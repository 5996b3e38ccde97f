"""The ground's end of the connection: every message goes to the view, the folder and the display."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from uuid import uuid4

from edge.clock import Clock
from edge.errors import BrokerError
from edge.events import Event, PictureMessage, subscriptions
from edge.mqtt import BrokerSettings, Connection, LoginError, Terms
from ground.displays import Display, as_json
from ground.keep import Folder
from ground.view import GroundView, Now, Received

REFRESH_S = 0.25


class Station:
    """The connection's peer; everything happens in the thread that calls `run`."""

    def __init__(
        self,
        broker: BrokerSettings,
        filters: tuple[str, str],
        display: Display,
        view: GroundView,
        clock: Clock,
        folder: Folder | None = None,
    ) -> None:
        """`filters`: site and drone, + for all. Raises SettingsError for files that cannot be used."""
        self._broker, self._filters, self._display = broker, filters, display
        self._view, self._clock, self._folder = view, clock, folder
        self.connection = Connection(broker, f"skerry-watch-{uuid4().hex}", self)
        self._ever_connected = False
        self._refused: BrokerError | None = None
        self._wanted: int | None = None
        self._events = 0

    def run(self, seconds: float | None = None, events: int | None = None) -> None:
        """For that long, until so many events came, or without end. Raises BrokerError when the broker
        refuses us from the beginning."""
        self._wanted = events
        ends = time.monotonic() + (math.inf if seconds is None else seconds)
        next_refresh = 0.0
        while not self._enough() and time.monotonic() < ends:
            if time.monotonic() >= next_refresh:
                self._display.refresh(self.broker_text())
                next_refresh = time.monotonic() + REFRESH_S
            self.connection.turn(REFRESH_S)
            if self._refused:
                raise self._refused
        self._display.refresh(self.broker_text())

    def close(self) -> None:
        self.connection.close()
        self._display.close()
        if self._folder:
            self._folder.close()

    def broker_text(self) -> str:
        if self.connection.up:
            return f"connected to broker {self._broker.uri}"
        return str(self.connection.trouble or f"connecting to broker {self._broker.uri}")

    def _enough(self) -> bool:
        return self._wanted is not None and self._events >= self._wanted

    # --- the connection's peer ---

    def connected(self, terms: Terms) -> None:
        self._ever_connected = True
        self.connection.subscribe(subscriptions(*self._filters))

    def lost(self, trouble: BrokerError, by_broker: bool) -> None:
        if isinstance(trouble, LoginError) and not self._ever_connected:
            self._refused = trouble
        self._display.refresh(self.broker_text())  # however soon it is back

    def subscribed(self, refusal: str | None) -> None:
        if refusal:
            self._refused = BrokerError(
                f"broker {self._broker.uri} does not let us listen to the drones: {refusal}"
            )
        self._display.refresh(self.broker_text())

    def acknowledged(self, mid: int, refusal: str | None) -> None:
        """We publish nothing."""

    def received(self, topic: str, payload: bytes, retained: bool) -> None:
        if self._enough():
            return
        now = Now(self._clock.monotonic_ns(), self._clock.utc())
        received = self._view.receive(topic, payload, now)
        if received is None:
            self._display.malformed(topic, self._view.last_malformed)
        elif not received.repeated:
            self._display.show(received, now, self._save(received, now))
            self._events += isinstance(received.message, Event)

    def _save(self, received: Received, now: Now) -> Path | None:
        if self._folder is None:
            return None
        if isinstance(received.message, PictureMessage):
            return self._folder.save_picture(received.message)
        if isinstance(received.message, Event):
            self._folder.save_event(json.dumps(as_json(received, now)))
        return None
