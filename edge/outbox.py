"""What the ground has not acknowledged yet: on disk before the loop goes on, gone only on a PUBACK.

SQLite in WAL mode: a `put` that returned survives `kill -9` and a power cut. The log is synchronised by us,
after the commit and outside the lock, which is what synchronous=FULL does inside: so the sender has an alert
on its way while the disk still turns. One process owns the file; its threads share one connection.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge.clock import Clock, SystemClock, boot_id
from edge.errors import SettingsError, SkerryError
from edge.outbox_file import Unusable, cannot_use, connect, free_name, synchronise_names

log = logging.getLogger("skerry.outbox")

MAX_UNSAVED = 64  # messages kept in memory while the disk takes none
# Far above every id of the table, so that what the disk refused is read after what it holds.
_UNSAVED_BASE = 1 << 62

_REFUSE = "INSERT OR REPLACE INTO refused SELECT id, topic, payload, ?, ? FROM message WHERE id = ?"


class OutboxError(SkerryError):
    """The disk failed while the daemon flies; the sentence says what SQLite said."""


@dataclass(frozen=True, slots=True)
class Row:
    """One message that waits. `inherited` rows were written before this process opened the file."""

    id: int
    topic: str
    payload: bytes
    retain: bool
    age_s: float
    inherited: bool


@dataclass(frozen=True, slots=True)
class _Put:
    topic: str
    payload: bytes
    retain: bool
    boot: str
    mono_ns: int
    utc_s: float


class Outbox:
    """Oldest first. Raises SettingsError when the file cannot be used at all; one that is corrupt or
    foreign is moved aside and kept, and `notice` says so."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._boot = boot_id()
        self._lock = threading.Lock()
        self._unsaved: dict[int, _Put] = {}
        self._unsaved_made = 0
        self._unsynchronised = False
        self.dropped = 0  # neither on disk nor in memory any more
        self.notice: str | None = None
        self._base = self._open()
        self._last_inherited = self._count("SELECT COALESCE(MAX(id), 0) FROM message")
        # Counted along, so that a disk that dies in flight cannot take the health report with it.
        self._depth = self._count("SELECT COUNT(*) FROM message")
        self._refused = self._count("SELECT COUNT(*) FROM refused")
        self._age_s = 0.0
        self._log_file: int | None = self._open_log()

    def put(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        readable: Callable[[], None] = lambda: None,
    ) -> int:
        """Durable on return; `readable` is called as soon as `read` finds it. Should the disk take nothing,
        the newest MAX_UNSAVED are kept in memory."""
        entry = _Put(
            topic, payload, retain, self._boot, self._clock.monotonic_ns(), self._clock.utc().timestamp()
        )
        with self._lock:
            try:
                id_ = self._insert(entry)
                self._depth += 1
            except sqlite3.Error as error:
                id_ = self._keep_unsaved(entry, error)
        readable()
        if id_ < _UNSAVED_BASE:
            self._synchronise()
        return id_

    def _synchronise(self) -> None:
        """The log is on the disk when this returns, or it was said once that it may not be."""
        file = self._log_file
        if file is None:  # closed meanwhile, and with that all of it was written into the base
            return
        try:
            os.fdatasync(file)
            self._unsynchronised = False
        except OSError as error:
            if not self._unsynchronised:
                log.error("outbox %s: what is written may not survive a power cut (%s)", self._path, error)
            self._unsynchronised = True

    def read(self, after: int = 0, limit: int = 20) -> list[Row]:
        """The oldest rows with an id above `after`. Raises OutboxError."""
        with self._lock, _translated(self._path):
            found = self._base.execute(
                "SELECT id, topic, payload, retain, boot, mono_ns, utc_s FROM message"
                " WHERE id > ? ORDER BY id LIMIT ?",
                (min(after, _UNSAVED_BASE), limit),
            ).fetchall()
            rows = [self._row(id_, _Put(*columns)) for id_, *columns in found]
            for id_, entry in self._unsaved.items():
                if id_ > after and len(rows) < limit:
                    rows.append(self._row(id_, entry))
            return rows

    def remove(self, *ids: int) -> None:
        """The ground has these. Not synchronised: what a power cut brings back is sent once more, and the
        disk is free for the next alert. Raises OutboxError."""
        with self._lock, _translated(self._path):
            with self._base:
                cursor = self._base.executemany("DELETE FROM message WHERE id = ?", [(id_,) for id_ in ids])
            self._depth -= cursor.rowcount
            for id_ in ids:
                self._unsaved.pop(id_, None)

    def refuse(self, id_: int, reason: str) -> None:
        """Move one row to the dead letters: sending it again would never help. Raises OutboxError."""
        with self._lock, _translated(self._path):
            with self._base:
                self._base.execute(_REFUSE, (reason, self._clock.utc().timestamp(), id_))
                gone = self._base.execute("DELETE FROM message WHERE id = ?", (id_,)).rowcount
            self._depth -= gone
            self._refused += gone + (self._unsaved.pop(id_, None) is not None)
        self._synchronise()

    def depth(self) -> int:
        """Messages that wait."""
        return self._depth + len(self._unsaved)

    def refused(self) -> int:
        """Dead letters."""
        return self._refused

    def age_s(self) -> float:
        """Age of the oldest waiting message, 0 when none waits; the last known one while the disk fails."""
        with suppress(OutboxError):
            oldest = self.read(limit=1)
            self._age_s = oldest[0].age_s if oldest else 0.0
        return self._age_s

    def close(self) -> None:
        with self._lock, suppress(sqlite3.Error):
            self._base.close()
            if self._log_file is not None:
                os.close(self._log_file)
                self._log_file = None

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return connect(self._path)
            except Unusable as why:
                self._move_aside(str(why))
                return connect(self._path)
        except (OSError, sqlite3.Error, Unusable) as error:
            raise SettingsError(cannot_use(self._path, error)) from None

    def _open_log(self) -> int:
        """SQLite's write-ahead log, which the first query made. Its name has to be on the disk too: SQLite
        sees to that when it synchronises the log itself, which it does not here."""
        try:
            synchronise_names(self._path.parent)
            return os.open(f"{self._path}-wal", os.O_RDWR)
        except OSError as error:
            self._base.close()
            raise SettingsError(cannot_use(self._path, error)) from None

    def _move_aside(self, why: str) -> None:
        aside = free_name(self._path, self._clock.utc())
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).rename(aside.with_name(aside.name + suffix))
        self.notice = f"outbox {self._path} {why}; it was moved to {aside} and a new one begun"
        log.warning("%s", self.notice)

    def _insert(self, entry: _Put) -> int:
        with self._base:
            cursor = self._base.execute(
                "INSERT INTO message (topic, payload, retain, boot, mono_ns, utc_s)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (entry.topic, entry.payload, entry.retain, entry.boot, entry.mono_ns, entry.utc_s),
            )
        return int(cursor.lastrowid or 0)

    def _keep_unsaved(self, entry: _Put, error: sqlite3.Error) -> int:
        if not self._unsaved:
            log.error("outbox %s takes no more (%s); new messages are only in memory", self._path, error)
        while len(self._unsaved) >= MAX_UNSAVED:
            self._unsaved.pop(next(iter(self._unsaved)))
            self.dropped += 1
        self._unsaved_made += 1
        id_ = _UNSAVED_BASE + self._unsaved_made
        self._unsaved[id_] = entry
        return id_

    def _row(self, id_: int, entry: _Put) -> Row:
        if entry.boot == self._boot:
            age_s = (self._clock.monotonic_ns() - entry.mono_ns) / 1e9
        else:
            age_s = self._clock.utc().timestamp() - entry.utc_s
        inherited = id_ <= self._last_inherited
        return Row(id_, entry.topic, entry.payload, bool(entry.retain), max(age_s, 0.0), inherited)

    def _count(self, query: str) -> int:
        with self._lock, _translated(self._path):
            return int(self._base.execute(query).fetchone()[0])


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OutboxError(f"outbox {path} cannot be read or written ({error}); check the disk") from None
