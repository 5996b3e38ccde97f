from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from edge.camera import Camera, FakeCamera, Shot
from edge.clock import FakeClock, SystemClock
from edge.decoding import Segment
from edge.errors import CameraError
from edge.frames import Frame, Picture
from edge.leeway import Leeway
from edge.live import Capture, LiveSource, Patience
from edge.pipeline import EndOfStream
from edge.sources import open_source
from edge.streams import StreamCamera
from tests.broker import until
from tests.filming import film
from tests.rtsp_server import Manners, RtspServer


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let caplog hear the project's logger, also after a test that set up the daemon's log."""
    monkeypatch.setattr(logging.getLogger("skerry"), "propagate", True)


def pictures(count: int, start: int = 0) -> list[Picture]:
    return [np.full((8, 8, 3), start + number, np.uint8) for number in range(count)]


def state_of(source: LiveSource) -> str:
    """Read anew each time: a type checker would take the state for constant."""
    return source.state


class Rig:
    """A live source whose capture thread is the test: `step` does one act of it."""

    def __init__(self, *cameras: FakeCamera, fps: float = 2, patience: Patience = Patience()) -> None:
        self.clock = FakeClock()
        self.captures: list[Capture] = []
        waiting: Iterable[Camera] = iter(cameras)
        self.source = LiveSource(
            lambda: next(iter(waiting)), fps, self.clock, patience=patience, start=self._start
        )

    def _start(self, capture: Capture) -> None:
        self.captures.append(capture)
        capture.step()

    def step(self, times: int = 1) -> list[float]:
        return [self.captures[-1].step() for _ in range(times)]

    def tick(self) -> Frame | None:
        """Wait for the next tick and read."""
        self.clock.advance(self.source.due_s())
        return self.source.read()

    def value(self) -> int | None:
        frame = self.tick()
        return None if frame is None else int(frame.image[0, 0, 0])


# --- the slot --------------------------------------------------------------------------------------


def test_the_newest_picture_wins_and_only_what_is_looked_at_is_converted() -> None:
    camera = FakeCamera(pictures(5))
    rig = Rig(camera)
    rig.step(3)
    assert rig.value() == 2
    rig.step(2)
    assert rig.value() == 4
    assert camera.record == ["open", *["read"] * 3, "convert", *["read"] * 2, "convert"]


def test_nothing_new_is_none() -> None:
    rig = Rig(FakeCamera(pictures(2)))
    assert rig.value() is None
    rig.step()
    assert rig.value() == 0
    assert rig.value() is None


def test_a_frame_says_which_it_is_and_when_it_came() -> None:
    rig = Rig(FakeCamera(pictures(5)))
    rig.clock.advance(3)
    rig.step()
    assert rig.tick() is not None
    rig.clock.advance(0.25)
    rig.step(3)
    arrived = rig.clock.monotonic_ns()
    rig.clock.advance(0.125)
    frame = rig.tick()
    assert frame is not None
    assert (frame.index, frame.mono_ns, frame.stream_s) == (3, arrived, 0.25)


def test_ticks_come_at_the_rate_asked_for_and_late_ones_are_counted() -> None:
    rig = Rig(FakeCamera(pictures(9)), fps=4)
    assert rig.source.due_s() == 0
    rig.tick()
    assert rig.source.due_s() == pytest.approx(0.25)
    rig.clock.advance(0.1)
    assert rig.source.due_s() == pytest.approx(0.15)
    rig.clock.advance(0.7)  # the ticks at 0.25, 0.5 and 0.75 passed; the last is the one we answer
    rig.source.read()
    assert rig.source.skipped == 2
    assert rig.source.due_s() == pytest.approx(0.2)


# --- a camera that thins out itself ----------------------------------------------------------------


def test_frames_that_are_left_out_count_and_show_that_the_camera_lives() -> None:
    rig = Rig(FakeCamera([*pictures(1), *[None] * 14, *pictures(1, start=1), *[None] * 9]), fps=0.2)
    rig.step(16)
    frame = rig.tick()
    assert frame is not None
    assert (frame.index, int(frame.image[0, 0, 0])) == (15, 1)
    rig.clock.advance(1.9)
    rig.step()
    rig.clock.advance(1.9)
    assert state_of(rig.source) == "watching"
    rig.clock.advance(0.2)
    assert state_of(rig.source) == "stalled"


class Arrivals:
    """Stands in for the event of a capture: pictures come at known moments, also while a look waits."""

    def __init__(self, rig: Rig, moments_s: Iterable[float]) -> None:
        self._rig, self._moments_s = rig, list(moments_s)
        rig.captures[-1].came = self  # type: ignore[assignment]

    def until(self, now_s: float) -> None:
        while self._moments_s and self._moments_s[0] <= now_s:
            self._come()
        self._rig.clock.now_ns = round(now_s * 1e9)

    def _come(self) -> None:
        self._rig.clock.now_ns = round(self._moments_s.pop(0) * 1e9)
        self._rig.step(2)

    def clear(self) -> None: ...
    def set(self) -> None: ...

    def wait(self, seconds: float) -> None:
        end_s = self._rig.clock.now_ns / 1e9 + seconds
        if self._moments_s and self._moments_s[0] <= end_s:
            self._come()
        else:
            self.until(end_s)


@pytest.mark.parametrize("phase_s", [0.05, 0.2, 0.3, 0.45])
@pytest.mark.parametrize("key_frame_s", [0.0, 0.03])
def test_ticks_move_to_where_the_pictures_come_and_keep_their_rate(
    phase_s: float, key_frame_s: float
) -> None:
    """Two a second, of which the first is a key frame and comes later for its decoding."""
    rig = Rig(FakeCamera(x for picture in repeat(*pictures(1)) for x in (None, picture)))
    moments_s = [number / 2 + phase_s + (0 if number % 2 else key_frame_s) for number in range(60)]
    arrivals, ages, reads = Arrivals(rig, moments_s), [], 0
    while rig.clock.now_ns < 20e9:
        arrivals.until(rig.clock.now_ns / 1e9 + rig.source.due_s())
        frame = rig.source.read()
        reads += 1
        ages.append(None if frame is None else (rig.clock.now_ns - frame.mono_ns) / 1e9)
    assert all(age is not None and age <= 0.001 for age in ages[-20:])
    assert 39 <= reads <= 42  # one more while the ticks move forward
    assert rig.source.skipped == 0


class Foretelling(FakeCamera):
    """Every other picture comes 0.1 s before its turn, and the camera says so beforehand."""

    late = -1  # one that does not, all the same

    def read(self) -> Shot | None:
        shot = super().read()
        number = self.record.count("read") // 2 - 1
        early_s = 0.1 if number % 2 and number != self.late else 0.0
        return None if shot is None else replace(shot, early_s=early_s, next_early_s=0.1 * (1 - number % 2))


def looks_at(rig: Rig, moments_s: Iterable[float]) -> list[float | None]:
    """The ages of the pictures looked at in 20 s, None where there was none."""
    arrivals, ages = Arrivals(rig, moments_s), []
    while rig.clock.now_ns < 20e9:
        arrivals.until(rig.clock.now_ns / 1e9 + rig.source.due_s())
        frame = rig.source.read()
        ages.append(None if frame is None else (rig.clock.now_ns - frame.mono_ns) / 1e9)
    return ages


@pytest.mark.parametrize("phase_s", [0.12, 0.2, 0.3, 0.45])
def test_a_picture_that_comes_early_is_looked_at_when_it_comes(phase_s: float) -> None:
    rig = Rig(Foretelling(x for picture in repeat(*pictures(1)) for x in (None, picture)))
    ages = looks_at(rig, [number / 2 + phase_s - 0.1 * (number % 2) for number in range(60)])
    assert all(age is not None and age <= 0.001 for age in ages[-20:])
    assert 39 <= len(ages) <= 42
    assert rig.source.skipped == 0


def test_a_picture_that_was_foretold_early_and_comes_when_it_is_due_is_looked_at_then() -> None:
    camera = Foretelling(x for picture in repeat(*pictures(1)) for x in (None, picture))
    camera.late = 21
    rig = Rig(camera)
    moments_s = [number / 2 + 0.2 - 0.1 * (number % 2 and number != camera.late) for number in range(60)]
    ages = looks_at(rig, moments_s)
    settled = ages[10:]
    assert settled.count(None) == 1  # where it was awaited
    assert max(age for age in settled if age is not None) <= 0.001
    assert 38 <= len(ages) - ages.count(None) <= 40  # of 40 that came


def test_a_slow_reader_of_a_thinned_camera_skips_and_counts() -> None:
    rig = Rig(FakeCamera(x for picture in repeat(*pictures(1)) for x in (None, picture)))
    reads = 0
    for _ in range(20):
        rig.clock.advance(0.7)
        rig.step(2)
        rig.source.read()
        reads += 1
    assert 27 <= reads + rig.source.skipped <= 29  # 14 s of two a second


# --- states ----------------------------------------------------------------------------------------


def test_a_camera_without_new_pictures_is_stalled_until_one_comes() -> None:
    rig = Rig(FakeCamera(pictures(3)))
    rig.step()
    states = []
    for _ in range(6):
        rig.tick()
        states.append(rig.source.state)
    assert states == ["watching"] * 5 + ["stalled"]
    rig.step()
    assert rig.source.state == "watching"


def test_a_camera_that_opens_and_never_delivers_is_stalled() -> None:
    rig = Rig(FakeCamera([]))
    rig.clock.advance(2.1)
    assert rig.source.state == "stalled"


def test_a_camera_that_repeats_one_picture_is_frozen_until_it_changes() -> None:
    rig = Rig(FakeCamera([*pictures(1) * 30, *pictures(1, start=7)]))
    states = []
    for _ in range(30):
        rig.step()
        assert rig.tick() is not None  # a frozen picture is still looked at
        states.append(rig.source.state)
    assert states == ["watching"] * 22 + ["frozen"] * 8
    rig.step()
    rig.tick()
    assert rig.source.state == "watching"


def test_a_lost_camera_is_opened_again_ever_more_patiently() -> None:
    lost = CameraError("lost")
    rig = Rig(FakeCamera([*pictures(1), lost, *pictures(1, start=5), lost], openings=[]))
    rig.captures[0].camera._openings = iter([lost] * 6)  # type: ignore[attr-defined]  # from now on
    assert rig.step(8) == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert state_of(rig.source) == "reconnecting"
    rig.step(2)
    assert state_of(rig.source) == "watching"
    assert rig.value() == 5
    assert rig.step() == [0.5]  # a picture resets the patience


def test_a_reconnected_camera_goes_on_with_the_same_timeline() -> None:
    rig = Rig(FakeCamera([*pictures(1), CameraError("lost"), *pictures(1, start=1)]))
    rig.step()
    first = rig.tick()
    rig.clock.advance(30)
    rig.step(3)
    second = rig.tick()
    assert first is not None
    assert second is not None
    assert (second.index - first.index, second.stream_s - first.stream_s) == (1, 30.0)


def test_each_change_of_state_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig(FakeCamera([*pictures(1), CameraError("the cable"), *pictures(1, start=1)]))
    rig.step(2)
    for _ in range(3):
        rig.tick()
    rig.step(2)
    rig.tick()
    told = [record.getMessage() for record in caplog.records]
    assert told == ["camera fake://: reconnecting (the cable)", "camera fake://: watching"]


def test_the_last_picture_is_seen_before_the_end() -> None:
    rig = Rig(FakeCamera(pictures(2)))
    rig.step(3)
    assert rig.value() == 1
    with pytest.raises(EndOfStream):
        rig.tick()
    assert rig.source.state == "ended"


def test_a_picture_that_does_not_convert_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeCamera):
        def _converted(self, picture: Picture) -> Picture:
            raise CameraError("odd colours")

    rig = Rig(Broken(pictures(1)))
    rig.step()
    assert rig.value() is None
    assert "odd colours" in caplog.text


# --- opening, hanging, closing ---------------------------------------------------------------------


def test_a_camera_that_cannot_be_opened_at_all_is_an_error() -> None:
    camera = FakeCamera([], openings=[CameraError("Camera fake:// is not there.")])
    with pytest.raises(CameraError, match="is not there"):
        Rig(camera)
    assert camera.record[-1] == "close"


def test_a_camera_that_hangs_while_opening_is_an_error_within_the_limit() -> None:
    camera = FakeCamera([], openings=["hang"])
    with pytest.raises(CameraError, match=r"fake:// did not open within 0\.05 s; check"):
        LiveSource(lambda: camera, 2, SystemClock(), Patience(opening_s=0.05))
    camera.released.set()


def test_close_does_not_wait_for_a_read_that_hangs_and_the_camera_is_closed_when_it_returns() -> None:
    camera = FakeCamera(["hang"])
    source = LiveSource(lambda: camera, 2, SystemClock())
    until(lambda: "read" in camera.record)
    began = time.monotonic()
    source.close()
    assert time.monotonic() - began < 0.5
    assert "close" not in camera.record  # only its own thread touches a camera
    camera.released.set()
    until(lambda: camera.record[-1] == "close")


def test_a_read_that_hangs_for_good_is_replaced_by_a_new_camera() -> None:
    hung, fresh = FakeCamera([]), FakeCamera(pictures(1, start=9))
    rig = Rig(hung, fresh)
    rig.captures[0].taken = 4
    rig.captures[0].busy_since_ns = rig.clock.monotonic_ns()  # its thread is inside a read
    rig.clock.advance(14.9)
    assert rig.tick() is None
    assert len(rig.captures) == 1
    rig.clock.advance(0.2)
    assert rig.tick() is None
    assert len(rig.captures) == 2
    rig.step()
    frame = rig.tick()
    assert frame is not None
    assert (frame.index, int(frame.image[0, 0, 0])) == (4, 9)


def test_close_closes_the_camera() -> None:
    camera = FakeCamera(repeat(np.zeros((8, 8, 3), np.uint8)))
    source = LiveSource(lambda: camera, 2, SystemClock())
    until(lambda: source._capture.taken > 3)
    source.close()
    assert camera.record[-1] == "close"


# --- for real --------------------------------------------------------------------------------------


ONE_SLICE = ("-tune", "zerolatency", "-x264-params", "slices=1")


@pytest.fixture(scope="module")
def raw_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "card.h264"
    return film(path, seconds=1, options=ONE_SLICE)


def reads(source: LiveSource, count: int) -> Callable[[], bool]:
    """A condition: `count` frames have been read since."""
    seen: list[Frame] = []

    def enough() -> bool:
        frame = source.read() if source.due_s() == 0 else None
        if frame is not None:
            seen.append(frame)
        return len(seen) >= count

    return enough


def test_an_rtsp_camera_that_goes_away_and_comes_back_is_watched_again(raw_film: Path) -> None:
    server = RtspServer(raw_film, Manners(fps=100))
    with server:
        source = LiveSource(lambda: StreamCamera(server.uri(), "rtsp", 1.0), 20, SystemClock())
        until(reads(source, 3))
        assert state_of(source) == "watching"
    until(lambda: state_of(source) == "reconnecting")
    with RtspServer(raw_film, port=server.port):
        until(reads(source, 3), 20)
        assert source.state == "watching"
        source.close()


def test_an_rtsp_camera_is_decoded_only_as_far_as_it_is_looked_at(
    raw_film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[bool] = []
    feed = Segment._feed
    monkeypatch.setattr(Segment, "_feed", lambda self, time: fed.append(True) or feed(self, time))
    with RtspServer(raw_film, Manners(fps=150)) as server:  # a key frame each tenth of a second
        source = open_source(server.uri(), fps=10, replay="realtime", folder_fps=10, clock=SystemClock())
        assert isinstance(source, LiveSource)
        seen: list[Frame] = []
        until(lambda: len(seen) >= 15 or bool(_read_into(seen, source)))
        sent = source._capture.taken
        source.close()
    assert sent > 100
    assert len(fed) < sent / 2
    steps = np.diff([frame.index for frame in seen[5:]])
    assert np.median(steps) == 15


@pytest.mark.slow
def test_an_rtsp_cameras_early_pictures_are_looked_at_when_they_come(tmp_path: Path) -> None:
    path = film(tmp_path / "second.h264", seconds=2, options=[*ONE_SLICE, "-g", "30", "-sc_threshold", "0"])
    with RtspServer(path, Manners(fps=30)) as server:
        source = open_source(
            server.uri(),
            fps=2,
            replay="realtime",
            folder_fps=10,
            clock=SystemClock(),
            leeway=Leeway(early_s=0.1),
        )
        assert isinstance(source, LiveSource)
        ages: list[float] = []
        seen: list[Frame] = []

        def look() -> bool:
            if source.due_s() == 0 and (frame := source.read()) is not None:
                seen.append(frame)
                ages.append((time.monotonic_ns() - frame.mono_ns) / 1e9)
            return len(seen) >= 14

        until(look, 20)
        source.close()
    steps = np.diff([frame.index for frame in seen[4:]]).tolist()
    assert sorted(steps[-8:]) == [12] * 4 + [18] * 4
    assert np.median(ages[4:]) < 0.05


def _read_into(seen: list[Frame], source: LiveSource) -> None:
    frame = source.read() if source.due_s() == 0 else None
    if frame is not None:
        seen.append(frame)


def test_no_secret_of_the_uri_reaches_the_log(raw_film: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RtspServer(raw_film, Manners(login="guard:hunter2", frames=80, fps=100)) as server:
        uri = server.uri("guard:hunter2")
        source = open_source(uri, fps=20, replay="realtime", folder_fps=10, clock=SystemClock())
        assert isinstance(source, LiveSource)
        until(lambda: source.read() is None and "reconnecting" in caplog.text)
        source.close()
    assert "rtsp://***@127.0.0.1" in caplog.text
    assert "hunter2" not in caplog.text
