"""Labelled footage through a detector as in flight: the same rate, order and causal score."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np

from edge.bundle import ModelBundle
from edge.detector import choose_variant, open_detector, open_runtime
from edge.errors import UsageError
from edge.events import Box
from edge.frames import Frame
from edge.incidents import Evidence
from edge.pipeline import Finding
from edge.recordings import FOLDER_FPS, Sampler, expected_looks, open_recording
from edge.runtimes import Runtime
from train.evaluation.heats import HeatRoom, HeatStack, halved
from train.evaluation.judge import judge
from train.evaluation.results import Evaluation
from train.evaluation.rows import plain
from train.evaluation.scored import Scored
from train.evaluation.truth import DataSet, Video

Inspect = Callable[[Frame], Finding]
Tell = Callable[[str, int, int], None]  # video's name, frames looked at, frames expected in all


@dataclass(frozen=True, slots=True)
class Look:
    """One frame that was looked at."""

    frame: int
    stream_s: float
    raw: float
    causal: float
    boxes: tuple[Box, ...]
    judged: float


class Counting:
    """A sampler that also counts the native frames it was asked about."""

    def __init__(self, fps: float) -> None:
        self._sampler = Sampler(fps)
        self.count = 0

    def __call__(self, stream_s: float) -> bool:
        self.count += 1
        return self._sampler.wants(stream_s)


def score_video(
    video: Video,
    inspect: Inspect,
    evidence: Callable[[float, bool], float],
    fps: float,
    folder_fps: float | None = None,
    *,
    room: HeatRoom | None = None,
    looked: Callable[[], None] = lambda: None,
) -> Scored:
    """One video, `fps` looks a second, by any method. `inspect` and `evidence` must be fresh.

    `folder_fps` wins over the video's own, and matters for folders only. Raises FootageError for footage that
    cannot be read or is not as long as its truth, UsageError for a score that is no number.
    """
    wants, looks, heats = Counting(fps), list[Look](), HeatStack(room or HeatRoom())
    size = (0, 0)
    with open_recording(video.path, folder_fps=folder_rate(video, folder_fps)) as recording:
        for frame in recording.frames(wants):
            finding = inspect(frame)
            looks.append(_look(video, frame, finding, evidence))
            heats.add(finding.heat)
            size = (frame.height, frame.width)
            looked()
        period_s = max(1 / fps, 1 / recording.fps)
    return _scored(video, looks, wants.count, heats, size, period_s)


def folder_rate(video: Video, asked: float | None) -> float:
    return asked or video.folder_fps or FOLDER_FPS


def _look(video: Video, frame: Frame, finding: Finding, evidence: Callable[[float, bool], float]) -> Look:
    if not math.isfinite(finding.score):
        raise UsageError(
            f"{video.name}: frame {frame.index} got the score {finding.score}; the model is broken, "
            "export it again"
        )
    causal = evidence(finding.score, finding.whole)
    return Look(frame.index, frame.stream_s, finding.score, causal, tuple(finding.boxes), finding.judged)


def _scored(
    video: Video, looks: Sequence[Look], count: int, heats: HeatStack, size: tuple[int, int], period_s: float
) -> Scored:
    """Truth is checked against, and picked by, native frame numbers."""
    frames = np.array([look.frame for look in looks], np.int64)
    return Scored(
        video=video,
        frame=frames,
        stream_s=np.array([look.stream_s for look in looks]),
        raw=np.array([look.raw for look in looks]),
        causal=np.array([look.causal for look in looks]),
        abnormal=video.labels(count)[frames],
        counted=video.counted(count)[frames],
        boxes=tuple(look.boxes for look in looks),
        heat=heats.stacked(),
        size=size,
        period_s=period_s,
        judged=float(np.mean([look.judged for look in looks])) if looks else 1.0,
    )


def fresh(bundle: ModelBundle, runtime: Runtime) -> tuple[Inspect, Evidence]:
    """A new detector and new evidence, for one video: both remember what they saw before."""
    return open_detector(bundle, runtime).inspect, Evidence(bundle.manifest.scoring.persistence)


def score_videos(
    bundle: ModelBundle,
    data_set: DataSet,
    variant: str = "auto",
    tell: Tell = lambda *_: None,
    folder_fps: float | None = None,
) -> list[Scored]:
    """Every video at the bundle's calibrated rate. Raises BundleError for a bundle without calibration."""
    fps, room = bundle.calibration().fps, HeatRoom()
    check_truth(data_set)
    expected = [expected_looks(video.path, fps, folder_rate(video, folder_fps)) for video in data_set.videos]
    scored: list[Scored] = []
    with open_runtime(bundle, choose_variant(bundle, variant)) as runtime:
        for number, video in enumerate(data_set.videos):
            done = sum(len(each.frame) for each in scored)
            advance = _teller(tell, video.name, done, done + sum(expected[number:]))
            before, (inspect, evidence) = room.halvings, fresh(bundle, runtime)
            one = score_video(video, inspect, evidence, fps, folder_fps, room=room, looked=advance)
            scored = [*(_smaller(each, room.halvings - before) for each in scored), one]
    check_classes(data_set, scored)
    return scored


def _teller(tell: Tell, name: str, done: int, total: int) -> Callable[[], None]:
    state = done

    def advance() -> None:
        nonlocal state
        state += 1
        tell(name, state, max(total, state))

    return advance


def _smaller(scored: Scored, times: int) -> Scored:
    heat = scored.heat
    for _ in range(times if heat is not None else 0):
        assert heat is not None
        heat = halved(heat)
    return scored if heat is scored.heat else replace(scored, heat=heat)


def check_truth(data_set: DataSet) -> None:
    """Before an hour of work: is there anything to find? Raises UsageError."""
    if not data_set.videos:
        raise UsageError(f"{data_set.name} has no labelled video; name a data set with its truth")
    if not any(video.abnormal for video in data_set.videos):
        raise UsageError(
            f"{data_set.name}: no video has an abnormal frame, so there is nothing to find; evaluate "
            "on footage that has some"
        )


def check_classes(data_set: DataSet, scored: Sequence[Scored]) -> None:
    """Both kinds of frame must be among those looked at. Raises UsageError."""
    for kind, wanted in (("abnormal", True), ("normal", False)):
        if not any((each.counted & (each.abnormal == wanted)).any() for each in scored):
            raise UsageError(
                f"{data_set.name}: none of the frames looked at is {kind}; evaluate on footage that has both "
                "kinds, or calibrate the bundle at a higher --fps"
            )


def evaluate(
    bundle: ModelBundle,
    data_set: DataSet,
    variant: str = "auto",
    resamples: int = 1000,
    tell: Tell = lambda *_: None,
    folder_fps: float | None = None,
) -> tuple[Evaluation, list[Scored]]:
    """Score and judge. Raises what `score_videos` raises."""
    began, calibration = time.monotonic(), bundle.calibration()
    variant = choose_variant(bundle, variant)
    scored = score_videos(bundle, data_set, variant, tell, folder_fps)
    looks = sum(len(each.frame) for each in scored)
    tell("figures", looks, looks)
    judgement = judge(scored, calibration.threshold, resamples=resamples)
    evaluation = Evaluation(
        bundle=bundle.manifest.name,
        bundle_digest=bundle.digest,
        data_set=plain(data_set.name),
        layout=data_set.layout,
        note=plain(data_set.note),
        fps=calibration.fps,
        variant=variant,
        false_alarms_per_hour_wanted=calibration.false_alarms_per_hour,
        judgement=judgement,
        software=version("skerry"),
        seconds=time.monotonic() - began,
    )
    return evaluation, scored
