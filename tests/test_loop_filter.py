from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from edge.clock import FakeClock
from edge.frames import Frame
from edge.leeway import Leeway, LoopFilter
from edge.loop_filter import KeyFrames, _opened
from edge.recordings import Sampler
from edge.thinning import Thinner
from edge.videos import VideoRecording, Wants, bgr
from tests.filming import film
from tests.test_decoding import Counted, bursts

CODING = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "34", "-sc_threshold", "0", "-bf", "0")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, group in (("each-half.mp4", 15), ("each-half.ts", 15), ("each-second.mp4", 30)):
        film(folder / name, size="320x240", seconds=4, options=[*CODING, "-g", str(group)])
    return folder


def looked_at(path: Path, loop_filter: LoopFilter, wants: Wants | None = None) -> list[Frame]:
    with VideoRecording(path, FakeClock(), Leeway(loop_filter)) as recording:
        return list(recording.frames(wants or Sampler(2).wants))


def apart(one: Frame, other: Frame) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(one.image.astype(float) - other.image).mean())


@pytest.mark.parametrize("name", ["each-half.mp4", "each-half.ts"])
def test_key_frames_decoded_alone_go_without_and_stay_near(shelf: Path, name: str) -> None:
    exact, light = looked_at(shelf / name, "always"), looked_at(shelf / name, "auto")
    assert [(f.index, f.stream_s) for f in light] == [(f.index, f.stream_s) for f in exact]
    differences = [apart(*pair) for pair in zip(light, exact, strict=True)]
    assert min(differences[2:]) > 0
    assert max(differences) < 1.5


def test_where_pictures_are_built_on_one_another_they_stay_exact(shelf: Path) -> None:
    exact, light = (
        looked_at(shelf / "each-second.mp4", "always"),
        looked_at(shelf / "each-second.mp4", "auto"),
    )
    assert len(light) == 8
    assert [apart(*pair) for pair in zip(light, exact, strict=True)] == [0] * 8


def test_a_picture_wanted_after_all_is_built_on_a_key_frame_that_was_smoothed(shelf: Path) -> None:
    exact = looked_at(shelf / "each-half.mp4", "always", bursts())
    light = looked_at(shelf / "each-half.mp4", "auto", bursts())
    keys = [number for number, frame in enumerate(exact) if frame.index % 15 == 0]
    assert [f.index for f in light] == [f.index for f in exact]
    for number, pair in enumerate(zip(light, exact, strict=True)):
        assert number in keys or apart(*pair) == 0


def test_left_out_of_every_picture_the_difference_grows(shelf: Path) -> None:
    exact, light = (looked_at(shelf / "each-second.mp4", how) for how in ("always", "never"))
    differences = [apart(*pair) for pair in zip(light, exact, strict=True)]
    assert min(differences) > 0
    assert np.mean(differences[1::2]) > np.mean(differences[::2])


def test_a_live_streams_key_frames_go_without_as_well(shelf: Path) -> None:
    exact = {frame.index: frame for frame in looked_at(shelf / "each-half.ts", "always")}
    with VideoRecording(shelf / "each-half.ts", FakeClock()) as recording:
        base = recording._stream.time_base
        assert base is not None
        own = Counted(recording._context)
        thinner = Thinner(own, base, 2, recording.fps, KeyFrames(recording._context))  # type: ignore[arg-type]
        came = [item for packet in recording._packets() for item in thinner.push(packet)]
    seen = {number: bgr(item) for number, item in enumerate(came) if item is not None}
    assert list(seen) == list(exact)
    differences = [np.abs(seen[number].astype(float) - exact[number].image).mean() for number in seen]
    assert own.fed == 0
    assert min(differences) > 0
    assert max(differences) < 1.5


@pytest.mark.parametrize("group", ["each-second.mp4", "long.mp4"])
def test_a_live_stream_built_on_one_another_stays_exact_but_for_its_first_picture(
    shelf: Path, group: str
) -> None:
    path = shelf / group
    if not path.exists():
        film(path, size="320x240", seconds=4, options=[*CODING, "-g", "600"])
    exact = {frame.index: frame for frame in looked_at(path, "always")}
    with VideoRecording(path, FakeClock()) as recording:
        base = recording._stream.time_base
        assert base is not None
        own = Counted(recording._context)
        thinner = Thinner(own, base, 2, recording.fps, KeyFrames(recording._context))  # type: ignore[arg-type]
        came = [item for packet in recording._packets() for item in thinner.push(packet)]
    seen = {number: bgr(item) for number, item in enumerate(came) if item is not None}
    assert list(seen) == list(exact)
    for number in list(seen)[1:]:
        np.testing.assert_array_equal(seen[number], exact[number].image)
    assert own.fed <= 120  # none of it twice


def test_what_the_container_says_of_colours_holds(shelf: Path) -> None:
    with av.open(str(shelf / "each-half.mp4")) as container:
        context = container.streams.video[0].codec_context
        context.colorspace, context.color_range = 1, 2
        light = _opened(context)
        assert (light.colorspace, light.color_range) == (1, 2)
        packet = next(container.demux(video=0))
        picture = KeyFrames(context)(packet)
        assert picture is not None
        assert picture.colorspace == next(iter(context.decode(packet) + context.decode(None))).colorspace


def test_what_cannot_be_decoded_alone_is_left_to_the_streams_own_decoder(shelf: Path) -> None:
    with av.open(str(shelf / "each-half.mp4")) as container:
        context = container.streams.video[0].codec_context
        packets = [packet for packet in container.demux(video=0) if packet.size]
        alone = KeyFrames(context)
        assert alone(av.Packet(b"\0\0\0\5no picture")) is None
        assert alone(packets[1]) is None  # builds on one that it has not seen
        assert alone(packets[15]) is not None


def test_after_a_change_of_parameters_key_frames_are_left_to_the_streams_own_decoder(shelf: Path) -> None:
    class Changed:
        def __init__(self, of: object) -> None:
            self.of = of

        def has_sidedata(self, kind: str) -> bool:
            return kind == "new_extradata"

    with av.open(str(shelf / "each-half.mp4")) as container:
        packet = next(container.demux(video=0))
        alone = KeyFrames(container.streams.video[0].codec_context)
        assert alone(packet) is not None
        assert alone(Changed(packet)) is None  # type: ignore[arg-type]
        assert alone(packet) is None


def test_motion_jpeg_has_none_to_leave_out(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", options=["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"])
    with av.open(str(path)) as container:
        assert KeyFrames(container.streams.video[0].codec_context)(next(container.demux(video=0))) is None
