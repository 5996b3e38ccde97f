"""Bags -> a head: the training of the clip path."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.clips import ClipSpec, ExtractorSpec
from edge.preprocess import InputSpec
from train.bags import SEGMENTS, Bag, segmented, stream
from train.checkpoint import Checkpoint, Epoch, Record, versions
from train.fit import copied, finite, memory_error_names_batch
from train.footage import Splits
from train.mil import Head, build_head
from train.mil_losses import bag_cross_entropy, clip_cross_entropy, prototype_contrast, ranking
from train.mil_recipes import MilRecipe

USUAL_AVERAGE = 8  # at most so many clips does a live score wait for
SMOOTH_CLIPS = 1.0  # four lost 6 points of segment AUC on fights of two seconds, for nothing


@dataclass(frozen=True, eq=False)
class BagSet:
    """What training sees. `validation` may be empty: then the bags of `train` are looked at instead."""

    splits: Splits
    train: Sequence[Bag]
    validation: Sequence[Bag]
    extractor: ExtractorSpec

    @property
    def width(self) -> int:
        return self.extractor.width


@dataclass(frozen=True, eq=False)
class Batch:
    """bags x length x width, which of it is there, and each bag's label: anomalous ones first."""

    features: Tensor
    valid: Tensor
    anomalous: Tensor


def clip_spec(recipe: MilRecipe, extractor: ExtractorSpec, bags: Sequence[Bag]) -> ClipSpec:
    """How flight makes of a stream what the head was trained on.

    A trained segment is the mean of so many clips; a live one waits for as many, though not for long.
    """
    usual = round(median(bag.clips for bag in bags) / SEGMENTS)
    average = recipe.average or min(USUAL_AVERAGE, max(1, usual))
    period_s = extractor.stride / extractor.fps
    return ClipSpec(
        extractor=extractor,
        average=average,
        normalise=recipe.normalise,
        history=recipe.model.history,
        smooth_s=min(600.0, SMOOTH_CLIPS * period_s) if recipe.smooth_s is None else recipe.smooth_s,
    )


def fit_mil(
    recipe: MilRecipe,
    bags: BagSet,
    device: torch.device,
    start: Checkpoint | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> Iterator[Checkpoint]:
    """A checkpoint after each epoch of STEPS steps; going on from any of them gives the weights of a training
    that was never interrupted (on the CPU bit for bit). Raises UsageError."""
    torch.manual_seed(recipe.seed)
    head = build_head(recipe.model, bags.width)
    drawn = Draws(recipe, bags.train)
    head.fit(*drawn.labelled())
    at_once = recipe.model.kind == "discriminant"
    head = head.to(device)
    optimiser = _optimiser(recipe, head)
    generator = torch.Generator().manual_seed(recipe.seed)
    history: tuple[Epoch, ...] = ()
    if start is not None:
        head.load_state_dict(start.weights)
        optimiser.load_state_dict(copy.deepcopy(dict(start.optimiser)))
        generator.set_state(start.generator)
        history = start.history
    held_out = Draws(recipe, bags.validation or bags.train)

    while len(history) < recipe.epochs:
        began, done = time.monotonic(), len(history)
        torch.manual_seed(recipe.seed * 100_003 + done)  # of dropout and noise: the same after a resume
        head.train()
        total = torch.zeros((), device=device)
        with memory_error_names_batch(recipe.batch):
            for step in range(0 if at_once else recipe.STEPS):
                for group in optimiser.param_groups:
                    group["lr"] = recipe.rate(done * recipe.STEPS + step)
                loss = loss_of(recipe, head, drawn.batch(recipe.batch, generator, device))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                total += loss.detach()
                on_batch()
            if at_once:
                total += recipe.STEPS * _held_out_loss(recipe, head, drawn, device)
            unseen = _held_out_loss(recipe, head, held_out, device)
        epoch = Epoch(
            epoch=done + 1,
            train=finite(float(total) / recipe.STEPS, done + 1, recipe.lr),
            validation=finite(unseen, done + 1, recipe.lr),
            seconds=time.monotonic() - began,
        )
        history = (*history, epoch)
        yield Checkpoint(
            record=Record(
                kind="mil",
                recipe=recipe,
                input=InputSpec(),
                splits=bags.splits,
                clip=clip_spec(recipe, bags.extractor, bags.train),
                history=history,
                versions=versions(),
            ),
            weights=copied(head),
            best=None,
            optimiser=copy.deepcopy(optimiser.state_dict()),
            generator=generator.get_state(),
        )


def _optimiser(recipe: MilRecipe, head: Head) -> torch.optim.Optimizer:
    """Weights decay, biases do not."""
    weights = [each for each in head.parameters() if each.ndim > 1]
    biases = [each for each in head.parameters() if each.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.decay}, {"params": biases, "weight_decay": 0.0}]
    if recipe.optimiser == "adagrad":
        return torch.optim.Adagrad(groups, lr=recipe.lr, eps=1e-8)
    return torch.optim.AdamW(groups, lr=recipe.lr)


