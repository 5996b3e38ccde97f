"""Live cameras, one class a kind, each with open / read / close; `edge.live` gives them thread and slot.

All calls come from one thread. A camera that fails raises CameraError, and may then be opened again.
Messages use `name`, in which the secrets of the URI are masked; foreign messages repeat the URI, so they
are never passed on whole nor chained.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import av
import av.container
import av.error
import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edge.decoding import AV_ERRORS, Decoded, Packet, decoded
from edge.errors import CameraError
from edge.frames import Picture
from edge.pictures import opencv_silent
from edge.pipeline import EndOfStream
from edge.thinning import Thinner
from edge.videos import bgr, stated_fps

TIMEOUT_S = 5.0  # to open, and to wait for the next packet
# What a network camera may make us open: never a local file, whatever its playlist says.
PROTOCOLS = "rtsp,rtsps,rtp,srtp,http,https,httpproxy,tcp,udp,tls,crypto"

# A picture that is converted only when it is looked at: of 30 a second, 2 are. Raises CameraError.
Shot: TypeAlias = Callable[[], Picture]


class Camera(Protocol):
    name: str

    def open(self) -> None:
        """Raises CameraError, within about TIMEOUT_S."""
        ...

    def read(self) -> Shot | None:
        """Waits for the next picture; None for one that will not be looked at.

        Raises CameraError, or EndOfStream when there will be no more.
        """
        ...

    def close(self) -> None: ...


class StreamCamera:
    """rtsp(s)://, http(s):// (MPEG-TS, motion JPEG), tcp:// (MPEG-TS), by PyAV with one decoder thread.

    `fps`: how many pictures a second will be looked at; None for all of them.
    """

    def __init__(
        self, uri: str, name: str, timeout_s: float = TIMEOUT_S, *, fps: float | None = None
    ) -> None:
        self.name = name
        self._uri = uri
        self._timeout_s = timeout_s
        self._fps = fps
        self._container: av.container.InputContainer | None = None
        self._packets: Iterator[Packet] = iter(())
        self._pictures: Callable[[Packet], Sequence[Decoded | None]] = lambda _: ()
        self._came: deque[Decoded | None] = deque()

    def open(self) -> None:
        began = time.monotonic()
        failure = self._try_open()
        if failure:
            late = time.monotonic() - began >= self._timeout_s
            raise CameraError(
                f"Camera {self.name} cannot be opened: "
                f"{f'no answer within {self._timeout_s:g} s' if late else failure}; "
                "check the address, the login and that the camera is on."
            )

    def _try_open(self) -> str:
        """'' or why not."""
        options = {"rtsp_transport": "tcp", "protocol_whitelist": PROTOCOLS}
        try:
            container = av.open(
                self._uri,
                options=options,
                timeout=(self._timeout_s, self._timeout_s),
                metadata_errors="ignore",
            )
        except (*AV_ERRORS, OSError) as error:
            return _reason(error)
        self._container = container
        stream = next((s for s in container.streams.video if s.codec_context is not None), None)
        if stream is None:
            self.close()
            return "it sends no video that can be decoded"
        stream.codec_context.thread_count = 1
        self._packets = container.demux(stream)
        self._pictures = partial(decoded, stream.codec_context)
        if self._fps is not None and stream.time_base is not None:
            fps = min(self._fps, stated_fps(stream))
            self._pictures = Thinner(stream.codec_context, stream.time_base, fps, stated_fps(stream)).push
        return ""

    def read(self) -> Shot | None:
        while not self._came:
            self._came.extend(self._pictures(self._packet()))
        picture = self._came.popleft()
        return None if picture is None else partial(self._converted, picture)

    def _packet(self) -> Packet:
        failure = "the camera ended the stream"
        try:
            packet = next(self._packets, None)
        except (*AV_ERRORS, OSError) as error:
            packet, failure = None, _reason(error)
        if packet is None or not packet.size:  # an empty one says that this is the end
            raise CameraError(f"Camera {self.name} stopped sending: {failure}.")
        return packet

    def _converted(self, picture: Decoded) -> Picture:
        try:
            return bgr(picture)
        except AV_ERRORS as error:
            raise CameraError(
                f"Camera {self.name} sends pictures that cannot be converted: {error}."
            ) from error

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = None
        self._packets = iter(())
        self._came.clear()


def _reason(error: BaseException) -> str:
    """Why, without the address that a foreign message would repeat."""
    if isinstance(error, av.error.ExitError):  # how PyAV's own timeout ends a call
        return "nothing came in time"
    return str(getattr(error, "strerror", None) or type(error).__name__)


class CaptureCamera:
    """A `cv2.VideoCapture`: USB cameras and GStreamer pipelines."""

    def __init__(self, name: str, capture: Callable[[], Any], advice: str) -> None:
        self.name = name
        self._make = capture
        self._advice = advice
        self._capture: Any = None

    def open(self) -> None:
        self.close()
        with opencv_silent():
            self._capture = self._make()
        if not self._capture.isOpened():
            self.close()
            raise CameraError(f"Camera {self.name} cannot be opened; {self._advice}.")

    def read(self) -> Shot:
        try:
            good, image = self._capture.read() if self._capture is not None else (False, None)
        except cv2.error:  # a damaged motion JPEG picture
            good, image = False, None
        if not good or image is None:
            raise CameraError(f"Camera {self.name} stopped sending pictures.")
        return lambda: _colour(image)

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
        self._capture = None


def _colour(image: Any) -> Picture:
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


class Wish(BaseModel):
    """The query of a v4l2:// or csi:// URI: picture size and rate asked of the camera; 0 leaves its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=0, ge=0, le=8192)
    height: int = Field(default=0, ge=0, le=8192)
    fps: int = Field(default=0, ge=0, le=240)


