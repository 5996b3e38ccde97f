"""When the reader of a live stream may sleep.

Between two pictures that are looked at nobody waits for a packet. Woken for each of thirty a second, the
processor spends more on filling its caches anew than on the packets; so they are left to gather in the
socket for a moment, and then taken together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

# At 25 Mb/s half a megabyte gathers: less than one key frame of such a stream may take.
PAUSE_S = 0.15
LONGEST_S = 0.3  # of a small stream, as long as no more than ...
GATHERS = 32 << 10  # ... so many bytes gather, a quarter of what Linux holds of a connection unasked
# Before the next picture is due, so that one that comes early is taken, and dated, when it comes.
AWAKE_S = 0.1
WAITED_S = 0.003  # reading took this long: there was nothing more in the socket


class Rest:
    """Around the reading of each packet; sleeps before it where nothing is missed.

    Never leaves a stream waiting that comes faster than it is read.
    """

    def __init__(
        self, now_s: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._now_s, self._sleep = now_s, sleep
        self._until_s = 0.0
        self._waited = False
        self._began_s = 0.0
        self._pause_s = PAUSE_S
        self._came_s: float | None = None  # the last picture
        self._bytes = 0  # since then

    def __enter__(self) -> None:
        self._began_s = self._now_s()
        left_s = self._until_s - self._began_s
        if self._waited and left_s > 0:
            self._sleep(min(self._pause_s, left_s))
            self._began_s = self._now_s()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waited = self._now_s() - self._began_s >= WAITED_S

    def took(self, size: int) -> None:
        """A packet of so many bytes."""
        self._bytes += size

    def picture_came(self, to_next_s: float) -> None:
        """`to_next_s`: until the next picture that will be wanted, by the stream's clock."""
        now_s = self._now_s()
        if self._came_s is not None and self._bytes:
            holds_s = GATHERS * (now_s - self._came_s) / self._bytes
            self._pause_s = min(LONGEST_S, max(PAUSE_S, holds_s))
        self._came_s, self._bytes = now_s, 0
        self._until_s = now_s + to_next_s - AWAKE_S
