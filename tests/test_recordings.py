from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge.clock import FakeClock
from edge.errors import FootageError, UsageError
from edge.frames import Frame
from edge.pictures import read_picture
from edge.recordings import find_recordings, open_recording, sampled
from edge.videos import Timeline
from tests.filming import ffmpeg, film, frames_in, picture


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let caplog hear the project's logger, also after a test that set up the daemon's log."""
    monkeypatch.setattr(logging.getLogger("skerry"), "propagate", True)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos that several tests read and none changes."""
    folder = tmp_path_factory.mktemp("shelf")
    film(folder / "card.mp4", options=["-movflags", "+faststart", "-bf", "0"])
    for kind in ("mkv", "ts", "avi"):
        ffmpeg("-i", folder / "card.mp4", "-c", "copy", folder / f"card.{kind}")
    return folder


def read(path: Path, fps: float | None = None) -> list[Frame]:
    with open_recording(path) as recording:
        return list(sampled(recording, fps))


def cut(path: Path, share: float) -> Path:
    """The first part of a file, beside it."""
    data = path.read_bytes()
    short = path.with_name(f"cut{round(share * 100)}-{path.name}")
    short.write_bytes(data[: round(len(data) * share)])
    return short


# --- what there is ---------------------------------------------------------------------------------


def test_finds_videos_frames_and_clips_in_natural_order_each_once(tmp_path: Path) -> None:
    for clip in ("clip2", "clip10"):
        frames_in(tmp_path / "set" / "train" / clip, 1)
    (tmp_path / "set" / "b.MP4").write_bytes(b"x")
    (tmp_path / "set" / "notes.txt").write_text("x")
    found = find_recordings([tmp_path / "set", tmp_path / "set" / "train" / "clip2", tmp_path / "set"])
    names = [str(path.relative_to(tmp_path / "set")) for path in found]
    assert names == ["b.MP4", "train/clip2", "train/clip10"]


def test_a_named_file_is_footage_whatever_its_suffix(tmp_path: Path) -> None:
    odd = tmp_path / "flight.bin"
    odd.write_bytes(b"x")
    assert find_recordings([odd]) == [odd]


def test_hidden_files_are_not_footage(tmp_path: Path) -> None:
    frames_in(tmp_path / "clip", 2)
    (tmp_path / "clip" / "._frame0.png").write_bytes(b"macOS")
    assert len(read(tmp_path / "clip")) == 2


def test_a_folder_without_footage_says_what_was_looked_for_and_found(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(FootageError, match=r"looked for videos .*\.png.*holds 1 \.txt and 0 folders"):
        find_recordings([tmp_path])
    with pytest.raises(FootageError, match="looked for videos"):
        open_recording(tmp_path)


def test_a_folder_of_clips_is_not_one_recording(tmp_path: Path) -> None:
    frames_in(tmp_path / "clips" / "a", 1)
    with pytest.raises(FootageError, match=r"holds 1; name one of them, such as .*clips/a"):
        open_recording(tmp_path / "clips")


@pytest.mark.parametrize("name", ["absent.mp4", "absent/deeper", "x" * 300])
def test_missing_footage_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(FootageError, match=f"{name} does not exist"):
        find_recordings([tmp_path / name])
    with pytest.raises(FootageError, match=f"{name} does not exist"):
        open_recording(tmp_path / name)


def test_no_path_at_all_and_a_single_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FootageError, match="No footage was named"):
        find_recordings([])
    lone = picture(tmp_path / "lone.png")
    for look in (lambda: find_recordings([lone]), lambda: read(lone)):
        with pytest.raises(FootageError, match="folder that holds"):
            look()


# --- video -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "avi"])
def test_a_video_yields_every_frame_on_its_own_timeline(shelf: Path, kind: str) -> None:
    frames = read(shelf / f"card.{kind}")
    assert [frame.index for frame in frames] == list(range(60))
    assert frames[0].stream_s == 0
    assert frames[45].stream_s == pytest.approx(1.5, abs=0.001)
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image.dtype == np.uint8