def v4l2_camera(device: str, name: str, wish: Wish) -> CaptureCamera:
    """`device`: a number or a path."""
    path = Path(f"/dev/video{device}") if device.isdigit() else Path(device)
    advice = f"check that no other program uses {path} and that this user is in group video"
    return CaptureCamera(name, lambda: _v4l2_capture(path, name, wish), advice)


def _v4l2_capture(path: Path, name: str, wish: Wish) -> Any:
    if not path.exists():
        there = ", ".join(sorted(str(node) for node in Path("/dev").glob("video*"))) or "none"
        raise CameraError(f"Camera {name}: there is no {path}; this machine has {there}.")
    capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    if wish.width * wish.height > 640 * 480:  # beyond this USB 2 carries 30 fps only as motion JPEG
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    for quality, value in (
        (cv2.CAP_PROP_FRAME_WIDTH, wish.width),
        (cv2.CAP_PROP_FRAME_HEIGHT, wish.height),
        (cv2.CAP_PROP_FPS, wish.fps),
    ):
        if value:
            capture.set(quality, value)
    return capture


def gst_camera(pipeline: str, name: str, build: str | None = None) -> CaptureCamera:
    """A GStreamer pipeline that ends in an appsink. Raises CameraError where OpenCV has no GStreamer."""
    if not re.search(r"GStreamer:\s+YES", build or cv2.getBuildInformation()):
        raise CameraError(
            f"Camera {name} needs an OpenCV built with GStreamer and this one is not; use JetPack's own "
            "(python -m venv --system-site-packages) or watch the camera by rtsp:// or v4l2://."
        )
    advice = "try the pipeline with gst-launch-1.0 and see that it ends in an appsink"
    return CaptureCamera(name, lambda: cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER), advice)


def csi_pipeline(sensor: int, wish: Wish) -> str:
    """A Jetson's own camera: scaled and thinned out in the VIC, before the CPU converts anything."""
    width, height, fps = wish.width or 1280, wish.height or 720, wish.fps or 10
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=30/1,format=NV12 ! "
        f"nvvidconv ! video/x-raw,format=BGRx,width={width},height={height} ! "
        f"videorate drop-only=true max-rate={fps} ! "
        "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
    )


@dataclass
class FakeCamera:
    """A camera that does what its script says and records what was asked of it.

    Each `read` takes the next item: a picture is given, an exception raised, "hang" blocks until
    `released` is set. `openings` does the same for `open`, which succeeds once they are used up.
    """

    script: Iterable[Picture | Exception | Literal["hang"]]
    openings: Iterable[Exception | Literal["hang"]] = ()
    name: str = "fake://"
    record: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._script = iter(self.script)
        self._openings = iter(self.openings)

    def open(self) -> None:
        self.record.append("open")
        self._act(next(self._openings, None))

    def read(self) -> Shot:
        self.record.append("read")
        item = next(self._script, EndOfStream())
        self._act(item)
        if not isinstance(item, np.ndarray):
            raise CameraError(f"Camera {self.name} hung.")
        return lambda: self._converted(item)

    def close(self) -> None:
        self.record.append("close")

    def _act(self, item: Picture | Exception | Literal["hang"] | None) -> None:
        if isinstance(item, Exception):
            raise item
        if isinstance(item, str):
            self.released.wait()

    def _converted(self, picture: Picture) -> Picture:
        self.record.append("convert")
        return picture
