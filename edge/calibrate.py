"""Normal footage -> what is normal for each branch of evidence, and the threshold for wanted false alarms.

Needs no PyTorch, so it runs on the drone after a normal flight. The threshold comes from block maxima of the
same causal score that flight uses. Everything is cross-fitted: a frame's score, while the threshold is
sought, is computed with what was learnt from footage it was not part of, as every frame in flight will be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Calibration, ModelBundle, Scoring, write_bundle
from edge.detector import choose_variant, open_runtime
from edge.errors import UsageError
from edge.frames import Frame
from edge.incidents import Evidence
from edge.latent import Latent, LatentSums
from edge.localize import cells
from edge.observer import Memory, Observer, Raw, Stopwatch
from edge.preprocess import InputSpec
from edge.recordings import expected_looks, open_recording, sampled
from edge.runtimes import Runtime
from edge.thresholds import LEAST_BLOCKS, smallest_rate, threshold_for
from edge.tiles import Size, view_for
from edge.yardsticks import Yardsticks, mute, scale_of, stretched

BLOCK_S = 10.0
# Parts of the way from an ordinary score to the threshold: below the first an incident ends; from the second
# a pixel belongs to a box.
_RELEASE = 0.7
_BOX = 0.4
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


def calibrate(
    bundle: ModelBundle, plan: Plan, variant: str = "auto", progress: Progress = lambda *_: None
) -> ModelBundle:
    """Measure, set the threshold, write both into the bundle. Raises UsageError for too little footage."""
    variant = choose_variant(bundle, variant)
    scoring = bundle.manifest.scoring
    with open_runtime(bundle, variant) as runtime:
        survey = Survey(runtime, bundle.manifest.input, scoring, plan, progress)
        latents = survey.latents() if any(b.source == "latent" for b in scoring.branches) else None
        seen = list(survey.observed(latents))
    scores, yardsticks = measured(seen, scoring, latents.whole if latents else None, plan)
    flights = _evidence(seen, scores, scoring)
    maxima = block_maxima(flights, plan.block_s)
    _check_enough(maxima, plan)
    _check_halves(seen, plan)
    threshold = threshold_for(maxima, plan.rate, plan.block_s)
    data = yardsticks.to_bytes()
    name = f"calibration-{sha256(data).hexdigest()[:8]}.npz"
    median = float(np.median(scores))
    calibration = Calibration(
        threshold=threshold.value,
        release=median + _RELEASE * (threshold.value - median),
        median=median,
        box_level=median + _BOX * (threshold.value - median),
        false_alarms_per_hour=plan.rate,
        method=threshold.method,
        smallest_rate=threshold.smallest_rate,
        expected=(threshold.low, threshold.high),
        view=survey.view,
        block_s=plan.block_s,
        block_maxima=tuple(maxima),
        footage_s=len(seen) / plan.fps,
        frames=len(seen),
        fps=plan.fps,
        variant=variant,
        statistics=name,
        created=datetime.now(timezone.utc),
    )
    return write_bundle(
        bundle.folder, bundle.manifest.model_copy(update={"calibration": calibration}), {name: data}
    )


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
        self._expected = [expected_looks(path, plan.fps, plan.folder_fps) for path in plan.footage]
        if self._expected == [0]:  # it does not say, and its halves must be known before the first look
            self._expected = [_counted(plan.footage[0], plan)]
        self._progress, self._done, self._passes = progress, 0, 1
        self.view = plan.view or (spec.height, spec.width)
        if spec.tiling == "auto" and plan.view is None:
            self.view = affordable_view(runtime, spec, self._first_size(), _SHARE / plan.fps)

    def latents(self) -> Latents:
        """From frames spread evenly over the footage: neighbours say the same."""
        self._passes = 2
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

    def observed(self, latents: Latents | None) -> Iterator[Observed]:
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
        return Observed(
            fold, recording, stream_s, tuple(None if m is None else cells(m) for m in maps), typical
        )

    def _frames(self) -> Iterator[tuple[int, int, Numbered, Observer]]:
        single = len(self._plan.footage) == 1
        for number, path in enumerate(self._plan.footage):
            observer = Observer(self._runtime, self._spec, self._scoring, self.view)
            with open_recording(path, folder_fps=self._plan.folder_fps) as recording:
                for count, frame in enumerate(sampled(recording, self._plan.fps)):
                    self._done += 1
                    self._progress(self._done, self._passes * sum(self._expected))
                    fold = int(count >= self._expected[0] / 2) if single else number % 2
                    yield number, fold, Numbered(count, frame), observer

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


def measured(
    seen: Sequence[Observed], scoring: Scoring, latent: Latent | None, plan: Plan
) -> tuple[NDArray[np.float64], Yardsticks]:
    """Every frame's score, with scales from the other fold, and the scales from all frames.

    Each branch is stretched so that its own heat of 1 is as rare as the wanted alarms: a branch whose scores
    wander from one flight to the next has to show more.
    """
    scales, scores = [], np.zeros((len(scoring.branches), len(seen)))
    for branch in range(len(scoring.branches)):
        there = [place for place, frame in enumerate(seen) if frame.cells[branch] is not None]
        frames = [seen[place] for place in there]
        peaks = np.asarray(_peaks(branch, frames))
        if not frames:
            scales.append(mute())
            continue
        rare = _rare(frames, peaks, scoring, plan)
        scores[branch, there] = peaks / rare
        scales.append(stretched(scale_of(*_of(branch, frames)), rare))
    return scores.max(axis=0), Yardsticks(tuple(scales), latent)


def _rare(frames: Sequence[Observed], peaks: NDArray[np.float64], scoring: Scoring, plan: Plan) -> float:
    """The heat that this branch alone reaches as often as alarms are wanted, or as rarely as can be told."""
    maxima = block_maxima(_evidence(frames, peaks, scoring), plan.block_s)
    if len(maxima) < LEAST_BLOCKS:
        return float(peaks.max())
    rate = max(plan.rate, smallest_rate(len(maxima), plan.block_s))
    return max(threshold_for(maxima, rate, plan.block_s).value, 1e-6)


def _peaks(branch: int, frames: Sequence[Observed]) -> list[float]:
    """The largest heat of each frame on the scale of the other fold; on its own where that shows nothing."""
    other = {
        fold: scale_of(*_of(branch, [frame for frame in frames if frame.fold != fold] or frames))
        for fold in {frame.fold for frame in frames}
    }
    heats = ((frame.cells[branch], other[frame.fold]) for frame in frames)
    return [float(scale.heat(evidence).max()) for evidence, scale in heats if evidence is not None]


def _of(branch: int, frames: Sequence[Observed]) -> tuple[list[NDArray[np.float32]], float]:
    places = [evidence for frame in frames if (evidence := frame.cells[branch]) is not None]
    return places, float(np.median([frame.typical[branch] for frame in frames]))


def _evidence(
    seen: Sequence[Observed], scores: NDArray[np.float64], scoring: Scoring
) -> list[list[tuple[float, float]]]:
    """Per recording: (seconds since its first frame, causal score)."""
    flights: dict[int, list[tuple[float, float]]] = {}
    through: dict[int, Evidence] = {}
    starts: dict[int, float] = {}
    for frame, score in zip(seen, scores, strict=True):
        look = through.setdefault(frame.recording, Evidence(scoring.persistence))
        start = starts.setdefault(frame.recording, frame.stream_s)
        flights.setdefault(frame.recording, []).append((frame.stream_s - start, look(float(score))))
    return list(flights.values())


def block_maxima(flights: Sequence[Sequence[tuple[float, float]]], block_s: float) -> list[float]:
    """Largest causal score of every block; a last block counts when at least half of it was seen."""
    maxima: list[float] = []
    for flight in flights:
        blocks: dict[int, float] = {}
        for seconds, score in flight:
            number = int(seconds // block_s)
            blocks[number] = max(score, blocks.get(number, -math.inf))
        last = max(blocks)
        if flight[-1][0] - last * block_s < block_s / 2 and len(blocks) > 1:
            del blocks[last]
        maxima += [value for value in blocks.values() if math.isfinite(value)]
    return maxima


def _check_enough(maxima: Sequence[float], plan: Plan) -> None:
    if len(maxima) < LEAST_BLOCKS:
        raise UsageError(
            f"the normal footage fills {len(maxima)} blocks of {plan.block_s:g} s at {plan.fps:g} fps; "
            f"calibration needs at least {LEAST_BLOCKS}: give {LEAST_BLOCKS * plan.block_s:g} s or more"
        )
    if plan.rate * plan.block_s >= 3600:
        raise UsageError(
            f"{plan.rate:g} false alarms per hour is over one per {plan.block_s:g} s block; ask for fewer"
        )


def _check_halves(seen: Sequence[Observed], plan: Plan) -> None:
    """A file cut short states more than it holds: all of it would pass for the first half."""
    if len({frame.fold for frame in seen}) < 2:
        raise UsageError(
            f"{plan.footage[0]} holds less than half of the frames that it states; "
            "copy it again or name other footage"
        )
