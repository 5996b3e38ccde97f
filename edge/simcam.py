"""sim://: a camera that needs no hardware. It drifts over painted land and sea; now and then something
crosses the view. Each picture depends on the scene and its number alone. For trying things out and for
tests: what a detector scores here says nothing about real footage.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edge.camera import Shot
from edge.clock import Clock
from edge.events import Box
from edge.frames import Frame, Picture
from edge.pipeline import EndOfStream
from edge.videos import Wants

Map: TypeAlias = NDArray[np.float32]

CROSSING_S = 4.0  # how long an intruder is in view
NOISE = 3.0  # standard deviation of a sensor at dusk, in grey levels
SEA, LAND = (96, 78, 40), (70, 118, 108)  # BGR


class Scene(BaseModel):
    """The query of a sim:// URI."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=640, ge=64, le=4096)
    height: int = Field(default=480, ge=48, le=4096)
    fps: float = Field(default=10.0, gt=0, le=240, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0, le=2**32)
    intruder_every: float = Field(default=20.0, ge=0, le=86400)  # seconds; 0 for never
    frames: int = Field(default=0, ge=0)  # after which the stream ends; 0 for never


class Painter:
    """Paints picture `index` of a scene and knows where its intruder is."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._margin = max(scene.width, scene.height) // 8

    def picture(self, index: int) -> Picture:
        image = self._view(index)
        box = self.intruder(index)
        if box is not None:
            _draw(image, box, self._visit_of(index)[0])
        return self._with_noise(image, index)

    def intruder(self, index: int) -> Box | None:
        """Where the intruder of this picture is, None when there is none."""
        scene = self.scene
        visit, progress = self._visit_of(index)
        if not 0 <= progress < 1:
            return None
        rng = np.random.default_rng((scene.seed, visit))
        size = round(scene.height * rng.uniform(0.06, 0.14)) + 4
        width, height = 2 * size, size
        left = round(progress * (scene.width - width))
        top = round(rng.uniform(0.1, 0.9) * (scene.height - height))
        return Box(x=left, y=top, width=width, height=height, peak=1.0, area=width * height)

    def _visit_of(self, index: int) -> tuple[int, float]:
        """Which visit this is, and how far it has come: 0..1 while in view."""
        every = self.scene.intruder_every
        if not every:
            return 0, -1.0
        visit, since_s = divmod(index / self.scene.fps - every / 2, every)
        return int(visit), since_s / min(CROSSING_S, every / 2) if visit >= 0 else -1.0

    def _view(self, index: int) -> Picture:
        """The part of the world below, under light that changes slowly."""
        t, scene, margin = index / self.scene.fps, self.scene, self._margin
        x = round(margin * (1 + math.sin(2 * math.pi * t / 61)))
        y = round(margin * (1 + math.sin(2 * math.pi * t / 37)))
        light = 1 + 0.06 * math.sin(2 * math.pi * t / 47)
        view = self._world[y : y + scene.height, x : x + scene.width]
        return np.asarray(cv2.convertScaleAbs(view, alpha=light), dtype=np.uint8)

    def _with_noise(self, image: Picture, index: int) -> Picture:
        rng = np.random.default_rng((self.scene.seed, 1, index))
        y, x = (int(offset) for offset in rng.integers(0, 64, 2))
        noise = self._noise[y : y + image.shape[0], x : x + image.shape[1]]
        return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), dtype=np.uint8)

    @cached_property
    def _world(self) -> Picture:
        rng = np.random.default_rng((self.scene.seed, 2))
        height = self.scene.height + 2 * self._margin
        width = self.scene.width + 2 * self._margin
        relief = _relief(rng, height, width)
        land = np.clip((relief - 0.5) * 12 + 0.5, 0, 1)[:, :, None]
        texture = (0.75 + 0.5 * _relief(rng, height, width, finest=64))[:, :, None]
        colour = np.array(SEA, np.float32) * (1 - land) + np.array(LAND, np.float32) * land
        return np.asarray(np.clip(colour * texture, 0, 255), dtype=np.uint8)

    @cached_property
    def _noise(self) -> NDArray[np.int16]:
        """Larger than a picture: each takes its own part of it, cheaper than drawing it anew."""
        rng = np.random.default_rng((self.scene.seed, 3))
        shape = (self.scene.height + 64, self.scene.width + 64, 3)
        return np.rint(rng.normal(0, NOISE, shape)).astype(np.int16)


def _relief(rng: np.random.Generator, height: int, width: int, finest: int = 32) -> Map:
    """Smooth noise of several scales, 0..1."""
    total = np.zeros((height, width), np.float32)
    cells, weight = 4, 1.0
    while cells <= finest:
        coarse = rng.random((cells, cells), dtype=np.float32)
        total += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 2, weight / 2
    return np.asarray((total - total.min()) / np.ptp(total), dtype=np.float32)


def _draw(image: Picture, box: Box, visit: int) -> None:
    """A boat: a bright hull with a dark cabin, in one of three colours."""
    colour = ((235, 235, 235), (40, 40, 220), (20, 190, 240))[visit % 3]
    half = (box.width // 2, box.height // 2)
    middle = (box.x + half[0], box.y + half[1])
    cv2.ellipse(image, middle, half, 0, 0, 360, colour, cv2.FILLED)
    cv2.circle(image, middle, max(1, box.height // 4), (30, 30, 30), cv2.FILLED)


class SimCamera:
    """A scene as a live camera (open / read / close, at the clock's pace) or as footage (`frames`)."""

    def __init__(
        self, scene: Scene, clock: Clock, name: str = "sim://", wait: Callable[[float], object] = time.sleep
    ) -> None:
        self.name = name
        self._painter = Painter(scene)
        self._clock = clock
        self._wait = wait
        self._opened_ns = 0
        self._next = 0

    def open(self) -> None:
        self._opened_ns = self._clock.monotonic_ns()
        self._next = 0

    def read(self) -> Shot:
        """Waits until the next picture is due; those due meanwhile are lost, as in a camera."""
        scene = self._painter.scene
        elapsed_s = (self._clock.monotonic_ns() - self._opened_ns) / 1e9
        index = max(self._next, math.floor(elapsed_s * scene.fps))
        if scene.frames and index >= scene.frames:
            raise EndOfStream
        self._next = index + 1
        self._wait(max(0.0, index / scene.fps - elapsed_s))
        return Shot(lambda: self._painter.picture(index))

    def close(self) -> None:
        """Nothing is held."""

    def frames(self, wants: Wants) -> Iterator[Frame]:
        """The same pictures as fast as they are asked for."""
        scene, index = self._painter.scene, 0
        while not scene.frames or index < scene.frames:
            if wants(index / scene.fps):
                image = self._painter.picture(index)
                yield Frame(image, index, index / scene.fps, self._clock.monotonic_ns(), self._clock.utc())
            index += 1
