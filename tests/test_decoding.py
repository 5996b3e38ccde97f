from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.clock import FakeClock
from edge.decoding import Syntax, _units
from edge.errors import FootageError
from edge.frames import Frame
from edge.leeway import Lenient
from edge.recordings import Sampler
from edge.videos import VideoRecording, Wants
from tests.filming import ffmpeg, film

FRAME_S = 1 / 30
SECONDS = 30
X264 = ("-c:v", "libx264", "-preset", "veryfast")
B_FRAMES = (*X264, "-g", "48", "-bf", "3", "-x264-params", "b-pyramid=normal:scenecut=0")
KINDS: dict[str, tuple[str, ...]] = {
    "short.mp4": (*X264, "-g", "15", "-bf", "0"),
    "long.mp4": (*X264, "-g", "600", "-bf", "0"),
    "b.mp4": B_FRAMES,
    "b.mkv": B_FRAMES,
    "b.ts": B_FRAMES,
    "b.avi": B_FRAMES,  # without times of presentation
    "irregular.mp4": (*X264, "-force_key_frames", "0,0.3,1.1,1.2,2.5"),
    "open.mp4": (*X264, "-g", "20", "-bf", "3", "-x264-params", "open-gop=1"),
    "refresh.ts": (*X264, "-g", "20", "-x264-params", "intra-refresh=1"),
    "fields.ts": (*X264, "-g", "20", "-flags", "+ilme+ildct"),
    "h265.mp4": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=20"),
    "h265.ts": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:open-gop=0"),
    "raw.h264": (*X264, "-g", "15"),
    "jpeg.mkv": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "jpeg.avi": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "old.avi": ("-c:v", "mpeg4", "-g", "15"),
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    for name, options in KINDS.items():
        film(folder / name, seconds=3, options=options)
    ffmpeg("-ss", "1.3", "-i", folder / "b.mp4", "-c", "copy", folder / "edited.mp4")  # hides what is before
    late = (folder / "b.ts").read_bytes()
    (folder / "late.ts").write_bytes(late[188 * (len(late) // 188 // 5) :])  # begins between key frames
    return folder


def every(number: int) -> Callable[[], Wants]:
    def fresh() -> Wants:
        seen = iter(range(10**9))
        return lambda _: next(seen) % number == 0

    return fresh


def bursts() -> Wants:
    """Two neighbours, then a pause: what comes next is never what the last gap tells."""
    seen = iter(range(10**9))
    return lambda _: next(seen) % 11 in (3, 4)


def lenient(fps: float, early_s: float = 0.1) -> Lenient:
    sampler = Sampler(fps)
    return Lenient(sampler.wants, lambda: sampler.next_s, sampler.period_s, early_s)


def read(path: Path, wants: Wants, *, sparing: bool = True) -> list[Frame]:
    with VideoRecording(path, FakeClock()) as recording:
        recording._syntax.known &= sparing
        return list(recording.frames(wants))


WANTED: dict[str, Callable[[], Wants]] = {
    "2 fps": lambda: Sampler(2).wants,
    "7 fps": lambda: Sampler(7).wants,
    "0.7 fps": lambda: Sampler(0.7).wants,
    "all": every(1),
    "bursts": bursts,
}


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("name", [*KINDS, "edited.mp4", "late.ts"])
def test_sparing_gives_the_same_frames_as_decoding_everything(shelf: Path, name: str, wanted: str) -> None:
    whole = read(shelf / name, WANTED[wanted](), sparing=False)
    spared = read(shelf / name, WANTED[wanted]())
    assert whole
    assert [(f.index, f.stream_s) for f in spared] == [(f.index, f.stream_s) for f in whole]
    for one, other in zip(spared, whole, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.parametrize("fps", [2, 7, 0.7])
@pytest.mark.parametrize("name", [*KINDS, "edited.mp4", "late.ts"])
def test_a_look_that_may_come_early_shows_a_frame_as_it_is_and_never_a_later_one(
    shelf: Path, name: str, fps: float
) -> None:
    whole = {frame.index: frame for frame in read(shelf / name, every(1)(), sparing=False)}
    due = read(shelf / name, Sampler(fps).wants, sparing=False)
    seen = read(shelf / name, lenient(fps))
    assert len(seen) == len(due)
    for number, (one, exact) in enumerate(zip(seen, due, strict=True)):
        assert due[0].stream_s + number / fps - 0.1 - FRAME_S / 4 < one.stream_s <= exact.stream_s
        assert one.stream_s == whole[one.index].stream_s
        np.testing.assert_array_equal(one.image, whole[one.index].image)


class Counted:
    """A decoder that counts what it is given to decode in full."""

    def __init__(self, context: Any) -> None:
        self.context, self.skip_frame, self.full, self.fed = context, "DEFAULT", 0, 0
        self.name, self.extradata = context.name, context.extradata

    def decode(self, packet: Any) -> Any:
        if packet is not None:
            self.fed += 1
            self.full += self.skip_frame == "DEFAULT"
            self.context.skip_frame = self.skip_frame
        return self.context.decode(packet)

    def flush_buffers(self) -> None:
        self.context.flush_buffers()


def work(path: Path, wants: Wants) -> Counted:
    with VideoRecording(path, FakeClock()) as recording:
        counted = Counted(recording._context)
        recording._context = counted  # type: ignore[assignment]
        assert list(recording.frames(wants))
    return counted


@pytest.fixture(scope="module")
def each_second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("second") / "a.mp4"
    return film(path, seconds=6, options=[*X264, "-g", "30", "-sc_threshold", "0", "-bf", "0"])


@pytest.mark.parametrize(
    ("early_s", "last", "fed"), [(0.1, 12, 13), (0.05, 14, 15), (0.0, 15, 16), (0.25, 8, 9)]
)
def test_the_last_look_before_a_key_frame_comes_as_early_as_it_may(
    each_second: Path, early_s: float, last: int, fed: int
) -> None:
    seen = read(each_second, lenient(2, early_s))
    assert [frame.index for frame in seen] == [30 * n + at for n in range(6) for at in (0, last)]
    assert work(each_second, lenient(2, early_s)).fed == 6 * fed


class Entered:
    """Stands in for a stream's syntax: it can be entered at some packets only, of a film all of whose
    pictures can."""

    def __init__(self, places: set[int]) -> None:
        self.known, self._places, self._count = True, places, -1

    def opening(self, packet: Any) -> bytes | None:
        self._count += 1
        return b"" if self._count in self._places else None


@pytest.fixture(scope="module")
def intra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("intra") / "a.ts"
    return film(path, size="16x16", seconds=SECONDS, options=[*X264, "-g", "1"])


def looked_at(path: Path, places: set[int], wants: Wants) -> tuple[list[int], int]:
    """Numbers of the frames, and how many were decoded."""
    with VideoRecording(path, FakeClock()) as recording:
        counted = Counted(recording._context)
        recording._context = counted  # type: ignore[assignment]
        recording._syntax = Entered(places)  # type: ignore[assignment]
        return [frame.index for frame in recording.frames(wants)], counted.fed


def cheapest(places: set[int], due: list[int], most: int) -> list[int]:
    """By trying: for each look, that of the frames in time after which the least is decoded in all; the
    one nearest to its turn among equals."""
    chosen = list(due)
    for number, last in enumerate(due):
        first = max(last - most, chosen[number - 1] + 1) if number else last
        around = [*chosen[max(0, number - 3) : number], *due[number + 1 : number + 4]]
        costs = {at: costing(places, [*around, at]) for at in range(first, last + 1)}
        chosen[number] = max(costs, key=lambda at: (-costs[at], at))
    return chosen


def costing(places: set[int], looks: list[int]) -> int:
    entries = sorted(places)
    reached: dict[int, int] = {}
    for look in looks:
        entry = max(place for place in entries if place <= look)
        reached[entry] = max(reached.get(entry, 0), look - entry + 1)
    return sum(reached.values())


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(st.integers(1, 45), min_size=1, max_size=8),
    fps=st.sampled_from([2.0, 1.0, 3.0, 0.7, 2.3]),
)
def test_wherever_key_frames_lie_the_rate_is_kept_and_the_cheapest_frame_in_time_is_looked_at(
    intra: Path, steps: list[int], fps: float
) -> None:
    places = entries_of(steps)
    exact, decoded = looked_at(intra, places, lenient(fps, 0.0))
    early, spared = looked_at(intra, places, lenient(fps))
    assert len(early) == len(exact) == math.ceil(SECONDS * fps)
    assert all(0 <= due - look <= 3 for look, due in zip(early, exact, strict=True))
    assert (decoded, spared) == (costing(places, exact), costing(places, early))
    if 30 % fps == 0:  # elsewhere a look is due between two frames
        assert early == cheapest(places, exact, 3)


def entries_of(steps: list[int]) -> set[int]:
    """A film's key frames, each so many frames after the one before, over and over."""
    apart = itertools.accumulate(itertools.cycle(steps), initial=0)
    return set(itertools.takewhile(lambda at: at < 30 * SECONDS, apart))


@pytest.mark.parametrize(
    ("every", "exact", "early"),
    [
        (30, 480, 390),
        (29, 676, 583),
        (14, 430, 280),
        (60, 690, 645),
        (240, 844, 832),
        (15, 60, 60),
        (1, 60, 60),
    ],
)
def test_how_much_less_is_decoded_for_looks_that_may_come_early(
    intra: Path, every: int, exact: int, early: int
) -> None:
    places = entries_of([every])
    assert looked_at(intra, places, lenient(2, 0.0))[1] == exact
    assert looked_at(intra, places, lenient(2))[1] == early


@pytest.mark.parametrize(
    ("name", "fed"),
    [("short.mp4", 6 + 2), ("long.mp4", 76 + 2), ("jpeg.mkv", 6 + 1), ("raw.h264", 90), ("open.mp4", 90)],
)
def test_no_more_is_decoded_than_up_to_the_last_wanted_picture(shelf: Path, name: str, fed: int) -> None:
    assert work(shelf / name, Sampler(2).wants).fed <= fed


def test_pictures_that_no_other_refers_to_are_left_out(shelf: Path) -> None:
    done = work(shelf / "b.mp4", Sampler(2).wants)
    assert done.full < 20 < done.fed < 85


def test_a_size_that_changes_is_seen_where_nothing_is_looked_at(tmp_path: Path) -> None:
    parts = [film(tmp_path / f"{size}.ts", size=size, seconds=1) for size in ("64x48", "96x64")]
    mixed = tmp_path / "mixed.ts"
    mixed.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(FootageError, match=r"from 64x48 to 96x64 at (1\.0|0\.9)"):
        read(mixed, Sampler(0.1).wants)


def test_where_the_wanted_picture_is_damaged_the_next_stands_in_for_it(shelf: Path, tmp_path: Path) -> None:
    whole = read(shelf / "short.mp4", every(1)())
    data = bytearray((shelf / "short.mp4").read_bytes())
    with VideoRecording(shelf / "short.mp4", FakeClock()) as recording:
        spoilt = list(recording._packets())[30]  # a key frame
        assert spoilt.is_keyframe
        data[spoilt.pos : spoilt.pos + spoilt.size] = b"\xff" * spoilt.size
    (tmp_path / "spoilt.mp4").write_bytes(data)
    seen = read(tmp_path / "spoilt.mp4", Sampler(2).wants)
    assert [frame.index for frame in seen][:2] == [0, 15]
    assert 30 < seen[2].index <= 45
    for frame in seen[:2] + seen[-2:]:
        np.testing.assert_array_equal(frame.image, whole[frame.index].image)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), min_size=1, max_size=12))
@pytest.mark.parametrize("name", ["b.ts", "short.mp4", "jpeg.mkv"])
def test_damaged_footage_moves_forward_only(
    name: str, flips: list[tuple[float, int]], shelf: Path, tmp_path: Path
) -> None:
    data = bytearray((shelf / name).read_bytes())
    for place, change in flips:
        data[int(place * len(data))] ^= change
    (tmp_path / name).write_bytes(data)
    try:
        frames = read(tmp_path / name, Sampler(4).wants)
    except FootageError:
        return
    order = [frame.index for frame in frames]
    assert order == sorted(set(order))


@given(data=st.binary(max_size=200), prefix=st.sampled_from([0, 1, 2, 4]))
def test_units_of_hostile_bytes_are_parts_of_them(data: bytes, prefix: int) -> None:
    units: Iterator[memoryview] = _units(memoryview(data), prefix)
    assert sum(len(unit) for unit in units) <= len(data)


def test_only_a_picture_that_needs_none_before_it_is_an_entry(shelf: Path) -> None:
    entries = {}
    for name in ("short.mp4", "h265.ts", "jpeg.mkv", "open.mp4", "refresh.ts", "old.avi"):
        with VideoRecording(shelf / name, FakeClock()) as recording:
            syntax = Syntax(recording._context)
            entries[name] = sum(syntax.opening(packet) is not None for packet in recording._packets())
    assert entries["short.mp4"] == 6
    assert entries["jpeg.mkv"] == 90
    assert entries["h265.ts"] >= 1
    assert max(entries["open.mp4"], entries["refresh.ts"]) <= 1
    assert entries["old.avi"] == 0
