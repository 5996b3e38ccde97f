"""Simulated patrols: videos of one route flown many times, with truth and telemetry.

For demos, tests and stress suites. Scores measured on these pictures are not comparable with real data.

    OUT/normal-01.mp4   OUT/normal-01.telemetry.csv
    OUT/patrol-01.mp4   OUT/patrol-01.telemetry.csv   OUT/patrol-01.truth.json
    OUT/simulation.json
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.errors import UsageError
from edge.frames import Picture
from train.chart import Chart, draw_chart
from train.intruders import Intruder, Planner, Sighting, sightings
from train.plan import FlightKind, FlightPlan
from train.recording import Recording, clear_recordings, write_json, write_telemetry
from train.route import Flight, Poses, Route, Series
from train.sea import Sea, cut
from train.sprites import Actor
from train.world import SIZE, World, seeded

NOTE = "Simulated pictures: scores measured on them are not comparable with scores on real data."
_CROSSING_S = 5.0  # a place on the route takes this long from the picture's top to its bottom

Progress = Callable[[str, int, int], None]  # what is being made, frames done, frames in all

__all__ = ["NOTE", "FlightFiles", "FlightPlan", "Simulation", "Simulator", "simulate_flights", "truth_of"]


@dataclass(frozen=True)
class FlightFiles:
    """What one simulated flight left behind; `intruders` holds their tracks, empty for a normal flight."""

    kind: FlightKind
    video: Path
    telemetry: Path
    truth: Path | None
    intruders: tuple[Intruder, ...]


@dataclass(frozen=True)
class Simulation:
    flights: tuple[FlightFiles, ...]
    manifest: Path

    @property
    def normal(self) -> tuple[FlightFiles, ...]:
        return tuple(f for f in self.flights if f.kind == "normal")

    @property
    def patrol(self) -> tuple[FlightFiles, ...]:
        return tuple(f for f in self.flights if f.kind == "patrol")


class Simulator:
    """The world of one plan. The chart is drawn at the first frame and shared by all flights."""

    def __init__(self, plan: FlightPlan, world: World | None = None) -> None:
        self.plan = plan
        self.world = world or World.of(plan.seed)
        self.view = np.hypot(1920, self.view_height) / 2  # units from the picture's middle to its corner
        self.route = Route.of(plan.seed, SIZE / 2 - 1.15 * self.view - 120)

    @property
    def view_height(self) -> float:
        return 1920 * self.plan.height / self.plan.width

    @property
    def speed(self) -> float:
        """Units per second."""
        return self.view_height / _CROSSING_S

    @cached_property
    def chart(self) -> Chart:
        flown = np.arange(0, self.speed * self.plan.seconds + 100, 100)
        reach = 1.1 * self.view + 150 * self.plan.shake
        return draw_chart(self.world, min(1.0, self.plan.width / 1920), self.route.at(flown), reach)

    def scene(self, kind: FlightKind, number: int) -> Scene:
        return Scene(self, kind, number)


class Scene:
    """One flight: its poses, its intruders, and its frames one by one."""

    def __init__(self, simulator: Simulator, kind: FlightKind, number: int) -> None:
        plan = simulator.plan
        self.name = f"{kind}-{number:02d}"
        self._simulator, self._plan = simulator, plan
        rng = seeded(plan.seed, "flight", self.name)
        self.flight = Flight.of(simulator.route, simulator.speed, rng, plan.shake, plan.light)
        self.seconds: Series = np.arange(plan.frames) / plan.fps
        self.poses: Poses = self.flight.poses(self.seconds)
        self.intruders = self._planner().plan() if kind == "patrol" else ()

    def _planner(self) -> Planner:
        plan = self._plan
        rng = seeded(plan.seed, "intruders", self.name)
        world = self._simulator.world
        return Planner(world, self.flight, plan.seconds, plan.width, plan.height, plan.wanted, rng)

    def frames(self) -> Iterator[Picture]:
        """Raw BGR pictures before the encoder, the same for the same plan."""
        plan, chart = self._plan, self._simulator.chart
        size = (plan.width, plan.height)
        sea = Sea(plan.seed, self.name, *size)
        actors = [Actor(intruder, plan.seed, plan.width) for intruder in self.intruders]
        exposure = self.flight.exposure(self.seconds)
        sensor = _Sensor(plan, self.name)
        for k, second in enumerate(self.seconds):
            to_world = self.poses.to_world(k, plan.width)
            ground = cut(chart.picture, to_world * chart.scale, size)
            frame = cv2.cvtColor(ground, cv2.COLOR_BGRA2BGR)
            sea.lay(frame, cv2.extractChannel(ground, 3), to_world, float(second))
            for actor in actors:
                actor.lay(frame, self.poses, k, float(second))
            yield sensor.expose(frame, exposure[k])

    def sightings(self) -> list[Sighting]:
        """By frame, then by track."""
        size = (self._plan.width, self._plan.height)
        found = [s for i in self.intruders for s in sightings(i, self.seconds, self.poses, *size)]
        return sorted(found, key=lambda s: (s.frame, s.track))


class _Sensor:
    """Exposure, then noise: a window, moved at random, of one picture of noise."""

    _SPARE = 64

    def __init__(self, plan: FlightPlan, name: str) -> None:
        self._rng = seeded(plan.seed, "sensor", name)
        shape = (plan.height + self._SPARE, plan.width + self._SPARE, 3)
        grain = self._rng.standard_normal(shape, np.float32)
        self._grain = np.clip(np.rint(128 + plan.noise * grain), 0, 255).astype(np.uint8)
        self._levels = np.arange(256)[:, None]

    def expose(self, frame: Picture, gains: np.ndarray[Any, np.dtype[np.float64]]) -> Picture:
        curve = np.clip(np.rint(self._levels * gains), 0, 255).astype(np.uint8)
        bright = cv2.LUT(frame, curve[None])
        y, x = self._rng.integers(0, self._SPARE, 2)
        noise = self._grain[y : y + frame.shape[0], x : x + frame.shape[1]]
        return np.asarray(cv2.addWeighted(bright, 1, noise, 1, -128), np.uint8)


def simulate_flights(
    plan: FlightPlan, out: Path, *, force: bool = False, progress: Progress | None = None
) -> Simulation:
    """Fly the plan and write everything under `out`. `force` replaces an earlier simulation there.

    `progress` hears the flight's name, frames done and frames of all flights. Raises UsageError.
    """
    clear_recordings(out, force)
    simulator = Simulator(plan)
    scenes = [(kind, simulator.scene(kind, number)) for kind, number in plan.flights]
    total = len(scenes) * plan.frames
    flights: list[FlightFiles] = []
    manifest = out / "simulation.json"
    try:
        for number, (kind, scene) in enumerate(scenes):
            tell = partial(_tell, progress, scene.name, number * plan.frames, total)
            flights.append(_record(plan, kind, scene, out, tell))
        names = [f.video.name for f in flights]
        write_json(manifest, {"format": 1, "note": NOTE, "plan": asdict(plan), "flights": names})
    except OSError as error:  # av's errors of the file system are OSErrors too
        raise UsageError(
            f"{out} cannot be written ({error.strerror}): free some space or give another."
        ) from None
    return Simulation(tuple(flights), manifest)


def _tell(progress: Progress | None, name: str, before: int, total: int, done: int) -> None:
    if progress is not None:
        progress(name, before + done, total)


def _record(
    plan: FlightPlan, kind: FlightKind, scene: Scene, out: Path, tell: Callable[[int], None]
) -> FlightFiles:
    video, telemetry = out / f"{scene.name}.mp4", out / f"{scene.name}.telemetry.csv"
    tell(0)
    with Recording(video, plan.width, plan.height, plan.fps, plan.crf, plan.preset) as recording:
        for n, frame in enumerate(scene.frames()):
            recording.add(frame)
            tell(n + 1)
    write_telemetry(telemetry, scene.seconds, scene.poses)
    truth = None
    if kind == "patrol":
        truth = out / f"{scene.name}.truth.json"
        write_json(truth, truth_of(plan, scene))
    return FlightFiles(kind, video, telemetry, truth, scene.intruders)


def truth_of(plan: FlightPlan, scene: Scene) -> dict[str, Any]:
    """What truth.json holds: intervals per intruder and a box per intruder and frame, native pixels."""
    seen = scene.sightings()
    head = {"format": 1, "note": NOTE, "video": f"{scene.name}.mp4", "seed": plan.seed}
    size = {"width": plan.width, "height": plan.height, "fps": plan.fps, "frames": plan.frames}
    intervals = [_interval(plan, i, [s for s in seen if s.track == i.track]) for i in scene.intruders]
    boxes = [
        {"frame": s.frame, "track": s.track, "kind": s.kind, **_corner(s.box), "extent": list(s.extent)}
        for s in seen
        if s.box is not None
    ]
    return {**head, **size, "intruders": intervals, "boxes": boxes}


def _corner(box: tuple[int, int, int, int]) -> dict[str, int]:
    return dict(zip(("x", "y", "width", "height"), box, strict=True))


def _interval(plan: FlightPlan, intruder: Intruder, seen: list[Sighting]) -> dict[str, Any]:
    """Frames inclusive. `touched` is longer than the interval: slivers of the body, wake, shadow."""
    boxed = [s.frame for s in seen if s.box is not None]
    return {
        "track": intruder.track,
        "kind": intruder.kind,
        "size": round(intruder.size * plan.width / 1920, 2),
        "first_frame": boxed[0],
        "last_frame": boxed[-1],
        "first_s": round(boxed[0] / plan.fps, 4),
        "last_s": round(boxed[-1] / plan.fps, 4),
        "touched": [seen[0].frame, seen[-1].frame],
    }
