"""The outbox's file: opened for one process alone, known by its header; what is not ours is moved aside."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

APPLICATION_ID = 0x534B5259  # "SKRY" in SQLite's header: tells our file from a stranger's
SCHEMA_VERSION = 1

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


class Unusable(Exception):  # noqa: N818 - never leaves the outbox
    """The file is there but is not an outbox of ours; the text says why."""


def connect(path: Path) -> sqlite3.Connection:
    """Raises Unusable for a file that is no outbox, sqlite3.Error for one that cannot be reached."""
    base = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
    base.text_factory = lambda raw: raw.decode(errors="replace")  # a damaged topic must not stop the rest
    try:
        # Held until close: a second daemon on the same file would send everything twice.
        base.execute("PRAGMA locking_mode = EXCLUSIVE")
        base.execute("BEGIN EXCLUSIVE")
        base.execute("COMMIT")
        fresh = _check(base)
        if base.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise sqlite3.OperationalError("unable to open a write-ahead log beside it")
        base.execute("PRAGMA synchronous = NORMAL")  # the log before each checkpoint; else see _synchronise
        if fresh:
            base.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: a message quoting damaged text
        base.close()
        if any(words in str(error) for words in _OF_THE_MACHINE):
            raise
        raise Unusable(f"is damaged or not a database ({error})") from None
    except Unusable:
        base.close()
        raise
    return base


def _check(base: sqlite3.Connection) -> bool:
    """True for an empty file. Raises Unusable for a stranger's, a newer Skerry's or a damaged one."""
    application = base.execute("PRAGMA application_id").fetchone()[0]
    version = base.execute("PRAGMA user_version").fetchone()[0]
    if application == 0 and not base.execute("SELECT 1 FROM sqlite_master").fetchone():
        return True
    if application != APPLICATION_ID:
        raise Unusable("is another program's database")
    if version != SCHEMA_VERSION:
        raise Unusable(f"has layout {version}, not {SCHEMA_VERSION}")
    verdict = base.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise Unusable(f"is damaged ({' '.join(verdict.split())})")
    return False


def synchronise_names(folder: Path) -> None:
    """The files that were made in it are found again after a power cut; as far as its file system can say so,
    which some cannot of a folder."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(file)
    finally:
        os.close(file)


def free_name(path: Path, now: datetime) -> Path:
    stem = f"{path.name}.aside-{now:%Y%m%dT%H%M%SZ}"
    names: Iterator[Path] = (path.with_name(stem + (f"-{n}" if n else "")) for n in range(1000))
    return next(name for name in names if not name.exists())


def cannot_use(path: Path, error: Exception) -> str:
    if "locked" in str(error):
        return f"outbox {path} is in use by another process; stop it, or give this drone an outbox of its own"
    return f"outbox {path} cannot be used ({error}); give a path this user may write to"
