"""Read this first: what flies is three parts and the loop that joins them.

A `FrameSource` gives pictures at the rate we watch (2 fps), a `Detector` says how strange each is and
where, `Incidents` turn scores over time into begin / update / end, and a `Publisher` sees to it that what
was found reaches the ground. The same loop runs in flight, on a recorded video, in tests and on a desk:
clock and wait are parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.events import Box, CameraState
from edge.frames import Frame

Heat = NDArray[np.float32]  # map height x width; at 1.0 one branch alone would alarm as often as wanted


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What a detector says of one frame. `boxes` are in native pixels, hottest first.

    `raised_by`: the kind of model that the score is from, where several fly. `judged`: share of the picture
    that the model could hold against something. `whole`: every branch had evidence of it.
    """

    score: float
    heat: Heat | None = None
    boxes: tuple[Box, ...] = ()
    stages_ns: Mapping[str, int] = field(default_factory=dict)
    raised_by: str | None = None
    judged: float = 1.0
    whole: bool = True


class EndOfStream(Exception):  # noqa: N818 - an end, not an error
    """The recording is over."""


class FrameSource(Protocol):
    def due_s(self) -> float:
        """Seconds until the next frame is wanted; 0 for now."""
        ...

    def read(self) -> Frame | None:
        """The newest frame, or None while the camera has nothing new. Raises EndOfStream."""
        ...

    @property
    def skipped(self) -> int:
        """Frames that were due but not looked at, because we were late."""
        ...

    @property
    def state(self) -> CameraState: ...

    def close(self) -> None: ...


class Detector(Protocol):
    def inspect(self, frame: Frame) -> Finding: ...


class Recorder(Protocol):
    """Takes findings in frame order; makes, keeps and sends the events that follow from them."""

    def observe(self, frame: Frame, finding: Finding) -> None: ...
    def blind(self) -> None: ...


def patrol(
    source: FrameSource,
    detector: Detector,
    recorder: Recorder,
    stopped: Callable[[float], bool],
) -> None:
    """Watch until the stream ends or `stopped(seconds)`, which waits that long, says so."""
    while not stopped(source.due_s()):
        try:
            frame = source.read()
        except EndOfStream:
            return
        if frame is None:
            recorder.blind()
            continue
        recorder.observe(frame, detector.inspect(frame))
        del frame  # its memory is free for the next
