"""Goes over normal footage as flight would, and keeps of every frame what calibration needs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Scoring
from edge.errors import UsageError
from edge.frames import Frame
from edge.latent import Latent, LatentSums
from edge.localize import cells
from edge.observer import Memory, Observer, Raw, Stopwatch
from edge.places import Gatherer, Places
from edge.preprocess import InputSpec
from edge.recordings import expected_looks, open_recording, sampled
from edge.runtimes import Runtime
from edge.thresholds import must_support
from edge.tiles import Size, view_for, viewed

BLOCK_S = 10.0
_LATENT_LOOKS = 400  # frames that the latent density is learnt from, spread over the footage
_SHARE = 0.5  # of the time between two frames that looking may take
_TRIES = 5

Progress = Callable[[int, int], None]  # frames done, of about how many


@dataclass(frozen=True, slots=True)
class Plan:
    """What to calibrate on. `rate` is wanted false alarms per hour; `fps` must be the rate of flight.

    `view` fixes the size at which tiled models look; without it, as large as half the time between frames
    allows on this machine.
    """

    footage: tuple[Path, ...]
    rate: float
    fps: float = 2.0
    folder_fps: float = 10.0
    block_s: float = BLOCK_S
    view: Size | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """One frame of normal footage: per branch the largest evidence of every place, and what is typical."""

    fold: int
    recording: int
    stream_s: float
    cells: tuple[NDArray[np.float32] | None, ...]
    typical: tuple[float, ...]
    judged: float = 1.0  # share of the picture that the model could hold against something


@dataclass(frozen=True, slots=True, eq=False)
class Latents:
    """Densities learnt from all footage, and for each fold from the other one."""

    whole: Latent
    other: tuple[Latent, Latent]


class Survey:
    """Goes over the normal footage, as often as need be, in the order and at the rate of flight.

    Folds are recordings in turn, or the two halves of a single one.
    """

    def __init__(
        self, runtime: Runtime, spec: InputSpec, scoring: Scoring, plan: Plan, progress: Progress
    ) -> None:
        self._runtime, self._spec, self._scoring, self._plan = runtime, spec, scoring, plan
        if spec.beside == "route" and len(plan.footage) < 2:
            raise UsageError(
                "this model compares flights of one route: calibrate it on two recordings of it or more"
            )
        self._expected = [expected_looks(path, plan.fps, plan.folder_fps) for path in plan.footage]
        if self._expected == [0]:  # it does not say, and its halves must be known before the first look
            self._expected = [_counted(plan.footage[0], plan)]
        if all(self._expected):  # each says how long it is
            must_support(self._blocks(), plan.rate, plan.block_s)
        self._progress, self._done, self._passes = progress, 0, 1
        self._places: Places | None = None
        self.view = plan.view or (spec.height, spec.width)
        if spec.tiling == "auto" and plan.view is None:
            self.view = affordable_view(runtime, spec, self._first_size(), _SHARE / plan.fps)

    def places(self) -> Places:
        """Of the whole route, from all flights."""
        self._passes += 1
        gatherer, current = Gatherer(), -1
        for recording, frame in self._numbered():
            if recording != current:
                gatherer.begin()
                current = recording
            gatherer.add(viewed(frame.image, self.view))
        return gatherer.places()

    def _blocks(self) -> int:
        """At most so many blocks the footage can fill: what is refused should be before an hour of work."""
        flights = (frames / self._plan.fps / self._plan.block_s for frames in self._expected)
        return sum(math.ceil(blocks) for blocks in flights)

    def latents(self) -> Latents:
        """From frames spread evenly over the footage: neighbours say the same."""
        self._passes += 1
        every = max(1, math.ceil(sum(self._expected) / _LATENT_LOOKS))
        sums = (LatentSums(), LatentSums())
        for _, fold, frame, observer in self._frames():
            if frame.number % every:
                observer.skip(frame.frame)
                continue
            raw = observer.look(frame.frame, Stopwatch())
            if raw.features is not None:
                sums[fold].add(raw.features)
        whole = (sums[0] + sums[1]).fit()
        return Latents(whole, (_fitted(sums[1], whole), _fitted(sums[0], whole)))

    def observed(self, latents: Latents | None, places: Places | None = None) -> Iterator[Observed]:
        """`places`: each flight is looked at as if only the others had been flown before."""
        self._places = places
        memory, current = Memory(0), -1
        for recording, fold, frame, observer in self._frames():
            if recording != current:
                memory, current = Memory(self._scoring.memory_s), recording
            raw = observer.look(frame.frame, Stopwatch())
            latent = latents.other[fold] if latents else None
            yield self._summed_up(raw, latent, memory, frame.frame.stream_s, fold, recording)

    def _summed_up(
        self, raw: Raw, latent: Latent | None, memory: Memory, stream_s: float, fold: int, recording: int
    ) -> Observed:
        maps = memory(raw.maps(self._scoring, latent), stream_s)
        typical = tuple(math.nan if m is None else float(np.median(m)) for m in maps)
        found = tuple(None if m is None else cells(m) for m in maps)
        return Observed(fold, recording, stream_s, found, typical, raw.judged)

    def _frames(self) -> Iterator[tuple[int, int, Numbered, Observer]]:
        single, current, observer, count = len(self._plan.footage) == 1, -1, None, 0
        for number, frame in self._numbered():
            if number != current or observer is None:
                walk = None if self._places is None else self._places.walk(but_not=number)
                observer = Observer(self._runtime, self._spec, self._scoring, self.view, walk)
                current, count = number, 0
            fold = int(count >= self._expected[0] / 2) if single else number % 2
            yield number, fold, Numbered(count, frame), observer
            count += 1

    def _numbered(self) -> Iterator[tuple[int, Frame]]:
        """Every frame with the number of its recording."""
        for number, path in enumerate(self._plan.footage):
            with open_recording(path, folder_fps=self._plan.folder_fps) as recording:
                for frame in sampled(recording, self._plan.fps):
                    self._done += 1
                    self._progress(self._done, self._passes * sum(self._expected))
                    yield number, frame

    def _first_size(self) -> Size:
        with open_recording(self._plan.footage[0], folder_fps=self._plan.folder_fps) as recording:
            first = next(iter(sampled(recording, self._plan.fps)), None)
        if first is None:
            raise UsageError(f"{self._plan.footage[0]} holds no frame; name other normal footage")
        return first.height, first.width


@dataclass(frozen=True, slots=True)
class Numbered:
    number: int  # among the looked-at frames of its recording
    frame: Frame


def _counted(path: Path, plan: Plan) -> int:
    with open_recording(path, folder_fps=plan.folder_fps) as recording:
        return sum(1 for _ in sampled(recording, plan.fps))


def _fitted(sums: LatentSums, whole: Latent) -> Latent:
    """A fold without any frame (a recording of one) is scored with what is known of all."""
    return sums.fit() if sums.frames else whole


def affordable_view(runtime: Runtime, spec: InputSpec, picture: Size, seconds: float) -> Size:
    """The largest view whose tiles this machine works through in the given time; the quickest of a few tries
    counts, because other work on the machine can only slow them."""
    tile = np.zeros((1, 3 * spec.frames, spec.height, spec.width), np.float32)
    quickest = math.inf
    for _ in range(_TRIES):
        began = time.perf_counter()
        runtime(tile)
        quickest = min(quickest, time.perf_counter() - began)
    return view_for(picture, (spec.height, spec.width), int(seconds / quickest))
