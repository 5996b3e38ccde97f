"""What the ground has not acknowledged yet: on disk before the loop goes on, gone only on a PUBACK.

SQLite in WAL mode with synchronous=FULL: a `put` that returned survives `kill -9` and a power cut. One
process owns the file; its threads share one connection behind a lock.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType

from edge.clock import Clock, SystemClock, boot_id
from edge.errors import SettingsError, SkerryError

log = logging.getLogger("skerry.outbox")

APPLICATION_ID = 0x534B5259  # "SKRY" in SQLite's header: tells our file from a stranger's
SCHEMA_VERSION = 1
MAX_UNSAVED = 64  # messages kept in memory while the disk takes none
# Far above every id of the table, so that what the disk refused is read after what it holds.
_UNSAVED_BASE = 1 << 62

# SQLite's words for a trouble around the file, which itself may be sound (error codes come with Python 3.11).
_OF_THE_MACHINE = ("locked", "unable to open", "readonly", "disk I/O", "is full", "out of memory")

_SCHEMA = f"""
CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL, payload BLOB NOT NULL, retain INTEGER NOT NULL,
    boot TEXT NOT NULL, mono_ns INTEGER NOT NULL, utc_s REAL NOT NULL
) STRICT;
CREATE TABLE refused (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL, payload BLOB NOT NULL, reason TEXT NOT NULL, utc_s REAL NOT NULL
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
_REFUSE = "INSERT OR REPLACE INTO refused SELECT id, topic, payload, ?, ? FROM message WHERE id = ?"


class OutboxError(SkerryError):
    """The disk failed while the daemon flies; the sentence says what SQLite said."""


class _Unusable(Exception):  # noqa: N818 - never leaves this module
    """The file is there but is not an outbox of ours; the text says why."""


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
        self.dropped = 0  # neither on disk nor in memory any more
        self.notice: str | None = None
        self._base = self._open()
        self._last_inherited = self._count("SELECT COALESCE(MAX(id), 0) FROM message")
        # Counted along, so that a disk that dies in flight cannot take the health report with it.
        self._depth = self._count("SELECT COUNT(*) FROM message")
        self._refused = self._count("SELECT COUNT(*) FROM refused")
        self._age_s = 0.0

    def put(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Durable on return. Should the disk take nothing, the newest MAX_UNSAVED are kept in memory."""
        entry = _Put(
            topic, payload, retain, self._boot, self._clock.monotonic_ns(), self._clock.utc().timestamp()
        )
        with self._lock:
            try:
                id_ = self._insert(entry)
                self._depth += 1
                return id_
            except sqlite3.Error as error:
                return self._keep_unsaved(entry, error)

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
            with _unsynchronised(self._base), self._base:
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
                return _connect(self._path)
            except _Unusable as why:
                self._move_aside(str(why))
                return _connect(self._path)
        except (OSError, sqlite3.Error, _Unusable) as error:
            raise SettingsError(_cannot_use(self._path, error)) from None

    def _move_aside(self, why: str) -> None:
        aside = _free_name(self._path, self._clock.utc())
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


def _connect(path: Path) -> sqlite3.Connection:
    """Raises _Unusable for a file that is no outbox, sqlite3.Error for one that cannot be reached."""
    base = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
    base.text_factory = lambda raw: raw.decode(errors="replace")  # a damaged topic must not stop the rest
    try:
        # Held until close: a second daemon on the same file would send everything twice.
        base.execute("PRAGMA locking_mode = EXCLUSIVE")
        base.execute("BEGIN EXCLUSIVE")
        base.execute("COMMIT")
        fresh = _check(base)
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        if fresh:
            base.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: a message quoting damaged text
        base.close()
        if any(words in str(error) for words in _OF_THE_MACHINE):
            raise
        raise _Unusable(f"is damaged or not a database ({error})") from None
    except _Unusable:
        base.close()
        raise
    return base


def _check(base: sqlite3.Connection) -> bool:
    """True for an empty file. Raises _Unusable for a stranger's, a newer Skerry's or a damaged one."""
    application = base.execute("PRAGMA application_id").fetchone()[0]
    version = base.execute("PRAGMA user_version").fetchone()[0]
    if application == 0 and not base.execute("SELECT 1 FROM sqlite_master").fetchone():
        return True
    if application != APPLICATION_ID:
        raise _Unusable("is another program's database")
    if version != SCHEMA_VERSION:
        raise _Unusable(f"has layout {version}, not {SCHEMA_VERSION}")
    verdict = base.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise _Unusable(f"is damaged ({' '.join(verdict.split())})")
    return False


def _free_name(path: Path, now: datetime) -> Path:
    stem = f"{path.name}.aside-{now:%Y%m%dT%H%M%SZ}"
    names: Iterator[Path] = (path.with_name(stem + (f"-{n}" if n else "")) for n in range(1000))
    return next(name for name in names if not name.exists())


def _cannot_use(path: Path, error: Exception) -> str:
    if "locked" in str(error):
        return f"outbox {path} is in use by another process; stop it, or give this drone an outbox of its own"
    return f"outbox {path} cannot be used ({error}); give a path this user may write to"


@contextmanager
def _unsynchronised(base: sqlite3.Connection) -> Iterator[None]:
    """What is written meanwhile reaches the disk with the next that is synchronised, or at a checkpoint."""
    base.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        base.execute("PRAGMA synchronous = FULL")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OutboxError(f"outbox {path} cannot be read or written ({error}); check the disk") from None
