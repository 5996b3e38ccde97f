"""One video file -> frames, by PyAV: one decoder thread (more cost 4-10 % CPU and up to 30 MB), BGR."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import av
import av.container
import av.error
import av.video.frame
import av.video.stream
import numpy as np

from edge.clock import Clock
from edge.errors import FootageError
from edge.frames import Frame, Picture

log = logging.getLogger("skerry")

# What PyAV raises on hostile bytes: its own family, and ValueError / MemoryError from its conversions.
AV_ERRORS = (av.error.FFmpegError, ValueError, MemoryError)
# Formats in which libav sees a "video" where a person sees a text or a single picture.
NOT_VIDEO = {"tty", "image2", "gif", "ico"}
FALLBACK_FPS = 25.0  # for a raw stream that states no rate: libav's own assumption
RESTART_S = 1.0  # a step back by more than this is a new timeline, by less it is jitter
SHORT = 0.02  # a file that yields this much less than it declares has been cut short

Wants: TypeAlias = Callable[[float], bool]  # stream seconds -> is this frame wanted?


class Timeline:
    """A stream's presentation times as seconds that start at 0 and never run backward.

    Small steps back (B-frames in AVI carry unsorted times) hold the time still; a larger one is a
    restart and goes on one frame period later; a frame without a time comes one period after the last.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._shift_s: float | None = None
        self._last_s = -period_s

    def at(self, raw_s: float | None) -> float:
        if raw_s is None:
            self._last_s += self._period_s
            return self._last_s
        if self._shift_s is None or raw_s + self._shift_s < self._last_s - RESTART_S:
            self._shift_s = self._last_s + self._period_s - raw_s
        self._last_s = max(self._last_s, raw_s + self._shift_s)
        return self._last_s


class VideoRecording:
    """A video file as frames; `stream_s` is 0 at the first. Raises FootageError for what is no video."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._container = _opened(path)
        try:
            self._stream = _video_stream(self._container, path)
        except FootageError:
            self.close()
            raise
        self.fps = stated_fps(self._stream)

    def __enter__(self) -> VideoRecording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    @property
    def stated_frames(self) -> int:
        return _declared_frames(self._container, self._stream, self.fps)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames(lambda _: True)

    def frames(self, wants: Wants) -> Iterator[Frame]:
        """Every frame is decoded, only those wanted are converted to BGR: half the cost at 2 of 30 fps.

        A damaged or truncated file yields what decodes and ends with a logged warning; one that yields
        nothing at all, or whose picture size changes, raises FootageError.
        """
        timeline = Timeline(1 / self.fps)
        size: tuple[int, int] | None = None
        index = -1
        for index, picture in enumerate(self._pictures()):
            stream_s = timeline.at(picture.time)
            here = (picture.width, picture.height)
            size = size or here
            if here != size:
                raise FootageError(_size_change(self.path, size, here, stream_s))
            if wants(stream_s):
                yield self._frame(picture, index, stream_s)
        self._account(index + 1)

    def _pictures(self) -> Iterator[av.video.frame.VideoFrame]:
        """Decoded pictures in order; damaged packets and pictures are left out."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except AV_ERRORS as error:
                log.debug("%s: demuxing ended with %s", self.path, error)
                return
            try:
                pictures = packet.decode()
            except AV_ERRORS as error:
                log.debug("%s: a packet does not decode: %s", self.path, error)
                continue
            yield from (p for p in pictures if isinstance(p, av.video.frame.VideoFrame) and not p.is_corrupt)

    def _frame(self, picture: av.video.frame.VideoFrame, index: int, stream_s: float) -> Frame:
        try:
            image = bgr(picture)
        except AV_ERRORS as error:
            raise FootageError(
                f"Video {self.path}: the picture at {stream_s:.2f} s cannot be converted ({error}); "
                "encode the video again as H.264 with 8-bit colour."
            ) from error
        return Frame(image, index, stream_s, self._clock.monotonic_ns(), self._clock.utc())

    def _account(self, read: int) -> None:
        declared = _declared_frames(self._container, self._stream, self.fps)
        if read == 0:
            raise FootageError(
                f"Video {self.path} holds no frame that can be decoded; copy it again or record it anew."
            )
        if read < declared * (1 - SHORT) - 1:
            log.warning("%s is cut short or damaged: %d of about %d frames read", self.path, read, declared)


def bgr(picture: av.video.frame.VideoFrame) -> Picture:
    """height x width x 3 uint8 BGR, whatever the decoder's pixel format."""
    return np.asarray(picture.to_ndarray(format="bgr24"), dtype=np.uint8)


def stated_fps(stream: av.video.stream.VideoStream) -> float:
    """Frames per second as the stream states them; the guess comes first because AVI doubles the average."""
    for rate in (stream.guessed_rate, stream.average_rate):
        if rate and 0.01 <= rate <= 1000:
            return float(rate)
    return FALLBACK_FPS


def _opened(path: Path) -> av.container.InputContainer:
    try:
        if not path.stat().st_size:
            raise FootageError(f"Video {path} is empty (0 bytes); copy it again or record it anew.")
        # `file:` and the whitelist: no name like `concat:...` and no playlist inside opens anything else.
        return av.open(
            f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="ignore", timeout=None
        )
    except (*AV_ERRORS, OSError) as error:
        raise FootageError(
            f"{path} is not a video that can be read ({_reason(error)}); if it was cut short while recording "
            "or copying, copy it again, otherwise convert it to H.264 in MP4 or MKV."
        ) from error


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def _video_stream(container: av.container.InputContainer, path: Path) -> av.video.stream.VideoStream:
    kind = container.format.name
    if kind in NOT_VIDEO or kind.endswith("_pipe"):
        raise FootageError(
            f"{path} is not a video ({kind}); name a video file, or the folder that holds the pictures."
        )
    for stream in container.streams.video:
        if stream.codec_context is not None and not _is_cover(stream):
            stream.codec_context.thread_count = 1
            return stream
    raise FootageError(f"{path} holds no video that can be decoded ({kind}); name a video file.")


def _is_cover(stream: av.video.stream.VideoStream) -> bool:
    """Is it the picture on a piece of music?"""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _declared_frames(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, fps: float
) -> int:
    """How many frames the file says it holds, 0 for unsaid. AVI counts fields: trust times first."""
    if stream.duration and stream.time_base:
        return round(float(stream.duration * stream.time_base) * fps)
    if stream.frames:
        return stream.frames
    if container.duration and len(container.streams) == 1:  # with sound, the sound may be the longer one
        return round(container.duration / 1e6 * fps)
    return 0


def _size_change(path: Path, before: tuple[int, int], after: tuple[int, int], stream_s: float) -> str:
    return (
        f"Video {path} changes from {before[0]}x{before[1]} to {after[0]}x{after[1]} at {stream_s:.2f} s; "
        "split it there, or encode it again at one size."
    )
