"""Stopping as asked: SIGTERM and SIGINT end the wait they arrive in.

The C-level handler writes a byte into a socket pair and the wait of the loop is a select on it, so a stop is
noticed at once. Nothing is locked in the handler, and it does not matter which thread the kernel chose: the
numeric libraries start threads of their own at import, in which a blocked signal mask would not hold.
"""

from __future__ import annotations

import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Any

_STOPS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """A context manager for the main thread: `wait(seconds)` says whether to stop.

    A second Ctrl-C forces: after the first signal the old handlers are back.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self._before_fd = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._noted) for number in _STOPS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        signal.set_wakeup_fd(self._before_fd)
        self._read.close()
        self._write.close()

    def wait(self, seconds: float) -> bool:
        """True when asked to stop; at the latest after `seconds`, otherwise False."""
        if not self.asked:
            select.select([self._read], [], [], max(0.0, seconds))
        return self.asked

    def _noted(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)
