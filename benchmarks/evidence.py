"""Which causal smoothing of the score finds weak events at equal false alarms per hour, and how late.

    python benchmarks/evidence.py [--json out.json]

Normal scores are simulated (autocorrelated Gaussian, spread 1), thresholds set to exactly 1 and 12 false
alarms an hour, and weak events added: 1 s long and 3.5 spreads high, 2 s and 3, 5 s and 2.5. Noises: `fast`
forgets in 0.2 s; `slow` has half of its variance over 3 s; `glints` is slow, with 200 single wild frames an
hour. Each figure: events found, in percent, and the median delay in seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

Scores: TypeAlias = NDArray[np.float32]  # time x flights
Smoothing: TypeAlias = Callable[[Scores, int], Scores]  # scores and frames per second

FLIGHT_S, CALM, TRIED = 600, {2: 360, 10: 180}, 40  # seconds; flights for thresholds by fps, and with events
EVENTS = {1: 3.5, 2: 3.0, 5: 2.5}  # seconds: spreads
RATES = (1, 12)
MERGE_S = 5


def ar(random: np.random.Generator, flights: int, seconds: float, fps: int) -> Scores:
    keep = math.exp(-1 / (seconds * fps))
    noise = random.standard_normal((FLIGHT_S * fps, flights), dtype=np.float32)
    noise[1:] *= math.sqrt(1 - keep * keep)
    for now in range(1, len(noise)):
        noise[now] += keep * noise[now - 1]
    return noise


def noise(kind: str, seed: int, flights: int, fps: int) -> Scores:
    random = np.random.default_rng(seed)
    if kind == "fast":
        return ar(random, flights, 0.2, fps)
    scores = ar(random, flights, 0.15, fps)
    scores += ar(random, flights, 3, fps)
    scores /= math.sqrt(2)
    if kind == "glints":
        wild = random.random(scores.shape) < 200 / 3600 / fps
        scores[wild] += random.exponential(4, int(wild.sum())).astype(np.float32)
    return scores


def highest(place: int, last: int) -> Smoothing:
    """The place-th highest of the last frames: last of last is the least, 2 of 3 the median."""

    def smooth(scores: Scores, _fps: int) -> Scores:
        start = np.full((last - 1, scores.shape[1]), -3, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([start, scores]), last, axis=0)
        return np.asarray(np.partition(windows, last - place, axis=-1)[..., last - place])

    return smooth


def mean(seconds: float) -> Smoothing:
    """Exponential, with this time constant."""

    def smooth(scores: Scores, fps: int) -> Scores:
        share = np.float32(1 - math.exp(-1 / (seconds * fps)))
        smoothed = np.zeros_like(scores)
        for now in range(1, len(scores)):
            smoothed[now] = smoothed[now - 1] + share * (scores[now] - smoothed[now - 1])
        return smoothed

    return smooth


def cusum(allowance: float, most: float = 1e9) -> Smoothing:
    """Sum of what the scores have over the allowance, never below 0."""

    def smooth(scores: Scores, _fps: int) -> Scores:
        result: Scores = np.array(scores)
        total = np.zeros(scores.shape[1], np.float32)
        for now in range(len(scores)):
            before = total
            total = np.clip(total + scores[now] - np.float32(allowance), 0, np.float32(most))
            result[now] += np.where(total > 0, before, 0)
        return result

    return smooth


def after(first: Smoothing, second: Smoothing) -> Smoothing:
    return lambda scores, fps: second(first(scores, fps), fps)


METHODS: Mapping[str, Smoothing] = {
    "frame score": lambda scores, _fps: scores,
    "least of 2": highest(2, 2),
    "least of 3": highest(3, 3),
    "2 of 3": highest(2, 3),
    "3 of 5": highest(3, 5),
    "mean 0.5 s": mean(0.5),
    "mean 1 s": mean(1),
    "mean 2 s": mean(2),
    "least of 2, mean 0.25 s": after(highest(2, 2), mean(0.25)),
    "least of 2, mean 0.5 s": after(highest(2, 2), mean(0.5)),
    "cusum 1": cusum(1),
    "cusum 2": cusum(2),
    "least of 2, cusum 1": after(highest(2, 2), cusum(1)),
    "edge.evidence (least of 2, cusum 2)": after(highest(2, 2), cusum(2, most=10)),
    "least of 2, cusum 3": after(highest(2, 2), cusum(3)),
}


def false_alarms(scores: Scores, threshold: float, fps: int) -> int:
    high = np.flatnonzero(scores.T.ravel() >= threshold)
    if not len(high):
        return 0
    return 1 + int(((np.diff(high) > MERGE_S * fps) | (np.diff(high // len(scores)) > 0)).sum())


def threshold_at(scores: Scores, rate: float, fps: int) -> float:
    allowed = rate * scores.size / fps / 3600
    low, high = float(np.quantile(scores, 0.9)), float(scores.max())
    for _ in range(22):
        middle = (low + high) / 2
        low, high = (middle, high) if false_alarms(scores, middle, fps) > allowed else (low, middle)
    return high


@dataclass(frozen=True)
class Outcome:
    method: str
    fps: int
    noise: str
    rate: float
    event_s: int
    found: float  # share
    delay_s: float | None  # median


def onsets(fps: int) -> NDArray[np.int_]:
    """Events x flights: one about every 30 s."""
    every = np.arange(30 * fps, (FLIGHT_S - 30) * fps, 30 * fps)
    return every[:, None] + np.random.default_rng(2).integers(0, fps * 5, (len(every), TRIED))


def with_events(calm: Scores, begins: NDArray[np.int_], frames: int, height: float) -> Scores:
    scores: Scores = np.array(calm)
    for frame in range(frames):
        scores[begins + frame, np.arange(TRIED)] += height
    return scores


def try_all(fps: int, kind: str) -> list[Outcome]:
    calm, quiet, begins = noise(kind, 0, CALM[fps], fps), noise(kind, 1, TRIED, fps), onsets(fps)
    outcomes = []
    for name, smooth in METHODS.items():
        smoothed = smooth(calm, fps)
        levels = {rate: threshold_at(smoothed, rate, fps) for rate in RATES}
        for seconds, height in EVENTS.items():
            scores = smooth(with_events(quiet, begins, seconds * fps, height), fps)
            seen = np.stack([scores[begins + n, np.arange(TRIED)] for n in range((seconds + 2) * fps)])
            for rate, level in levels.items():
                hits = (seen >= level).any(axis=0)
                late = (seen >= level).argmax(axis=0)[hits] / fps
                delay = round(float(np.median(late)), 2) if len(late) else None
                outcomes.append(Outcome(name, fps, kind, rate, seconds, float(hits.mean()), delay))
    return outcomes


def table(outcomes: list[Outcome]) -> Table:
    made = Table(title=f"{outcomes[0].fps} fps, {outcomes[0].noise} noise: found %, delay s")
    made.add_column("")
    for rate in RATES:
        for seconds in EVENTS:
            made.add_column(f"{rate}/h, {seconds} s", justify="right")
    for name in METHODS:
        mine = {(one.rate, one.event_s): one for one in outcomes if one.method == name}
        cells = [mine[rate, seconds] for rate in RATES for seconds in EVENTS]
        made.add_row(
            name, *[f"{100 * one.found:.0f}  {'-' if one.delay_s is None else one.delay_s}" for one in cells]
        )
    return made


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every outcome here.")] = None,
) -> None:
    console, outcomes = Console(width=140), []
    for fps in CALM:
        for kind in ("fast", "slow", "glints"):
            outcomes += (found := try_all(fps, kind))
            console.print(table(found))
    means = Table("", "2 fps", "10 fps", title="found, mean over noises, events and rates")
    for name in METHODS:
        shares = [[one.found for one in outcomes if (one.method, one.fps) == (name, fps)] for fps in CALM]
        means.add_row(name, *[f"{100 * float(np.mean(share)):.0f} %" for share in shares])
    console.print(means)
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