def loss_of(recipe: MilRecipe, head: Head, batch: Batch) -> Tensor:
    """All that the recipe asks for, weighted."""
    logits, likeness = head.likened(batch.features)
    scores = torch.sigmoid(logits) * batch.valid  # 0: no maximum, and sparse
    which = batch.anomalous
    loss = recipe.hinge * ranking(
        scores[which], scores[~which], recipe.pairing, recipe.smooth, recipe.sparse, batch.valid[which]
    )
    if recipe.top:
        loss = loss + recipe.top * bag_cross_entropy(logits, batch.valid, batch.anomalous)
    if recipe.every:
        loss = loss + recipe.every * clip_cross_entropy(logits, batch.valid, batch.anomalous)
    if recipe.contrast and likeness is not None:
        loss = loss + recipe.contrast * prototype_contrast(likeness, logits, batch.valid, batch.anomalous)
    return loss


def _held_out_loss(recipe: MilRecipe, head: Head, bags: Draws, device: torch.device) -> float:
    head.eval()
    with torch.inference_mode():
        return float(loss_of(recipe.model_copy(update={"pairing": "all"}), head, bags.whole(device)))


class Draws:
    """Batches without end, the same for the same generator."""

    def __init__(self, recipe: MilRecipe, bags: Sequence[Bag]) -> None:
        self._recipe = recipe
        self._anomalous = [bag for bag in bags if bag.anomalous]
        self._normal = [bag for bag in bags if not bag.anomalous]
        self._made: dict[tuple[int, int, bool], Tensor] = {}

    def batch(self, count: int, generator: torch.Generator, device: torch.device) -> Batch:
        """So many of each class; none twice while there are enough."""
        drawn = [self._any_form(bag, generator) for bag in self._some(self._anomalous, count, generator)]
        usual = [self._any_form(bag, generator) for bag in self._some(self._normal, count, generator)]
        return _padded([*drawn, *usual], len(drawn), device)

    def whole(self, device: torch.device) -> Batch:
        """Every bag in its plainest form."""
        forms = [self._form(bag, self._averages[0], False) for bag in (*self._anomalous, *self._normal)]
        return _padded(forms, len(self._anomalous), device)

    def everything(self) -> Tensor:
        """Every clip or segment of every bag: n x width."""
        return torch.cat(
            [self._form(bag, self._averages[0], False) for bag in (*self._anomalous, *self._normal)]
        )

    def labelled(self) -> tuple[Tensor, Tensor]:
        """The same, and of each whether its bag is anomalous."""
        clips = self.everything()
        foreign = sum(len(self._form(bag, self._averages[0], False)) for bag in self._anomalous)
        return clips, torch.arange(len(clips)) < foreign

    @property
    def _averages(self) -> tuple[int, ...]:
        return self._recipe.averages

    def _some(self, bags: Sequence[Bag], count: int, generator: torch.Generator) -> Iterator[Bag]:
        order = torch.cat(
            [torch.randperm(len(bags), generator=generator) for _ in range(-(-count // len(bags)))]
        )
        return (bags[int(place)] for place in order[:count])

    def _any_form(self, bag: Bag, generator: torch.Generator) -> Tensor:
        """A stream's clips are averaged over one of several lengths, overlapping or in steps of that length:
        a segment of a long recording is the mean of many clips, in flight of few."""
        if self._recipe.bags == "segments":
            return self._form(bag, 1, False)
        choice = int(torch.randint(2 * len(self._averages), (), generator=generator))
        return self._form(bag, self._averages[choice // 2], bool(choice % 2))

    def _form(self, bag: Bag, average: int, stepped: bool) -> Tensor:
        key = (id(bag), average, stepped)
        if key not in self._made:
            self._made[key] = torch.from_numpy(self._features(bag, average, stepped))
        return self._made[key]

    def _features(self, bag: Bag, average: int, stepped: bool) -> NDArray[np.float32]:
        recipe = self._recipe
        if recipe.bags == "segments":
            return segmented(bag.features, recipe.normalise)
        longest = min(recipe.longest, max(1, bag.clips // average)) if stepped else recipe.longest
        return stream(bag.features, average, longest, recipe.normalise)


def _padded(forms: Sequence[Tensor], anomalous: int, device: torch.device) -> Batch:
    features = torch.nn.utils.rnn.pad_sequence(list(forms), batch_first=True)
    lengths = torch.tensor([len(form) for form in forms])
    valid = torch.arange(features.shape[1])[None] < lengths[:, None]
    labels = torch.arange(len(forms)) < anomalous
    return Batch(features.to(device), valid.to(device), labels.to(device))
