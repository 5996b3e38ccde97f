from __future__ import annotations

from collections.abc import Callable

import pytest

from edge.camera import CaptureCamera, EitherCamera, Wish
from edge.errors import CameraError, UsageError
from edge.gstreamer import Plant, csi_pipeline, opencv_has_gstreamer, rtsp_pipeline, usb_pipeline
from edge.streams import StreamCamera
from edge.ways import Way, way

PLAIN = Plant(in_opencv=False, has=lambda _: False)
JETSON = Plant(in_opencv=True, has=lambda _: True)
DESKTOP = Plant(in_opencv=True, has=lambda name: not name.startswith("nv"))


def way_of(uri: str, plant: Plant) -> Way:
    return way(uri.partition(":")[0], uri, "shown", 2, plant)


def in_order(text: str, *steps: str) -> None:
    places = [text.index(step) for step in steps]
    assert places == sorted(places)


# --- the strings -----------------------------------------------------------------------------------


def test_the_jetson_camera_is_scaled_and_thinned_out_before_the_cpu_converts() -> None:
    pipeline = csi_pipeline(1, Wish(width=640, height=360, fps=4), 2)
    in_order(pipeline, "sensor-id=1", "nvvidconv", "width=640,height=360", "max-rate=4", "videoconvert")
    assert pipeline.endswith("appsink drop=true max-buffers=1 sync=false")


@pytest.mark.parametrize(
    ("asked", "fps", "most"), [(0, 2, 4), (0, 0.5, 1), (0, 0.2, 1), (3, 2, 3), (30, 2, 4), (0, 30, 60)]
)
def test_the_rate_is_cut_to_twice_that_of_looking_or_what_is_asked_for(
    asked: int, fps: float, most: int
) -> None:
    assert f"max-rate={most} " in csi_pipeline(0, Wish(fps=asked), fps)
    assert f"max-rate={most} " in usb_pipeline("/dev/video0", Wish(fps=asked), fps)


@pytest.mark.parametrize(("codec", "name"), [("h264", "h264"), ("hevc", "h265")])
def test_a_network_camera_is_decoded_and_thinned_out_in_hardware(codec: str, name: str) -> None:
    pipeline = rtsp_pipeline("rtsp://cam/1", codec, 2, 30)
    in_order(pipeline, f"rtp{name}depay", f"{name}parse", "nvv4l2decoder", "drop-frame-interval=7", "convert")
    assert "drop-frame-interval=1 " in rtsp_pipeline("rtsp://cam/1", codec, 30, 30)


def test_an_address_cannot_add_to_the_pipeline() -> None:
    pipeline = rtsp_pipeline('rtsp://cam/" ! filesink location="x\\', "h264", 2, 30)
    assert r'location="rtsp://cam/\" ! filesink location=\"x\\" protocols' in pipeline


def test_a_usb_camera_is_thinned_out_before_its_pictures_are_decoded() -> None:
    pipeline = usb_pipeline("/dev/video2", Wish(width=1920, height=1080, fps=15), 2)
    in_order(pipeline, '"/dev/video2"', "width=1920,height=1080,framerate=15/1", "max-rate=4", "nvjpegdec")


# --- the choice ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "plant", "kind", "why"),
    [
        ("rtsp://cam/1", PLAIN, StreamCamera, "OpenCV is built without GStreamer"),
        ("rtsp://cam/1", DESKTOP, StreamCamera, "GStreamer has no nvv4l2decoder, nvvidconv"),
        ("rtsp://cam/1", JETSON, EitherCamera, "the decoder is there"),
        ("rtsps://cam/1", JETSON, StreamCamera, "only rtsp:// has a hardware way"),
        ("http://cam/1", JETSON, StreamCamera, "only rtsp:// has a hardware way"),
        ("v4l2://0", JETSON, CaptureCamera, "small pictures come uncompressed"),
        ("v4l2://0?width=1920&height=1080", DESKTOP, CaptureCamera, "GStreamer has no nvjpegdec, nvvidconv"),
        ("v4l2://0?width=1920&height=1080", JETSON, EitherCamera, "the picture is large"),
        ("csi://0", JETSON, CaptureCamera, "no other way"),
        ("gst:videotestsrc ! appsink", DESKTOP, CaptureCamera, "no other way"),
    ],
)
def test_the_way_follows_from_what_the_machine_has(uri: str, plant: Plant, kind: type, why: str) -> None:
    found = way_of(uri, plant)
    assert isinstance(found.make(), kind)
    assert why in found.why


@pytest.mark.parametrize("uri", ["csi://0", "gst:x ! appsink"])
def test_where_opencv_has_no_gstreamer_it_is_said_what_to_do(uri: str) -> None:
    with pytest.raises(CameraError, match=r"shown needs an OpenCV built with GStreamer .* JetPack"):
        way_of(uri, PLAIN).make()


@pytest.mark.parametrize("plant", [PLAIN, JETSON])
@pytest.mark.parametrize("uri", ["rtsp://cam/1", "v4l2://0?width=1920&height=1080"])
def test_a_camera_given_up_is_replaced_by_another(uri: str, plant: Plant) -> None:
    make = way_of(uri, plant).make
    assert make() is not make()


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("csi://front", "takes its number"),
        ("v4l2://0?widht=3", "did you mean width?"),
        ("csi://0?fps=x", "fps=x"),
    ],
)
def test_an_option_that_means_nothing_is_named(uri: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        way_of(uri, JETSON)
    assert hint in str(caught.value)


def test_gstreamer_is_asked_of_the_build() -> None:
    assert not opencv_has_gstreamer("  Video I/O:\n    GStreamer:                   NO\n")
    assert opencv_has_gstreamer("  Video I/O:\n    GStreamer:                   YES (1.20.3)\n")


def test_what_is_missing_is_asked_only_of_an_opencv_that_could_use_it() -> None:
    asked: list[str] = []
    has: Callable[[str], bool] = lambda name: bool(asked.append(name))  # noqa: E731
    assert Plant(in_opencv=False, has=has).lacks(["a"]) == "OpenCV is built without GStreamer"
    assert asked == []
    assert Plant(in_opencv=True, has=has).lacks(["a", "b"]) == "GStreamer has no a, b"
