"""What lies beside a picture when a scout learns from it, all of it lying on the picture now.

Of one flight that is the earlier picture that flight would pair with it and two further back; of a route it
is the same place on another flight.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.changes import Gray
from edge.errors import UsageError
from edge.frames import Picture
from edge.motion import movement, registered, scaled, shrunk
from edge.pairs import LAG_S, STALE_S, Pairs
from edge.places import Gatherer, Walk
from train.footage import Clip, Sampling, open_sampled

DEPTH = 4  # pictures: now, earlier, 2 lags and 3 or 4 lags back
RECALLED = 2  # now, and the same place on another flight


@dataclass(frozen=True, slots=True, eq=False)
class _Past:
    stream_s: float
    picture: Picture
    gray: Gray


class Past(Protocol):
    """What lies beside the pictures of one clip. `known`: where in the last one, height x width, flight would
    judge; None for everywhere."""

    known: NDArray[np.bool_] | None

    def stack(
        self, picture: Picture, stream_s: float, random: np.random.Generator | None
    ) -> list[Picture | None]:
        """[now, ...], all lying on now; None for what is not there.

        Without `random` the picture is only remembered and the list holds it alone.
        """
        ...


class Pasts(Protocol):
    depth: int  # pictures in a stack

    def of(self, clip: Clip) -> Past: ...


class Histories:
    """Of clips each by itself."""

    depth = DEPTH

    def of(self, clip: Clip) -> Past:
        return History()


class Recollections:
    """Of flights of one route: what is beside a picture is of another flight. Raises UsageError for one."""

    depth = RECALLED

    def __init__(self, clips: Sequence[Clip], sampling: Sampling, on_frame: Callable[[str], None]) -> None:
        self._flights = list(dict.fromkeys(clip.path for clip in clips))
        if len(self._flights) < 2:
            raise UsageError(
                "--route compares flights of one route, and a single recording is left to learn from: name "
                "four flights or more with --normal, of which two are held out"
            )
        gatherer = Gatherer()
        for path in self._flights:
            gatherer.begin()
            for clip in (clip for clip in clips if clip.path == path):
                with open_sampled(Path(path), sampling) as stream:
                    for frame in itertools.islice(stream, clip.start, clip.stop):
                        gatherer.add(frame.image)
                        on_frame(clip.name)
        self._places = gatherer.places()

    def of(self, clip: Clip) -> Past:
        own = self._flights.index(clip.path) if clip.path in self._flights else None
        return _Recollection(self._places.walk(own))


class _Recollection:
    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self.known: NDArray[np.bool_] | None = None

    def stack(
        self, picture: Picture, stream_s: float, random: np.random.Generator | None
    ) -> list[Picture | None]:
        if random is None:
            return [picture]
        recalled = self._walk.recall(picture)
        self.known = None if recalled is None else recalled.known
        return [picture, None if recalled is None else recalled.picture]


class History:
    """Flight's pairing, and what is further back than flight looks."""

    def __init__(self) -> None:
        self.known: NDArray[np.bool_] | None = None
        self._pairs = Pairs()
        self._past: deque[_Past] = deque()

    def stack(
        self, picture: Picture, stream_s: float, random: np.random.Generator | None
    ) -> list[Picture | None]:
        """[now, earlier, further, furthest]."""
        now = self._remembered(_Past(stream_s, picture, shrunk(picture)))
        if random is None:
            self._pairs.remember(picture, stream_s)
            return [picture]
        pair = self._pairs.pair(picture, stream_s)
        before = self._older(LAG_S)
        if pair.earlier is None or before is None:
            return [picture, pair.earlier, None, None]
        lag = stream_s - before.stream_s
        further, furthest = (self._older(times * lag) for times in (2, int(random.integers(3, 5))))
        return [picture, pair.earlier, _laid_on(further, now), _laid_on(furthest, now)]

    def _remembered(self, now: _Past) -> _Past:
        past = self._past
        if past and not (
            past[-1].picture.shape == now.picture.shape and 0 < now.stream_s - past[-1].stream_s <= STALE_S
        ):
            past.clear()
        past.append(now)
        step = now.stream_s - past[-2].stream_s if len(past) > 1 else 0.0
        while now.stream_s - past[0].stream_s > 4 * (LAG_S + step) + step + 1e-3:
            past.popleft()
        return now

    def _older(self, age_s: float) -> _Past | None:
        """The youngest at least this old."""
        now_s = self._past[-1].stream_s
        return next((past for past in reversed(self._past) if now_s - past.stream_s >= age_s - 1e-3), None)


def _laid_on(past: _Past | None, now: _Past) -> Picture | None:
    if past is None:
        return None
    moved = movement(past.gray, now.gray, now.stream_s - past.stream_s)
    if moved is None:
        return None
    affine = scaled(moved.affine, past.gray.shape, now.picture.shape)
    return registered(past.picture, affine, now.picture)
