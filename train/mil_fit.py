"""Bags -> a head: the training of the clip path."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from edge.clips import ClipSpec, ExtractorSpec
from edge.preprocess import InputSpec
from train.bags import SEGMENTS, Bag
from train.checkpoint import Checkpoint, Epoch, Record, versions
from train.draws import Batch, Draws
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
    head.fit(*Draws(recipe, bags.train).labelled())
    taught = _Taught(recipe, head.to(device), device, start)
    drawn = Draws(recipe, bags.train, head.prepared)
    held_out = Draws(recipe, bags.validation or bags.train, head.prepared)
    history = () if start is None else start.history

    while len(history) < recipe.epochs:
        began, number = time.monotonic(), len(history) + 1
        with memory_error_names_batch(recipe.batch):
            seen = taught.epoch(drawn, number, on_batch)
            unseen = taught.loss(held_out)
        epoch = Epoch(
            epoch=number,
            train=finite(seen, number, recipe.lr),
            validation=finite(unseen, number, recipe.lr),
            seconds=time.monotonic() - began,
        )
        history = (*history, epoch)
        yield taught.checkpoint(bags, history)


class _Taught:
    """A head while it learns, and all that its next step follows from."""

    def __init__(self, recipe: MilRecipe, head: Head, device: torch.device, start: Checkpoint | None) -> None:
        self._recipe, self._head, self._device = recipe, head, device
        self._optimiser = _optimiser(recipe, head)
        self._generator = torch.Generator().manual_seed(recipe.seed)
        if start is not None:
            head.load_state_dict(start.weights)
            self._optimiser.load_state_dict(copy.deepcopy(dict(start.optimiser)))
            self._generator.set_state(start.generator)

    def epoch(self, drawn: Draws, number: int, on_batch: Callable[[], None]) -> float:
        """The mean loss of its steps; of a head that `fit` has made already, its loss."""
        recipe = self._recipe
        if recipe.model.kind == "discriminant":
            return self.loss(drawn)
        torch.manual_seed(recipe.seed * 100_003 + number - 1)  # of dropout and noise: the same after a resume
        self._head.train()
        total = torch.zeros((), device=self._device)
        for step in range((number - 1) * recipe.STEPS, number * recipe.STEPS):
            for group in self._optimiser.param_groups:
                group["lr"] = recipe.rate(step)
            total += self._step(drawn.batch(recipe.batch, self._generator, self._device))
            on_batch()
        return float(total) / recipe.STEPS

    def _step(self, batch: Batch) -> Tensor:
        loss = loss_of(self._recipe, self._head.learner, batch)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return loss.detach()

    def loss(self, bags: Draws) -> float:
        """Of every bag in its plainest form, in evaluation mode."""
        recipe = self._recipe.model_copy(update={"pairing": "all"})  # as many of each class there need not be
        self._head.eval()
        with torch.inference_mode():
            return float(loss_of(recipe, self._head.learner, bags.whole(self._device)))

    def checkpoint(self, bags: BagSet, history: tuple[Epoch, ...]) -> Checkpoint:
        return Checkpoint(
            record=Record(
                kind="mil",
                recipe=self._recipe,
                input=InputSpec(),
                splits=bags.splits,
                clip=clip_spec(self._recipe, bags.extractor, bags.train),
                history=history,
                versions=versions(),
            ),
            weights=copied(self._head),
            best=None,
            optimiser=copy.deepcopy(self._optimiser.state_dict()),
            generator=self._generator.get_state(),
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
