"""What the clip path finds in fights, learnt from labels of whole videos alone.

    python benchmarks/fights.py FIGHT_SURV --extractor mobilenet_v2_features.onnx --features CACHE
                                [--rows faithful,discriminant] [--seeds 2] [--epochs 2] [--plot PNG]

FIGHT_SURV holds the folders `fight` and `noFight` and videos.txt, the list of source videos. Features are
made once and kept in CACHE. Source videos fall into eight parts: on three of them recipes are tuned
(--develop) and thresholds set, the other five are tested, one after another, by heads that never saw them.
A training that is done is kept too, so that a run that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.fight_bags import BagRules, Split, described, read_clips, sources, splits, told_apart
from benchmarks.fight_runs import Kept, Run
from benchmarks.mil_figures import HEADINGS, WAYS, cells, figures
from benchmarks.mil_scores import Told, Trained, told, trained
from benchmarks.motion_histograms import motion_extractor
from benchmarks.score_plot import plot_bags
from benchmarks.told_classifiers import CLASSIFIERS, classified
from edge.clips import ExtractorSpec
from edge.errors import SkerryError, UsageError, nearest
from edge.progress import progress
from export.extractors import Asked, open_extractor
from train.bags import Bag
from train.features import Extractor, extract_all, plan
from train.mil_recipes import MilRecipe, mil_recipe

CAPTION = (
    "mean ± standard deviation over the parts (and seeds) tested. segment AUC: of every clip of all bags "
    "pooled. accuracy to F1: whole videos, threshold from normal bags of other sources, of which one in five "
    "stands above it; best accuracy: of the best threshold in hindsight. offline: with the whole video in "
    "hand; streaming: causal, as in flight."
)


@dataclass(frozen=True)
class Entry:
    """A row: what is trained, on which features."""

    recipe: str
    motion: bool = False
    differences: tuple[tuple[str, object], ...] = ()
    told: bool = False  # the label of each clip: what weak labels cost
    classifier: str | None = None  # in place of the recipe's head, flown as it says


ROWS: dict[str, Entry] = {
    "discriminant": Entry("discriminant"),
    "faithful": Entry("faithful"),
    "whitened": Entry("whitened"),
    "one-to-one": Entry("faithful", differences=(("pairing", "one-to-one"),)),
    "small": Entry("small"),
    "discriminant-told": Entry("discriminant", told=True),
    **{
        f"{name}-told": Entry("discriminant", differences=(("smooth_s", 0.25),), told=True, classifier=name)
        for name in CLASSIFIERS
    },
    "motion-discriminant": Entry("discriminant", motion=True),
    "motion-faithful": Entry("faithful", motion=True),
}


@dataclass(frozen=True, eq=False)
class Ground:
    """Features of the set by one extractor, as bags' clips."""

    clips: Sequence[Bag]
    extractor: ExtractorSpec


@dataclass(frozen=True)
class Asks:
    """What the command line says of a run."""

    rules: BagRules
    split_seed: int
    seeds: int
    epochs: int | None
    develop: bool


