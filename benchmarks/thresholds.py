"""How many false alarms per hour really result when a threshold was set for a wanted number of them.

    python benchmarks/thresholds.py [--draws N] [--json out.json]

Scores of normal flights are simulated: 2 per second, autocorrelated, of several shapes. Thresholds found from
a few minutes are tried on hundreds of hours that they did not see; alarms are counted as in flight: evidence
of two frames in a row begins one, five seconds below the release level end it. A second table gives flights
a level of their own, as another day's light does.
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

from edge.errors import UsageError
from edge.thresholds import threshold_for

Scores: TypeAlias = NDArray[np.float32]  # time x flights
Maxima: TypeAlias = NDArray[np.float64]
Shape: TypeAlias = Callable[[np.random.Generator, int], Scores]
Method: TypeAlias = Callable[[Maxima, float], float]  # block maxima and wanted rate -> threshold

FPS, BLOCK_S, COOL_DOWN_S, RELEASE = 2, 10, 5, 0.7
FLIGHT_S, FLIGHTS = 1200, 9  # of a draw's calibration
FRAMES = FLIGHT_S * FPS
UNSEEN = 1200  # flights: 400 hours
CASES = [(rate, minutes) for rate in (1.0, 12.0) for minutes in (5, 15, 20, 60, 180)]


def ar(random: np.random.Generator, flights: int, seconds: float) -> Scores:
    """Standard normal scores whose correlation falls to 1/e in so many seconds."""
    keep = math.exp(-1 / (seconds * FPS))
    noise = random.standard_normal((FRAMES, flights), dtype=np.float32)
    noise[1:] *= math.sqrt(1 - keep * keep)
    for now in range(1, FRAMES):
        noise[now] += keep * noise[now - 1]
    return noise


def tailed(shape: float) -> Shape:
    """Scores whose distribution is generalised Pareto with this shape: below 0 it has an end."""

    def draw(random: np.random.Generator, flights: int) -> Scores:
        exponential = (ar(random, flights, 3) ** 2 + ar(random, flights, 3) ** 2) / 2
        scores = np.expm1(shape * exponential) / shape if shape else exponential
        return scores.astype(np.float32)

    return draw


def bursts(random: np.random.Generator, flights: int) -> Scores:
    """Gaussian, and 20 times an hour something passes for 1 to 5 seconds: a bird, a glint."""
    scores = ar(random, flights, 2)
    for flight in range(flights):
        for _ in range(random.poisson(20 * FLIGHT_S / 3600)):
            begin, length = random.integers(FRAMES), random.integers(FPS, 5 * FPS + 1)
            scores[begin : begin + length, flight] += 2 + random.exponential(1.5)
    return scores


SHAPES: Mapping[str, Shape] = {
    "Gaussian, 2 s": lambda random, flights: ar(random, flights, 2),
    "Gaussian, 10 s": lambda random, flights: ar(random, flights, 10),
    "bounded (shape -0.2)": tailed(-0.2),
    "exponential": tailed(0),
    "log-normal": lambda random, flights: np.exp(0.5 * ar(random, flights, 3)),
    "heavy (shape 0.2)": tailed(0.2),
    "Gaussian with bursts": bursts,
}


def conformal(maxima: Maxima, rate: float) -> float:
    place = math.ceil((len(maxima) + 1) * (1 - rate * BLOCK_S / 3600))
    return float(np.sort(maxima)[min(place, len(maxima)) - 1])


def gumbel(maxima: Maxima, rate: float) -> float:
    """Conformal where it reaches, else a Gumbel tail through all maxima by L-moments."""
    blocks, chance = len(maxima), rate * BLOCK_S / 3600
    ordered = np.sort(maxima)
    if math.ceil((blocks + 1) * (1 - chance)) <= blocks:
        return conformal(maxima, rate)
    mean = float(ordered.mean())
    scale = (float(2 * np.arange(blocks) @ ordered) / (blocks * (blocks - 1)) - mean) / math.log(2)
    tail = mean - scale * (np.euler_gamma + math.log(-math.log1p(-chance)))
    return max(float(tail), float(ordered[-1]))


def pareto(shape: float | None) -> Method:
    """Tail over the highest fifth with this shape, or the shape that its L-moments say."""

    def method(maxima: Maxima, rate: float) -> float:
        count = min(len(maxima) - 1, max(8, len(maxima) // 5))
        ordered = np.sort(maxima)
        start = (ordered[-count - 1] + ordered[-count]) / 2
        excess = ordered[-count:] - start
        mean = excess.mean()
        free = 2 - mean / (2 * np.arange(count) @ excess / (count * (count - 1)) - mean)
        fitted = float(free) if shape is None else shape
        rarer = math.log(count / (len(maxima) * rate * BLOCK_S / 3600))
        reach = math.expm1(fitted * rarer) / fitted if fitted else rarer
        return float(start + mean * (1 - fitted) * reach)

    return method


def chosen(maxima: Maxima, rate: float) -> float:
    try:
        return threshold_for(maxima.tolist(), rate, BLOCK_S).value
    except UsageError:
        return math.nan


METHODS: Mapping[str, Method] = {
    "conformal": conformal,
    "Gumbel": gumbel,
    "Pareto, free shape": pareto(None),
    "Pareto, shape 0": pareto(0.0),
    "edge.thresholds": chosen,
}


def evidence(scores: Scores) -> Scores:
    """The lesser of the last two scores of each flight."""
    least = np.minimum(scores, np.roll(scores, 1, axis=0))
    least[0] = -np.inf
    return least


def maxima_of(scores: Scores) -> NDArray[np.float64]:
    """Flights x blocks."""
    blocks = evidence(scores).astype(np.float64).reshape(-1, BLOCK_S * FPS, scores.shape[1])
    return np.asarray(blocks.max(axis=1).T)


@dataclass(frozen=True)
class Truth:
    """False alarms per hour of unseen footage, by threshold."""

    thresholds: NDArray[np.float64]  # ascending
    rates: NDArray[np.float64]

    def rate(self, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.exp(np.interp(thresholds, self.thresholds, np.log(self.rates)))
        return np.asarray(np.where(thresholds > self.thresholds[-1], self.rates[-1] / 2, found))


def measure(scores: Scores) -> Truth:
    hours = scores.size / FPS / 3600
    highest = np.sort(maxima_of(scores).ravel())[::-1]
    places = np.unique(np.geomspace(5, min(len(highest) * 0.6, hours * 200), 60).astype(int))
    rates = np.array([false_alarms(scores, highest[place]) / hours for place in places])
    kept = rates > 0
    return Truth(highest[places][kept][::-1], np.maximum.accumulate(rates[kept])[::-1])


def false_alarms(scores: Scores, threshold: float) -> int:
    """Incidents: warm stretches, gaps up to the cool-down closed, that reach the threshold somewhere."""
    median = float(np.median(scores[:, :20]))
    flat, seen = scores.T.ravel(), evidence(scores).T.ravel()
    warm = np.flatnonzero(flat >= median + RELEASE * (threshold - median))
    apart = (np.diff(warm) > COOL_DOWN_S * FPS) | (np.diff(warm // len(scores)) > 0)
    incident = np.cumsum(np.r_[0, apart])
    return len(np.unique(incident[seen[warm] >= threshold]))


@dataclass(frozen=True)
class Outcome:
    """What became of one aim over all draws; `rates` are true false alarms per hour over the wanted."""

    scores: str
    method: str
    wanted: float
    minutes: float
    median: float
    mean: float
    within_2: float  # share of draws between half and twice the wanted
    within_3: float
    over_2: float
    refused: float


def outcome(scores: str, method: str, wanted: float, minutes: float, rates: NDArray[np.float64]) -> Outcome:
    found = rates[np.isfinite(rates)] / wanted
    if not len(found):
        return Outcome(scores, method, wanted, minutes, 0, 0, 0, 0, 0, refused=1)
    return Outcome(
        scores,
        method,
        wanted,
        minutes,
        float(np.median(found)),
        float(found.mean()),
        float(np.mean((found >= 1 / 2) & (found <= 2))),
        float(np.mean((found >= 1 / 3) & (found <= 3))),
        float(np.mean(found > 2)),
        1 - len(found) / len(rates),
    )


def shapes(draws: int, seed: int = 0) -> list[Outcome]:
    """Every shape, method and case, with flights that are all alike."""
    outcomes = []
    for name, shape in SHAPES.items():
        random = np.random.default_rng(seed)
        truth = measure(shape(random, UNSEEN))
        maxima = maxima_of(shape(random, draws * FLIGHTS)).reshape(draws, -1)
        for label, method in METHODS.items():
            for wanted, minutes in CASES:
                blocks = minutes * 60 // BLOCK_S
                found = np.array([method(draw[:blocks], wanted) for draw in maxima])
                rates = np.where(np.isfinite(found), truth.rate(found), np.nan)
                outcomes.append(outcome(name, label, wanted, minutes, rates))
    return outcomes


def offsets(draws: int, seed: int = 0) -> list[Outcome]:
    """Flights with a level of their own: an hour or three from one flight, or from several."""
    outcomes = []
    for spread in (0.25, 0.5, 1.0):
        random = np.random.default_rng(seed)
        truth = measure(ar(random, UNSEEN, 2) + spread * random.standard_normal(UNSEEN, dtype=np.float32))
        blocks = maxima_of(ar(random, draws * FLIGHTS, 2)).reshape(draws, FLIGHTS, -1)
        levels = spread * random.standard_normal((draws, FLIGHTS, 1))
        for minutes, flights in ((60, 1), (60, 3), (180, 1), (180, 9)):
            per_flight = blocks + (levels if flights > 1 else levels[:, :1])
            maxima = per_flight.reshape(draws, -1)[:, : minutes * 60 // BLOCK_S]
            rates = truth.rate(np.array([chosen(draw, 1.0) for draw in maxima]))
            label = f"levels {spread:g} sd apart, {flights} flight{'s'[: flights > 1]}"
            outcomes.append(outcome(label, "edge.thresholds", 1.0, minutes, rates))
    return outcomes


def table(title: str, rows: list[tuple[str, list[Outcome]]], columns: list[str]) -> Table:
    made = Table(
        title=title, caption="median of the true rate over the wanted, draws within 1/2 to 2, above 2"
    )
    made.add_column("")
    for column in columns:
        made.add_column(column, justify="right")
    for label, outcomes in rows:
        made.add_row(label, *[cell(outcomes, column) for column in columns])
    return made


def cell(outcomes: list[Outcome], method: str) -> str:
    mine = [one for one in outcomes if one.method == method and one.refused < 1]
    if not mine:
        return "refused"
    median = math.exp(np.mean([math.log(one.median) for one in mine]))
    within, over = (100 * float(np.mean([getattr(one, f) for one in mine])) for f in ("within_2", "over_2"))
    return f"{median:.2f}  {within:.0f} %  {over:.0f} %"


def main(
    draws: Annotated[int, typer.Option(min=10, help="Calibrations per row.")] = 200,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every outcome here.")] = None,
) -> None:
    alike, differing = shapes(draws), offsets(draws)
    console = Console(width=140)
    by_case = [
        (
            f"{rate:g} per hour from {minutes} min",
            [o for o in alike if (o.wanted, o.minutes) == (rate, minutes)],
        )
        for rate, minutes in CASES
    ]
    console.print(table("All shapes", by_case, list(METHODS)))
    hour = [o for o in alike if (o.wanted, o.minutes) == (1.0, 60)]
    by_shape = [(name, [o for o in hour if o.scores == name]) for name in SHAPES]
    console.print(table("1 per hour from 60 min", by_shape, list(METHODS)))
    by_level = [(f"{o.minutes:g} min, {o.scores}", [o]) for o in differing]
    console.print(table("1 per hour, flights that differ", by_level, ["edge.thresholds"]))
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(o) for o in alike + differing], indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
