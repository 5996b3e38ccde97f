from __future__ import annotations

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
from edge.recordings import Sampler
from edge.videos import VideoRecording, Wants
from tests.filming import ffmpeg, film

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
