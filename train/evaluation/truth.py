"""What is true of labelled footage, whatever layout it came in: the contract between readers and metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import FootageError

Interval = tuple[int, int]  # first and last native frame, from 0, both included
Mask = NDArray[np.bool_]  # height x width, native pixels


@dataclass(frozen=True, slots=True)
class Region:
    """One abnormal object in one frame, native pixels. `track` is unique within its video."""

    frame: int
    track: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, eq=False)
class Video:
    """One recording and its truth.

    `abnormal` and `ignored` are intervals of native frames; ignored frames are neither normal nor abnormal
    (slivers at the picture's edge, say). `regions` is None where the data set tells no places; `mask` gives a
    frame's abnormal pixels, None where it has none. `frames` is the length that the truth claims, if it does.
    """

    name: str
    path: Path  # a video file or a folder of pictures
    abnormal: tuple[Interval, ...]
    ignored: tuple[Interval, ...] = ()
    regions: tuple[Region, ...] | None = None
    mask: Callable[[int], Mask | None] | None = None
    frames: int | None = None
    folder_fps: float | None = None  # at which a folder's pictures were taken, where the layout tells
    open_end: bool = (
        False  # the data set is known for intervals that run past the recording: cut, not refused
    )

    def labels(self, count: int) -> NDArray[np.bool_]:
        """One truth per native frame of a recording of `count`. Raises FootageError where lengths differ."""
        if self.frames is not None and self.frames != count:
            raise FootageError(
                f"{self.name}: the truth is for {self.frames} frames, {self.path} has {count}; "
                "they do not belong together"
            )
        ends = (first if self.open_end else last for first, last in self.abnormal)
        beyond = [end for end in ends if end >= count]
        if beyond:
            raise FootageError(
                f"{self.name}: the truth names frame {max(beyond)}, {self.path} ends at {count - 1}; "
                "they do not belong together"
            )
        return covered(self.abnormal, count)

    def counted(self, count: int) -> NDArray[np.bool_]:
        """Which of `count` native frames an evaluation may look at."""
        return ~covered(self.ignored, count)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Labelled videos of one layout. `normal` is what the layout sets aside to learn and calibrate on."""

    name: str
    layout: str
    videos: tuple[Video, ...]
    normal: tuple[Path, ...] = ()
    note: str = ""  # which subset or labelling this is, for layouts that have several


def covered(intervals: tuple[Interval, ...], count: int) -> NDArray[np.bool_]:
    """count booleans: frames that lie in any of the intervals."""
    inside = np.zeros(count, bool)
    for first, last in intervals:
        inside[max(first, 0) : last + 1] = True
    return inside
