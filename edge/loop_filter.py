"""Decoding without the loop filter, which smooths the edges of a compressed picture's blocks.

It takes a tenth to a quarter of decoding. Where only a shrunk picture is looked at, leaving it out changes
hardly anything, as long as no other picture is built on the unsmoothed one: from picture to picture the
difference grows. See docs/capture.md for how much.
"""

from __future__ import annotations

import av
import av.codec.context
import av.video.codeccontext

from edge.decoding import Decoded, Packet, decoded

CODECS = ("h264", "hevc")
_WITHOUT = {"skip_loop_filter": "all"}


def leave_out(context: av.video.codeccontext.VideoCodecContext) -> None:
    """Of every picture; before the first is decoded."""
    context.options = {**context.options, **_WITHOUT}


class KeyFrames:
    """Decodes key frames one by one, without the loop filter; `like` is the stream's own decoder."""

    def __init__(self, like: av.video.codeccontext.VideoCodecContext) -> None:
        self._like = like
        self._context: av.video.codeccontext.VideoCodecContext | None = None
        self._able = like.name in CODECS

    def __call__(self, packet: Packet) -> Decoded | None:
        """None where it cannot be decoded so."""
        if self._able and packet.has_sidedata("new_extradata"):
            # From here on the packets belong to parameters that only the stream's decoder has seen.
            self._able = False
        if not self._able:
            return None
        self._context = self._context or _opened(self._like)
        pictures = [*decoded(self._context, packet), *decoded(self._context, None)]
        whole = [picture for picture in pictures if picture.pts == packet.pts and not picture.is_corrupt]
        return whole[0] if len(whole) == 1 else None


def _opened(like: av.video.codeccontext.VideoCodecContext) -> av.video.codeccontext.VideoCodecContext:
    context = av.codec.context.CodecContext.create(like.name, "r")
    assert isinstance(context, av.video.codeccontext.VideoCodecContext)
    context.extradata = like.extradata
    context.thread_count = 1
    for said in ("colorspace", "color_range", "color_primaries", "color_trc"):  # by the container
        setattr(context, said, getattr(like, said))
    leave_out(context)
    return context
