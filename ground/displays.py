"""How what arrives is shown: a live table, JSON lines for pipes, plain lines where there is no terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any, Protocol

from rich.console import Console
from rich.live import Live

from edge.clock import Clock
from edge.events import Health, PictureMessage, Status
from ground.table import boxes_text, latency_text, render
from ground.view import GroundView, Now, Received


class Display(Protocol):
    """`file` is where a picture was saved."""

    def show(self, received: Received, now: Now, file: Path | None) -> None: ...
    def malformed(self, topic: str, reason: str) -> None: ...
    def refresh(self, broker: str) -> None: ...
    def close(self) -> None: ...


def as_json(received: Received, now: Now, file: Path | None = None) -> dict[str, Any]:
    """One line of `--json` and of events.jsonl."""
    message = received.message
    line: dict[str, Any] = {"type": type(message).__name__.lower(), "received": now.utc.isoformat()}
    if received.latency_s is not None:
        line["latency_ms"] = round(received.latency_s * 1e3, 1)
    if isinstance(message, PictureMessage):
        line |= {"type": message.kind, "site": message.site, "drone": message.drone, "id": str(message.id)}
        line |= {"bytes": len(message.data)} | ({"file": str(file)} if file else {})
        return line
    return line | message.model_dump(mode="json", exclude_none=True)


class JsonLines:
    """For pipes. Lines of type `broker` say how the connection is: without it silence means nothing."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._broker = ""

    def show(self, received: Received, now: Now, file: Path | None) -> None:
        self._write(as_json(received, now, file))

    def malformed(self, topic: str, reason: str) -> None:
        self._write({"type": "malformed", "topic": topic[:200], "reason": reason})

    def refresh(self, broker: str) -> None:
        if broker != self._broker:
            self._broker = broker
            self._write({"type": "broker", "state": broker})

    def close(self) -> None:
        self._out.flush()

    def _write(self, line: dict[str, Any]) -> None:
        self._out.write(json.dumps(line) + "\n")  # ASCII: whatever a stranger sent is escaped
        self._out.flush()


class PlainLines:
    """For a log or a pipe: one line for each event and each change of a drone's state."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def show(self, received: Received, now: Now, file: Path | None) -> None:
        message = received.message
        if isinstance(message, (Health, PictureMessage)):
            return
        words = [f"{now.utc:%H:%M:%S}", f"{message.site}/{message.drone}"]
        if isinstance(message, Status):
            words += [message.state, message.reason]
        else:
            words += [message.phase.value, message.severity.value]
            words += [f"score {message.score:.3g} / {message.threshold:.3g}", f"boxes {boxes_text(message)}"]
            words += ["late" if message.historical else f"latency {latency_text(received.latency_s)}"]
        self._out.write("  ".join(words) + "\n")
        self._out.flush()

    def malformed(self, topic: str, reason: str) -> None:
        """Counted, and told at the end: a flood of junk must not become a flood of lines."""

    def refresh(self, broker: str) -> None:
        """Nothing to redraw."""

    def close(self) -> None:
        self._out.flush()


class LiveTable:
    """Redrawn in place."""

    def __init__(self, view: GroundView, clock: Clock, console: Console | None = None) -> None:
        self._view, self._clock = view, clock
        self._live = Live(console=console or Console(), auto_refresh=False, vertical_overflow="crop")

    def show(self, received: Received, now: Now, file: Path | None) -> None:
        """`refresh` shows it."""

    def malformed(self, topic: str, reason: str) -> None:
        """In the account below the tables."""

    def refresh(self, broker: str) -> None:
        self._live.start()  # does nothing when it runs already
        now = Now(self._clock.monotonic_ns(), self._clock.utc())
        rows = max(self._live.console.height - 14, 4)
        self._live.update(render(self._view, now, broker, rows), refresh=True)

    def close(self) -> None:
        self._live.stop()
