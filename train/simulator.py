"""Simulated patrols: videos of one route flown many times, with truth and telemetry.

For demos, tests and stress suites. Scores measured on these pictures are not comparable with real data.

    OUT/normal-01.mp4   OUT/normal-01.telemetry.csv
    OUT/patrol-01.mp4   OUT/patrol-01.telemetry.csv   OUT/patrol-01.truth.json
    OUT/simulation.json
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from edge.errors import UsageError
from edge.frames import Picture
from train.intruders import KINDS, Intruder, KindName, Planner, Sighting, Wanted, most_that_fit, sightings
from train.chart import Chart, draw_chart
from train.recording import Recording, clear_recordings, write_json, write_telemetry
from train.route import Flight, Poses, Route, Series
from train.sea import Sea, cut
from train.sprites import Actor
from train.world import SIZE, World, seeded

NOTE = "Simulated pictures: scores measured on them are not comparable with scores on real data."
_CROSSING_S = 5.0  # a place on the route takes this long from the picture's top to its bottom

FlightKind = Literal["normal", "patrol"]
Progress = Callable[[str, int, int], None]  # what is being made, frames done, frames in all


@dataclass(frozen=True)
class FlightPlan:
    """What to simulate. Intruder sizes are pixels of a 1920 pixel wide picture and scale with the width.

    `intruders` is per patrol flight, None for as many as fit without haste; `gap_s` is the time without
    any before, between and after them; `light` the largest relative change of exposure, `shake` scales
    route deviations and trembling, `noise` is the sensor's deviation in grey levels. Raises UsageError.
    """

    width: int = 1920
    height: int = 1080
    fps: int = 30
    seconds: float = 60.0
    seed: int = 1
    normals: int = 2
    patrols: int = 1
    intruders: int | None = None
    smallest: float = 8.0
    largest: float = 96.0
    kinds: tuple[KindName, ...] = KINDS
    gap_s: float = 4.0
    overlap: bool = False
    light: float = 0.12
    shake: float = 1.0
    noise: float = 1.5
    crf: int = 23

    def __post_init__(self) -> None:
        for wrong in _mistakes(self):
            raise UsageError(wrong)

    @property
    def frames(self) -> int:
        return max(1, round(self.seconds * self.fps))

    @property
    def flights(self) -> tuple[tuple[FlightKind, int], ...]:
        normal = [("normal", n + 1) for n in range(self.normals)]
        return tuple(normal + [("patrol", n + 1) for n in range(self.patrols)])  # type: ignore[arg-type]

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.intruders, self.smallest, self.largest, self.kinds, self.gap_s, self.overlap)


def _mistakes(plan: FlightPlan) -> Iterator[str]:
    """One sentence for each thing that is wrong, the first first."""
    ranges: list[tuple[str, float, float, float]] = [
        ("width", plan.width, 96, 3840),
        ("height", plan.height, 54, 2160),
        ("fps", plan.fps, 1, 120),
        ("seconds", plan.seconds, 1, 3600),
        ("seed", plan.seed, 0, 2**63 - 1),
        ("normals", plan.normals, 0, 99),
        ("patrols", plan.patrols, 0, 99),
        ("smallest", plan.smallest, 8, 400),
        ("largest", plan.largest, plan.smallest, 400),
        ("gap", plan.gap_s, 0, 600),
        ("light", plan.light, 0, 0.6),
        ("shake", plan.shake, 0, 3),
        ("noise", plan.noise, 0, 20),
        ("crf", plan.crf, 0, 51),
    ]
    for name, value, low, high in ranges:
        if not low <= value <= high:
            yield f"{name} {value:g} is out of range: give {low:g} to {high:g}."
    if plan.width % 2 or plan.height % 2:
        yield f"{plan.width}x{plan.height} cannot be encoded: give an even width and height."
    if not 1 <= plan.width / plan.height <= 3:
        yield f"{plan.width}x{plan.height} is too tall or too wide: give 1 to 3 times as wide as high."
    if plan.normals + plan.patrols == 0:
        yield "nothing to simulate: ask for at least one normal or patrol flight."
    yield from _mistaken_intruders(plan)


def _mistaken_intruders(plan: FlightPlan) -> Iterator[str]:
    if not plan.kinds or not set(plan.kinds) <= set(KINDS):
        yield f"intruder kinds must be among {', '.join(KINDS)}."
    if plan.intruders is not None and plan.intruders < 0:
        yield f"intruders {plan.intruders} is out of range: give 0 or more."
    most = most_that_fit(plan.wanted, plan.seconds)
    if plan.patrols and not plan.overlap and (plan.intruders or 0) > most:
        yield (
            f"{plan.intruders} intruders do not fit into {plan.seconds:g} s with {plan.gap_s:g} s between them:"
            f" ask for at most {most}, a longer flight or a shorter gap."
        )


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

    def __init__(self, plan: FlightPlan) -> None:
        self.plan = plan
        self.world = World.of(plan.seed)
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
    tell = progress or (lambda name, done, total: None)
    flights: list[FlightFiles] = []
    for kind, scene in scenes:
        offset, total = len(flights) * plan.frames, len(scenes) * plan.frames
        flights.append(
            _record(plan, kind, scene, out, lambda n, s=scene, o=offset: tell(s.name, o + n, total))
        )
    manifest = out / "simulation.json"
    write_json(
        manifest,
        {"format": 1, "note": NOTE, "plan": asdict(plan), "flights": [f.video.name for f in flights]},
    )
    return Simulation(tuple(flights), manifest)


def _record(
    plan: FlightPlan, kind: FlightKind, scene: Scene, out: Path, tell: Callable[[int], None]
) -> FlightFiles:
    video, telemetry = out / f"{scene.name}.mp4", out / f"{scene.name}.telemetry.csv"
    tell(0)
    with Recording(video, plan.width, plan.height, plan.fps, plan.crf) as recording:
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
