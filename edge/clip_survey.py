"""Goes over normal footage as a clip bundle would in flight: the causal score of every picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from edge.bundle import ModelBundle
from edge.clip_detector import ClipStream, clip_of
from edge.errors import UsageError
from edge.incidents import Evidence
from edge.observer import Stopwatch
from edge.recordings import expected_looks, open_recording, sampled
from edge.runtimes import Runtime
from edge.survey import Plan, Progress
from edge.thresholds import must_support

_SLOW = 0.9  # of the model's own rate: slower footage shows it other motion than flight will

Flight = list[tuple[float, float]]  # (seconds since the first picture, causal score)


def survey_clips(bundle: ModelBundle, runtime: Runtime, plan: Plan, progress: Progress) -> list[Flight]:
    """One flight per recording, from its first complete clip on, at the extractor's rate.

    Raises UsageError for footage that is too little, too slow, or in pieces shorter than a clip.
    """
    extractor = clip_of(bundle).extractor
    expected = [expected_looks(path, extractor.fps, plan.folder_fps) for path in plan.footage]
    if all(expected):  # each says how long it is
        blocks = (math.ceil(looks / extractor.fps / plan.block_s) for looks in expected)
        must_support(sum(blocks), plan.rate, plan.block_s)
    flights, done = list[Flight](), 0
    for path in plan.footage:
        flight: Flight = []
        for scored in _scored(bundle, runtime, path, plan):
            done += 1
            progress(done, sum(expected))
            if scored is not None:
                flight.append(scored)
        if flight:
            flights.append(flight)
    if not flights:
        raise UsageError(
            "no normal recording is as long as one clip of the bundle, "
            f"{extractor.frames / extractor.fps:g} s; give longer ones"
        )
    return flights


def _scored(
    bundle: ModelBundle, runtime: Runtime, path: Path, plan: Plan
) -> Iterator[tuple[float, float] | None]:
    """Of every picture looked at; None before the first clip is complete."""
    stream, evidence = ClipStream(bundle, runtime), Evidence(bundle.manifest.scoring.persistence)
    fps, start_s = clip_of(bundle).extractor.fps, None
    with open_recording(path, folder_fps=plan.folder_fps) as recording:
        if recording.fps < _SLOW * fps:
            raise UsageError(
                f"{path} has {recording.fps:g} pictures a second and the bundle looks at {fps:g}; "
                "give footage that is at least as fast"
            )
        for frame in sampled(recording, fps):
            start_s = frame.stream_s if start_s is None else start_s
            score = stream.observe(frame, Stopwatch())
            yield None if score is None else (frame.stream_s - start_s, evidence(score))