def main(
    folder: Annotated[
        Path, typer.Argument(help="The set: fight/, noFight/, videos.txt.", metavar="FIGHT_SURV")
    ],
    extractor: Annotated[Path, typer.Option(help="ONNX of what makes features of pictures.")],
    features: Annotated[Path, typer.Option(help="Folder in which features and finished trainings are kept.")],
    rows: Annotated[str, typer.Option(help=f"all, or some of {', '.join(ROWS)}.")] = "all",
    fps: Annotated[float, typer.Option(help="Pictures a second.")] = 8.0,
    frames: Annotated[int, typer.Option(help="Pictures of a clip.")] = 8,
    stride: Annotated[int, typer.Option(help="Pictures from one clip's begin to the next.")] = 2,
    clips: Annotated[
        int, typer.Option(min=2, help="Clips of the set in a bag; one of them a fight, or none.")
    ] = 4,
    uses: Annotated[int, typer.Option(min=1, help="Bags in which each fight stands.")] = 2,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each part, from seed 0 on.")] = 2,
    split_seed: Annotated[int, typer.Option(help="By which the sources are dealt out.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Of 100 steps; else the recipe's own.")] = None,
    develop: Annotated[
        bool, typer.Option("--develop", help="Test the parts to tune on, not the five.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw a fight bag and a normal one, as PNG.")] = None,
) -> None:
    """Train on labels of whole videos, test on source videos that were never seen."""
    console = Console(width=180)
    asks = Asks(BagRules(clips, uses), split_seed, seeds, epochs, develop)
    try:
        chosen = choose(rows)
        known = sources(folder / "videos.txt")
        asked = Asked(fps=fps, frames=frames, stride=stride, pooling="mean-change")
        made = {False: open_extractor(extractor, asked=asked), True: motion_extractor(frames, stride, fps)}
        grounds = {
            motion: ground(folder, made[motion], features / ("motion" if motion else extractor.stem), known)
            for motion in sorted({ROWS[row].motion for row in chosen})
        }
        console.print(described(next(iter(grounds.values())).clips), style="dim", highlight=False)
        kept = Kept(features / "trainings.jsonl")
        found = [run for row in chosen for run in run_row(row, grounds[ROWS[row].motion], asks, kept)]
        console.print(table(found))
        console.print(CAPTION, style="dim", highlight=False)
        if plot is not None:
            plot_bags(example(grounds[ROWS[chosen[0]].motion], chosen[0], asks), plot)
    except SkerryError as error:
        console.print(f"fights: {error}", style="red", markup=False)
        raise typer.Exit(error.exit_code) from None
    if json_file is not None:
        content = {"asked": asdict(asks), "runs": [run.model_dump() for run in found]}
        json_file.write_text(json.dumps(content, indent=1) + "\n")
    if markdown is not None:
        markdown.write_text(as_markdown(found) + "\n")


def choose(rows: str) -> list[str]:
    """Raises UsageError for an unknown one."""
    wanted = list(ROWS) if rows == "all" else rows.split(",")
    for row in wanted:
        if row not in ROWS:
            raise UsageError(f"--rows {row!r} is unknown{nearest(row, ROWS)}; known: {', '.join(ROWS)}")
    return wanted


def ground(folder: Path, extractor: Extractor, out: Path, known: dict[str, str]) -> Ground:
    """Features of every clip, made unless they are there; one that is too short for any is left out and said.
    Raises UsageError where the set is not there."""
    spec = extractor.spec
    kept = out / f"{spec.fps:g}fps-{spec.frames}of-{spec.stride}"
    jobs, missing = plan([folder / "fight", folder / "noFight"], kept)
    if missing:
        raise UsageError(missing[0])
    failed: dict[str, str] = {}
    with progress(f"features of {extractor.name}") as tell:
        for done, outcome in enumerate(extract_all(jobs, extractor), 1):
            tell(done, len(jobs))
            if outcome.state == "failed":
                failed[outcome.job.name] = outcome.says
    for says in failed.values():
        Console(stderr=True).print(f"left out: {says}", style="dim", markup=False, highlight=False)
    return Ground(read_clips(kept, known, failed), spec)


def recipe_of(row: str, asks: Asks, seed: int) -> MilRecipe:
    entry = ROWS[row]
    epochs = None if entry.recipe == "discriminant" else asks.epochs  # worked out at once
    return mil_recipe(entry.recipe, seed=seed, epochs=epochs, **dict(entry.differences))


