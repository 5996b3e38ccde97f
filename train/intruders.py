"""What does not belong: where it goes, when it is seen, and the boxes that say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from edge.errors import UsageError
from train.route import Flight, Poses, Series
from train.world import Points, World

KindName = Literal["boat", "person", "car", "drone-shadow", "debris"]
KINDS: tuple[KindName, ...] = get_args(KindName)
SEEN_S = (3.0, 6.2)  # how long an intruder stays in view
_STEP_S = 0.1
_WATCH_S = 9.0  # both ways from its moment: long enough for everything to have left the picture
_TAIL_S = 0.5  # a flight ends this long after its last intruder has gone, at least
_TRIES = 400
_SEEN_SHARE = 0.25  # of the body's box; less does not count as seen

# In the intruder's own frame, in sizes: x to its right, y to its back; it faces the negative side.
Rect = tuple[float, float, float, float]  # left, front, right, back
Outline = tuple[tuple[float, float], ...]  # corners of its convex hull


@dataclass(frozen=True)
class Kind:
    """Natural longest side and speed per second in units; `ground` is the elevation it keeps to."""

    name: KindName
    size: tuple[float, float]
    speed: tuple[float, float]
    ground: tuple[float, float]
    body: Outline
    reach: Outline  # everything it changes in the picture: wake and shadow too


def _mirrored(*right: tuple[float, float]) -> Outline:
    return (*right, *((-x, y) for x, y in right))


def _rect(left: float, front: float, right: float, back: float) -> Outline:
    return ((left, front), (right, front), (right, back), (left, back))


_FAR = 1e9
_BOAT = _mirrored((0.0, -0.5), (0.09, -0.36), (0.16, -0.12), (0.175, 0.2), (0.15, 0.48), (0.04, 0.52))
_PERSON = _mirrored((0.5, 0.0), (0.44, -0.14), (0.44, 0.14), (0.22, -0.42), (0.22, 0.42))
_CAR = _mirrored((0.12, -0.5), (0.23, -0.38), (0.23, 0.38), (0.12, 0.5))
_DRONE = _mirrored((0.3, -0.45), (0.45, -0.3), (0.45, 0.3), (0.3, 0.45))
_KINDS = {
    kind.name: kind
    for kind in (
        Kind("boat", (40, 96), (30, 65), (-_FAR, -45), _BOAT, _rect(-0.8, -0.56, 0.8, 2.6)),
        Kind("person", (8, 24), (8, 22), (12, _FAR), _PERSON, _rect(-1.6, -1.6, 1.6, 1.6)),
        Kind("car", (56, 92), (30, 80), (30, _FAR), _CAR, _rect(-0.6, -0.7, 0.6, 0.7)),
        Kind("drone-shadow", (18, 60), (30, 80), (4, _FAR), _DRONE, _rect(-0.5, -0.5, 0.5, 0.5)),
        Kind(
            "debris",
            (10, 64),
            (0, 5),
            (-_FAR, -25),
            _rect(-0.38, -0.46, 0.38, 0.46),
            _rect(-0.45, -0.55, 0.45, 0.55),
        ),
    )
}


@dataclass(frozen=True)
class Intruder:
    """A straight course through the world, `size` units long, at `x`, `y` at `moment` seconds."""

    track: int
    kind: KindName
    size: float
    x: float
    y: float
    course: float  # radians clockwise from north
    speed: float
    moment: float
    since: float  # it exists from here
    until: float

    @property
    def nature(self) -> Kind:
        return _KINDS[self.kind]

    def places(self, seconds: Series) -> Points:
        gone = (seconds - self.moment) * self.speed
        return np.column_stack([self.x + np.sin(self.course) * gone, self.y - np.cos(self.course) * gone])


@dataclass(frozen=True)
class Sighting:
    """One intruder in one frame: native pixels, clipped; `extent` holds wake and shadow too."""

    frame: int
    track: int
    kind: KindName
    box: tuple[int, int, int, int] | None  # x, y, width, height; None while too little of the body shows
    extent: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Boxes:
    """Axis-aligned boxes of one outline over n moments, in pixels, and the share of each in the picture."""

    low: Points
    high: Points
    share: Series

    @classmethod
    def of(
        cls, outline: Outline, intruder: Intruder, seconds: Series, poses: Poses, width: int, height: int
    ) -> Boxes:
        middle = poses.to_picture(intruder.places(seconds), width, height)
        turn = intruder.course - poses.heading
        pixels = intruder.size * width / 1920 / poses.zoom
        corners = np.array(outline)
        across = np.cos(turn)[:, None] * corners[:, 0] - np.sin(turn)[:, None] * corners[:, 1]
        down = np.sin(turn)[:, None] * corners[:, 0] + np.cos(turn)[:, None] * corners[:, 1]
        spread = np.stack([across, down], -1) * pixels[:, None, None]
        low, high = middle + spread.min(axis=1), middle + spread.max(axis=1)
        edge = np.array([width, height])
        shown = np.clip(high, 0, edge) - np.clip(low, 0, edge)
        return cls(low, high, np.asarray(shown.prod(axis=1) / (high - low).prod(axis=1), np.float64))

    def clipped(self, k: int, width: int, height: int) -> tuple[int, int, int, int]:
        x0, y0 = np.floor(np.clip(self.low[k], 0, (width - 1, height - 1))).astype(int)
        x1, y1 = np.ceil(np.clip(self.high[k], 0, (width, height))).astype(int)
        return int(x0), int(y0), max(1, int(x1 - x0)), max(1, int(y1 - y0))


def sightings(
    intruder: Intruder, seconds: Series, poses: Poses, width: int, height: int
) -> Iterator[Sighting]:
    """Every frame in which anything of it shows; `seconds` are the frames' times from 0."""
    body = Boxes.of(intruder.nature.body, intruder, seconds, poses, width, height)
    extent = Boxes.of(intruder.nature.reach, intruder, seconds, poses, width, height)
    alive = (seconds >= intruder.since) & (seconds <= intruder.until)
    for k in np.flatnonzero(alive & (extent.share > 0)).tolist():
        box = body.clipped(k, width, height) if body.share[k] >= _SEEN_SHARE else None
        yield Sighting(k, intruder.track, intruder.kind, box, extent.clipped(k, width, height))


