"""Decode no more than is looked at: from a key frame up to the picture that is wanted, and no further.

Of thirty frames a second two are looked at. A stream's packets are held undecoded from one key frame to the
next; a wanted picture costs the decoding of what lies between the key frame and it, without those frames in
between that no other refers to, and what nobody wanted before the next key frame costs nothing. What is
decoded is bit for bit what decoding everything would give.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import av.error
import av.packet
import av.video.codeccontext
import av.video.frame
import av.video.stream

if TYPE_CHECKING:  # generic since PyAV 18 only
    Packet: TypeAlias = av.packet.Packet[av.video.stream.VideoStream]
else:
    Packet = av.packet.Packet

Decoded: TypeAlias = av.video.frame.VideoFrame

# What PyAV raises on hostile bytes: its own family, and ValueError / MemoryError from its conversions.
AV_ERRORS = (av.error.FFmpegError, ValueError, MemoryError)
MOST_PACKETS = 600  # held from one key frame to the next: 20 s of 30 frames a second
MOST_BYTES = 32 << 20
# NAL unit types: pictures that need none before them (IDR), any picture, parameter sets with the size.
_UNITS = {"h264": ((5,), range(1, 6), (7,)), "hevc": ((19, 20), range(32), (32, 33))}


class Syntax:
    """Where a stream can be entered, told from its packets without decoding them.

    Only at pictures after which nothing refers to anything before (IDR): the recovery points of intra refresh
    and open groups of pictures are flagged as key frames too, and decode wrongly on their own.
    """

    def __init__(self, context: av.video.codeccontext.VideoCodecContext) -> None:
        self._codec = context.name
        self._prefix = _length_bytes(context.name, context.extradata or b"")
        self.known = self._codec == "mjpeg" or self._codec in _UNITS

    def opening(self, packet: Packet) -> bytes | None:
        """None where the stream cannot be entered; else what the packet says of the pictures' size."""
        if not self.known or not packet.is_keyframe or packet.pts is None:
            return None
        with memoryview(packet) as data:
            said = _jpeg_size(data) if self._codec == "mjpeg" else self._parameters(data)
        if said is not None and packet.has_sidedata("new_extradata"):
            return said + b"%d" % packet.pts  # like no other
        return said

    def _parameters(self, data: memoryview) -> bytes | None:
        entries, pictures, sets = _UNITS[self._codec]
        said = b""
        for unit in _units(data, self._prefix):
            kind = unit[0] & 31 if self._codec == "h264" else unit[0] >> 1 & 63
            if kind in pictures:
                return said if kind in entries else None
            if kind in sets:
                said += bytes(unit)
        return None


@dataclass(frozen=True)
class Entries:
    """Where the beginning of a stream can be entered, in seconds of its own time."""

    known: bool  # whether this kind of stream can be entered at all but at its beginning
    at_s: list[float]
    seen_s: float

    @property
    def span_s(self) -> float:
        """From one to the next; of two or more."""
        return (self.at_s[-1] - self.at_s[0]) / (len(self.at_s) - 1)


def entries(syntax: Syntax, packets: Iterable[Packet], seconds: float) -> Entries:
    """Looks at the first `seconds` of a stream; decodes nothing."""
    found: list[float] = []
    first_s = last_s = None
    for packet in packets:
        if packet.pts is None or packet.time_base is None:
            continue
        last_s = float(packet.pts * packet.time_base)
        first_s = last_s if first_s is None else first_s
        if syntax.opening(packet) is not None:
            found.append(last_s)
        if last_s - first_s >= seconds:
            break
    return Entries(syntax.known and bool(found), found, (last_s or 0.0) - (first_s or 0.0))


def _length_bytes(codec: str, extradata: bytes) -> int:
    """How many bytes of length stand before each unit (MP4, MKV); 0 for start codes."""
    if codec == "h264" and len(extradata) > 4 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    if codec == "hevc" and len(extradata) > 21 and (extradata[0] or extradata[1] or extradata[2] > 1):
        return (extradata[21] & 3) + 1
    return 0


def _units(data: memoryview, prefix: int) -> Iterator[memoryview]:
    """The NAL units of a packet that are not empty, as far as they can be told apart."""
    if not prefix:
        start = None
        for mark in re.finditer(b"\0\0\1", data):
            if start is not None and mark.start() > start:
                yield data[start : mark.start()]
            start = mark.end()
        if start is not None and start < len(data):
            yield data[start:]
        return
    at = 0
    while at + prefix < len(data):
        size = int.from_bytes(data[at : at + prefix], "big")
        at += prefix
        if size:
            yield data[at : at + size]
        at += size


def _jpeg_size(data: memoryview) -> bytes | None:
    frame = re.search(rb"\xff[\xc0-\xc2]..\x08(.{4})", data[:4096], re.DOTALL)
    return bytes(frame[1]) if frame else None


