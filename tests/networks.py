"""Networks for tests, as if trained: every weight counts and every BatchNorm has seen something."""

from __future__ import annotations

import torch
from torch import nn

from train.cae import CAE, CaeConfig

SMALL = CaeConfig(channels=(3, 4, 5), latent=6)


def lively(config: CaeConfig = SMALL, seed: int = 0) -> CAE:
    """Answers differently for different pictures, which fresh weights hardly do."""
    torch.manual_seed(seed)
    network = CAE(config)
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
