"""Bad days for whole videos: light, shadow, shake, compression and rain, each going on from frame to frame.

A disturbance is made anew for every video. It takes frames in time order and gives pictures of the same
size; the same seed and the same times give the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frames import Frame, Picture

Random: TypeAlias = np.random.Generator


class Weather(Protocol):
    def __call__(self, image: Picture, stream_s: float) -> Picture: ...


def disturbed(frame: Frame, weather: Weather) -> Frame:
    return replace(frame, image=weather(frame.image, frame.stream_s))


class Clean:
    def __init__(self, random: Random) -> None:
        """Chance has no part in it."""

    def __call__(self, image: Picture, stream_s: float) -> Picture:
        return image


class ExposureSteps:
    """Sudden steps of 30 %, 2 to 6 s apart: as filmed, then up or down, then back."""

    STEP, APART_S = 1.3, (2.0, 6.0)

    def __init__(self, random: Random) -> None:
        self._random, self.gain, self._next_s = random, 1.0, -math.inf

    def __call__(self, image: Picture, stream_s: float) -> Picture:
        if self._next_s == -math.inf:
            self._next_s = stream_s + self._random.uniform(*self.APART_S)
        while stream_s >= self._next_s:
            back = self.gain != 1.0
            self.gain = 1.0 if back else self.STEP ** float(self._random.choice((-1, 1)))
            self._next_s += self._random.uniform(*self.APART_S)
        return to_bytes(image.astype(np.float32) * np.float32(self.gain))


class MovingShadow:
    """A straight edge that takes 8 s to cross the picture and darkens what it has passed to 0.55; then, from
    another side, one that brings the light back."""

    CROSSING_S, LIGHT, SOFT = 8.0, 0.55, 0.05  # seconds; of the light; edge's width as a part of the picture
    _REACH = 0.75  # from the middle, where an edge is out of every corner's sight

    def __init__(self, random: Random) -> None:
        self._random, self._begun_s = random, -math.inf
        self._angle, self._darkens = 0.0, False

    def __call__(self, image: Picture, stream_s: float) -> Picture:
        if not 0 <= stream_s - self._begun_s < self.CROSSING_S:
            self._begun_s, self._angle = stream_s, self._random.uniform(0, 2 * math.pi)
            self._darkens = not self._darkens
        way = (stream_s - self._begun_s) / self.CROSSING_S
        passed = self._passed(image.shape[:2], self._REACH * (1 - 2 * way))
        shade = passed if self._darkens else 1 - passed
        light = 1 - shade * np.float32(1 - self.LIGHT)
        return to_bytes(image.astype(np.float32) * light[:, :, None])

    def _passed(self, size: tuple[int, ...], edge: float) -> NDArray[np.float32]:
        """1 where the edge has been, 0 where it will come."""
        x = np.linspace(-0.5, 0.5, size[1], dtype=np.float32)
        y = np.linspace(-0.5, 0.5, size[0], dtype=np.float32)[:, None]
        beyond = x * np.float32(math.cos(self._angle)) + y * np.float32(math.sin(self._angle)) - edge
        return np.asarray(np.clip(beyond / self.SOFT + 0.5, 0, 1), np.float32)


class Shake:
    """Up to 8 px each way and 3 degrees of roll: a smooth wandering about the middle, and jitter per frame.

    What a camera would bring in from outside is not in the footage; there the picture goes on as it ends.
    Mirrored, whatever the edge cuts off would become a thing of its own.
    """

    MOST = np.array([8.0, 8.0, 3.0])  # px, px, degrees
    MEMORY_S, WANDER, JITTER = 0.7, 0.45, 0.12  # of the most: standard deviation, and half a range

    def __init__(self, random: Random) -> None:
        self._random, self._last_s = random, -math.inf
        self._wander = np.zeros(3)

    def pose(self, stream_s: float) -> NDArray[np.float64]:
        """Pixels to the right and down, degrees."""
        keep = math.exp(-max(0.0, stream_s - self._last_s) / self.MEMORY_S)
        self._last_s = stream_s
        fresh = self._random.standard_normal(3) * self.WANDER
        self._wander = keep * self._wander + math.sqrt(1 - keep * keep) * fresh
        jitter = self._random.uniform(-self.JITTER, self.JITTER, 3)
        return np.asarray(np.clip(self._wander + jitter, -1, 1) * self.MOST, np.float64)

    def __call__(self, image: Picture, stream_s: float) -> Picture:
        height, width = image.shape[:2]
        right, down, degrees = self.pose(stream_s)
        move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(degrees), 1.0)
        move[:, 2] += right, down
        moved = cv2.warpAffine(
            image, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(moved, np.uint8)


class Jpeg:
    """There and back at quality 30."""

    QUALITY = 30

    def __init__(self, random: Random) -> None:
        """Chance has no part in it."""

    def __call__(self, image: Picture, stream_s: float) -> Picture:
        written, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.QUALITY])
        assert written
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


class Rain:
    """Bright streaks, elsewhere in every frame, under a wind that turns slowly."""

    STREAKS, LONG, BRIGHT = 400, 0.04, 90  # per picture; part of its height; grey levels of the brightest
    _TURN_S, _SLANT = 5.0, 0.25

    def __init__(self, random: Random) -> None:
        self._random, self._slant, self._last_s = random, 0.0, -math.inf

    def __call__(self, image: Picture, stream_s: float) -> Picture:
        keep = math.exp(-max(0.0, stream_s - self._last_s) / self._TURN_S)
        self._last_s = stream_s
        gust = self._random.standard_normal() * self._SLANT
        self._slant = keep * self._slant + math.sqrt(1 - keep * keep) * gust
        return np.asarray(cv2.add(image, cv2.cvtColor(self._streaks(image), cv2.COLOR_GRAY2BGR)), np.uint8)

    def _streaks(self, image: Picture) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        sheet = np.zeros((height, width), np.uint8)
        tops = self._random.uniform(
            (-0.1 * width, -self.LONG * height), (1.1 * width, height), (self.STREAKS, 2)
        )
        lengths = self._random.uniform(0.3, 1, self.STREAKS) * self.LONG * height
        lights = self._random.integers(self.BRIGHT // 4, self.BRIGHT, self.STREAKS)
        for (x, y), length, light in zip(tops, lengths, lights, strict=True):
            end = (round(x + self._slant * length), round(y + length))
            cv2.line(sheet, (round(x), round(y)), end, int(light), max(1, height // 500), cv2.LINE_AA)
        return np.asarray(cv2.GaussianBlur(sheet, (3, 3), 0), np.uint8)


CLEAN = "clean"
WEATHERS: Mapping[str, Callable[[Random], Weather]] = {
    CLEAN: Clean,
    "exposure steps of 30 %": ExposureSteps,
    "moving shadow edge": MovingShadow,
    "shake of 8 px, 3 degrees": Shake,
    "JPEG quality 30": Jpeg,
    "rain": Rain,
}


def to_bytes(values: NDArray[np.float32]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
