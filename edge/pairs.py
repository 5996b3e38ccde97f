"""Frames in time order -> each with an earlier one, registered onto it: what models of two pictures see.

Training, calibration and flight pair frames by this one rule.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge.changes import Gray, Map, passing
from edge.frames import Picture
from edge.motion import movement, registered, scaled, shrunk

LAG_S = 0.2  # between the two pictures, or one frame where frames come slower
_JITTER_S = 1e-3
STALE_S = 1.5  # an earlier picture older than this shows another scene


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """`earlier` lies on `now`, pixel by pixel; it is None where there is none or the camera's motion could
    not be told. `speed` is what moves otherwise than the camera; pictures less than LAG_S apart, as at the
    beginning, tell none: errors of a pixel would be great speeds. `light`, of registered pairs, is where
    light passes over everything (see `edge.changes`)."""

    now: Picture
    earlier: Picture | None = None
    speed: Map | None = None
    light: Map | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Past:
    stream_s: float
    picture: Picture
    gray: Gray


class Pairs:
    """Keeps the pictures of the last LAG_S seconds and one more.

    Without `register`, pairs tell of motion only and spare moving the earlier picture.
    """

    def __init__(self, *, register: bool = True) -> None:
        self._register = register
        self._past: deque[_Past] = deque()

    def remember(self, picture: Picture, stream_s: float) -> _Past | None:
        """Take in a picture; the earlier one it would be paired with."""
        now = _Past(stream_s, picture, shrunk(picture))
        past = self._past
        if past and (
            past[-1].picture.shape != picture.shape or not 0 < stream_s - past[-1].stream_s <= STALE_S
        ):
            past.clear()  # another scene, or time ran backwards
        while len(past) > 1 and stream_s - past[1].stream_s >= LAG_S - _JITTER_S:
            past.popleft()
        earlier = past[0] if past else None
        past.append(now)
        return earlier

    def pair(self, picture: Picture, stream_s: float) -> Pair:
        """The picture and the youngest one that is at least LAG_S older, else the oldest there is."""
        earlier = self.remember(picture, stream_s)
        if earlier is None:
            return Pair(picture)
        apart_s = stream_s - earlier.stream_s
        moved = movement(earlier.gray, self._past[-1].gray, apart_s)
        if moved is None:
            return Pair(picture)
        speed = None if apart_s < LAG_S - _JITTER_S else moved.speed
        if not self._register:
            return Pair(picture, None, speed)
        affine = scaled(moved.affine, earlier.gray.shape, picture.shape)
        before = registered(earlier.picture, affine, picture)
        return Pair(picture, before, speed, passing(moved.change))
