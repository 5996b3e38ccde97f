"""Features of very many numbers -> the few directions in which they differ most, each with spread 1."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_SPREAD = 0.1  # of the usual one: what varies less is not blown up beyond
_SPARE = 8  # directions that are sought beyond those wanted, so that the last of these is found well


def root(features: Tensor) -> Tensor:
    """Of each number, its sign kept: features are rarely large, and then very."""
    return features.sign() * features.abs().sqrt()


def whitening(features: Tensor, axes: int) -> tuple[Tensor, Tensor]:
    """n x width -> what to subtract, and by what to multiply then (width x axes, or fewer if n is).

    Every number counts the same by its own spread before directions are sought.
    """
    spread = features.std(0)
    scale = 1 / spread.clamp(min=float(spread.median()) * LEAST_SPREAD + 1e-12)
    centre = features.mean(0)
    even = (features - centre) * scale
    count = min(axes, max(1, len(even) - 2), even.shape[1])
    _, size, found = torch.svd_lowrank(even, q=min(count + _SPARE, *even.shape), niter=4)
    white = found[:, :count] * (len(even) ** 0.5 / size[:count].clamp(min=1e-6))
    return centre, scale[:, None] * white
