"""Stopping as asked: SIGTERM and SIGINT, waited for instead of handled.

The signals are blocked in every thread and taken with sigtimedwait, so the wait of the loop is the wait for
a signal: a stop is noticed at once, and no handler can deadlock with a lock the main thread holds.
"""

from __future__ import annotations

import signal
from types import TracebackType

_STOPS = {signal.SIGTERM, signal.SIGINT}


class StopSignals:
    """A context manager: `wait(seconds)` says whether to stop. Enter it before any thread starts."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> StopSignals:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self, seconds: float) -> bool:
        """True when asked to stop; at the latest after `seconds`, otherwise False."""
        if not self.asked:
            self.asked = signal.sigtimedwait(_STOPS, max(0.0, seconds)) is not None
        return self.asked
