"""Heads that score clips by their features, trained on bags.

Both take `n x history x width`, oldest first, and give the newest clip's logit: `n`. `sequence` scores whole
streams, bags x length x width -> bags x length, and gives what `forward` gives window by window, but for the
rounding of sums: where a stream begins, its first feature stands in for those that are missing.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from edge.errors import UsageError

_LEAST_SPREAD = 0.1  # of the usual one: what varies less is not blown up beyond


class HeadConfig(BaseModel):
    """`ranking`: the published three layers, which look at one clip. `causal`: a projection, depthwise
    convolutions over the past with growing dilation, and prototypes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["ranking", "causal"] = "ranking"
    hidden: tuple[int, int] = (512, 32)  # of the ranking head
    second: Literal["linear", "relu"] = "linear"  # after its second layer, as released
    dropout: float = Field(default=0.6, ge=0, lt=1)
    channels: int = Field(default=128, ge=1, le=1024)  # of the causal head, as all below
    dilations: tuple[int, ...] = (1, 2, 4)
    prototypes: int = Field(default=16, ge=1, le=1024)  # usual ones, and as many foreign ones
    noise: float = Field(default=0.0, ge=0, le=10)  # added to features in training, in their own spread

    @property
    def history(self) -> int:
        """Features that a score looks at."""
        return 1 if self.kind == "ranking" else 1 + 2 * sum(self.dilations)


class Head(nn.Module):
    """What both heads share."""

    history: int

    def forward(self, features: Tensor) -> Tensor:
        raise NotImplementedError

    def sequence(self, features: Tensor) -> Tensor:
        """bags x length x width -> bags x length logits."""
        raise NotImplementedError


class RankingHead(Head):
    """width-512-32-1; ReLU after the first layer, by default nothing after the second."""

    history = 1

    def __init__(self, config: HeadConfig, width: int) -> None:
        super().__init__()
        first, second = config.hidden
        between: list[nn.Module] = [nn.ReLU()] if config.second == "relu" else []
        self.layers = nn.Sequential(
            *(nn.Linear(width, first), nn.ReLU(), nn.Dropout(config.dropout)),
            *(nn.Linear(first, second), *between, nn.Dropout(config.dropout)),
            nn.Linear(second, 1),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        return self.sequence(features)[:, -1]

    def sequence(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layers(features)[..., 0]
        return logits


class CausalHead(Head):
    """Linear -> three causal depthwise convolutions -> likeness to prototypes, by sigmoids -> logit.

    Features are brought to mean 0 and spread 1 first, by what `fit_scale` saw of them.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, config: HeadConfig, width: int) -> None:
        super().__init__()
        self.history, self._noise = config.history, config.noise
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        channels = config.channels
        self.project = nn.Sequential(nn.Linear(width, channels), nn.ReLU(), nn.Dropout(config.dropout))
        self.past = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, dilation=d, groups=channels) for d in config.dilations
        )
        self.dropout = nn.Dropout(config.dropout)
        self.prototypes = nn.Linear(channels, 2 * config.prototypes)  # usual ones first
        self.out = nn.Linear(channels + 2 * config.prototypes, 1)

    def fit_scale(self, features: Tensor) -> None:
        """Of training features, n x width, as the head will see them; what hardly varies is left alone."""
        spread = features.std(0)
        self.centre.copy_(features.mean(0))
        self.scale.copy_(1 / spread.clamp(min=float(spread.median()) * _LEAST_SPREAD + 1e-12))

    def forward(self, features: Tensor) -> Tensor:
        return self._read(self._valid(features))[0][:, -1]

    def sequence(self, features: Tensor) -> Tensor:
        return self.with_likeness(features)[0]

    def with_likeness(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and bags x length x 2: how like the nearest usual and the nearest foreign prototype."""
        first = features[:, :1].expand(-1, self.history - 1, -1)
        logits, likeness = self._read(self._valid(torch.cat([first, features], 1)))
        usual, foreign = likeness.chunk(2, -1)
        return logits, torch.stack([usual.amax(-1), foreign.amax(-1)], -1)

    def _valid(self, features: Tensor) -> Tensor:
        """n x (length + history - 1) x width -> n x length x channels; nothing is padded."""
        even = (features - self.centre) * self.scale
        if self.training and self._noise:
            even = even + self._noise * torch.randn_like(even)
        held = self.project(even).transpose(1, 2)
        for convolution in self.past:
            added = torch.relu(convolution(held))
            held = held[:, :, held.shape[2] - added.shape[2] :] + added
        kept: Tensor = self.dropout(held.transpose(1, 2))
        return kept

    def _read(self, held: Tensor) -> tuple[Tensor, Tensor]:
        likeness = self.prototypes(held)
        logits: Tensor = self.out(torch.cat([held, torch.sigmoid(likeness)], -1))[..., 0]
        return logits, likeness


def build_head(config: HeadConfig, width: int) -> Head:
    """For features of this width. Raises UsageError for a causal head without a past."""
    if config.kind == "ranking":
        return RankingHead(config, width)
    if not config.dilations or min(config.dilations) < 1:
        raise UsageError("a causal head needs dilations of 1 and more")
    return CausalHead(config, width)


def parameters(head: nn.Module) -> int:
    return sum(weights.numel() for weights in head.parameters())
