"""The way a patrol flies: a closed route over waypoints, and the pose of the camera at each moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from train.world import METRES_PER_UNIT, SIZE, Points, seeded

Series: TypeAlias = NDArray[np.float64]

NOMINAL_M = 79.0  # metres above the sea at which 1920 pixels span 115 m: a 72 degree lens
HOME = (59.3100, 19.0700)  # latitude, longitude of the world's middle: open sea, nobody's island
_METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True, eq=False)
class Route:
    """A closed way in units, by the length flown; corners are cut as a flying thing cuts them."""

    waypoints: Points
    _way: Points
    _reached: Series

    @classmethod
    def of(cls, seed: int, radius: float) -> Route:
        """Waypoints on a bent ring of at most `radius` units around the world's middle."""
        rng = seeded(seed, "route")
        angles = (np.arange(12) + rng.uniform(-0.2, 0.2, 12)) / 12 * 2 * np.pi
        radii = rng.uniform(0.78, 1.0, 12) * radius
        corners = SIZE / 2 + radii[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
        way = _smooth(_walk(corners, 2400), 110)
        steps = np.linalg.norm(np.diff(way, axis=0, append=way[:1]), axis=1)
        return cls(corners, np.vstack([way, way[:1]]), np.concatenate([[0.0], np.cumsum(steps)]))

    @property
    def length(self) -> float:
        return float(self._reached[-1])

    def at(self, flown: Series) -> Points:
        turn = np.mod(flown, self.length)
        return np.column_stack([np.interp(turn, self._reached, self._way[:, k]) for k in (0, 1)])

    def heading(self, flown: Series) -> Series:
        """Radians clockwise from north, without jumps."""
        ahead = self.at(flown + 60) - self.at(flown - 60)
        return np.asarray(np.arctan2(ahead[:, 0], -ahead[:, 1]), np.float64)


def _walk(corners: Points, count: int) -> Points:
    closed = np.vstack([corners, corners[:1]])
    reached = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    flown = np.linspace(0, reached[-1], count, endpoint=False)
    return np.column_stack([np.interp(flown, reached, closed[:, k]) for k in (0, 1)])


def _smooth(way: Points, width: float) -> Points:
    """Circular Gaussian smoothing; `width` is its deviation in points."""
    frequency = np.fft.rfftfreq(len(way))[:, None]
    gain = np.exp(-2 * (np.pi * frequency * width) ** 2)
    return np.asarray(np.fft.irfft(np.fft.rfft(way, axis=0) * gain, n=len(way), axis=0), np.float64)


@dataclass(frozen=True, eq=False)
class Wobble:
    """A smooth random motion of mean 0: a sum of sines, so it is the same at any frame rate."""

    frequencies: Series
    phases: Series
    amplitude: float

    @classmethod
    def of(cls, rng: np.random.Generator, amplitude: float, shortest_s: float, longest_s: float) -> Wobble:
        periods = np.exp(rng.uniform(np.log(shortest_s), np.log(longest_s), 6))
        return cls(1 / periods, rng.uniform(0, 2 * np.pi, 6), amplitude)

    def at(self, seconds: Series) -> Series:
        """Root mean square is about half the amplitude, which is hardly ever exceeded."""
        angles = 2 * np.pi * seconds[..., None] * self.frequencies + self.phases
        return np.asarray(self.amplitude * np.sin(angles).sum(-1) / 3.5, np.float64)


@dataclass(frozen=True, eq=False)
class Poses:
    """The camera at n moments. `drone` is where it hangs, `looks_at` the ground in the picture's middle.

    Angles in radians, heading clockwise from north; `zoom` is height over the nominal height.
    """

    drone: Points
    looks_at: Points
    heading: Series
    pitch: Series
    roll: Series
    zoom: Series

    def part(self, k: int) -> Poses:
        """Frame k alone."""
        one = slice(k, k + 1)
        return Poses(
            self.drone[one],
            self.looks_at[one],
            self.heading[one],
            self.pitch[one],
            self.roll[one],
            self.zoom[one],
        )

    def to_picture(self, points: Points, width: int, height: int) -> Points:
        """World units to picture pixels, point k in frame k."""
        away = points - self.looks_at
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        pixels = width / 1920 / self.zoom
        across = (away[:, 0] * cos + away[:, 1] * sin) * pixels + width / 2
        down = (away[:, 1] * cos - away[:, 0] * sin) * pixels + height / 2
        return np.column_stack([across, down])

    def to_world(self, k: int, width: int) -> NDArray[np.float64]:
        """2 x 3: frame k's pixels, counted from its middle, to world units."""
        unit = self.zoom[k] * 1920 / width
        cos, sin = np.cos(self.heading[k]) * unit, np.sin(self.heading[k]) * unit
        return np.array([[cos, -sin, self.looks_at[k, 0]], [sin, cos, self.looks_at[k, 1]]])

    def geodetic(self) -> tuple[Series, Series, Series]:
        """Latitude, longitude in degrees and metres above the sea."""
        metres = (self.drone - SIZE / 2) * METRES_PER_UNIT
        latitude = HOME[0] - metres[:, 1] / _METRES_PER_DEGREE
        longitude = HOME[1] + metres[:, 0] / (_METRES_PER_DEGREE * np.cos(np.radians(HOME[0])))
        return latitude, longitude, NOMINAL_M * self.zoom


@dataclass(frozen=True, eq=False)
class Flight:
    """One flight of the route: the same way each time, with its own deviations, trembling and light."""

    route: Route
    speed: float  # units per second
    stray: tuple[Wobble, Wobble]
    gust: tuple[Wobble, Wobble]
    turn: Wobble
    tilt: tuple[Wobble, Wobble]
    climb: Wobble
    gain: tuple[float, Wobble]
    warmth: tuple[float, Wobble]

    @classmethod
    def of(cls, route: Route, speed: float, rng: np.random.Generator, shake: float, light: float) -> Flight:
        """`shake` scales deviations and pose noise, `light` is the largest change of the exposure's gain."""
        return cls(
            route,
            speed,
            stray=(Wobble.of(rng, 34 * shake, 7, 25), Wobble.of(rng, 30 * shake, 9, 30)),
            gust=(Wobble.of(rng, 3 * shake, 0.5, 2.5), Wobble.of(rng, 3 * shake, 0.5, 2.5)),
            turn=Wobble.of(rng, np.radians(2.0) * shake, 0.8, 9),
            tilt=(
                Wobble.of(rng, np.radians(0.5) * shake, 0.4, 4),
                Wobble.of(rng, np.radians(0.5) * shake, 0.4, 4),
            ),
            climb=Wobble.of(rng, 0.025 * shake, 4, 18),
            gain=(1 + light * float(rng.uniform(-0.5, 0.5)), Wobble.of(rng, 0.5 * light, 12, 60)),
            warmth=(0.4 * light * float(rng.uniform(-0.5, 0.5)), Wobble.of(rng, 0.2 * light, 20, 70)),
        )

    def poses(self, seconds: Series) -> Poses:
        flown = self.speed * seconds
        along = self.route.heading(flown)
        forward = np.column_stack([np.sin(along), -np.cos(along)])
        right = np.column_stack([np.cos(along), np.sin(along)])
        ahead = self.stray[0].at(seconds) + self.gust[0].at(seconds)
        aside = self.stray[1].at(seconds) + self.gust[1].at(seconds)
        drone = self.route.at(flown) + forward * ahead[:, None] + right * aside[:, None]
        pitch, roll = self.tilt[0].at(seconds), self.tilt[1].at(seconds)
        zoom = 1 + self.climb.at(seconds)
        reach = zoom * NOMINAL_M / METRES_PER_UNIT
        looks_at = (
            drone + forward * (reach * np.tan(pitch))[:, None] + right * (reach * np.tan(roll))[:, None]
        )
        return Poses(drone, looks_at, along + self.turn.at(seconds), pitch, roll, zoom)

    def exposure(self, seconds: Series) -> NDArray[np.float64]:
        """n x 3 gains of blue, green, red."""
        gain = self.gain[0] + self.gain[1].at(seconds)
        warm = self.warmth[0] + self.warmth[1].at(seconds)
        return np.column_stack([gain * (1 - warm), gain, gain * (1 + warm)])