@dataclass(frozen=True)
class Wanted:
    """What to plant in one flight. Sizes in units: pixels of a 1920 pixel wide picture."""

    count: int | None  # None: as many as fit without haste
    smallest: float
    largest: float
    kinds: tuple[KindName, ...]
    gap_s: float
    overlap: bool


def most_that_fit(wanted: Wanted, seconds: float) -> int:
    """Without haste: with room for each to be seen as long as one may be, and its gap before it."""
    return max(0, int((seconds - _TAIL_S) // (SEEN_S[1] + 0.6 + wanted.gap_s)))


@dataclass(frozen=True, eq=False)
class Planner:
    """Finds courses that keep to their ground, are seen for `SEEN_S`, and leave gaps between them."""

    world: World
    flight: Flight
    seconds: float
    width: int
    height: int
    wanted: Wanted
    rng: np.random.Generator

    def plan(self) -> tuple[Intruder, ...]:
        count = most_that_fit(self.wanted, self.seconds) if self.wanted.count is None else self.wanted.count
        found: list[Intruder] = []
        free_from = self.wanted.gap_s
        for number, name in enumerate(self._names(count)):
            left = count - number
            intruder = self._place(number + 1, name, free_from, left)
            found.append(intruder)
            if not self.wanted.overlap:
                free_from = intruder.until + self.wanted.gap_s
        return tuple(found)

    def _names(self, count: int) -> list[KindName]:
        """Kinds in turn, each round in another order, so that a few intruders are of different kinds."""
        kinds = list(fitting_kinds(self.wanted))
        names: list[KindName] = []
        while len(names) < count:
            names += [kinds[n] for n in self.rng.permutation(len(kinds))]
        return names[:count]

    def _place(self, track: int, name: KindName, free_from: float, left: int) -> Intruder:
        others = [kind for kind in fitting_kinds(self.wanted) if kind != name]
        for kind in (name, *others):
            for _ in range(_TRIES):
                intruder = self._checked(self._guess(track, kind, free_from, left), free_from, left)
                if intruder is not None:
                    return intruder
        raise UsageError(
            f"{track + left - 1} intruders do not fit into {self.seconds:g} s with {self.wanted.gap_s:g} s"
            " between: ask for a longer flight, fewer intruders or a shorter gap."
        )

    def _span(self, free_from: float, left: int) -> tuple[float, float]:
        """When the next intruder may be in the picture's middle, leaving room for those after it."""
        if self.wanted.overlap:
            return 3.5, self.seconds - 3.5
        each = SEEN_S[1] + self.wanted.gap_s
        latest = self.seconds - 3.2 - (left - 1) * each
        earliest = free_from + 2.6
        slack = max(0.0, self.seconds - free_from - left * each)
        return earliest, min(max(earliest, latest), earliest + 1.2 + 1.5 * slack / left)

    def _guess(self, track: int, name: KindName, free_from: float, left: int) -> Intruder:
        rng, kind = self.rng, _KINDS[name]
        moment = float(rng.uniform(*self._span(free_from, left)))
        pose = self.flight.poses(np.array([moment]))
        aside = rng.uniform(-0.34, 0.34) * 1920
        heading = float(pose.heading[0])
        place = pose.looks_at[0] + aside * np.array([np.cos(heading), np.sin(heading)])
        low, high = size_range(kind, self.wanted)
        return Intruder(
            track,
            name,
            size=float(rng.uniform(low, high)),
            x=float(place[0]),
            y=float(place[1]),
            course=float(rng.uniform(0, 2 * np.pi)),
            speed=float(rng.uniform(*kind.speed)),
            moment=moment,
            since=moment - _WATCH_S,
            until=moment + _WATCH_S,
        )

    def _checked(self, intruder: Intruder, free_from: float, left: int) -> Intruder | None:
        """The intruder with the time in which anything of it shows, or None where something is wrong."""
        if not self._at_home(intruder, np.array([intruder.moment])):
            return None  # most fail here, and this costs little
        seconds = intruder.moment + np.arange(-_WATCH_S, _WATCH_S, _STEP_S)
        poses = self.flight.poses(seconds)
        body = Boxes.of(intruder.nature.body, intruder, seconds, poses, self.width, self.height)
        seen = body.share >= _SEEN_SHARE
        if not SEEN_S[0] <= seen.sum() * _STEP_S <= SEEN_S[1] or not self._at_home(intruder, seconds[seen]):
            return None
        extent = Boxes.of(intruder.nature.reach, intruder, seconds, poses, self.width, self.height)
        shows = np.flatnonzero(extent.share > 0)
        if shows[0] == 0 or shows[-1] == len(seconds) - 1:
            return None
        since, until = seconds[shows[0]] - _STEP_S, seconds[shows[-1]] + _STEP_S
        after = (left - 1) * (SEEN_S[1] + self.wanted.gap_s)
        too_late = not self.wanted.overlap and until + after > self.seconds - _TAIL_S
        if since < min(free_from, self.wanted.gap_s if self.wanted.overlap else free_from) or too_late:
            return None
        if until > self.seconds:
            return None
        return replace(intruder, since=float(since), until=float(until))

    def _at_home(self, intruder: Intruder, seconds: Series) -> bool:
        places = intruder.places(seconds[::3])
        low, high = intruder.nature.ground
        height = self.world.height(places)
        if not bool(((height > low) & (height < high)).all()):
            return False
        return low < 0 or not self.world.blocked(places, margin=0.5 * intruder.size).any()


def fitting_kinds(wanted: Wanted) -> tuple[KindName, ...]:
    """The wanted kinds that are naturally of a wanted size; all wanted kinds where none is."""
    fit = [k for k in wanted.kinds if _overlaps(_KINDS[k].size, (wanted.smallest, wanted.largest))]
    return tuple(fit) or wanted.kinds


def size_range(kind: Kind, wanted: Wanted) -> tuple[float, float]:
    low, high = (float(np.clip(size, wanted.smallest, wanted.largest)) for size in kind.size)
    return low, high


def _overlaps(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return max(a[0], b[0]) <= min(a[1], b[1])
