"""Live cameras, one class a kind, each with open / read / close; `edge.live` gives them thread and slot.

All calls come from one thread. A camera that fails raises CameraError, and may then be opened again.
Network cameras are in `edge.streams`. Messages use `name`, in which the secrets of the URI are masked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edge.errors import CameraError
from edge.frames import Picture
from edge.pictures import opencv_silent
from edge.pipeline import EndOfStream
from edge.recordings import Sampler

log = logging.getLogger("skerry")

TIMEOUT_S = 5.0  # to open, and to wait for the next packet


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture that is converted only when it is looked at: of 30 a second, 2 are.

    `early_s`: how much before its turn it came; `next_early_s`: how much the next is expected to.
    """

    convert: Callable[[], Picture]  # raises CameraError
    early_s: float = 0.0
    next_early_s: float = 0.0

    def __call__(self) -> Picture:
        return self.convert()


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


class CaptureCamera:
    """A `cv2.VideoCapture`: USB cameras and GStreamer pipelines.

    `fps`: how many pictures a second will be looked at, so that only those are decoded (motion JPEG) and
    converted; None for all of them.
    """

    def __init__(
        self,
        name: str,
        capture: Callable[[], Any],
        advice: str,
        fps: float | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._wants = (lambda _: True) if fps is None else Sampler(fps).wants
        self._now_s = now_s
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

    def read(self) -> Shot | None:
        good, image = self._grabbed()
        if not good:
            raise CameraError(f"Camera {self.name} stopped sending pictures.")
        return None if image is None else Shot(partial(_colour, image))

    def _grabbed(self) -> tuple[bool, Any]:
        """Whether there was a picture, and the picture where it is wanted."""
        if self._capture is None:
            return False, None
        try:
            if not self._capture.grab():
                return False, None
            if not self._wants(self._now_s()):
                return True, None
            good, image = self._capture.retrieve()
        except cv2.error:  # a damaged motion JPEG picture
            return False, None
        return bool(good) and image is not None, image

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

    @property
    def large(self) -> bool:
        """Beyond this USB 2 carries 30 fps only as motion JPEG."""
        return self.width * self.height > 640 * 480


def device_path(device: str) -> Path:
    """`device`: a number or a path."""
    return Path(f"/dev/video{device}") if device.isdigit() else Path(device)


def v4l2_camera(device: str, name: str, wish: Wish, fps: float | None = None) -> CaptureCamera:
    path = device_path(device)
    advice = f"check that no other program uses {path} and that this user is in group video"
    return CaptureCamera(name, lambda: _v4l2_capture(path, name, wish), advice, fps)


def _v4l2_capture(path: Path, name: str, wish: Wish) -> Any:
    if not path.exists():
        there = ", ".join(sorted(str(node) for node in Path("/dev").glob("video*"))) or "none"
        raise CameraError(f"Camera {name}: there is no {path}; this machine has {there}.")
    capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    if wish.large:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    for quality, value in (
        (cv2.CAP_PROP_FRAME_WIDTH, wish.width),
        (cv2.CAP_PROP_FRAME_HEIGHT, wish.height),
        (cv2.CAP_PROP_FPS, wish.fps),
    ):
        if value:
            capture.set(quality, value)
    return capture


def gst_camera(pipeline: Callable[[], str], name: str) -> CaptureCamera:
    """A GStreamer pipeline that ends in an appsink; needs an OpenCV that has GStreamer."""
    advice = "try the pipeline with gst-launch-1.0 and see that it ends in an appsink"
    return CaptureCamera(name, lambda: cv2.VideoCapture(pipeline(), cv2.CAP_GSTREAMER), advice)


class EitherCamera:
    """The camera by its better way; by the plain way once and for all when the better does not open."""

    def __init__(self, better: Camera, plain: Camera) -> None:
        self.name = better.name
        self._better: Camera | None = better
        self._plain = plain

    @property
    def _chosen(self) -> Camera:
        return self._better or self._plain

    def open(self) -> None:
        if self._better is not None:
            try:
                return self._better.open()
            except CameraError as error:
                log.warning("%s Decoding in software instead.", error)
                self._better.close()
                self._better = None
        return self._plain.open()

    def read(self) -> Shot | None:
        return self._chosen.read()

    def close(self) -> None:
        self._chosen.close()


@dataclass
class FakeCamera:
    """A camera that does what its script says and records what was asked of it.

    Each `read` takes the next item: a picture is given, None is one that is not looked at, an exception is
    raised, "hang" blocks until `released` is set. `openings` does the same for `open`, which succeeds once
    they are used up.
    """

    script: Iterable[Picture | Exception | Literal["hang"] | None]
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

    def read(self) -> Shot | None:
        self.record.append("read")
        item = next(self._script, EndOfStream())
        self._act(item)
        if item is None:
            return None
        if not isinstance(item, np.ndarray):
            raise CameraError(f"Camera {self.name} hung.")
        return Shot(lambda: self._converted(item))

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
