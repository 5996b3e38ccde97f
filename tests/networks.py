"""Networks for tests, as if trained: every weight counts and every BatchNorm has seen something."""

from __future__ import annotations

import itertools
from typing import TypeVar

import torch
from torch import nn

from train.cae import CAE, CaeConfig

Network = TypeVar("Network", bound=nn.Module)
SMALL = CaeConfig(channels=(3, 4, 5), latent=6)


def lively(config: CaeConfig = SMALL, seed: int = 0) -> CAE:
    """Answers differently for different pictures, which fresh weights hardly do."""
    torch.manual_seed(seed)
    return enlivened(CAE(config))


def enlivened(network: Network) -> Network:
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.05, 0.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
            elif isinstance(module, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)):
                module.weight *= 3
    return network.eval()


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    """count x 3 x 124 x 124 in [0, 1]."""
    return torch.rand(count, 3, 124, 124, generator=torch.Generator().manual_seed(seed))


class Pointer(nn.Module):
    """Two registered pictures -> evidence, as a scout flies: 4 channels of logits, 64 of features."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        sizes = (6, width, 2 * width, 4 * width)
        self.body = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                )
                for before, after in itertools.pairwise(sizes)
            )
        )
        self.head = nn.Conv2d(4 * width, 4, 1)
        self.features = nn.Conv2d(4 * width, 64, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        seen = self.body(pictures)
        return torch.cat([self.head(seen), self.features(seen)], dim=1)


def pointing(width: int = 8, seed: int = 0) -> Pointer:
    torch.manual_seed(seed)
    return enlivened(Pointer(width))


def pairs(count: int, height: int = 64, width: int = 96, seed: int = 0) -> torch.Tensor:
    """count x 6 x height x width in [0, 1]."""
    return torch.rand(count, 6, height, width, generator=torch.Generator().manual_seed(seed))
