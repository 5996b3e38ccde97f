"""One video file -> frames, by PyAV: one decoder thread (more cost 4-10 % CPU and up to 30 MB), BGR.

Frames that nobody wants are decoded only where a wanted one refers to them (see `edge.decoding`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import av
import numpy as np

from edge.clock import Clock
from edge.containers import declared_frames, opened, stated_fps, video_stream
from edge.decoding import AV_ERRORS, Decoded, Entries, Packet, Segment, Syntax, decoded, entries
from edge.errors import FootageError
from edge.frames import Frame, Picture
from edge.leeway import EXACT, Leeway, Lenient
from edge.loop_filter import KeyFrames, leave_out

log = logging.getLogger("skerry")

# From PyAV 17 on, without it, as many threads as there are cores are started anew for each picture.
_ALONE: Any = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}
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
        self.last_s = -period_s

    def at(self, raw_s: float | None) -> float:
        if raw_s is None:
            self.last_s += self._period_s
            return self.last_s
        if self._shift_s is None or raw_s + self._shift_s < self.last_s - RESTART_S:
            self._shift_s = self.last_s + self._period_s - raw_s
        self.last_s = max(self.last_s, raw_s + self._shift_s)
        return self.last_s


@dataclass
class _Count:
    """Where one pass over a video is."""

    timeline: Timeline
    index: int = -1
    lost: int = 0  # frames that do not decode
    stream_s: float = 0.0
    owed: bool = False  # a frame was wanted and did not decode: the next that does stands in for it
    wanted_s: float | None = None  # the last that was wanted
    gap_s: float = 0.0  # the shortest time between two wanted frames, 0 before the second
    size: tuple[int, int] | None = None
    opening: bytes | None = None

    def step(self, raw_s: float | None) -> float:
        self.index += 1
        self.stream_s = self.timeline.at(raw_s)
        return self.stream_s

    def asks(self, wants: Wants, stream_s: float) -> bool:
        """Whether the frame is wanted."""
        wanted = self.owed or wants(stream_s)
        if wanted and self.wanted_s is not None:
            gap_s = stream_s - self.wanted_s
            self.gap_s = min(self.gap_s or gap_s, gap_s)
        if wanted:
            self.wanted_s = stream_s
        return wanted


class VideoRecording:
    """A video file as frames; `stream_s` is 0 at the first. Raises FootageError for what is no video."""

    def __init__(self, path: Path, clock: Clock, leeway: Leeway = EXACT) -> None:
        self.path = path
        self._clock = clock
        self._container = opened(path)
        try:
            self._stream = video_stream(self._container, path)
        except FootageError:
            self.close()
            raise
        self.fps = stated_fps(self._stream)
        self._context = self._stream.codec_context
        self._syntax = Syntax(self._context)
        self._alone = KeyFrames(self._context) if leeway.loop_filter == "auto" else None
        if leeway.loop_filter == "never":
            leave_out(self._context)
        if self._container.format.name == "avi" and self._context.name != "mjpeg":
            self._syntax.known = False  # it has no times of showing, which B-frames need

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
        return declared_frames(self._container, self._stream, self.fps)

    @property
    def codec(self) -> str:
        return self._context.name

    def entries(self, seconds: float) -> Entries:
        """Where its first seconds can be entered; to be asked instead of reading frames, not before."""
        return entries(self._syntax, self._packets(), seconds)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames(lambda _: True)

    def frames(self, wants: Wants) -> Iterator[Frame]:
        """The frames that are wanted; `wants` is asked of every frame, in the order in which they are shown.

        A damaged or truncated file yields what decodes and ends with a logged warning; one that yields
        nothing at all, or whose picture size changes, raises FootageError.
        """
        count = _Count(Timeline(1 / self.fps))
        for stretch in self._stretches():
            if isinstance(stretch, Segment):
                yield from self._sparingly(stretch, wants, count)
            else:
                yield from self._whole(stretch, wants, count)
        self._account(count.index + 1 - count.lost)

    def _stretches(self) -> Iterator[Segment | list[Decoded]]:
        """The stream cut where it can be entered; decoded as it comes where that is not known."""
        segment: Segment | None = None
        for packet in self._packets():
            opening = self._syntax.opening(packet)
            if opening is not None:
                yield decoded(self._context, None) if segment is None else segment
                segment = Segment(self._context, opening, self._alone) if self._syntax.known else None
            if segment is None:
                yield decoded(self._context, packet)
            elif not segment.add(packet):
                yield segment.rest()
                segment = None
        yield decoded(self._context, None) if segment is None else segment

    def _packets(self) -> Iterator[Packet]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except IndexError:  # PyAV, of a packet whose stream only began, or seems to, after it was opened
                packets = self._container.demux(self._stream)
                continue
            except AV_ERRORS as error:
                log.debug("%s: demuxing ended with %s", self.path, error)
                return
            if packet.size:  # an empty one tells the decoder that this is the end
                yield packet

    def _whole(self, pictures: Iterable[Decoded], wants: Wants, count: _Count) -> Iterator[Frame]:
        for picture in pictures:
            if picture.is_corrupt:
                continue
            count.step(self._seconds(picture.pts))
            self._check_size(picture, count, count.stream_s)
            if count.asks(wants, count.stream_s):
                count.owed = False
                yield self._frame(picture, count.index, count.stream_s)

    def _sparingly(self, segment: Segment, wants: Wants, count: _Count) -> Iterator[Frame]:
        shown = segment.shown
        look = self._entered(segment, shown, count)
        if look is not None and look.interlaced_frame:
            self._syntax.known = False  # two packets may be one frame
            yield from self._whole([*segment.rest(), *decoded(self._context, None)], wants, count)
            return
        first = count.index + 1
        times = [count.step(self._seconds(segment.packets[place].pts)) for place in shown]
        if look is not None:
            self._check_size(look, count, times[0])
            look = None  # its memory is free for the next
        passed = 0  # up to the last that was given
        asked = 0
        while (due := self._due(times, asked, wants, count)) is not None:
            chosen, last = self._chosen(shown, times, (passed, due), wants, count)
            came, picture = self._came(segment, shown, chosen, last=last)
            count.lost += came - chosen
            count.owed = picture is None
            if picture is None:
                break
            self._check_size(picture, count, times[came])
            yield self._frame(picture, first + came, times[came])
            picture = None
            passed, asked = came + 1, max(due, came) + 1
        segment.drain(None)

    def _due(self, times: list[float], asked: int, wants: Wants, count: _Count) -> int | None:
        """The next frame of a segment that is wanted."""
        return next((at for at in range(asked, len(times)) if count.asks(wants, times[at])), None)

    def _chosen(
        self, shown: list[int], times: list[float], among: tuple[int, int], wants: Wants, count: _Count
    ) -> tuple[int, bool]:
        """Which frame to look at where the last of `among` is wanted, and whether it is taken for the last
        of its segment. An earlier one of the segment spares nothing where a later one is wanted too."""
        passed, due = among
        if not isinstance(wants, Lenient):
            return due, times[-1] - times[due] < count.gap_s - 0.5 / self.fps
        if count.owed or not wants.leaves(times[-1], 1 / self.fps):
            return due, False
        near = slice(passed, due + 1)
        return passed + wants.cheapest(times[near], shown[near], 1 / self.fps), True

    def _came(
        self, segment: Segment, shown: list[int], chosen: int, *, last: bool
    ) -> tuple[int, Decoded | None]:
        """Which picture there is from the chosen one on; none up to the end of the segment."""
        picture = segment.find(shown[chosen], last=last)
        picture = segment.finished(shown[chosen]) if picture is None else picture
        for at in range(chosen, len(shown)):
            if picture is not None and not _later(picture, segment.packets[shown[at]]):
                return at, picture
        return len(shown), None

    def _entered(self, segment: Segment, shown: list[int], count: _Count) -> Decoded | None:
        """The first picture, where something may have changed since the last segment."""
        if not shown or segment.opening == count.opening:
            return None
        count.opening = segment.opening
        return self._came(segment, shown, 0, last=False)[1]

    def _seconds(self, pts: int | None, since: int | None = 0) -> float | None:
        base = self._stream.time_base
        if pts is None or base is None:
            return None
        return float(pts - (since or 0)) * base.numerator / base.denominator

    def _check_size(self, picture: Decoded, count: _Count, stream_s: float) -> None:
        here = (picture.width, picture.height)
        count.size = count.size or here
        if here != count.size:
            raise FootageError(_size_change(self.path, count.size, here, stream_s))

    def _frame(self, picture: Decoded, index: int, stream_s: float) -> Frame:
        try:
            image = bgr(picture)
        except AV_ERRORS as error:
            raise FootageError(
                f"Video {self.path}: the picture at {stream_s:.2f} s cannot be converted ({error}); "
                "encode the video again as H.264 with 8-bit colour."
            ) from error
        return Frame(image, index, stream_s, self._clock.monotonic_ns(), self._clock.utc())

    def _account(self, read: int) -> None:
        declared = declared_frames(self._container, self._stream, self.fps)
        if read == 0:
            raise FootageError(
                f"Video {self.path} holds no frame that can be decoded; copy it again or record it anew."
            )
        if read < declared * (1 - SHORT) - 1:
            log.warning("%s is cut short or damaged: %d of about %d frames read", self.path, read, declared)


def _later(picture: Decoded, packet: Packet) -> bool:
    return (picture.pts or 0) > (packet.pts or 0)


def bgr(picture: Decoded) -> Picture:
    """height x width x 3 uint8 BGR, whatever the decoder's pixel format."""
    return np.asarray(picture.to_ndarray(format="bgr24", **_ALONE), dtype=np.uint8)


def _size_change(path: Path, before: tuple[int, int], after: tuple[int, int], stream_s: float) -> str:
    return (
        f"Video {path} changes from {before[0]}x{before[1]} to {after[0]}x{after[1]} at {stream_s:.2f} s; "
        "split it there, or encode it again at one size."
    )
