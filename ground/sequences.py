"""Which of a session's events have not arrived: the account that makes silence mean something."""

from __future__ import annotations

MAX_MISSING = 1000  # numbers kept by name; beyond that they are only counted


class Sequences:
    """A session numbers its events 1, 2, 3 ...; those before we began to listen are not missed."""

    def __init__(self) -> None:
        self._highest: int | None = None
        self._missing: set[int] = set()
        self._uncounted = 0

    @property
    def gaps(self) -> int:
        """Events that were made and have not arrived."""
        return len(self._missing) + self._uncounted

    def missing(self) -> list[int]:
        return sorted(self._missing)

    def arrived(self, number: int) -> None:
        """In any order; one that was missing no longer is."""
        self._missing.discard(number)
        if self._highest is None:
            self._highest = number
        elif number > self._highest:
            self._skip_to(number - 1)
            self._highest = number

    def announced(self, newest: int) -> None:
        """The drone says that it has made and delivered everything up to `newest`."""
        if self._highest is None:
            self._highest = newest
        elif newest > self._highest:
            self._skip_to(newest)
            self._highest = newest

    def _skip_to(self, last: int) -> None:
        """Numbers above the highest known, up to `last`, are missing. A hostile number may be 2**63."""
        assert self._highest is not None
        skipped = last - self._highest
        named = min(skipped, MAX_MISSING - len(self._missing))
        self._missing.update(range(last - named + 1, last + 1))
        self._uncounted += skipped - named
