"""The convolutional autoencoder: 124 x 124 colour pictures through 225 numbers and back.

What it has seen on normal flights comes back well, what it has not comes back badly; the difference says
where. Imports nothing but PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

# `relu-batchnorm-sigmoid` is the published order. The batch normalisation supplies the negative offset that
# dark pixels need; what is left is a dark floor of about 0.06-0.08. ReLU straight into a sigmoid can never
# answer less than 0.5 and does worse than a constant picture, so it is not offered.
Tail = Literal["relu-batchnorm-sigmoid", "sigmoid"]

SIDE = 124  # pixels; the convolutions below give the published sizes for this side only
_BOTTOM = 15  # side of the innermost map: 124 -> 62 -> 31 -> 15


@dataclass(frozen=True)
class CaeConfig:
    """What must be known to build the network; saved in every checkpoint."""

    channels: tuple[int, int, int] = (15, 30, 60)
    latent: int = 225
    tail: Tail = "relu-batchnorm-sigmoid"

    def __post_init__(self) -> None:
        if self.tail not in get_args(Tail):
            raise ValueError(f"tail {self.tail!r} is not one of {', '.join(get_args(Tail))}")


class CAE(nn.Module):
    """n x 3 x 124 x 124 float32 in [0, 1] -> the same shape and range."""

    def __init__(self, config: CaeConfig) -> None:
        super().__init__()
        self.config = config
        outer, middle, inner = config.channels
        flat = inner * _BOTTOM * _BOTTOM
        self.encoder = nn.Sequential(_down(3, outer), _down(outer, middle), _down(middle, inner))
        self.bottleneck = nn.Sequential(
            nn.Flatten(),
            nn.Linear(flat, config.latent),
            nn.Linear(config.latent, flat),
            nn.Unflatten(1, (inner, _BOTTOM, _BOTTOM)),
        )
        self.decoder = nn.Sequential(
            _up(inner, middle, padding=0),
            _up(middle, outer, padding=1),
            nn.Sequential(
                nn.ConvTranspose2d(outer, 3, kernel_size=3, stride=2, output_padding=1), *_tail(config.tail)
            ),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        restored: Tensor = self.decoder(self.bottleneck(self.encoder(pictures)))
        return restored


def _down(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1),
        nn.MaxPool2d(kernel_size=2, stride=2),
        nn.ReLU(),
    )


def _up(channels_in: int, channels_out: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, channels_out, kernel_size=3, stride=2, padding=padding),
        nn.ReLU(),
        nn.BatchNorm2d(channels_out),
    )


def _tail(tail: Tail) -> list[nn.Module]:
    if tail == "sigmoid":
        return [nn.Sigmoid()]
    return [nn.ReLU(), nn.BatchNorm2d(3), nn.Sigmoid()]
