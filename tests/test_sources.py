from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from edge.clock import FakeClock
from edge.errors import FootageError, UsageError
from edge.frames import Frame
from edge.pipeline import EndOfStream
from edge.sources import Replay, WatchedSource, open_source, redact
from edge.videos import Wants
from tests.filming import film, frames_in


def source_of(
    uri: str | Path, clock: FakeClock, *, fps: float = 2, replay: Literal["realtime", "fast"] = "fast"
) -> WatchedSource:
    return open_source(str(uri), fps=fps, replay=replay, folder_fps=10, clock=clock)


def drain(source: WatchedSource, clock: FakeClock) -> list[Frame]:
    frames = []
    try:
        while True:
            clock.advance(source.due_s())
            frame = source.read()
            assert frame is not None
            frames.append(frame)
    except EndOfStream:
        return frames


class FakeFootage:
    """Thirty frames a second; decoding each takes a while on the clock."""

    def __init__(self, clock: FakeClock, seconds: float, decode_s: float = 0.0) -> None:
        self.clock, self.count, self.decode_s = clock, round(seconds * 30), decode_s
        self.converted: list[int] = []
        self.closed = False

    def frames(self, wants: Wants) -> Iterator[Frame]:
        blank = np.zeros((1, 1, 3), np.uint8)
        for index in range(self.count):
            self.clock.advance(self.decode_s)
            if wants(index / 30):
                self.converted.append(index)
                yield Frame(blank, index, index / 30, self.clock.monotonic_ns(), self.clock.utc())

    def close(self) -> None:
        self.closed = True


# --- replay ----------------------------------------------------------------------------------------


def test_fast_replay_gives_each_sample_once_and_is_always_due(tmp_path: Path) -> None:
    clock = FakeClock()
    source = source_of(film(tmp_path / "card.mp4"), clock)
    assert source.due_s() == 0
    clock.advance(100)
    assert [frame.index for frame in drain(source, clock)] == [0, 15, 30, 45]
    assert (source.due_s(), source.skipped, source.state) == (0, 0, "ended")
    source.close()


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_path_and_a_file_uri_name_the_same_footage(tmp_path: Path, prefix: str) -> None:
    clock = FakeClock()
    folder = frames_in(tmp_path / "clip 1: noon", 11)
    assert [frame.index for frame in drain(source_of(f"{prefix}{folder}", clock), clock)] == [0, 5, 10]


def test_realtime_replay_in_time_gives_what_fast_replay_gives() -> None:
    clock = FakeClock(now_ns=5_000_000_000)
    source = Replay(FakeFootage(clock, 2), 2, clock, realtime=True)
    seen = []
    for _ in range(4):
        clock.advance(source.due_s())
        seen.append(source.read().index)
    assert seen == [0, 15, 30, 45]
    assert source.skipped == 0
    clock.advance(source.due_s())
    with pytest.raises(EndOfStream):
        source.read()


def test_the_first_picture_is_decoded_when_the_footage_is_opened_and_given_once() -> None:
    clock = FakeClock()
    footage = FakeFootage(clock, 2)
    source = Replay(footage, 2, clock, realtime=True)
    assert footage.converted == [0]
    clock.advance(60)  # it is shown from the first read on, however long that takes to come
    assert (source.read().index, source.skipped, source.due_s()) == (0, 0, pytest.approx(0.5))
    clock.advance(source.due_s())
    assert (source.read().index, footage.converted) == (15, [0, 15])


def test_footage_without_a_picture_ends_at_the_first_read() -> None:
    source = Replay(FakeFootage(FakeClock(), 0), 2, FakeClock(), realtime=True)
    assert source.state == "watching"
    with pytest.raises(EndOfStream):
        source.read()
    assert source.state == "ended"


def test_realtime_replay_waits_for_the_next_sample() -> None:
    clock = FakeClock()
    source = Replay(FakeFootage(clock, 2), 2, clock, realtime=True)
    assert source.due_s() == 0
    source.read()
    clock.advance(0.2)
    assert source.due_s() == pytest.approx(0.3)


def test_a_late_realtime_read_takes_the_newest_due_sample_and_counts_the_rest() -> None:
    clock = FakeClock()
    footage = FakeFootage(clock, 10)
    source = Replay(footage, 2, clock, realtime=True)
    source.read()
    clock.advance(2.3)  # 0.5, 1.0, 1.5 and 2.0 fell due
    assert source.due_s() == 0
    assert source.read().stream_s == pytest.approx(2.0)
    assert source.skipped == 3
    assert source.due_s() == pytest.approx(0.2)
    assert footage.converted == [0, 60]  # what is skipped is never converted


def test_realtime_replay_slower_than_time_itself_still_moves_and_accounts_for_every_sample() -> None:
    clock = FakeClock()
    source = Replay(
        FakeFootage(clock, 20, decode_s=0.1), 2, clock, realtime=True
    )  # decodes at a third of speed
    frames = len(drain(source, clock))
    assert frames >= 3
    assert frames + source.skipped == 40


def test_replay_closes_its_footage() -> None:
    footage = FakeFootage(FakeClock(), 1)
    Replay(footage, 2, FakeClock(), realtime=False).close()
    assert footage.closed


# --- naming ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("rstp://cam/1", "did you mean rtsp?"),
        ("v4l://0", "did you mean v4l2?"),
        ("rtsp:/cam", "did you mean rtsp?"),
    ],
)
def test_an_unknown_kind_of_source_names_the_nearest(uri: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        source_of(uri, FakeClock())
    assert hint in str(caught.value)
    assert uri in str(caught.value)


def test_missing_footage_is_a_footage_error(tmp_path: Path) -> None:
    with pytest.raises(FootageError, match=r"absent\.mp4 does not exist"):
        source_of(tmp_path / "absent.mp4", FakeClock())


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://cam.local:554/main", "rtsp://cam.local:554/main"),
        ("rtsp://admin:hunter2@cam/main", "rtsp://***@cam/main"),
        ("rtsp://admin:hun/ter?2@x@cam/main", "rtsp://***@cam/main"),
        ("RTSPS://hunter2@cam", "RTSPS://***@cam"),
        ("http://cam/video?user=a&pin=hunter2", "http://cam/video?user=***&pin=***"),
        (
            "rtsp://cam/user=admin&password=hunter2&channel=1",
            "rtsp://cam/user=admin&password=***&channel=***",
        ),
        ("sim://?seed=3&fps=2", "sim://?seed=3&fps=2"),
        (
            "gst:rtspsrc location=rtsp://a:hunter2@cam user-pw=hunter2 ! fakesink name=a@b",
            "gst:rtspsrc location=rtsp://***@cam user-pw=*** ! fakesink name=a@b",
        ),
    ],
)
def test_redact_shows_all_but_the_secrets(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@pytest.mark.parametrize(
    "uri", ["rstp://admin:hunter2@cam/main", "rtsp:/admin:hunter2@cam", "htp://c?pin=hunter2"]
)
def test_a_mistyped_uri_does_not_repeat_its_secret(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        source_of(uri, FakeClock())
    assert "hunter2" not in str(caught.value)
