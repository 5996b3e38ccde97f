"""Bags with known truth, of the Surveillance Camera Fight set: clips of about two seconds, one after another.

A normal bag is several noFight clips, an anomalous one the same with one fight clip among them. What is cut
apart is the source videos, so no place and no camera is both learnt from and tested on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.errors import UsageError
from train.bags import Bag, folds, joined
from train.feature_files import find_features, read_features

PARTS = 8  # of the sources
DEVELOPMENT = 3  # of them are what recipes are tuned on; reported are only the others
CLASSES = {"fight": True, "noFight": False}  # folders
_CLIP = re.compile(r"((?:no)?fi\d+)\s*:")
_RANGE = re.compile(r"(nofi)(\d+)\s*-\s*nofi(\d+)\s*:\s*(\S.*)")


@dataclass(frozen=True)
class BagRules:
    """`clips` in a bag, and in how many bags each fight clip stands (and as many normal bags are made)."""

    clips: int = 6
    uses: int = 2


@dataclass(frozen=True, eq=False)
class Split:
    """Made bags. `validation` gives the threshold and is not learnt from."""

    name: str
    train: Sequence[Bag]
    validation: Sequence[Bag]
    test: Sequence[Bag]


def sources(table: Path) -> dict[str, str]:
    """Clip -> source video, by the set's own list. A clip in two ranges belongs to the first: the one such
    clip, nofi076, shows the first one's corridor. Raises UsageError."""
    try:
        lines = table.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{table} cannot be read; it lists the source video of each clip") from None
    found: dict[str, str] = {}
    source = ""
    for line in map(str.strip, lines):
        if line.startswith("http"):
            source = line
        elif span := _RANGE.match(line):
            for number in range(int(span[2]), int(span[3]) + 1):
                found.setdefault(f"{span[1]}{number:03d}", span[4])
        elif clip := _CLIP.match(line):
            found.setdefault(clip[1], source)
    if not found or "" in found.values():
        raise UsageError(f"{table} does not list a source video and below it the clips made of it")
    return found


def read_clips(folder: Path, known: Mapping[str, str], short: Iterable[str] = ()) -> list[Bag]:
    """Features of every clip below the folders `fight` and `noFight`, and none of those `short` ones, as
    `fight/fi001`: they are dealt out with the others, so that parts stay what they are. Raises UsageError."""
    left_out = set(short)
    return [
        _clip(folder / f"{stem}.npz", anomalous, known, stem in left_out)
        for name, anomalous in CLASSES.items()
        for stem in sorted({*_stems(folder, name), *(one for one in left_out if one.startswith(f"{name}/"))})
    ]


def _stems(folder: Path, name: str) -> Iterator[str]:
    return (f"{name}/{path.stem}" for path in find_features([folder / name]))


def _clip(path: Path, anomalous: bool, known: Mapping[str, str], empty: bool) -> Bag:
    if path.stem not in known:
        raise UsageError(f"{path.stem} has no source video in the set's list; it cannot be kept apart")
    features = np.zeros((0, 0), np.float32) if empty else read_features(path).features
    return Bag(path.stem, features, anomalous, (known[path.stem],), np.full(len(features), anomalous))


def splits(clips: Sequence[Bag], rules: BagRules, seed: int, develop: bool = False) -> Iterator[Split]:
    """Eight parts by source; each of the five reported is tested once, those to develop on validate.

    While developing, those three are tested in turn instead, and the five only ever learnt from.
    """
    parts = folds(clips, PARTS, seed)
    tested = range(DEVELOPMENT) if develop else range(DEVELOPMENT, PARTS)
    for test in tested:
        held = (test + 1) % DEVELOPMENT
        rest = [clip for place, part in enumerate(parts) if place not in (test, held) for clip in part]
        yield Split(
            name=f"part {test + 1}",
            train=bags_of(rest, rules, seed),
            validation=bags_of(parts[held], rules, seed),
            test=bags_of(parts[test], rules, seed),
        )


def bags_of(clips: Sequence[Bag], rules: BagRules, seed: int) -> list[Bag]:
    """Anomalous ones first. No clip stands twice in a bag; raises UsageError where there are too few."""
    fights = [clip for clip in clips if clip.anomalous and clip.clips]
    normal = [clip for clip in clips if not clip.anomalous and clip.clips]
    if not fights or len(normal) < rules.clips:
        raise UsageError(
            f"a part holds {len(fights)} fight and {len(normal)} noFight clips; a bag needs "
            f"{rules.clips} of the latter; give fewer --clips"
        )
    chance = random.Random(seed)
    usual = _dealt(normal, chance)
    made = []
    for number in range(rules.uses):
        for fight in fights:
            parts = [*_hand(usual, rules.clips - 1), fight]
            chance.shuffle(parts)
            made.append(joined(f"{fight.name}.{number}", parts))
    rest = [joined(f"normal.{number}", _hand(usual, rules.clips)) for number in range(len(made))]
    return [*made, *rest]


def told_apart(bags: Sequence[Bag]) -> list[Bag]:
    """The same clips with their own labels: what a bag's fight clip is, and its other clips, each in a bag of
    its own. What is learnt of them is learnt with full supervision."""
    return [part for bag in bags for part in _told_apart(bag)]


def _told_apart(bag: Bag) -> Iterator[Bag]:
    assert bag.truth is not None, "of bags whose truth is known"
    for anomalous in (True, False):
        chosen = bag.truth == anomalous
        if chosen.any():
            yield Bag(bag.name, bag.features[chosen], anomalous, bag.sources, bag.truth[chosen])


def _dealt(clips: Sequence[Bag], chance: random.Random) -> Iterator[Bag]:
    """Without end, each as often as the others."""
    while True:
        yield from chance.sample(clips, len(clips))


def _hand(dealt: Iterator[Bag], count: int) -> list[Bag]:
    found: dict[str, Bag] = {}
    while len(found) < count:
        clip = next(dealt)
        found.setdefault(clip.name, clip)
    return list(found.values())


def described(clips: Iterable[Bag]) -> str:
    held = [clip for clip in clips if clip.clips]
    fights = sum(clip.anomalous for clip in held)
    return (
        f"{fights} fight and {len(held) - fights} noFight clips of {len({c.sources for c in held})} sources"
    )