def test_colours_are_blue_green_red(tmp_path: Path) -> None:
    red = tmp_path / "red.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=red:size=64x48:duration=0.2", "-pix_fmt", "yuv420p", red)
    blue, green, red_ = read(red)[0].image[24, 32]
    assert red_ > 230
    assert max(blue, green) < 30


def test_a_raw_stream_without_times_counts_frame_periods(tmp_path: Path) -> None:
    frames = read(film(tmp_path / "raw.h264", seconds=1))
    assert len(frames) == 30
    assert frames[15].stream_s == pytest.approx(0.5)


def test_a_frame_says_when_it_was_decoded(shelf: Path) -> None:
    clock = FakeClock(now_ns=7_000_000_000)
    with open_recording(shelf / "card.mp4", clock=clock) as recording:
        frames = iter(recording)
        first = next(frames)
        clock.advance(1.5)
        second = next(frames)
    assert (first.mono_ns, second.mono_ns) == (7_000_000_000, 8_500_000_000)
    assert (second.utc - first.utc).total_seconds() == 1.5


def test_sampling_a_video_gives_the_same_pictures_as_reading_it_all(shelf: Path) -> None:
    every, some = read(shelf / "card.mp4"), read(shelf / "card.mp4", 2)
    assert [frame.index for frame in some] == [0, 15, 30, 45]
    for frame in some:
        np.testing.assert_array_equal(frame.image, every[frame.index].image)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi"])
def test_a_truncated_video_yields_what_decodes_and_warns(
    shelf: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    count = len(read(cut(shelf / f"card.{kind}", 0.6)))
    assert 10 < count < 58
    assert f"{count} of about" in caplog.text  # AVI's length is estimated from what is there


def test_a_whole_video_does_not_warn(shelf: Path, caplog: pytest.LogCaptureFixture) -> None:
    for kind in ("mp4", "mkv", "ts", "avi"):
        read(shelf / f"card.{kind}")
    assert not caplog.records


def test_a_video_truncated_to_nothing_is_an_error(shelf: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.mp4"
    ffmpeg("-i", shelf / "card.mp4", "-c", "copy", plain)  # its index lies at the end
    for victim, share in ((plain, 0.5), (shelf / "card.mp4", 0.06)):
        with pytest.raises(FootageError, match=r"cut.*\.mp4"):
            read(cut(victim, share))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"no video\n" * 99),
        ("text.txt", b"no video\n" * 99),
        ("z.mkv", b"\0" * 999),
    ],
)
def test_what_is_no_video_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FootageError, match=f"{name} is "):
        read(tmp_path / name)


def test_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", tmp_path / "song.wav")
    with pytest.raises(FootageError, match=r"song\.wav holds no video"):
        read(tmp_path / "song.wav")


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    none = tmp_path / "none.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=size=64x48:duration=1", "-frames:v", "0", none)
    with pytest.raises(FootageError, match=r"none\.mp4"):
        read(none)


@pytest.mark.parametrize("kind", ["h264", "ts"])
def test_a_video_that_changes_size_names_both_sizes_and_the_time(tmp_path: Path, kind: str) -> None:
    parts = [film(tmp_path / f"{size}.{kind}", size=size, seconds=1) for size in ("64x48", "96x64")]
    mixed = tmp_path / f"mixed.{kind}"
    mixed.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(FootageError, match=r"mixed.* from 64x48 to 96x64 at (1\.0|0\.9)"):
        read(mixed)
    with pytest.raises(FootageError, match="64x48 to 96x64"):
        read(mixed, 0.1)  # also where no sampled frame would show it


def test_a_playlist_opens_nothing_beyond_itself(tmp_path: Path, shelf: Path) -> None:
    playlist = tmp_path / "list.mp4"
    playlist.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(FootageError, match=r"list\.mp4"):
        read(playlist)


