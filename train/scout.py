"""The scout: sees small things that do not belong, and things that move as nothing there moves.

It looks at a picture and an earlier one that lies on it, both at their own size. It learns on normal footage
into which foreign patches were pasted: to mark them, and to paint over them what was there before. Fully
convolutional, so that training on small crops serves tiles of any size. Imports nothing but PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pixel_shuffle, pixel_unshuffle, relu

MULTIPLE = 16  # height and width must be one of it: four halvings
_RARE = -3.0  # logit that the head starts with: foreign pixels are few


@dataclass(frozen=True)
class ScoutConfig:
    """What must be known to build the network; saved in every checkpoint."""

    stem: int = 24
    channels: tuple[int, int, int] = (32, 64, 96)  # at a quarter, an eighth, a sixteenth of the size

    def __post_init__(self) -> None:
        if min(self.stem, *self.channels) < 1:
            raise ValueError(f"stem {self.stem} and channels {self.channels} must all be at least 1")


class Scout(nn.Module):
    """n x 6 x H x W float32 in [0, 1], RGB now and RGB earlier -> how foreign, and what should be there.

    In training (logits n x 1 x H/4 x W/4, repaired n x 3 x H x W).
    """

    def __init__(self, config: ScoutConfig) -> None:
        super().__init__()
        self.config = config
        quarter, eighth, sixteenth = config.channels
        self.down4 = nn.Sequential(
            _layer(6, config.stem, stride=2),
            _layer(config.stem, quarter, stride=2),
            _Residual(quarter),
        )
        self.down8 = nn.Sequential(_layer(quarter, eighth, stride=2), _Residual(eighth))
        self.down16 = nn.Sequential(_layer(eighth, sixteenth, stride=2), _Residual(sixteenth))
        self.to8, self.up8 = nn.Conv2d(sixteenth, eighth, kernel_size=1), _layer(eighth, eighth)
        self.to4, self.up4 = nn.Conv2d(eighth, quarter, kernel_size=1), _layer(quarter, quarter)
        self.head = nn.Conv2d(quarter, 1, kernel_size=3, padding=1)
        self.painter = nn.Conv2d(quarter, 3 * 4 * 4, kernel_size=3, padding=1)  # only training needs it
        nn.init.constant_(self.head.bias, _RARE)  # type: ignore[arg-type]

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        fine, _ = self.seen(pictures)
        return self.head(fine), pixel_shuffle(self.painter(fine), 4)

    def seen(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(what the head looks at, n x quarter x H/4 x W/4; the features, the same at H/8 x W/8: as a density
        they tell strange things apart better than any map before them)."""
        quarter = self.down4(pictures)
        eighth = self.down8(quarter)
        eighth = self.up8(eighth + _doubled(self.to8(self.down16(eighth))))
        fine: Tensor = self.up4(quarter + _doubled(self.to4(eighth)))
        return fine, avg_pool2d(fine, 2)


class ScoutFlight(nn.Module):
    """n x 6 x H x W -> `evidence` n x (4 + quarter) x H/8 x W/8: the logits, 2 x 2 to a cell, and the
    features. The painter does not fly."""

    def __init__(self, network: Scout) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        fine, features = self.network.seen(pictures)
        return torch.cat([pixel_unshuffle(self.network.head(fine), 2), features], dim=1)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _layer(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, maps: Tensor) -> Tensor:
        return relu(maps + self.second(self.first(maps)))


def _layer(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def _doubled(maps: Tensor) -> Tensor:
    return interpolate(maps, scale_factor=2.0, mode="nearest")
