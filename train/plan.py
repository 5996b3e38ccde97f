"""What to simulate: the options of a set of flights, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edge.errors import UsageError
from train.intruders import KINDS, KindName, Wanted, most_that_fit

Preset = Literal["ultrafast", "superfast", "veryfast", "medium"]
FlightKind = Literal["normal", "patrol"]


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
    crf: int = 23  # x264's quality, less is better
    preset: Preset = "superfast"  # x264's effort: ultrafast halves the time and adds a third to the files

    def __post_init__(self) -> None:
        for wrong in _mistakes(self):
            raise UsageError(wrong)

    @property
    def frames(self) -> int:
        return max(1, round(self.seconds * self.fps))

    @property
    def flights(self) -> tuple[tuple[FlightKind, int], ...]:
        kinds: tuple[tuple[FlightKind, int], ...] = (("normal", self.normals), ("patrol", self.patrols))
        return tuple((kind, number + 1) for kind, count in kinds for number in range(count))

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
            f"{plan.intruders} intruders do not fit into {plan.seconds:g} s with {plan.gap_s:g} s between:"
            f" ask for at most {most}, a longer flight or a shorter gap."
        )