def test_reading_damaged_footage_writes_nothing_to_the_terminal(
    shelf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    read(cut(shelf / "card.mp4", 0.6))
    half = cut(picture(tmp_path / "grey.png", 99), 0.5)
    with pytest.raises(FootageError):
        read_picture(half)
    assert capfd.readouterr() == ("", "")


# --- pictures --------------------------------------------------------------------------------------


def test_a_folder_is_read_in_natural_order_at_its_own_rate(tmp_path: Path) -> None:
    with open_recording(frames_in(tmp_path, 12), folder_fps=5) as recording:
        frames = list(recording)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(12))
    assert frames[10].stream_s == 2.0


def test_a_folder_sampled_reads_only_what_is_wanted(tmp_path: Path) -> None:
    frames_in(tmp_path, 11)
    (tmp_path / "frame3.png").write_bytes(b"damaged, but not wanted")
    assert [frame.index for frame in read(tmp_path, 2)] == [0, 5, 10]


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "PNG"])
def test_reads_each_kind_of_picture(tmp_path: Path, suffix: str) -> None:
    picture(tmp_path / f"a.{suffix}", 77)
    image = read(tmp_path)[0].image
    assert image.shape == (48, 64, 3)
    np.testing.assert_allclose(image, 77, atol=2)


def test_a_grey_picture_becomes_three_equal_channels(tmp_path: Path) -> None:
    grey = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), np.dstack([grey] * 3))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_become_eight_by_value_over_257(tmp_path: Path, channels: int) -> None:
    values = np.linspace(0, 65535, 48 * 64, dtype=np.uint16).reshape(48, 64)
    pixels = np.dstack([values] * channels) if channels > 1 else values
    if channels == 4:
        pixels[:, :, 3] = 1234  # alpha, to be dropped
    cv2.imwrite(str(tmp_path / "deep.png"), pixels)
    image = read_picture(tmp_path / "deep.png")
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(image, np.dstack([expected] * 3))
    assert image.dtype == np.uint8


def test_alpha_is_dropped_and_colours_kept(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:] = (10, 20, 30, 40)
    cv2.imwrite(str(tmp_path / "alpha.png"), pixels)
    assert read_picture(tmp_path / "alpha.png")[0, 0].tolist() == [10, 20, 30]


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "float.tiff"), np.zeros((4, 4), np.float32))
    with pytest.raises(FootageError, match=r"float\.tiff has float32 pixels; save it"):
        read_picture(tmp_path / "float.tiff")


@pytest.mark.parametrize(("name", "share"), [("a.png", 0.5), ("a.jpg", 0.5), ("a.png", 0.0), ("a.jpg", 0.0)])
def test_a_picture_cut_short_is_named(tmp_path: Path, name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / name), noise)
    folder = tmp_path / "frames"
    folder.mkdir()
    cut(tmp_path / name, share).rename(folder / name)
    with pytest.raises(FootageError, match=f"Picture .*{name}"):
        read(folder)


def test_a_folder_of_mixed_sizes_names_two_files_and_sizes(tmp_path: Path) -> None:
    frames_in(tmp_path, 3)
    picture(tmp_path / "frame9.png", size=(96, 64))
    with pytest.raises(FootageError, match=r"frame0\.png is 64x48, frame9\.png is 96x64"):
        read(tmp_path)


# --- time ------------------------------------------------------------------------------------------


def at(*times: float) -> list[Frame]:
    blank = np.zeros((1, 1, 3), np.uint8)
    clock = FakeClock()
    return [Frame(blank, index, time, 0, clock.utc()) for index, time in enumerate(times)]


def picked(times: list[float], fps: float) -> list[int]:
    return [frame.index for frame in sampled(at(*times), fps)]


def test_no_rate_means_every_frame() -> None:
    assert len(list(sampled(at(0, 1, 2), None))) == 3