class Segment:
    """The packets from one entry of a stream up to the next, and how far they are decoded.

    `alone` decodes the entry where no other picture is wanted, or gives None.
    """

    def __init__(
        self,
        context: av.video.codeccontext.VideoCodecContext,
        opening: bytes,
        alone: Callable[[Packet], Decoded | None] | None = None,
    ) -> None:
        self.packets: list[Packet] = []
        self.opening = opening
        self._context = context
        self._alone = alone
        self._times: set[int] = set()
        self._bytes = 0
        self._fed = 0
        self._drained = False  # the decoder gave all it held, and begins anew at the entry
        self._failed = -1  # place of a picture that did not come out of all that could be decoded
        self._pictures: deque[Decoded] = deque()  # that came out and may still be wanted

    @property
    def shown(self) -> list[int]:
        """Places of the packets in the order in which their pictures are shown."""
        places = [place for place, packet in enumerate(self.packets) if not packet.is_discard]
        return sorted(places, key=lambda place: _time(self.packets[place]))

    @property
    def begun(self) -> bool:
        """Whether the stream's own decoder has had any of it."""
        return self._fed > 0 or self._drained

    def add(self, packet: Packet) -> bool:
        """Whether it fits: there is room, and its time is its own."""
        self.packets.append(packet)
        self._bytes += packet.size
        unlike = packet.pts is not None and packet.pts not in self._times
        self._times.add(packet.pts or 0)
        return unlike and len(self.packets) <= MOST_PACKETS and self._bytes <= MOST_BYTES

    def find(self, place: int, *, last: bool) -> Decoded | None:
        """The picture of packet `place`, or the next that decodes after a damaged one.

        None while it is not out: call again when there are more packets. `last`: no later picture of this
        segment is expected to be wanted, so that the decoder need not be fed on until this one comes out;
        a wrong guess costs decoding from the entry again, and nothing else.
        """
        if last and place == 0 and self._alone is not None and not self.begun:
            picture = self._alone(self.packets[0])
            if picture is not None:
                return picture
        time = _time(self.packets[place])
        while self._pictures and _time(self._pictures[0]) < time:
            self._pictures.popleft()
        if self._drained and not self._out(place):
            if self._failed == place:
                return None
            self._pictures.clear()
            self._fed, self._drained = 0, False
        while not (self._drained or self._out(place)):
            if last and self._fed > place:
                self.drain(time)
            elif self._fed < len(self.packets):
                self._feed(time)
            else:
                break
        if self._out(place):
            return self._pictures[0]
        self._failed = place if self._drained else -1
        return None

    def _out(self, place: int) -> bool:
        """Pictures come out in the order in which they are shown."""
        return bool(self._pictures) and (
            self._fed > place or _time(self._pictures[0]) == _time(self.packets[place])
        )

    def follow(self) -> None:
        """Decode what has come; none of it is wanted."""
        if not self._drained:
            while self._fed < len(self.packets):
                self._feed(None)

    def finished(self, place: int) -> Decoded | None:
        """As `find`, when there will be no more packets."""
        picture = self.find(place, last=False)
        if picture is None and not self._drained:
            self.drain(_time(self.packets[place]))
            picture = self._pictures[0] if self._pictures else None
        return picture

    def drain(self, time: int | None) -> None:
        """Take what the decoder holds back, as far as it is wanted, and let it forget."""
        if not self._drained:
            self._keep(decoded(self._context, None), time)
            self._drained = True

    def rest(self) -> list[Decoded]:
        """Decode all that is left as it comes, without an end: the segment is given up."""
        came = list(self._pictures)
        self._pictures.clear()
        start = 0 if self._drained else self._fed
        self._context.skip_frame = "DEFAULT"
        for packet in self.packets[start:]:
            came += decoded(self._context, packet)
        return came

    def _feed(self, time: int | None) -> None:
        """`time`: of the wanted picture; whatever lies before is needed only as far as others refer to it."""
        packet = self.packets[self._fed]
        self._fed += 1
        needless = time is None or _time(packet) < time
        self._context.skip_frame = "NONREF" if needless else "DEFAULT"
        self._keep(decoded(self._context, packet), time)

    def _keep(self, pictures: list[Decoded], time: int | None) -> None:
        if time is not None:
            self._pictures.extend(p for p in pictures if _time(p) >= time and not p.is_corrupt)


def decoded(context: av.video.codeccontext.VideoCodecContext, packet: Packet | None) -> list[Decoded]:
    """What a packet decodes to; nothing for a damaged one, the next key frame mends it. None: all that is
    held back, after which the decoder begins anew."""
    try:
        return [picture for picture in context.decode(packet) if isinstance(picture, Decoded)]
    except AV_ERRORS:
        return []
    finally:
        if packet is None:
            context.flush_buffers()


def _time(of: Packet | Decoded) -> int:
    return of.pts if of.pts is not None else -(2**63)
