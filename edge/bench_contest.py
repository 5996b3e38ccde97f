"""Models in turns of a few frames on one stream, so that what else the machine does meets all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge.bench_chain import WARM_UP, Chain, Feed
from edge.bench_clips import ClipTimes
from edge.bench_entries import Entry
from edge.bench_figures import Times
from edge.bench_machine import Machine, resident_mb
from edge.errors import UsageError
from edge.jetson import Reading, read_board
from edge.recordings import FOLDER_FPS

TURN_FRAMES = {True: 10, False: 25}  # by whether it is paced
FRAMES, SECONDS = 300, 60.0  # how long, where nobody says
RE_WARM = {True: 1, False: 2}  # frames of a turn that do not count: the others were in the caches

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """`pace`: looks a second, None for back to back. Ends with `frames` of each model or after `seconds`."""

    source: str
    pace: float | None
    frames: float = math.inf
    seconds: float = math.inf
    folder_fps: float = FOLDER_FPS

    @property
    def turn(self) -> float:
        return min(self.frames, TURN_FRAMES[self.pace is not None])

    @property
    def pace_name(self) -> str:
        return "max" if self.pace is None else f"{self.pace:g}"


@dataclass
class Tally:
    """What one model's turns add up to."""

    times: Times = field(default_factory=Times)
    frames: int = 0
    skipped: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    readings: list[Reading] = field(default_factory=list)
    clips: ClipTimes = field(default_factory=ClipTimes)
    resident_mb: float = 0.0  # the most after a turn


class Contest:
    """Entries in turns on one feed, at one pace."""

    def __init__(
        self,
        entries: Sequence[Entry],
        plan: Plan,
        chain: Chain,
        feed: Feed,
        machine: Machine,
        least_turn: int = 0,
    ) -> None:
        """`least_turn`: frames that a turn has at least, if so many are measured."""
        self._entries, self._plan, self._chain = entries, plan, chain
        self._turn_frames = max(plan.turn, least_turn)
        self._feed, self._machine = feed, machine
        self.tallies = [Tally() for _ in entries]
        self._looks = 0

    def hold(self, progress: Progress) -> None:
        for entry in self._entries:
            self._unmeasured(entry, WARM_UP, progress)
        began, first = self._machine.clock.monotonic_ns(), 0
        order = list(range(len(self._entries)))
        while not self._over(began):
            for number in order[first:] + order[:first]:
                if len(order) > 1:
                    self._unmeasured(self._entries[number], RE_WARM[self._plan.pace is not None], progress)
                self._turn(self._entries[number], self.tallies[number], progress)
            first = (first + 1) % len(order)

    def _over(self, began_ns: int) -> bool:
        passed = (self._machine.clock.monotonic_ns() - began_ns) / 1e9
        enough = min(tally.frames for tally in self.tallies) >= self._plan.frames
        return enough or passed >= self._plan.seconds

    def _turn(self, entry: Entry, tally: Tally, progress: Progress) -> None:
        machine = self._machine
        began, cpu_s, skipped = machine.clock.monotonic_ns(), machine.cpu_s(), self._feed.skipped
        count = int(min(self._turn_frames, self._plan.frames - tally.frames))
        tally.clips.begin()
        for _ in range(count):
            taken = self._look(entry, progress)
            tally.times.add(taken)
            tally.clips.add(taken)
        tally.seconds += (machine.clock.monotonic_ns() - began) / 1e9
        tally.cpu_s += machine.cpu_s() - cpu_s
        tally.skipped += self._feed.skipped - skipped
        tally.frames += count
        tally.readings.append(read_board(machine.root))
        tally.resident_mb = max(tally.resident_mb, resident_mb(machine.root))

    def _unmeasured(self, entry: Entry, frames: int, progress: Progress) -> None:
        for _ in range(frames):
            self._look(entry, progress)

    def _look(self, entry: Entry, progress: Progress) -> dict[str, int]:
        taken = self._chain.look(self._feed.show(), entry.detector)
        if self._plan.pace is None:
            del taken["wait"]
        self._looks += 1
        progress(self._looks)
        return taken


def parse_plans(paces: str, source: str, frames: int | None, seconds: float | None) -> tuple[Plan, ...]:
    """`paces`: numbers and `max` with commas between. Without an end: FRAMES of them, or SECONDS where paced.

    Raises UsageError.
    """
    words = dict.fromkeys(word.strip() for word in paces.split(","))
    return tuple(_plan(_pace(word), source, frames, seconds) for word in words)


def _pace(word: str) -> float | None:
    if word == "max":
        return None
    try:
        pace = float(word)
    except ValueError:
        pace = 0.0
    if not 0 < pace <= 60:
        raise UsageError(f"--fps {word!r}: give looks a second, up to 60, or max, or both as in 2,max")
    return pace


def _plan(pace: float | None, source: str, frames: int | None, seconds: float | None) -> Plan:
    if frames is None and seconds is None:
        frames, seconds = (FRAMES, None) if pace is None else (None, SECONDS)
    return Plan(source, pace, frames or math.inf, seconds or math.inf)
