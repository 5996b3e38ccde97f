"""A Jetson's own way to a picture: GStreamer pipelines in which its hardware decodes and scales.

Only strings and the question whether they can run here; OpenCV runs them. They follow NVIDIA's guide to
accelerated GStreamer and have not been run by us on a Jetson. The rate is cut before the CPU converts
anything, and never below twice the rate of looking: these pictures do not come in step with it.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2

from edge.camera import Wish

CSI_PARTS = ("nvarguscamerasrc", "nvvidconv")
STREAM_PARTS = ("rtspsrc", "nvv4l2decoder", "nvvidconv")
USB_PARTS = ("v4l2src", "nvjpegdec", "nvvidconv")
CODECS = {"h264": "h264", "hevc": "h265"}  # libav's names -> GStreamer's
_SINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"


def csi_pipeline(sensor: int, wish: Wish, fps: float) -> str:
    """A Jetson's own camera: scaled and thinned out in the VIC, before the CPU converts anything."""
    width, height = wish.width or 1280, wish.height or 720
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=30/1,format=NV12 ! "
        f"nvvidconv ! video/x-raw,format=BGRx,width={width},height={height} ! {_thinned(wish, fps)} ! {_SINK}"
    )


def rtsp_pipeline(uri: str, codec: str, fps: float, stream_fps: float) -> str:
    """A network camera of `codec` (libav's name), at its own size. Raises KeyError for another codec."""
    name = CODECS[codec]
    every = max(1, math.floor(stream_fps / (2 * fps)))
    return (
        f"rtspsrc location={_quoted(uri)} protocols=tcp latency=200 drop-on-latency=true "
        f"timeout=5000000 tcp-timeout=5000000 ! rtp{name}depay ! {name}parse ! "
        f"nvv4l2decoder enable-max-performance=0 drop-frame-interval={every} ! "
        f"nvvidconv ! video/x-raw,format=BGRx ! {_SINK}"
    )


def usb_pipeline(device: str, wish: Wish, fps: float) -> str:
    """A USB camera's motion JPEG, thinned out before it is decoded."""
    width, height = wish.width or 1280, wish.height or 720
    return (
        f"v4l2src device={_quoted(device)} io-mode=2 ! "
        f"image/jpeg,width={width},height={height},framerate={wish.fps or 30}/1 ! {_thinned(wish, fps)} ! "
        f"nvjpegdec ! nvvidconv ! video/x-raw,format=BGRx ! {_SINK}"
    )


def _thinned(wish: Wish, fps: float) -> str:
    most = math.ceil(2 * fps)
    return f"videorate drop-only=true max-rate={min(most, wish.fps) if wish.fps else most}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True)
class Plant:
    """What of GStreamer there is on this machine."""

    in_opencv: bool
    has: Callable[[str], bool]  # an element, by name

    def lacks(self, parts: Iterable[str]) -> str:
        """'' when pipelines of these parts can run, else why not."""
        if not self.in_opencv:
            return "OpenCV is built without GStreamer"
        missing = [part for part in parts if not self.has(part)]
        return f"GStreamer has no {', '.join(missing)}" if missing else ""


def opencv_has_gstreamer(build: str | None = None) -> bool:
    """Asked of the build itself: OpenCV's list of backends names GStreamer also where it is not built in."""
    return bool(re.search(r"GStreamer:\s+YES", build or cv2.getBuildInformation()))


def _has_element(name: str) -> bool:
    tool = shutil.which("gst-inspect-1.0")
    if tool is None:
        return False
    try:
        return subprocess.run([tool, "--exists", name], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def plant() -> Plant:
    return Plant(opencv_has_gstreamer(), _has_element)
