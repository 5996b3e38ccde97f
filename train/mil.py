"""Heads that score clips by their features, trained on bags.

All take `n x history x width`, oldest first, and give the newest clip's logit: `n`. `sequence` scores whole
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
    convolutions over the past with growing dilation, and prototypes. `discriminant`: one weight for the root
    of each number, worked out at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["ranking", "causal", "discriminant"] = "ranking"
    hidden: tuple[int, int] = (512, 32)  # of the ranking head
    second: Literal["linear", "relu"] = "linear"  # after its second layer, as released
    dropout: float = Field(default=0.6, ge=0, lt=1)
    channels: int = Field(default=128, ge=1, le=1024)  # of the causal head, as all below
    dilations: tuple[int, ...] = (1, 2, 4)
    prototypes: int = Field(default=16, ge=1, le=1024)  # usual ones, and as many foreign ones
    noise: float = Field(default=0.0, ge=0, le=10)  # added to features in training, in their own spread
    axes: int = Field(default=60, ge=1, le=1024)  # of the discriminant: directions of most spread
    shrinkage: float = Field(default=0.4, ge=0, le=1)  # of its covariance, towards equal spread along them

    @property
    def history(self) -> int:
        """Features that a score looks at."""
        return 1 if self.kind != "causal" else 1 + 2 * sum(self.dilations)


class Head(nn.Module):
    """What all heads share."""

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


class DiscriminantHead(Head):
    """A weighted sum of the roots of the numbers in a feature: the linear discriminant between the clips of
    anomalous bags and those of normal ones.

    What is normal stands in bags of both classes and cancels out of the difference of their means, so that
    points where only anomalous bags have anything, though its clips are few. Roots, for features are rarely
    large and then very; directions of little spread are left out, for there are fewer clips than numbers.
    """

    history = 1

    def __init__(self, config: HeadConfig, width: int) -> None:
        super().__init__()
        self._axes, self._shrinkage = config.axes, config.shrinkage
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        return self.sequence(features)[:, -1]

    def sequence(self, features: Tensor) -> Tensor:
        logits: Tensor = _root(features) @ self.weight + self.bias
        return logits

    @torch.no_grad()
    def fit(self, features: Tensor, anomalous: Tensor) -> None:
        """n x width and n labels, each clip with that of its bag; the logits' spread over them becomes 1."""
        rooted = _root(features)
        spread = rooted.std(0)
        scale = 1 / spread.clamp(min=float(spread.median()) * _LEAST_SPREAD + 1e-12)
        centre = rooted.mean(0)
        even = (rooted - centre) * scale
        count = min(self._axes, len(even) - 2, even.shape[1])
        _, size, axes = torch.svd_lowrank(even, q=min(count + 8, *even.shape), niter=4)
        white = axes[:, :count] * (len(even) ** 0.5 / size[:count].clamp(min=1e-6))  # to spread 1 on each
        weight = scale * (white @ self._direction(even @ white, anomalous))
        weight /= (rooted @ weight).std().clamp(min=1e-12)
        self.weight.copy_(weight)
        self.bias.fill_(-float(centre @ weight))

    def _direction(self, clips: Tensor, anomalous: Tensor) -> Tensor:
        """The inverse of what both classes' covariance is on average, times the difference of their means."""
        foreign, usual = clips[anomalous].mean(0), clips[~anomalous].mean(0)
        within = torch.cat([clips[anomalous] - foreign, clips[~anomalous] - usual])
        covariance = within.T @ within / len(within)
        even = covariance.diagonal().mean() * torch.eye(len(covariance))
        mixed = (1 - self._shrinkage) * covariance + self._shrinkage * even
        found: Tensor = torch.linalg.solve(mixed, foreign - usual)
        return found


def _root(features: Tensor) -> Tensor:
    return features.sign() * features.abs().sqrt()


def build_head(config: HeadConfig, width: int) -> Head:
    """For features of this width. Raises UsageError for a causal head without a past."""
    if config.kind == "ranking":
        return RankingHead(config, width)
    if config.kind == "discriminant":
        return DiscriminantHead(config, width)
    if not config.dilations or min(config.dilations) < 1:
        raise UsageError("a causal head needs dilations of 1 and more")
    return CausalHead(config, width)


def parameters(head: nn.Module) -> int:
    return sum(weights.numel() for weights in head.parameters())
