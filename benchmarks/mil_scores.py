"""What a trained head says of bags whose truth is known: with the whole bag in hand, and as a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edge.clips import ClipSpec, ExtractorSpec, smoothed, windows
from train.bags import Bag, Bools, Floats, segmented, spread, stream, without_truth
from train.footage import Splits
from train.mil import Head, build_head, parameters
from train.mil_fit import BagSet, fit_mil
from train.mil_recipes import MilRecipe


@dataclass(frozen=True, eq=False)
class Trained:
    recipe: MilRecipe
    head: Head
    spec: ClipSpec

    @property
    def parameters(self) -> int:
        return parameters(self.head)


@dataclass(frozen=True, eq=False)
class Told:
    """Of one bag; everything per clip, scores as logits. `streaming` never looks ahead."""

    name: str
    anomalous: bool
    truth: Bools
    offline: Floats
    streaming: Floats


def trained(
    recipe: MilRecipe,
    train: Sequence[Bag],
    extractor: ExtractorSpec,
    on_batch: Callable[[], None] = lambda: None,
) -> Trained:
    """The last epoch: nothing is chosen by what is tested. Training knows a bag's label and no more."""
    kept = [without_truth(bag) for bag in train]
    splits = Splits(rule="sources", fps=1, folder_fps=1, data_sha256="", train=(), validation=(), test=())
    sets = BagSet(splits, kept, (), extractor)
    *_, last = fit_mil(recipe, sets, torch.device("cpu"), on_batch=on_batch)
    head = build_head(recipe.model, extractor.width)
    head.load_state_dict(last.weights)
    assert last.record.clip is not None, "a head's checkpoint says how its clips are made"
    return Trained(recipe, head.eval(), last.record.clip)


def told(made: Trained, bag: Bag) -> Told:
    assert bag.truth is not None, "figures need the truth of each clip"
    return Told(bag.name, bag.anomalous, bag.truth, offline(made, bag), streaming(made, bag))


def offline(made: Trained, bag: Bag) -> Floats:
    """As published: 32 segments of the whole, each one's score spread over its clips. Of a head trained on
    streams: its logits, smoothed forwards and then backwards."""
    rule = made.recipe.normalise
    if made.recipe.bags == "segments":
        return spread(_logits(made.head, segmented(bag.features, rule)), bag.clips)
    logits = _logits(made.head, stream(bag.features, made.spec.average, bag.clips, rule))
    return smoothed(smoothed(logits, made.spec)[::-1], made.spec)[::-1]


def streaming(made: Trained, bag: Bag) -> Floats:
    """Window by window, as in flight."""
    seen = torch.from_numpy(windows(bag.features, made.spec))
    with torch.inference_mode():
        return smoothed(made.head(seen).numpy(), made.spec)


def _logits(head: Head, features: NDArray[np.float32]) -> Floats:
    with torch.inference_mode():
        return np.asarray(head.sequence(torch.from_numpy(features)[None])[0].numpy(), np.float64)
