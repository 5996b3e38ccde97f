"""A live stream's packets -> the pictures looked at, decoding as little as can be known ahead of time.

A recording can be read ahead to its next key frame, a camera cannot: when that is due is learnt from the
last two. Between a picture that is expected to be the last wanted and the next key frame, packets are held
undecoded; when the key frame does not come in time, what is held is decoded after all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import av.video.codeccontext

from edge.decoding import Decoded, Packet, Segment, Syntax, decoded
from edge.recordings import Sampler
from edge.videos import Timeline

SAME = 0.04  # of the wanted period: key frames this near to a multiple of it set the rhythm of looking


class Thinner:
    """Packets in; out comes one item a frame: a picture to look at, or None for one that is left out.

    Where key frames come at a multiple of the wanted period, looking keeps step with them, so that as little
    as possible lies between a key frame and the pictures wanted after it. Where no other picture of a group
    will be wanted, one that comes up to `most_early_s` before it is due is taken, as less lies before it.
    """

    def __init__(
        self,
        context: av.video.codeccontext.VideoCodecContext,
        base: Fraction,
        fps: float,
        stream_fps: float,
        alone: Callable[[Packet], Decoded | None] | None = None,
        most_early_s: float = 0.0,
    ) -> None:
        self.early_s = 0.0  # how much before it was due the last wanted picture came
        self._context = context
        self._alone = alone
        self._ticks, self._a_second = base.numerator, base.denominator
        self._fps = fps
        self._syntax = Syntax(context)
        self._frame_s = 1 / stream_fps
        self._most_early_s = most_early_s
        self._timeline = Timeline(self._frame_s)
        self._sampler = Sampler(fps)
        self._segment: Segment | None = None
        self._entry_s: float | None = None  # when the current segment began
        self._span_s: float | None = None  # from key frame to key frame
        self._due: int | None = None  # place of a packet whose picture is awaited
        self._passed = 0  # frames left out since the awaited one
        self._idle_s = -math.inf  # before then nothing is wanted, ...
        self._needed = True  # ... and what comes must be decoded, for what is wanted after it

    def push(self, packet: Packet) -> list[Decoded | None]:
        opening = self._syntax.opening(packet)
        came: list[Decoded | None] = []
        if opening is not None:
            came = self._leave()
            self._segment = Segment(self._context, opening, self._alone)
        stream_s = self._timeline.at(self._seconds(packet.pts))
        if opening is not None:
            self._enter(stream_s)
        if self._segment is None:
            return [*came, *decoded(self._context, packet)]
        if not self._segment.add(packet):
            return came + self._give_up(self._segment)
        return came + self._next(self._segment, stream_s)

    @property
    def to_next_s(self) -> float:
        """From the last packet to the next picture that will be wanted, in the stream's seconds."""
        return max(0.0, self._sampler.next_s - self.next_early_s - self._timeline.last_s)

    @property
    def next_early_s(self) -> float:
        """How much before it is due the next wanted picture is expected."""
        key_s, due_s = self._key_s, self._sampler.next_s
        if key_s is None or self._span_s is None:
            return 0.0
        if self._last_before(key_s):
            return self._most_early_s
        near = due_s - self._most_early_s - self._near_s <= key_s <= due_s
        return due_s - key_s if near and self._last_before(key_s + self._span_s) else 0.0

    def _leave(self) -> list[Decoded | None]:
        """The stream can be entered anew: what the decoder still holds of before."""
        segment, self._segment = self._segment, None
        if segment is None:
            return [*decoded(self._context, None)]
        picture = None if self._due is None else segment.finished(self._due)
        segment.drain(None)
        return self._given(picture) if picture is not None else []

    def _enter(self, stream_s: float) -> None:
        self._span_s = None if self._entry_s is None else stream_s - self._entry_s
        self._entry_s = stream_s
        if self._in_step():
            self._sampler = Sampler(self._fps)  # begins with this frame
        self._idle_s = -math.inf

    def _next(self, segment: Segment, stream_s: float) -> list[Decoded | None]:
        if stream_s < self._idle_s and self._due is None:
            return self._pass(segment, stream_s)
        place = len(segment.packets) - 1
        if self._due is not None and place == 0:
            self._due, self.early_s = 0, 0.0  # what was wanted did not decode: this stands in for it
        elif self._due is not None:
            self._passed += 1
        elif self._wants(stream_s):
            self._due = place
            self.early_s = max(0.0, self._sampler.next_s - self._sampler.period_s - stream_s)
            self._look_ahead()
        if self._due is None:
            if not self._is_last():
                segment.follow()
            return [None]
        picture = segment.find(self._due, last=self._is_last())
        if picture is not None and picture.interlaced_frame:
            self._syntax.known = False  # two packets may be one frame
            return self._give_up(segment)
        return [] if picture is None else self._given(picture)

    def _pass(self, segment: Segment, stream_s: float) -> list[Decoded | None]:
        """As `_next`, of a frame of which it is known beforehand: most are."""
        self._sampler.last_s = stream_s
        if self._needed:
            segment.follow()
        return [None]

    def _look_ahead(self) -> None:
        """Where key frames have a rhythm, all is known up to a frame or two before the next look."""
        if self._key_s is not None:
            self._idle_s = self._sampler.next_s - self._most_early_s - 2 * self._frame_s
            self._needed = not self._is_last()

    def _given(self, picture: Decoded) -> list[Decoded | None]:
        passed, self._passed, self._due = self._passed, 0, None
        return [*[None] * passed, picture]

    def _wants(self, stream_s: float) -> bool:
        if self._entry_s is not None and self._span_s is not None and self._in_step():
            into_s = stream_s - self._entry_s
            if into_s > self._span_s + self._near_s:
                self._span_s = None  # the key frame is overdue, so its rhythm is not known any more
            elif into_s > self._span_s - self._near_s:
                return False  # the key frame itself is about to come
        early = self._key_s is not None and self._last_before(self._key_s)
        return self._sampler.wants(stream_s, self._most_early_s if early else 0.0)

    @property
    def _key_s(self) -> float | None:
        """When the next key frame is expected."""
        return None if self._entry_s is None or self._span_s is None else self._entry_s + self._span_s

    @property
    def _near_s(self) -> float:
        """A key frame that comes so little after a look is due is looked at for it."""
        return 0.5 / self._fps if self._in_step() else self._frame_s / 2

    def _last_before(self, key_s: float) -> bool:
        """Whether the next look is due before the key frame, and the one after it is not."""
        due_s = self._sampler.next_s
        return due_s + self._near_s < key_s < due_s + self._sampler.period_s + self._near_s

    def _in_step(self) -> bool:
        periods = (self._span_s or 0.0) * self._fps
        return periods > 0.5 and abs(periods - round(periods)) < SAME

    def _is_last(self) -> bool:
        """Whether a key frame is expected before the next picture is wanted."""
        if self._key_s is None:
            return self._hopes()
        return self._key_s < self._sampler.next_s + self._near_s

    def _hopes(self) -> bool:
        """Where a key frame can be decoded alone, the stream's own decoder and its memory wait until
        a picture is wanted for which they are needed."""
        untouched = self._segment is not None and not self._segment.begun
        return self._alone is not None and untouched and self._due in (None, 0)

    def _give_up(self, segment: Segment) -> list[Decoded | None]:
        """There is no end to this segment, or no telling: decode all there is until the next entry."""
        self._segment, self._due = None, None
        self._span_s, self.early_s, self._idle_s = None, 0.0, -math.inf
        pictures = segment.rest()
        return self._given(pictures[-1]) if pictures else []

    def _seconds(self, pts: int | None) -> float | None:
        return None if pts is None else pts * self._ticks / self._a_second
