"""Bags -> batches: what a step of the clip path's training sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.bags import Bag, segmented, stream
from train.mil_recipes import MilRecipe


@dataclass(frozen=True, eq=False)
class Batch:
    """bags x length x width, which of it is there, and each bag's label: anomalous ones first."""

    features: Tensor
    valid: Tensor
    anomalous: Tensor


class Draws:
    """Batches without end, the same for the same generator. `prepared`: what a head makes of a bag's features
    before it learns, n x width -> n x fewer; it is done once for each."""

    def __init__(
        self,
        recipe: MilRecipe,
        bags: Sequence[Bag],
        prepared: Callable[[Tensor], Tensor] = lambda form: form,
    ) -> None:
        self._recipe, self._prepared = recipe, prepared
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
            self._made[key] = self._prepared(torch.from_numpy(self._features(bag, average, stepped)))
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
