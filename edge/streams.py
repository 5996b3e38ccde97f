"""Network cameras, by PyAV.

Foreign messages repeat the URI with its secrets, so they are never passed on whole nor chained.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import av
import av.container
import av.error

from edge.camera import TIMEOUT_S, Shot
from edge.containers import stated_fps
from edge.decoding import AV_ERRORS, Decoded, Entries, Packet, Syntax, decoded, entries
from edge.errors import CameraError
from edge.frames import Picture
from edge.leeway import EXACT, Leeway
from edge.loop_filter import KeyFrames, leave_out
from edge.resting import Rest
from edge.thinning import Thinner
from edge.videos import bgr

# What a network camera may make us open: never a local file, whatever its playlist says.
PROTOCOLS = "rtsp,rtsps,rtp,srtp,http,https,httpproxy,tcp,udp,tls,crypto"


class StreamCamera:
    """rtsp(s)://, http(s):// (MPEG-TS, motion JPEG), tcp:// (MPEG-TS), by PyAV with one decoder thread.

    `fps`: how many pictures a second will be looked at; None for all of them.
    """

    def __init__(
        self,
        uri: str,
        name: str,
        timeout_s: float = TIMEOUT_S,
        *,
        fps: float | None = None,
        leeway: Leeway = EXACT,
    ) -> None:
        self.name = name
        self.codec, self.rate = "", 0.0  # what it sends, once it is open
        self._uri = uri
        self._timeout_s = timeout_s
        self._fps = fps
        self._leeway = leeway
        self._syntax: Syntax | None = None
        self._container: av.container.InputContainer | None = None
        self._packets: Iterator[Packet] = iter(())
        self._pictures: Callable[[Packet], Sequence[Decoded | None]] = lambda _: ()
        self._thinner: Thinner | None = None
        self._rest = Rest()
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
        self.codec, self.rate = stream.codec_context.name, stated_fps(stream)
        self._syntax = Syntax(stream.codec_context)
        if self._leeway.loop_filter == "never":
            leave_out(stream.codec_context)
        self._pictures = partial(decoded, stream.codec_context)
        if self._fps is not None and stream.time_base is not None and self._fps < self.rate:
            alone = KeyFrames(stream.codec_context) if self._leeway.loop_filter == "auto" else None
            self._thinner = Thinner(
                stream.codec_context, stream.time_base, self._fps, self.rate, alone, self._leeway.early_s
            )
            self._pictures = self._thinner.push
        return ""

    def read(self) -> Shot | None:
        while not self._came:
            with self._rest:
                packet = self._packet()
            self._rest.took(packet.size)
            came = self._pictures(packet)
            self._came.extend(came)
            if self._thinner is not None and came.count(None) < len(came):
                self._rest.picture_came(self._thinner.to_next_s)
        picture = self._came.popleft()
        if picture is None:
            return None
        thinner, convert = self._thinner, partial(self._converted, picture)
        return Shot(convert) if thinner is None else Shot(convert, thinner.early_s, thinner.next_early_s)

    def entries(self, seconds: float) -> Entries:
        """Where the stream can be entered, learnt from its next seconds. Raises CameraError."""
        if self._syntax is None:
            raise CameraError(f"Camera {self.name} is not open.")
        return entries(self._syntax, iter(self._packet, None), seconds)

    def _packet(self) -> Packet:
        failure = "the camera ended the stream"
        try:
            packet = next(self._packets, None)
        except IndexError:  # PyAV, of a stream that it did not see when it opened them
            packet, failure = None, "it began to send something else as well"
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
