"""Which way this machine takes from a live camera's URI to its pictures, and why."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl, unquote

from pydantic import BaseModel, ValidationError

from edge import gstreamer
from edge.camera import Camera, CaptureCamera, EitherCamera, Wish, device_path, gst_camera, v4l2_camera
from edge.errors import CameraError, UsageError, nearest
from edge.leeway import EXACT, Leeway
from edge.streams import StreamCamera

Options = TypeVar("Options", bound=BaseModel)
NETWORK = ("rtsp", "rtsps", "http", "https", "tcp")


@dataclass(frozen=True)
class Way:
    """`make` raises CameraError where the way is closed."""

    by: str
    why: str
    make: Callable[[], Camera]


def way(
    scheme: str,
    uri: str,
    name: str,
    fps: float,
    plant: gstreamer.Plant,
    leeway: Leeway = EXACT,
) -> Way:
    """Of a camera's URI, `scheme` being its own; `name` is the URI fit for a log.

    Raises UsageError for a URI that means nothing.
    """
    if scheme in NETWORK:
        plain = partial(StreamCamera, uri, name, fps=fps, leeway=leeway)
        return _network(scheme, uri, name, fps, plant, plain)
    if scheme == "gst":
        pipeline = uri.partition(":")[2]
        return _gstreamer("the pipeline as given", lambda: pipeline, name, plant)
    device, query = address(uri)
    wish = options(Wish, query, uri)
    if scheme == "v4l2":
        return _usb(device or "0", name, wish, fps, plant)
    sensor = _sensor(device, uri)
    return _gstreamer(
        "Argus and the VIC, thinned out and scaled before the processor converts",
        lambda: gstreamer.csi_pipeline(sensor, wish, fps),
        name,
        plant,
        gstreamer.CSI_PARTS,
    )


def _network(
    scheme: str, uri: str, name: str, fps: float, plant: gstreamer.Plant, plain: Callable[[], StreamCamera]
) -> Way:
    lacks = plant.lacks(gstreamer.STREAM_PARTS) if scheme == "rtsp" else "only rtsp:// has a hardware way"
    if lacks:
        by = "PyAV in software, one thread, decoding only as far as pictures are looked at"
        return Way(by, lacks, plain)

    def capture() -> str:
        return gstreamer.rtsp_pipeline(uri, *_sent(uri, name, fps))

    return Way(
        "GStreamer with the hardware decoder nvv4l2decoder, PyAV in software where that does not open",
        "OpenCV has GStreamer and the decoder is there",
        lambda: EitherCamera(gst_camera(capture, name), plain()),
    )


def _sent(uri: str, name: str, fps: float) -> tuple[str, float, float]:
    """Codec, rate of looking and rate of the stream. Raises CameraError."""
    look = StreamCamera(uri, name)
    look.open()
    look.close()
    if look.codec not in gstreamer.CODECS:
        raise CameraError(f"Camera {name} sends {look.codec}, which the hardware decoder is not asked for.")
    return look.codec, fps, look.rate


def _usb(device: str, name: str, wish: Wish, fps: float, plant: gstreamer.Plant) -> Way:
    plain = partial(v4l2_camera, device, name, wish, fps)
    lacks = plant.lacks(gstreamer.USB_PARTS) if wish.large else "small pictures come uncompressed"
    if lacks:
        return Way("OpenCV by V4L2, decoding only the pictures looked at", lacks, plain)
    better = partial(gst_camera, lambda: gstreamer.usb_pipeline(str(device_path(device)), wish, fps), name)
    return Way(
        "GStreamer with the hardware's JPEG decoder, OpenCV by V4L2 where that does not open",
        "OpenCV has GStreamer, the decoder is there and the picture is large",
        lambda: EitherCamera(better(), plain()),
    )


def _gstreamer(
    what: str, pipeline: Callable[[], str], name: str, plant: gstreamer.Plant, parts: tuple[str, ...] = ()
) -> Way:
    def make() -> CaptureCamera:
        if not plant.in_opencv:
            raise CameraError(
                f"Camera {name} needs an OpenCV built with GStreamer and this one is not; use JetPack's own "
                "(python -m venv --system-site-packages) or watch the camera by rtsp:// or v4l2://."
            )
        return gst_camera(pipeline, name)

    lacks = plant.lacks(parts)
    why = "this kind of source has no other way"
    return Way(f"GStreamer: {what}", f"{why}, but {lacks}" if lacks else why, make)


def address(uri: str) -> tuple[str, str]:
    """What stands before and after the question mark of scheme://address?query."""
    where, _, query = uri.partition("://")[2].partition("?")
    return unquote(where), query


def _sensor(device: str, uri: str) -> int:
    if not re.fullmatch(r"[0-9]?", device):
        raise UsageError(f"Source {uri} names no sensor; csi:// takes its number, as in csi://0.")
    return int(device or 0)


def options(model: type[Options], query: str, uri: str) -> Options:
    """The query as a model; raises UsageError naming the option, its value and what would be right."""
    values = dict(parse_qsl(query, keep_blank_values=True))
    for key in values:
        if key not in model.model_fields:
            known = ", ".join(model.model_fields)
            raise UsageError(
                f"Source {uri}: unknown option {key}{nearest(key, model.model_fields)}; it takes {known}."
            )
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        raise UsageError(f"Source {uri}: {fault['loc'][0]}={fault['input']}: {fault['msg']}.") from error
