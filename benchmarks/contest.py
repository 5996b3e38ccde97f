"""One contest: any method on one data set, by the same frames, causal score, threshold rule and figures."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmarks.peers import Peer
from edge.bundle import ModelBundle, Scoring, write_bundle
from edge.calibrate import block_maxima, calibrate
from edge.detector import choose_variant
from edge.errors import UsageError
from edge.frames import Frame
from edge.incidents import Evidence
from edge.recordings import FOLDER_FPS, open_recording, sampled
from edge.runtimes import OnnxRuntime
from edge.survey import Plan
from edge.thresholds import LEAST_BLOCKS, smallest_rate, threshold_for
from train.evaluation import frames as frame_figures
from train.evaluation.heats import HeatRoom
from train.evaluation.judge import judge
from train.evaluation.results import Judgement
from train.evaluation.run import (
    Inspect,
    check_classes,
    check_truth,
    folder_rate,
    fresh,
    score_video,
    score_videos,
)
from train.evaluation.scored import Scored
from train.evaluation.truth import DataSet

HEATS_BYTES = 1 << 30
WARM_UP = 5  # frames that are not timed
HELD_OUT = 3  # every third recording, or the last third of the only one


@dataclass(frozen=True, slots=True)
class Rules:
    """The same for every method. `rate`: wanted false alarms per hour; `persistence`: frames that agree."""

    fps: float
    rate: float = 1.0
    block_s: float = 10.0
    persistence: int = 2
    resamples: int = 200
    folder_fps: float | None = None


class Row(BaseModel):
    """One method on one data set. `rate`: false alarms per hour that the threshold was set for, None without
    a threshold; `auc_frame`: of frame scores before persistence, strict otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_set: str
    method: str
    fps: float
    rate: float | None
    parameters: int
    milliseconds: tuple[float, ...] = ()
    auc_frame: float | None
    judgement: Judgement
    seconds: float


@dataclass(frozen=True, slots=True)
class Part:
    """Looked-at frames [start, stop) of a recording of normal footage."""

    path: Path
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class Normal:
    """`learn` to fit on, `held` for thresholds. Recordings apart, or, with fewer than three, cut in time."""

    learn: tuple[Part, ...]
    held: tuple[Part, ...]
    fps: float
    folder_fps: float

    def frames(self, part: Part) -> Iterator[Frame]:
        with open_recording(part.path, folder_fps=self.folder_fps) as recording:
            yield from itertools.islice(sampled(recording, self.fps), part.start, part.stop)

    def blocks(self, block_s: float) -> int:
        """Of held-out footage."""
        flights = [[(frame.stream_s, 0.0) for frame in self.frames(part)] for part in self.held]
        return len(block_maxima([since_start(flight) for flight in flights if flight], block_s))


def since_start(flight: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(seconds - flight[0][0], score) for seconds, score in flight]


