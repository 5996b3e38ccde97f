"""Where pictures come from: a URI in the settings -> the `FrameSource` that the loop reads.

| URI | what | reached through |
|---|---|---|
| a path, file:///... | a video, or a folder of frames | `Replay` |
| rtsp:// rtsps:// http:// https:// tcp:// | a network camera | `LiveSource` |
| v4l2://0, v4l2:///dev/video0 | a USB camera | `LiveSource` |
| csi://0, gst:PIPELINE | GStreamer, a Jetson's own camera | `LiveSource` |
| sim://?width=640&height=480&fps=10&seed=0&intruder_every=20&frames=0 | the fake that ships | either |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import unquote, urlsplit

from edge.clock import Clock
from edge.errors import UsageError, nearest
from edge.frames import Frame
from edge.gstreamer import plant
from edge.leeway import EXACT, Leeway, Lenient
from edge.live import LiveSource, State
from edge.pipeline import EndOfStream, FrameSource
from edge.recordings import Sampler, open_recording
from edge.videos import Wants
from edge.ways import NETWORK, address, options, way

SCHEMES = ("file", *NETWORK, "v4l2", "csi", "gst", "sim")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


class WatchedSource(FrameSource, Protocol):
    """A source that also says how its camera is."""

    @property
    def state(self) -> State: ...


class Footage(Protocol):
    def frames(self, wants: Wants) -> Iterator[Frame]: ...
    def close(self) -> None: ...


def open_source(
    uri: str,
    *,
    fps: float,
    replay: Literal["realtime", "fast"],
    folder_fps: float,
    clock: Clock,
    leeway: Leeway = EXACT,
) -> WatchedSource:
    """Open what `uri` names and watch it at `fps`. `leeway`: what the model that looks bears.

    Raises UsageError for a URI that means nothing, FootageError for footage that cannot be read and
    CameraError for a camera that cannot be opened at all. None of them repeats a secret of the URI.
    """
    scheme = scheme_of(uri)
    if scheme in ("", "file"):
        path = Path(unquote(urlsplit(uri).path)) if scheme else Path(uri)
        recording = open_recording(path, folder_fps=folder_fps, clock=clock, leeway=leeway)
        return Replay(recording, fps, clock, realtime=replay == "realtime", early_s=leeway.early_s)
    if scheme == "sim":
        return _simulated(uri, fps, clock, realtime=replay == "realtime")
    found = way(scheme, uri, redact(uri), fps, plant(), leeway)
    return LiveSource(found.make, fps, clock)


def _simulated(uri: str, fps: float, clock: Clock, *, realtime: bool) -> WatchedSource:
    where, query = address(uri)
    if where:
        raise UsageError(f"Source {uri} has an address, but sim:// takes options only, as in sim://?seed=1.")
    from edge.simcam import Scene, SimCamera

    scene = options(Scene, query, uri)
    if realtime:
        return LiveSource(lambda: SimCamera(scene, clock, uri), fps, clock)
    return Replay(SimCamera(scene, clock, uri), fps, clock, realtime=False)


def scheme_of(uri: str) -> str:
    """The URI's scheme in lower case, '' for a plain path; raises UsageError for one we do not know."""
    match = _SCHEME.match(uri)
    if match is None or Path(uri).exists():
        return ""
    scheme = match[1].lower()
    if scheme in SCHEMES and (scheme == "gst" or uri[match.end() :].startswith("//")):
        return scheme
    raise UsageError(
        f"Source {redact(uri)} is of no known kind{nearest(scheme, SCHEMES)}; "
        f"name a path or {', '.join(f'{known}://' for known in SCHEMES if known != 'gst')} or gst:PIPELINE."
    )


_SECRET = re.compile(r"(?i)((?:pass(?:word|wd)?|pwd|[-_]pw|token|secret|key|auth|sig)\w*=)[^\s&/?!]*")
_OPEN = ("file", "v4l2", "csi", "sim")  # schemes whose URIs hold no secrets


def redact(uri: str) -> str:
    """The URI without its secrets, fit for a log: no user, password or values of a query."""
    scheme = _SCHEME.match(uri)
    if scheme is None or scheme[1].lower() in _OPEN:
        return uri
    if scheme[1].lower() == "gst":  # a pipeline is many words, of which some are URIs
        return _SECRET.sub(r"\1***", re.sub(r"://\S*@", "://***@", uri))
    shown = re.sub(r"(:/*)[^/].*@", r"\1***@", uri, flags=re.DOTALL)  # to the last @: passwords hold / and ?
    return _SECRET.sub(r"\1***", re.sub(r"([?&][^=&]*)=[^&]*", r"\1=***", shown))


class Replay:
    """Recorded footage as a source.

    Fast: each sample once, as soon as it is asked for. Real time: a sample is due when the footage's
    own clock, started at the first read, reaches it; what fell due meanwhile is skipped, never queued.
    The first is decoded at once, as a camera begins when it is opened.
    """

    def __init__(
        self, footage: Footage, fps: float, clock: Clock, *, realtime: bool, early_s: float = 0.0
    ) -> None:
        self.skipped = 0
        self._footage = footage
        self._clock = clock
        self._realtime = realtime
        self._sampler = Sampler(fps)
        self._started_ns: int | None = None
        self._now_s = 0.0  # on the footage's clock, when the read began
        self._ended = False
        self._frames = footage.frames(
            Lenient(self._wants, lambda: self._sampler.next_s, self._sampler.period_s, early_s)
        )
        self._first = next(self._frames, None)

    @property
    def state(self) -> State:
        return "ended" if self._ended else "watching"

    def due_s(self) -> float:
        if not self._realtime or self._started_ns is None or self._ended:
            return 0.0
        return max(0.0, self._sampler.next_s - self._elapsed_s())

    def read(self) -> Frame:
        """The newest sample that is due; raises EndOfStream after the last."""
        if self._started_ns is None:
            self._started_ns = self._clock.monotonic_ns()
        self._now_s = self._elapsed_s()
        first, self._first = self._first, None
        frame = next(self._frames, None) if first is None else first
        if frame is None:
            self._ended = True
            raise EndOfStream
        return frame

    def close(self) -> None:
        self._footage.close()

    def _elapsed_s(self) -> float:
        return (self._clock.monotonic_ns() - (self._started_ns or 0)) / 1e9

    def _wants(self, stream_s: float) -> bool:
        """Whether this is a sample to look at, counting those for which we come too late."""
        if not self._sampler.wants(stream_s):
            return False
        late = self._realtime and self._sampler.next_s <= self._now_s
        self.skipped += late
        return not late
