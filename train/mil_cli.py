"""`skerry train mil`: features of labelled videos in, a head that scores clips out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast, get_args

import torch
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from edge.clips import ExtractorSpec
from edge.errors import UsageError, nearest
from train.bag_files import Entry, Loaded, each_once, entries_in, listed, load, one_extractor, split_up
from train.bags import HELD_OUT_PARTS, SEGMENTS, Bag, Part, sources_of
from train.checkpoint import Checkpoint
from train.fit import pick_device
from train.footage import Splits
from train.mil import build_head, parameters
from train.mil_fit import BagSet, fit_mil
from train.mil_losses import Pairing
from train.mil_recipes import MIL_RECIPES, MilRecipe, mil_recipe
from train.running import (
    Device,
    Force,
    Minutes,
    Out,
    Resume,
    check_out,
    progress_of,
    resumed,
    started,
    summary,
    train_until,
)

Parts = dict[Part, list[Bag]]
Class = Annotated[
    list[Path] | None,
    typer.Option(help="Feature files or folders of them; may be repeated.", metavar="PATH"),
]
List = Annotated[
    Path | None,
    typer.Option(
        "--list", help="A text file in place of both: on each line a path, its label, perhaps its source."
    ),
]
Features = Annotated[
    Path | None,
    typer.Option(help="The folder with the features of the list's videos; the list's own, if not given."),
]


def mil(
    out: Out,
    normal: Class = None,
    anomalous: Class = None,
    table: List = None,
    features: Features = None,
    recipe_name: Annotated[
        str | None, typer.Option("--recipe", help=f"One of {', '.join(MIL_RECIPES)} (default faithful).")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help=f"Of {MilRecipe.STEPS} steps each.")] = None,
    batch: Annotated[int | None, typer.Option(help="Videos of each class in a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="The largest learning rate.")] = None,
    pairing: Annotated[
        str | None,
        typer.Option(help=f"Which videos of a step are ranked: {' or '.join(get_args(Pairing))}."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the weights, the split and the order.")] = None,
    minutes: Minutes = None,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Train a head that says when: videos carry one label each, normal or anomalous, and it learns which of
    their clips are meant.

    Takes what `skerry features` wrote, or features of others (.npy, .txt). A tenth of the sources is
    validated on; another tenth is never trained on, and how well its videos are told apart is said at the
    end. Videos from one source belong together: name it in a --list, else each file counts as its own.
    """
    given = {"epochs": epochs, "batch": batch, "lr": lr, "seed": seed, "pairing": _pairing(pairing)}
    place = pick_device(device)
    check_out(out, resume, force)
    start = started(out, "mil") if resume else None
    plan = (
        resumed(start, {"recipe": recipe_name, **given})
        if start
        else mil_recipe(recipe_name or "faithful", **given)
    )
    assert isinstance(plan, MilRecipe)
    entries = each_once(_entries(normal or [], anomalous or [], table, features))
    with _reading() as tell:
        loaded = load(entries, tell)
    extractor = one_extractor(loaded, None)
    splits, parts = split_up(loaded, extractor, plan.seed)
    _must_be_the_same(start, splits, out)
    typer.echo(describe(plan, loaded, extractor, parts, place))
    bags = BagSet(splits, parts["train"], parts["validation"], extractor)
    with progress_of(plan, plan.STEPS, start) as bar:
        last = train_until(fit_mil(plan, bags, place, start, bar.batch), out, minutes, bar)
    typer.echo(summary(last, out))
    typer.echo(verdict(last, parts))


def _pairing(word: str | None) -> Pairing | None:
    known = get_args(Pairing)
    if word is not None and word not in known:
        raise UsageError(f"--pairing {word} is not one of {', '.join(known)}{nearest(word, known)}")
    return cast(Pairing | None, word)