@pytest.mark.parametrize("shift_s", [0.0, 1.4, 1e6])
@pytest.mark.parametrize("jitter_s", [0.0, 0.0005, 0.004])
def test_two_of_thirty_is_every_fifteenth_under_jitter(shift_s: float, jitter_s: float) -> None:
    noise = np.random.default_rng(1).uniform(-jitter_s, jitter_s, 3000)
    noise[0] = 0
    times = [shift_s + i / 30 + float(noise[i]) for i in range(3000)]
    assert picked(times, 2) == list(range(0, 3000, 15))


def test_a_rate_that_does_not_divide_takes_the_first_frame_after_each_instant() -> None:
    assert picked([i / 10 for i in range(21)], 3) == [0, 4, 7, 10, 14, 17, 20]


def test_a_gap_is_not_filled_with_what_came_after() -> None:
    assert picked([0, 0.5, 7.2, 7.3, 7.5, 8.0], 2) == [0, 1, 2, 4, 5]


def test_time_that_restarts_does_not_stall() -> None:
    times = [100 + i / 10 for i in range(11)] + [i / 10 for i in range(11)]
    assert picked(times, 2) == [0, 5, 10, 11, 16, 21]


def test_more_than_there_is_means_every_frame() -> None:
    assert picked([i / 10 for i in range(8)], 30) == list(range(8))


@pytest.mark.parametrize("fps", [0, -1, math.nan, math.inf])
def test_an_impossible_rate_is_refused(fps: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than 0"):
        sampled(at(0), fps)
    with pytest.raises(UsageError, match="more than 0"):
        open_recording(frames_in(tmp_path, 1), folder_fps=fps)


@given(st.lists(st.none() | st.floats(-1e5, 1e5), max_size=60))
def test_a_timeline_starts_at_zero_and_never_runs_backward(raw: list[float | None]) -> None:
    timeline = Timeline(0.1)
    times = [timeline.at(time) for time in raw]
    assert times[:1] in ([], [pytest.approx(0)])
    assert all(later >= earlier for earlier, later in pairwise(times))


# --- hostile bytes ---------------------------------------------------------------------------------

hostile = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def survives(act: Callable[[], object]) -> None:
    """Anything but success and FootageError fails the test."""
    with contextlib.suppress(FootageError):
        act()


@hostile
@given(
    data=st.binary(max_size=400),
    head=st.sampled_from(
        [b"", b"\0\0\0\x18ftypmp42", b"\x1aE\xdf\xa3", b"\0\0\0\x01\x67", b"RIFF\xff\xff\0\0AVI "]
    ),
)
def test_random_bytes_as_a_video_raise_only_footage_errors(data: bytes, head: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(head + data)
    survives(lambda: read(tmp_path / "x.mp4"))


@hostile
@given(
    data=st.binary(max_size=400),
    head=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff\xe0", b"II*\0", b"BM", b"RIFF\0\0\0\0WEBP"]
    ),
)
def test_random_bytes_as_a_picture_raise_only_footage_errors(
    data: bytes, head: bytes, tmp_path: Path
) -> None:
    (tmp_path / "x.png").write_bytes(head + data)
    survives(lambda: read_picture(tmp_path / "x.png"))


@hostile
@given(flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), min_size=1, max_size=12))
@example(flips=[(0.7413294273182176, 2)])  # in an MPEG transport stream: a stream that was not there before
@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "avi"])
def test_flipped_bytes_raise_only_footage_errors(
    kind: str, flips: list[tuple[float, int]], shelf: Path, tmp_path: Path
) -> None:
    data = bytearray((shelf / f"card.{kind}").read_bytes())
    for place, change in flips:
        data[int(place * len(data))] ^= change
    (tmp_path / f"x.{kind}").write_bytes(data)
    survives(lambda: read(tmp_path / f"x.{kind}", 10))