def run_row(row: str, ground: Ground, asks: Asks, kept: Kept) -> Iterator[Run]:
    for split in splits(ground.clips, asks.rules, asks.split_seed, asks.develop):
        for seed in range(asks.seeds):
            recipe = recipe_of(row, asks, seed)
            settings = json.dumps(
                [
                    recipe.model_dump_json(),
                    ground.extractor.model_dump_json(),
                    asdict(asks.rules),
                    asks.split_seed,
                ]
            )

            def make(split: Split = split, recipe: MilRecipe = recipe, settings: str = settings) -> Run:
                return one_run(row, split, recipe, ground.extractor, settings)

            yield kept.or_made(row, split.name, seed, settings, make)


def one_run(row: str, split: Split, recipe: MilRecipe, extractor: ExtractorSpec, settings: str) -> Run:
    head = learnt(row, split, recipe, extractor)
    test, validation = ([told(head, bag) for bag in bags] for bags in (split.test, split.validation))
    both = {way: figures(test, validation, way) for way in WAYS}
    return Run(
        row=row, part=split.name, seed=recipe.seed, settings=settings, parameters=head.parameters, **both
    )  # fmt: skip


def learnt(row: str, split: Split, recipe: MilRecipe, extractor: ExtractorSpec) -> Trained:
    entry = ROWS[row]
    train = told_apart(split.train) if entry.told else split.train
    if entry.classifier is not None:
        return classified(entry.classifier, recipe, train, extractor)
    with progress(f"{row}, {split.name}, seed {recipe.seed}") as tell:
        steps = iter(range(1, recipe.epochs * recipe.STEPS + 1))
        return trained(recipe, train, extractor, lambda: tell(next(steps), recipe.epochs * recipe.STEPS))


def example(ground: Ground, row: str, asks: Asks) -> tuple[list[Told], float, float]:
    """The middling fight bag and the middling normal one of the first tested part, by their highest scores,
    with the threshold and the seconds between scores."""
    split = next(splits(ground.clips, asks.rules, asks.split_seed, asks.develop))
    head = learnt(row, split, recipe_of(row, asks, 0), ground.extractor)
    test, validation = ([told(head, bag) for bag in bags] for bags in (split.test, split.validation))
    threshold = figures(test, validation, "streaming").threshold
    chosen = []
    for anomalous in (True, False):
        ordered = sorted(
            (one for one in test if one.anomalous is anomalous), key=lambda one: float(one.streaming.max())
        )
        chosen.append(ordered[len(ordered) // 2])
    return chosen, threshold, head.spec.period_s


def by_row(runs: Sequence[Run]) -> dict[str, list[Run]]:
    return {row: [run for run in runs if run.row == row] for row in dict.fromkeys(run.row for run in runs)}


def lines(runs: Sequence[Run]) -> Iterator[list[str]]:
    for row, mine in by_row(runs).items():
        for way in WAYS:
            size = (
                f"{mine[0].parameters / 1e6:.2f} M"
                if mine[0].parameters > 9999
                else mine[0].parameters or "no network"
            )
            name = f"{row} ({size}), {way}"
            yield [name, *cells([getattr(run, way) for run in mine])]


def size(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M" if parameters > 9999 else str(parameters or "no network")


def per_part(runs: Sequence[Run]) -> Iterator[list[str]]:
    """Streaming, each tested part for itself."""
    for row, mine in by_row(runs).items():
        for part in dict.fromkeys(run.part for run in mine):
            yield [f"{row}, {part}", *cells([run.streaming for run in mine if run.part == part])]


def table(runs: Sequence[Run]) -> Table:
    made = Table(*HEADINGS, box=None, pad_edge=False)
    for line in (*lines(runs), *per_part(runs)):
        made.add_row(*line)
    return made


def as_markdown(runs: Sequence[Run]) -> str:
    blocks = []
    for content in (lines(runs), per_part(runs)):
        rule = ["---", *["---:"] * (len(HEADINGS) - 1)]
        blocks.append("\n".join(f"| {' | '.join(line)} |" for line in (HEADINGS, rule, *content)))
    return "\n\n".join([*blocks, CAPTION])


if __name__ == "__main__":
    typer.run(main)
