"""Normal footage -> what is normal for each branch of evidence, and the threshold for wanted false alarms.

Needs no PyTorch, so it runs on the drone after a normal flight. The threshold comes from block maxima of the
same causal score that flight uses. Everything is cross-fitted: a frame's score, while the threshold is
sought, is computed with what was learnt from footage it was not part of, as every frame in flight will be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from edge.bundle import MOTION, Calibration, ModelBundle, Scoring, write_bundle
from edge.clip_detector import clip_of
from edge.clip_survey import survey_clips
from edge.detector import all_there, choose_variant, open_runtime
from edge.errors import UsageError
from edge.incidents import Evidence
from edge.latent import Latent
from edge.place_files import bytes_of
from edge.survey import Observed, Plan, Progress, Survey
from edge.thresholds import LEAST_BLOCKS, smallest_rate, threshold_for
from edge.tiles import Size
from edge.yardsticks import Yardsticks, mute, scale_of, stretched

# Parts of the way from an ordinary score to the threshold: below the first an incident ends; from the second
# a pixel belongs to a box.
RELEASE = 0.7
_BOX = 0.4
_ONE_ROUTE = 0.25  # of the pictures, seen by another flight too: below, they are flights of different routes
FPS = 2.0  # frames looked at per second where nobody says otherwise


def calibrate(
    bundle: ModelBundle, plan: Plan, variant: str = "auto", progress: Progress = lambda *_: None
) -> ModelBundle:
    """Measure, set the threshold, write both into the bundle. Raises UsageError for too little footage.

    A clip bundle looks at its own rate, whatever the plan says.
    """
    variant = choose_variant(bundle, variant)
    if bundle.manifest.kind == "clip":
        return _calibrate_clips(bundle, plan, variant, progress)
    scoring = bundle.manifest.scoring
    with open_runtime(bundle, variant) as runtime:
        survey = Survey(runtime, bundle.manifest.input, scoring, plan, progress)
        latents = survey.latents() if any(b.source == "latent" for b in scoring.branches) else None
        places = survey.places() if bundle.manifest.input.beside == "route" else None
        seen = list(survey.observed(latents, places))
    scores, yardsticks = measured(seen, scoring, latents.whole if latents else None, plan)
    maxima = block_maxima(_evidence(seen, scores, scoring), plan.block_s)
    _check_halves(seen, plan)
    data = yardsticks.to_bytes()
    name = f"calibration-{sha256(data).hexdigest()[:8]}.npz"
    found = _calibration(plan, variant, maxima, scores, survey.view, name)
    files = {name: data}
    if places is not None:
        route = bytes_of(places)
        name = f"route-{sha256(route).hexdigest()[:8]}.npz"
        files[name] = route
        found = found.model_copy(update={"route": name, "judged": _shared(seen)})
    return _written(bundle, found, files)


def _shared(seen: Sequence[Observed]) -> float:
    """How much of each flight the others had seen. Raises UsageError for flights of different routes."""
    share = float(np.mean([frame.judged for frame in seen]))
    if share < _ONE_ROUTE:
        raise UsageError(
            f"only {share:.0%} of what each flight shows was seen by another one: name flights of one route, "
            "with a camera that looks the same way, or take a model without --route"
        )
    return share


def own_rate(bundle: ModelBundle, asked: float | None) -> float:
    """Frames looked at per second: as asked, else 2; a clip bundle allows only its own. Raises UsageError."""
    if bundle.manifest.kind != "clip":
        return asked or FPS
    fps = clip_of(bundle).extractor.fps
    if asked is not None and not math.isclose(asked, fps):
        raise UsageError(
            f"--fps {asked:g}: this clip bundle looks at {fps:g} pictures a second; leave --fps out"
        )
    return fps


def _calibrate_clips(bundle: ModelBundle, plan: Plan, variant: str, progress: Progress) -> ModelBundle:
    spec = bundle.manifest.input
    with open_runtime(bundle, variant) as runtime:
        flights = survey_clips(bundle, runtime, plan, progress)
    own = replace(plan, fps=clip_of(bundle).extractor.fps)
    scores = np.array([score for flight in flights for _, score in flight if math.isfinite(score)])
    maxima = block_maxima(flights, plan.block_s)
    found = _calibration(own, variant, maxima, scores, (spec.height, spec.width), None)
    return _written(bundle, found, {})


def _calibration(
    plan: Plan,
    variant: str,
    maxima: list[float],
    scores: NDArray[np.float64],
    view: Size,
    statistics: str | None,
) -> Calibration:
    threshold, median = threshold_for(maxima, plan.rate, plan.block_s), float(np.median(scores))
    return Calibration(
        threshold=threshold.value,
        release=median + RELEASE * (threshold.value - median),
        median=median,
        box_level=median + _BOX * (threshold.value - median),
        false_alarms_per_hour=plan.rate,
        method=threshold.method,
        smallest_rate=threshold.smallest_rate,
        expected=(threshold.low, threshold.high),
        view=view,
        block_s=plan.block_s,
        block_maxima=tuple(maxima),
        footage_s=len(scores) / plan.fps,
        frames=len(scores),
        fps=plan.fps,
        variant=variant,
        statistics=statistics,
        motion=MOTION,
        created=datetime.now(timezone.utc),
    )


def _written(bundle: ModelBundle, found: Calibration, files: dict[str, bytes]) -> ModelBundle:
    return write_bundle(bundle.folder, bundle.manifest.model_copy(update={"calibration": found}), files)


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
        causal = look(float(score), all_there(frame.cells))
        flights.setdefault(frame.recording, []).append((frame.stream_s - start, causal))
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


def _check_halves(seen: Sequence[Observed], plan: Plan) -> None:
    """A file cut short states more than it holds: all of it would pass for the first half."""
    if len({frame.fold for frame in seen}) < 2:
        raise UsageError(
            f"{plan.footage[0]} holds less than half of the frames that it states; "
            "copy it again or name other footage"
        )
