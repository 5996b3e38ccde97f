"""The outbox keeps what was accepted, through kill -9, damage and a full disk."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import edge.outbox
from edge.clock import FakeClock
from edge.errors import SettingsError
from edge.outbox import MAX_UNSAVED, Outbox


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.sqlite"


def payloads(outbox: Outbox, after: int = 0, limit: int = 100) -> list[bytes]:
    return [row.payload for row in outbox.read(after, limit)]


def test_rows_come_back_oldest_first_in_batches(path: Path) -> None:
    with Outbox(path) as outbox:
        ids = [outbox.put("a/b", bytes([n]), retain=n == 2) for n in range(5)]
        assert payloads(outbox, limit=2) == [b"\0", b"\1"]
        rest = outbox.read(after=ids[1])
        assert [(row.id, row.topic, row.payload, row.retain) for row in rest] == [
            (ids[2], "a/b", b"\2", True),
            (ids[3], "a/b", b"\3", False),
            (ids[4], "a/b", b"\4", False),
        ]


def test_only_removed_rows_are_gone_after_reopening(path: Path) -> None:
    with Outbox(path) as outbox:
        first, _, third = (outbox.put("t", name) for name in (b"1", b"2", b"3"))
        outbox.remove(first, third)
        assert outbox.depth() == 1
    with Outbox(path) as outbox:
        assert payloads(outbox) == [b"2"]
        assert outbox.depth() == 1


def test_an_id_is_never_used_twice(path: Path) -> None:
    with Outbox(path) as outbox:
        first = outbox.put("t", b"1")
        outbox.remove(first)
    with Outbox(path) as outbox:
        assert outbox.put("t", b"2") > first


def test_a_refused_row_is_kept_aside_with_its_reason_and_counted(path: Path) -> None:
    with Outbox(path) as outbox:
        bad, good = outbox.put("t", b"bad"), outbox.put("t", b"good")
        outbox.refuse(bad, "not authorised")
        assert (payloads(outbox), outbox.depth(), outbox.refused()) == ([b"good"], 1, 1)
        outbox.refuse(bad, "again")
        assert outbox.refused() == 1
        outbox.remove(good)
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("SELECT payload, reason FROM refused").fetchall() == [(b"bad", "not authorised")]
    with Outbox(path) as outbox:
        assert (outbox.depth(), outbox.refused()) == (0, 1)


def test_age_counts_on_the_monotonic_clock_within_a_boot_and_on_the_wall_clock_across(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    with Outbox(path, clock) as outbox:
        assert outbox.age_s() == 0
        outbox.put("t", b"1")
        clock.advance(40)
        clock.epoch += timedelta(days=1)  # somebody set the clock: no matter
        assert outbox.age_s() == 40
        assert not outbox.read()[0].inherited
    monkeypatch.setattr(edge.outbox, "boot_id", lambda: "another boot")
    later = FakeClock(epoch=FakeClock().epoch + timedelta(seconds=90))
    with Outbox(path, later) as outbox:
        assert outbox.age_s() == 90
        assert outbox.read()[0].inherited


def test_what_was_accepted_survives_kill_9(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from edge.outbox import Outbox\n"
        "outbox = Outbox(Path(sys.argv[1]))\n"
        "while True: print(outbox.put('t', b'x' * 3000), flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    accepted = [int(process.stdout.readline()) for _ in range(25)]
    process.send_signal(signal.SIGKILL)
    accepted += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.wait(10)
    with Outbox(path) as outbox:
        assert outbox.notice is None
        kept = {row.id for row in outbox.read(limit=100_000)}
        assert set(accepted) <= kept
        assert len(kept) <= len(accepted) + 1  # at most the one that was being put


@dataclass
class Disk:
    """Keeps, of each moment at which something was synchronised, what a power cut would have left."""

    path: Path
    home: Path
    real: Callable[[int], None]
    cuts: list[Path] = field(default_factory=list)
    broken: bool = False

    def fdatasync(self, file: int) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        assert Path(f"/proc/self/fd/{file}").readlink() == Path(f"{self.path}-wal")
        self.real(file)
        cut = self.home / f"cut{len(self.cuts)}"
        cut.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.path}{suffix}", cut / f"outbox.sqlite{suffix}")
        self.cuts.append(cut / "outbox.sqlite")


@pytest.fixture
def disk(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk(path, tmp_path, os.fdatasync)
    monkeypatch.setattr("edge.outbox.os.fdatasync", made.fdatasync)
    return made


def test_what_was_accepted_survives_a_power_cut(path: Path, disk: Disk) -> None:
    with Outbox(path) as outbox:
        for number in range(3):
            outbox.put("t", bytes([number]))
            with Outbox(disk.cuts[-1]) as left:
                assert payloads(left) == [bytes([n]) for n in range(number + 1)]


def test_the_name_of_the_log_is_on_the_disk_before_anything_is_accepted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Path, bool]] = []

    def fsync(file: int) -> None:
        made.append((Path(f"/proc/self/fd/{file}").readlink(), Path(f"{path}-wal").exists()))

    monkeypatch.setattr("edge.outbox_file.os.fsync", fsync)
    with Outbox(path):
        assert made == [(path.parent, True)]


def test_a_message_can_be_read_and_sent_before_the_disk_has_it(path: Path, disk: Disk) -> None:
    told: list[tuple[list[bytes], int]] = []
    with Outbox(path) as outbox:
        outbox.put("t", b"alert", readable=lambda: told.append((payloads(outbox), len(disk.cuts))))
    assert told == [([b"alert"], 0)]
    assert len(disk.cuts) == 1


def test_removals_leave_the_disk_alone_and_dead_letters_do_not(path: Path, disk: Disk) -> None:
    with Outbox(path) as outbox:
        ids = [outbox.put("t", b"1"), outbox.put("t", b"2")]
        outbox.remove(ids[0])
        assert len(disk.cuts) == 2
        outbox.refuse(ids[1], "never")
    with Outbox(disk.cuts[-1]) as left:
        assert (left.depth(), left.refused()) == (0, 1)


def test_a_disk_that_does_not_synchronise_is_said_once_and_the_message_still_goes(
    path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.broken = True
    with Outbox(path) as outbox, caplog.at_level(logging.ERROR, "skerry"):
        outbox.put("t", b"1")
        outbox.put("t", b"2")
        assert payloads(outbox) == [b"1", b"2"]
    assert len(caplog.records) == 1
    assert "power cut" in caplog.text


def test_threads_share_one_outbox(path: Path) -> None:
    with Outbox(path) as outbox:

        def work(name: int) -> None:
            for n in range(20):
                kept = outbox.put("t", b"%d/%d" % (name, n))
                if n % 2:
                    outbox.remove(kept)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(payloads(outbox)) == sorted(
            b"%d/%d" % (a, b) for a in range(4) for b in range(0, 20, 2)
        )
        assert outbox.depth() == 40


def test_a_second_process_is_told_that_the_outbox_is_taken(path: Path) -> None:
    with Outbox(path):
        script = (
            "import sys; from pathlib import Path; from edge.outbox import Outbox; Outbox(Path(sys.argv[1]))"
        )
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert "SettingsError: outbox" in done.stderr
    assert "in use by another process" in done.stderr


def foreign_database(path: Path) -> None:
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE recipes (name TEXT)")
    base.commit()
    base.close()


def newer_layout(path: Path) -> None:
    Outbox(path).close()
    base = sqlite3.connect(path)
    base.execute("PRAGMA user_version = 99")
    base.close()


def truncated(path: Path) -> None:
    with Outbox(path) as outbox:
        for _ in range(20):
            outbox.put("t", b"x" * 4000)
    path.write_bytes(path.read_bytes()[:20_000])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.write_bytes(b"\xff\xd8 holiday.jpg" * 500), "not a database"),
        (foreign_database, "another program's database"),
        (newer_layout, "has layout 99"),
        (truncated, "damaged"),
    ],
    ids=["a picture", "a foreign database", "a newer layout", "a truncated outbox"],
)
def test_a_spoiled_file_is_moved_aside_and_kept_and_a_new_one_begun(path: Path, spoil, why: str) -> None:
    path.parent.mkdir()
    spoil(path)
    before = path.read_bytes()
    with Outbox(path, FakeClock()) as outbox:
        assert outbox.notice is not None
        assert why in outbox.notice
        assert "\n" not in outbox.notice
        outbox.put("t", b"1")
    aside = path.with_name("outbox.sqlite.aside-20260101T000000Z")
    assert str(aside) in outbox.notice
    assert aside.read_bytes() == before
    with Outbox(path) as outbox:
        assert outbox.notice is None
        assert payloads(outbox) == [b"1"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(where=12_000, junk=bytes(range(128, 256)))
@example(where=43, junk=b"\0\0\0\0\5")  # an unknown schema format
@given(where=st.integers(0, 30_000), junk=st.binary(min_size=1, max_size=600))
def test_no_damage_makes_the_outbox_unusable(tmp_path: Path, where: int, junk: bytes) -> None:
    path = tmp_path / "outbox.sqlite"
    for file in tmp_path.iterdir():
        file.unlink()
    with Outbox(path) as outbox:
        for _ in range(6):
            outbox.put("t", b"x" * 4000)
    content = bytearray(path.read_bytes())
    content[where : where + len(junk)] = junk
    path.write_bytes(content)
    with Outbox(path) as outbox:
        outbox.put("t", b"after")
        assert payloads(outbox)[-1:] == [b"after"] or outbox.depth() > 0


@pytest.mark.parametrize("place", ["a file where the folder should be", "a folder where the file should be"])
def test_a_path_that_cannot_hold_an_outbox_is_one_sentence(tmp_path: Path, place: str) -> None:
    path = tmp_path / "state" / "outbox.sqlite"
    if place.startswith("a file"):
        path.parent.write_text("")
    else:
        path.mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"^outbox .* cannot be used \(.*\); give a path") as caught:
        Outbox(path)
    assert "\n" not in str(caught.value)


def test_a_disk_that_takes_no_more_leaves_the_newest_in_memory_and_says_so_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Outbox(path) as outbox, caplog.at_level(logging.ERROR, "skerry"):
        first = outbox.put("t", b"on disk")
        pages = outbox._base.execute("PRAGMA page_count").fetchone()[0]
        outbox._base.execute(f"PRAGMA max_page_count = {pages}")
        ids = [outbox.put("t", b"%5d" % n + b"x" * 9000) for n in range(MAX_UNSAVED + 3)]
        assert "full" in caplog.text
        assert len(caplog.records) == 1
        assert outbox.depth() == MAX_UNSAVED + 1
        assert outbox.dropped == 3
        rows = outbox.read(limit=1000)
        assert [row.id for row in rows] == [first, *ids[3:]]
        outbox.remove(first, ids[3])
        outbox._base.execute("PRAGMA max_page_count = 100000")
        outbox.put("t", b"on disk again")
        assert payloads(outbox, limit=1) == [b"on disk again"]
        assert outbox.depth() == MAX_UNSAVED