def normal_of(data_set: DataSet, rules: Rules) -> Normal:
    """Raises UsageError where the data set has no normal footage."""
    if not data_set.normal:
        raise UsageError(
            f"{data_set.name} has no normal footage to learn from; put some in its normal folder"
        )
    asked = folder_fps(data_set, rules)
    paths = data_set.normal
    if len(paths) >= HELD_OUT:
        held = paths[HELD_OUT - 1 :: HELD_OUT]
        learn = [path for path in paths if path not in held]
        return Normal(tuple(map(Part, learn)), tuple(map(Part, held)), rules.fps, asked)
    whole = Normal((), (), rules.fps, asked)
    cuts = [(path, sum(1 for _ in whole.frames(Part(path))) * (HELD_OUT - 1) // HELD_OUT) for path in paths]
    learn_parts = tuple(Part(path, 0, cut) for path, cut in cuts)
    return Normal(learn_parts, tuple(Part(path, cut) for path, cut in cuts), rules.fps, asked)


def folder_fps(data_set: DataSet, rules: Rules) -> float:
    return rules.folder_fps or (data_set.videos[0].folder_fps if data_set.videos else None) or FOLDER_FPS


def alarm_level(maxima: Sequence[float], rate: float, block_s: float) -> tuple[float | None, float | None]:
    """Threshold and the rate it is for: the wanted one, or the lowest that so little footage supports."""
    if len(maxima) < LEAST_BLOCKS:
        return None, None
    possible = max(rate, 1.01 * smallest_rate(len(maxima), block_s))
    return threshold_for(maxima, possible, block_s).value, possible


def prepare(peer: Peer, normal: Normal, rules: Rules) -> tuple[float | None, float | None]:
    """Fit, and set the level of boxes; gives the alarm threshold and its rate."""
    if peer.learns:
        peer.fit(itertools.chain.from_iterable(normal.frames(part) for part in normal.learn))
    flights, peaks = [], []
    for part in normal.held:
        peer.begin()
        evidence, flight = Evidence(rules.persistence), []
        for frame in normal.frames(part):
            score, heat = peer.look(frame)
            flight.append((frame.stream_s, evidence(score, peer.whole)))
            peaks.append(float(heat.max()))
        if flight:
            flights.append(since_start(flight))
    peer.level = box_level(peaks)
    return alarm_level(block_maxima(flights, rules.block_s), rules.rate, rules.block_s)


def box_level(peaks: Sequence[float]) -> float:
    """As for a bundle: 0.4 of the way from an ordinary frame's hottest place to that of a rare one."""
    if not peaks:
        return float("inf")
    ordinary, rare = np.quantile(peaks, (0.5, 0.99))
    return float(ordinary + 0.4 * (rare - ordinary)) or float(np.nextafter(0, 1))


def peer_row(name: str, peer: Peer, data_set: DataSet, normal: Normal, rules: Rules) -> Row:
    check_truth(data_set)
    began = time.monotonic()
    threshold, rate = prepare(peer, normal, rules)
    scored = []
    for video in data_set.videos:
        peer.begin()
        room = HeatRoom(HEATS_BYTES // len(data_set.videos))
        evidence = Evidence(rules.persistence)
        scored.append(score_video(video, peer.inspect, evidence, rules.fps, rules.folder_fps, room=room))
    check_classes(data_set, scored)
    return _row(name, data_set, scored, (threshold, rate), rules, peer.parameters, began)


def bundle_row(name: str, bundle: ModelBundle, data_set: DataSet, rules: Rules) -> Row:
    """With the threshold that it flies with, or, for another rate, the one its own calibration gives."""
    began, calibration = time.monotonic(), bundle.calibration()
    if calibration.fps != rules.fps:
        raise UsageError(
            f"bundle {bundle.folder} is calibrated at {calibration.fps:g} fps, the others look at "
            f"{rules.fps:g}; give --fps {calibration.fps:g} or calibrate it again"
        )
    level: tuple[float | None, float | None] = (calibration.threshold, calibration.false_alarms_per_hour)
    if calibration.false_alarms_per_hour != rules.rate:
        level = alarm_level(calibration.block_maxima, rules.rate, calibration.block_s)
    scored = score_videos(bundle, data_set, folder_fps=rules.folder_fps)
    return _row(name, data_set, scored, level, rules, parameters(bundle), began)


def _row(
    name: str,
    data_set: DataSet,
    scored: Sequence[Scored],
    level: tuple[float | None, float | None],
    rules: Rules,
    count: int,
    began: float,
) -> Row:
    raw = np.concatenate([one.raw[one.counted] for one in scored])
    truth = np.concatenate([one.abnormal[one.counted] for one in scored])
    return Row(
        data_set=data_set.name,
        method=name,
        fps=rules.fps,
        rate=level[1],
        parameters=count,
        auc_frame=frame_figures.micro_auc(raw, truth),
        judgement=judge(scored, level[0], resamples=rules.resamples),
        seconds=round(time.monotonic() - began, 1),
    )


def parameters(bundle: ModelBundle) -> int:
    """Numbers in the graph, of the variant with the fewest tricks."""
    import onnx

    variant = "fp32" if "fp32" in bundle.manifest.variants else choose_variant(bundle, "auto")
    graph = onnx.load_from_string(bundle.model(variant)).graph
    return int(sum(np.prod(tensor.dims) for tensor in graph.initializer if len(tensor.dims)))


def ablations(scoring: Scoring) -> dict[str, Scoring]:
    """Every branch alone, every branch left out, and without memory of earlier maps."""
    variants: dict[str, Scoring] = {}
    branches = scoring.branches
    named = [f"{b.source} {b.window or 'mean'}" for b in branches]
    if len(branches) > 1:
        for name, branch in zip(named, branches, strict=True):
            variants[f"{name} alone"] = scoring.model_copy(update={"branches": (branch,)})
    if len(branches) > 2:
        for place, name in enumerate(named):
            rest = (*branches[:place], *branches[place + 1 :])
            variants[f"without {name}"] = scoring.model_copy(update={"branches": rest})
    if scoring.memory_s:
        variants["without memory"] = scoring.model_copy(update={"memory_s": 0.0})
    return variants


def ablated(bundle: ModelBundle, scoring: Scoring, folder: Path, normal: Normal, rules: Rules) -> ModelBundle:
    """A copy that scores otherwise, calibrated on the recordings that hold the held-out footage."""
    old = bundle.calibration()
    shutil.copytree(bundle.folder, folder)
    manifest = bundle.manifest.model_copy(update={"scoring": scoring, "calibration": None})
    copy = write_bundle(folder, manifest, {})
    footage = tuple(dict.fromkeys(part.path for part in normal.held))
    rate = max(
        rules.rate, 1.05 * smallest_rate(max(LEAST_BLOCKS, normal.blocks(rules.block_s)), rules.block_s)
    )
    plan = Plan(footage, rate, old.fps, normal.folder_fps, rules.block_s, view=old.view)
    return calibrate(copy, plan)


def timed(
    peers: Mapping[str, Peer], bundles: Mapping[str, ModelBundle], frames: Sequence[Frame]
) -> dict[str, list[float]]:
    """Milliseconds of every inspection, one thread each; all take turns on each frame, in changing order."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    with ExitStack() as stack:
        inspects: dict[str, Inspect] = {}
        for name, peer in peers.items():
            peer.begin()
            inspects[name] = peer.inspect
        for name, bundle in bundles.items():
            variant = choose_variant(bundle, "auto")
            runtime = stack.enter_context(OnnxRuntime(bundle.model(variant), name, threads=1))
            inspects[name] = fresh(bundle, runtime)[0]
        times = _taking_turns(inspects, frames)
    cv2.setNumThreads(threads)
    return times


def _taking_turns(inspects: Mapping[str, Inspect], frames: Sequence[Frame]) -> dict[str, list[float]]:
    names, times = list(inspects), {name: list[float]() for name in inspects}
    for number, frame in enumerate(frames):
        first = number % max(1, len(names))
        for name in (*names[first:], *names[:first]):
            began = time.perf_counter_ns()
            inspects[name](frame)
            if number >= WARM_UP:
                times[name].append((time.perf_counter_ns() - began) / 1e6)
    return times


def first_frames(data_set: DataSet, rules: Rules, count: int) -> list[Frame]:
    """Of the first test video, for timing."""
    video = data_set.videos[0]
    with open_recording(video.path, folder_fps=folder_rate(video, rules.folder_fps)) as recording:
        return list(itertools.islice(sampled(recording, rules.fps), count + WARM_UP))


def spread(values: Iterable[float | None]) -> tuple[float, float] | None:
    """Mean and standard deviation (n - 1) over seeds; None where any lacks the figure."""
    known = list(values)
    if not known or any(value is None for value in known):
        return None
    numbers = np.array(known, np.float64)
    return float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
