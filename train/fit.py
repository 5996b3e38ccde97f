"""The training loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from edge.errors import UsageError
from edge.preprocess import InputSpec
from train.cae import CAE
from train.checkpoint import Checkpoint, Epoch, Plan, Record, Weights, versions
from train.footage import Footage, Pixels
from train.recipes import Recipe


def fit(
    recipe: Recipe,
    footage: Footage,
    spec: InputSpec,
    device: torch.device,
    start: Checkpoint | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> Iterator[Checkpoint]:
    """A checkpoint after each epoch; going on from any of them gives the weights of a training that was
    never interrupted (on the CPU bit for bit). Raises UsageError."""
    torch.manual_seed(recipe.seed)
    network = CAE(recipe.model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.lr, betas=(0.9, recipe.beta2), fused=True)
    generator = torch.Generator().manual_seed(recipe.seed)
    history: tuple[Epoch, ...] = ()
    best, best_epoch = None, None
    if start is not None:
        network.load_state_dict(start.weights)
        optimiser.load_state_dict(copy.deepcopy(dict(start.optimiser)))
        generator.set_state(start.generator)
        history, best, best_epoch = start.history, start.best, start.record.best_epoch

    while not finished(recipe, history):
        began = time.monotonic()
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate(len(history) + 1)
        network.train()
        total = torch.zeros((), device=device)
        with memory_error_names_batch(recipe.batch):
            for pictures in batches(footage.train, recipe.batch, spec, device, generator):
                loss = mse_loss(network(pictures), pictures)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                total += loss.detach() * len(pictures)
                on_batch()
            held_out = mean_error(network, footage.validation, recipe.batch, spec, device)
        epoch = Epoch(
            epoch=len(history) + 1,
            train=finite(float(total) / len(footage.train), len(history) + 1, recipe.lr),
            validation=finite(held_out, len(history) + 1, recipe.lr),
            seconds=time.monotonic() - began,
        )
        if recipe.early_stop and epoch.validation < min((e.validation for e in history), default=math.inf):
            best, best_epoch = copied(network), epoch.epoch
        history = (*history, epoch)
        yield Checkpoint(
            record=Record(
                recipe=recipe,
                input=spec,
                splits=footage.splits,
                history=history,
                best_epoch=best_epoch,
                versions=versions(),
            ),
            weights=copied(network),
            best=best,
            optimiser=copy.deepcopy(optimiser.state_dict()),
            generator=generator.get_state(),
        )


def finished(recipe: Plan, history: tuple[Epoch, ...]) -> bool:
    """All epochs done, or none of the last `early_stop` was better on validation than one before them."""
    if len(history) >= recipe.epochs:
        return True
    if not recipe.early_stop or len(history) <= recipe.early_stop:
        return False
    losses = [epoch.validation for epoch in history]
    return min(losses[-recipe.early_stop :]) >= min(losses[: -recipe.early_stop])


def batches(
    pixels: Pixels, size: int, spec: InputSpec, device: torch.device, shuffle: torch.Generator | None = None
) -> Iterator[Tensor]:
    """size x 3 x height x width float32, the last perhaps smaller; shuffled where a generator is given."""
    everything = torch.from_numpy(pixels)
    count = len(pixels)
    order = torch.arange(count) if shuffle is None else torch.randperm(count, generator=shuffle)
    for chosen in torch.split(order, size):
        pictures = everything[chosen].to(device).float() * spec.scale
        yield pictures.contiguous(memory_format=torch.channels_last)


def mean_error(network: CAE, pixels: Pixels, size: int, spec: InputSpec, device: torch.device) -> float:
    """Mean squared error over all pixels of all pictures, in evaluation mode."""
    network.eval()
    total = torch.zeros((), device=device)
    with torch.inference_mode():
        for pictures in batches(pixels, size, spec, device):
            total += mse_loss(network(pictures), pictures) * len(pictures)
    return float(total) / len(pixels)


def copied(network: nn.Module) -> Weights:
    """The weights as they are now, on the CPU."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }


def finite(loss: float, epoch: int, lr: float) -> float:
    if not math.isfinite(loss):
        raise UsageError(
            f"the loss stopped being a number in epoch {epoch}; train with a lower --lr than {lr:g}"
        )
    return loss


@contextmanager
def memory_error_names_batch(batch: int) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch reports a full CPU as a plain RuntimeError
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        raise UsageError(f"memory ran out while training; use a smaller --batch than {batch}") from None


def pick_device(name: str) -> torch.device:
    """auto: the GPU when there is one. Raises UsageError."""
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {name!r} is not one of auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch sees no usable GPU here, use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
