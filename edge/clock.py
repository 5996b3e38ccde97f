"""Time, as a parameter: the real clock, and one for tests that only moves when told."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Protocol

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    def monotonic_ns(self) -> int: ...
    def utc(self) -> datetime: ...
    def synced(self) -> bool: ...


class SystemClock:
    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def utc(self) -> datetime:
        return datetime.now(timezone.utc)

    def synced(self) -> bool:
        """True when the kernel says that something disciplines the wall clock (adjtimex != TIME_ERROR)."""
        return _kernel_clock_state() not in (None, _TIME_ERROR)


_TIME_ERROR = 5  # linux/timex.h: clock not synchronised


def _kernel_clock_state() -> int | None:
    """adjtimex(2) in read-only mode (modes = 0 needs no privilege); None where libc has no such call."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    state = int(adjtimex(ctypes.create_string_buffer(256)))  # struct timex is 208 bytes on 64-bit Linux
    return None if state < 0 else state


@dataclass
class FakeClock:
    """Stands still until `advance`; starts at a fixed UTC so that tests can name times."""

    now_ns: int = 0
    epoch: datetime = field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=timezone.utc))
    is_synced: bool = True

    def monotonic_ns(self) -> int:
        return self.now_ns

    def utc(self) -> datetime:
        return self.epoch + timedelta(microseconds=self.now_ns / 1000)

    def synced(self) -> bool:
        return self.is_synced

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@cache
def boot_id() -> str:
    """The kernel's id of this boot; monotonic times of different boots must never be compared."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"
