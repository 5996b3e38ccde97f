"""The scout's training loop: windows of normal footage, corrupted on the way."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import cv2
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from edge.preprocess import InputSpec
from train.checkpoint import Checkpoint, Epoch, Record, versions
from train.corrupt import Batch, batch
from train.fit import copied, finished, finite, memory_error_names_batch
from train.recipes import ScoutRecipe
from train.scout import Scout
from train.windows import WindowFootage, Windows

SPEC = InputSpec(frames=2, height=384, width=512, tiling="auto")
_VALIDATION = 8  # batches, the same in every epoch
_HELD_OUT = 1  # marks their keys, which no training batch has
_FOREIGN = 4.0  # weight of the head's loss: few pixels are foreign
_AHEAD = 8  # batches made in advance, by each process
_WORKERS = 6  # keep a GPU fed

Search: TypeAlias = Callable[[Scout, torch.device, int], Windows]  # network, device, epochs done


def fit_scout(
    recipe: ScoutRecipe,
    footage: WindowFootage,
    device: torch.device,
    start: Checkpoint | None = None,
    on_batch: Callable[[], None] = lambda: None,
    search: Search | None = None,
) -> Iterator[Checkpoint]:
    """A checkpoint after each epoch; every batch follows from the seed and its number, so that going on from
    any of them gives the weights of a training that was never interrupted. Raises UsageError.

    `search` finds hard windows after some of the epochs. What it found is not kept: after an interruption
    it looks again, with the weights of `start`, and the training ends a little elsewhere.
    """
    torch.manual_seed(recipe.seed)
    network = Scout(recipe.model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.decay, fused=True)
    history: tuple[Epoch, ...] = ()
    if start is not None:
        network.load_state_dict(start.weights)
        optimiser.load_state_dict(copy.deepcopy(dict(start.optimiser)))
        history = start.history
    feed = _Feed(footage.train, recipe, device, search)
    held_out = [
        batch(footage.validation, recipe.crop, recipe.batch, (recipe.seed, number, _HELD_OUT))
        for number in range(_VALIDATION)
    ]
    while not finished(recipe, history):
        began, number = time.monotonic(), len(history) + 1
        examples = feed.epoch(network, len(history))
        rates = [recipe.rate(step) for step in range(len(history) * recipe.STEPS, number * recipe.STEPS)]
        with memory_error_names_batch(recipe.batch):
            seen = taught(network, optimiser, examples, rates, device, on_batch)
        epoch = Epoch(
            epoch=number,
            train=finite(seen, number, recipe.lr),
            validation=finite(mean_loss(network, held_out, device), number, recipe.lr),
            seconds=time.monotonic() - began,
        )
        history = (*history, epoch)
        record = Record(
            kind="scout",
            recipe=recipe,
            input=spec_of(recipe),
            splits=footage.splits,
            history=history,
            versions=versions(),
        )
        yield Checkpoint(
            record=record,
            weights=copied(network),
            best=None,
            optimiser=copy.deepcopy(optimiser.state_dict()),
            generator=torch.Generator().get_state(),
        )


def taught(
    network: Scout,
    optimiser: torch.optim.Optimizer,
    examples: Iterator[Batch],
    rates: Sequence[float],
    device: torch.device,
    on_batch: Callable[[], None],
) -> float:
    """The mean loss of a step at each of these learning rates."""
    network.train()
    total = torch.zeros((), device=device)
    for rate in rates:
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(network, next(examples), device)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.detach()
        on_batch()
    return float(total) / len(rates)


def spec_of(recipe: ScoutRecipe) -> InputSpec:
    return SPEC.model_copy(update={"beside": recipe.beside})


class _Feed:
    """Batches of each epoch; on the way the windows become harder."""

    def __init__(
        self, windows: Windows, recipe: ScoutRecipe, device: torch.device, search: Search | None
    ) -> None:
        self._windows, self._recipe, self._device, self._search = windows, recipe, device, search
        self._stream: Iterator[Batch] | None = None

    def epoch(self, network: Scout, done: int) -> Iterator[Batch]:
        """Those of the epoch after so many."""
        due = done in self._recipe.searched_after
        due |= self._stream is None and done > min(self._recipe.searched_after, default=done)  # resumed
        if self._search is not None and due:
            self._stream = None  # its process ends before another begins
            self._windows = self._windows.harder(self._search(network, self._device, done))
        if self._stream is None:
            self._stream = iter(batches(self._windows, self._recipe, done * self._recipe.STEPS))
        return self._stream


class _Batches(IterableDataset[Batch]):
    """Without end. Of several processes each makes every so manieth; they are put in order again."""

    def __init__(self, windows: Windows, recipe: ScoutRecipe, first: int) -> None:
        self._windows, self._recipe, self._first = windows, recipe, first

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, step = (self._first + worker.id, worker.num_workers) if worker else (self._first, 1)
        while True:
            yield batch(self._windows, self._recipe.crop, self._recipe.batch, (self._recipe.seed, number))
            number += step


def batches(windows: Windows, recipe: ScoutRecipe, first: int) -> DataLoader[Batch]:
    """Batches number `first` and on, made ahead by processes of their own.

    OpenCV is put to one thread before they are forked off: its pool does not survive a fork, and the child
    would wait for it without end.
    """
    cv2.setNumThreads(1)
    examples = _Batches(windows, recipe, first)
    workers = max(1, min(_WORKERS, (os.cpu_count() or 1) // 2))
    return DataLoader(examples, batch_size=None, num_workers=workers, prefetch_factor=_AHEAD)


def loss_of(network: Scout, examples: Batch, device: torch.device) -> Tensor:
    """How badly the foreign was marked, and how badly what was there before was painted."""
    seen, clean = (torch.as_tensor(part).to(device).float() / 255 for part in (examples.seen, examples.clean))
    foreign = torch.as_tensor(examples.foreign).to(device).float()
    with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device.type)):
        logits, repaired = network(seen.contiguous(memory_format=torch.channels_last))
    return _FOREIGN * focal(logits.float(), avg_pool2d(foreign, 4)) + painting(repaired.float(), clean)


@cache
def has_bfloat16(place: str) -> bool:
    """The processor computes in it; elsewhere it is imitated, which is slower than float32."""
    if place == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"avx512_bf16", "bf16"}.isdisjoint(flags)  # as Linux calls it on x86 and on Arm


def focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross entropy weighted by how wrong the answer is (Lin et al. 2017, with exponent 1)."""
    wrong = (torch.sigmoid(logits) - wanted).abs()
    return (binary_cross_entropy_with_logits(logits, wanted, reduction="none") * wrong).mean()


def painting(repaired: Tensor, clean: Tensor) -> Tensor:
    """Absolute error, and half of that of the gradients: edges count."""
    down = (repaired.diff(dim=2) - clean.diff(dim=2)).abs().mean()
    right = (repaired.diff(dim=3) - clean.diff(dim=3)).abs().mean()
    return (repaired - clean).abs().mean() + 0.5 * (down + right)


def mean_loss(network: Scout, held_out: list[Batch], device: torch.device) -> float:
    """Over the held-out batches, in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        return sum(float(loss_of(network, examples, device)) for examples in held_out) / len(held_out)
