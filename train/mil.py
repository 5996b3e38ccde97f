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
from train.whitening import LEAST_SPREAD, root, whitening


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
    whiten: int = Field(default=0, ge=0, le=1024)  # directions that features are brought to; 0: none
    unit: bool = False  # what came of that is brought to length 1
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

    def likened(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same, and what a head with prototypes says of them."""
        return self.sequence(features), None

    def fit(self, features: Tensor, anomalous: Tensor) -> None:
        """Before training: n x width as the head will see them, and of each whether its bag is anomalous."""

    @property
    def learner(self) -> Head:
        """The part that training changes; it takes what `prepared` gives, which is settled by `fit`."""
        return self

    def prepared(self, features: Tensor) -> Tensor:
        return features


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

    Features are brought to mean 0 and spread 1 first, by what `fit` saw of them.
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

    @torch.no_grad()
    def fit(self, features: Tensor, anomalous: Tensor) -> None:
        """What hardly varies is left alone."""
        spread = features.std(0)
        self.centre.copy_(features.mean(0))
        self.scale.copy_(1 / spread.clamp(min=float(spread.median()) * LEAST_SPREAD + 1e-12))

    def forward(self, features: Tensor) -> Tensor:
        return self._read(self._valid(features))[0][:, -1]

    def sequence(self, features: Tensor) -> Tensor:
        return self.likened(features)[0]

    def likened(self, features: Tensor) -> tuple[Tensor, Tensor]:
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
        logits: Tensor = root(features) @ self.weight + self.bias
        return logits

    @torch.no_grad()
    def fit(self, features: Tensor, anomalous: Tensor) -> None:
        """The logits' spread over them becomes 1."""
        rooted = root(features)
        centre, white = whitening(rooted, self._axes)
        weight = white @ self._direction((rooted - centre) @ white, anomalous)
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


class WhitenedHead(Head):
    """A head on the roots of the numbers in a feature, brought to few directions, of which none outweighs
    another: those in which clips differ most, be their labels what they may.

    There are many more numbers than clips, and few sources: a head on all of them learns the cameras.
    """

    centre: Tensor
    white: Tensor

    def __init__(self, inner: Head, width: int, axes: int, unit: bool) -> None:
        super().__init__()
        self.inner, self.history, self._unit = inner, inner.history, unit
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("white", torch.eye(width, axes))

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.inner(self._whitened(features))
        return logits

    def sequence(self, features: Tensor) -> Tensor:
        return self.inner.sequence(self._whitened(features))

    def likened(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.inner.likened(self._whitened(features))

    @torch.no_grad()
    def fit(self, features: Tensor, anomalous: Tensor) -> None:
        centre, white = whitening(root(features), self.white.shape[1])
        self.centre.copy_(centre)
        self.white.zero_()[:, : white.shape[1]].copy_(white)  # fewer clips have fewer directions
        self.inner.fit(self._whitened(features), anomalous)

    @property
    def learner(self) -> Head:
        return self.inner.learner

    @torch.no_grad()
    def prepared(self, features: Tensor) -> Tensor:
        return self.inner.prepared(self._whitened(features.to(self.centre.device)))

    def _whitened(self, features: Tensor) -> Tensor:
        found: Tensor = (root(features) - self.centre) @ self.white
        if not self._unit:
            return found
        return found / found.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-12)


def build_head(config: HeadConfig, width: int) -> Head:
    """For features of this width. Raises UsageError for a causal head without a past."""
    if not config.whiten:
        return _plain_head(config, width)
    axes = min(config.whiten, width)
    return WhitenedHead(_plain_head(config, axes), width, axes, config.unit)


def _plain_head(config: HeadConfig, width: int) -> Head:
    if config.kind == "ranking":
        return RankingHead(config, width)
    if config.kind == "discriminant":
        return DiscriminantHead(config, width)
    if not config.dilations or min(config.dilations) < 1:
        raise UsageError("a causal head needs dilations of 1 and more")
    return CausalHead(config, width)


def parameters(head: nn.Module) -> int:
    """All that a head carries: what is learnt, and the directions that features are brought to."""
    directions = head.white.numel() if isinstance(head, WhitenedHead) else 0
    return directions + sum(weights.numel() for weights in head.parameters())