def _entries(
    normal: Sequence[Path], anomalous: Sequence[Path], table: Path | None, features: Path | None
) -> list[Entry]:
    if table is not None:
        if normal or anomalous:
            raise UsageError("--list names videos of both classes; leave --normal and --anomalous out")
        return listed(table, features)
    if features is not None:
        raise UsageError("--features says where the features of a --list are; without one, leave it out")
    if not normal and not anomalous:
        raise UsageError("give features of both classes by --normal and --anomalous, or a --list with labels")
    return [
        *(entries_in(normal, anomalous=False) if normal else ()),
        *(entries_in(anomalous, anomalous=True) if anomalous else ()),
    ]


def _must_be_the_same(start: Checkpoint | None, splits: Splits, out: Path) -> None:
    if start and _digests(start.splits) != _digests(splits):
        raise UsageError(f"{out} was trained on other features or sources; resume it with the same")


def _digests(splits: Splits) -> list[list[tuple[str, str]]]:
    """Wherever the files lie by now."""
    parts = (splits.train, splits.validation, splits.test)
    return [[(clip.sha256, clip.label) for clip in part] for part in parts]


@contextmanager
def _reading() -> Iterator[Callable[[str], None]]:
    """What to call with a video's name once it is read."""
    columns = (SpinnerColumn(), TextColumn("reading {task.description}"), TextColumn("{task.completed:.0f}"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda name: progress.update(task, advance=1, description=name)


def describe(
    plan: MilRecipe, loaded: Sequence[Loaded], extractor: ExtractorSpec, parts: Parts, device: torch.device
) -> str:
    """What will be trained on what, in a few lines; says so where it is less than it seems."""
    weights = parameters(build_head(plan.model, extractor.width))
    lines = [
        f"recipe {plan.name}: a {plan.model.kind} head of {weights / 1e6:.2f} M weights, {plan.epochs} "
        f"epochs of {plan.STEPS} steps, {plan.batch} videos of each class a step, ranked {plan.pairing}, "
        f"lr {plan.lr:g}, seed {plan.seed}, on {device}",
        f"features {extractor.width} wide, one every {extractor.stride / extractor.fps:.3g} s",
        *(f"  {name:<10} {_counted(bags)}" for name, bags in parts.items() if bags),
    ]
    return "\n".join([*lines, *_cautions(plan, loaded, parts)])


def _counted(bags: Sequence[Bag]) -> str:
    anomalous, sources = sum(bag.anomalous for bag in bags), sources_of(bags)
    return (
        f"{len(bags) - anomalous} normal and {anomalous} anomalous videos of {sources} "
        f"source{'s' * (sources != 1)}, {sum(bag.clips for bag in bags)} clips"
    )


def _cautions(plan: MilRecipe, loaded: Sequence[Loaded], parts: Parts) -> Iterator[str]:
    short = sum(each.bag.clips < SEGMENTS for each in loaded)
    if short and plan.bags == "segments":
        yield (
            f"{short} of {len(loaded)} videos have fewer than {SEGMENTS} clips: in their {SEGMENTS} segments "
            "clips stand several times"
        )
    if not parts["test"]:
        yield (
            f"fewer than {HELD_OUT_PARTS} sources: all of them are trained on and validation losses flatter; "
            "nothing will be said of videos that it has not seen"
        )
    if any(each.video.extractor is None for each in loaded):
        yield "these features do not say what made them: the head can be evaluated, but not flown"


def verdict(last: Checkpoint, parts: Parts) -> str:
    """How well videos that were never trained on are told apart, at a threshold that knows none of them."""
    from train.mil_scores import judged

    if not parts["test"]:
        found = sources_of(parts["train"])
        return (
            f"nothing was held out and nothing measured: {found} sources are too few, {HELD_OUT_PARTS} needed"
        )
    judgement = judged(last.head(), last.clip, parts["validation"], parts["test"])
    about = f"held out: {_counted(parts['test'])}, each by its highest score in flight"
    if judgement is None:
        return f"{about}\nno normal video to validate on, so no threshold and no figures"
    return "\n".join([about, *judgement.lines()])
