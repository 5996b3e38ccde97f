"""S3D, the separable 3D network of Xie et al. (2018): a clip of pictures -> 1024 numbers about what happens.

Its parameters are named as in the Kinetics-400 checkpoint that torchvision publishes, so that the file can
be loaded as it is. Imports nothing but PyTorch.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edge.errors import UsageError

WIDTH = 1024  # of a feature
CLASSES = 400  # of Kinetics
LEAST_FRAMES, LEAST_SIDE = 14, 32  # fewer leave nothing to the last pooling
PUBLISHED = "d76dad2f"  # how the sha256 of torchvision's own file begins, as its name s3d-d76dad2f.pth says

_MAX_BYTES = 1_000_000_000


class _Inception(NamedTuple):
    """Channels of the four branches: 1 x 1 alone; reduced, then 3 x 3, twice; pooled, then 1 x 1."""

    alone: int
    first: tuple[int, int]
    second: tuple[int, int]
    pooled: int

    @property
    def width(self) -> int:
        return self.alone + self.first[1] + self.second[1] + self.pooled


_GROUPS = (
    (_Inception(64, (96, 128), (16, 32), 32), _Inception(128, (128, 192), (32, 96), 64)),
    (
        _Inception(192, (96, 208), (16, 48), 64),
        _Inception(160, (112, 224), (24, 64), 64),
        _Inception(128, (128, 256), (24, 64), 64),
        _Inception(112, (144, 288), (32, 64), 64),
        _Inception(256, (160, 320), (32, 128), 128),
    ),
    (_Inception(256, (160, 320), (32, 128), 128), _Inception(384, (192, 384), (48, 128), 128)),
)


class WeightsError(UsageError):
    """A file of weights that cannot be used; the text says why in one sentence."""


class S3D(nn.Module):
    """n x 3 x frames x height x width float32, RGB normalised as for Kinetics -> n x 1024, the mean over time
    and place. `classes`: with that many, there is the classifier of the published file too; features do not
    need it."""

    def __init__(self, classes: int | None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(*_layers())
        if classes is not None:
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Conv3d(WIDTH, classes, kernel_size=1))

    def forward(self, clips: Tensor) -> Tensor:
        features: Tensor = self.features(clips).mean(dim=(2, 3, 4))
        return features


def _layers() -> list[nn.Module]:
    """Their places in this list are part of the parameters' names."""

    def spatial() -> nn.Module:
        return nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))

    layers: list[nn.Module] = [
        _separable(3, 64, side=7, stride=2),
        spatial(),
        _unit(64, 64),
        _separable(64, 192, side=3),
        spatial(),
    ]
    between = (nn.MaxPool3d(kernel_size=3, stride=2, padding=1), nn.MaxPool3d(kernel_size=2, stride=2))
    width = 192
    for group, pool in zip(_GROUPS, (*between, None), strict=True):
        for channels in group:
            layers.append(InceptionBlock(width, channels))
            width = channels.width
        if pool is not None:
            layers.append(pool)
    return layers


class InceptionBlock(nn.Module):
    """Four ways of looking at the same maps, side by side."""

    def __init__(self, width: int, channels: _Inception) -> None:
        super().__init__()
        self.branch0 = _unit(width, channels.alone)
        self.branch1 = _reduced(width, *channels.first)
        self.branch2 = _reduced(width, *channels.second)
        self.branch3 = nn.Sequential(
            nn.MaxPool3d(kernel_size=3, stride=1, padding=1), _unit(width, channels.pooled)
        )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([self.branch0(maps), self.branch1(maps), self.branch2(maps), self.branch3(maps)], 1)


def _reduced(width: int, between: int, out: int) -> nn.Sequential:
    return nn.Sequential(_unit(width, between), _separable(between, out, side=3))


def _separable(width: int, out: int, side: int, stride: int = 1) -> nn.Sequential:
    """First over the picture, then over time."""
    over_picture = _unit(width, out, (1, side, side), (1, stride, stride))
    return nn.Sequential(over_picture, _unit(out, out, (side, 1, 1), (stride, 1, 1)))


def _unit(
    width: int, out: int, kernel: tuple[int, int, int] = (1, 1, 1), stride: tuple[int, int, int] = (1, 1, 1)
) -> nn.Sequential:
    t, h, w = (side // 2 for side in kernel)
    return nn.Sequential(
        nn.Conv3d(width, out, kernel, stride, (t, h, w), bias=False),
        nn.BatchNorm3d(out, eps=1e-3, momentum=1e-3),
        nn.ReLU(inplace=True),
    )


def load_s3d(path: Path) -> tuple[S3D, str]:
    """(the network in evaluation mode, sha256 of the file). A classifier in the file is passed over.

    Raises WeightsError for what is not whole, finite weights of this network.
    """
    digest = weights_digest(path)
    _check_name(path, digest)
    network = S3D()
    content = _read(path)
    weights = {name: value for name, value in content.items() if not name.startswith("classifier.")}
    _check(path, weights, network.state_dict())
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    return network.eval(), digest


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():  # torch muses about damaged files before it gives up on them
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"the weights {path} cannot be read: {error.strerror or error}") from None
    except (
        *(RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError),
        *(pickle.UnpicklingError, zipfile.BadZipFile, AssertionError, OverflowError, MemoryError),
    ):
        raise WeightsError(
            f"{path} is not a file of plain PyTorch weights, or it is cut short; give torchvision's "
            f"s3d-{PUBLISHED}.pth"
        ) from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise WeightsError(f"{path} holds no named weights; give torchvision's s3d-{PUBLISHED}.pth")
    return content


def _check_name(path: Path, digest: str) -> None:
    """PyTorch's published files end in the begin of their sha256."""
    says = re.fullmatch(r".*-([0-9a-f]{8,64})", path.stem)
    if says and not digest.startswith(says[1]):
        raise WeightsError(
            f"{path} should have a sha256 that begins with {says[1]}, it has {digest[:12]}: cut short or "
            "changed; fetch the file again"
        )


def _check(path: Path, weights: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> None:
    missing = [name for name in wanted if name not in weights]
    foreign = [name for name in weights if name not in wanted]
    if missing or foreign:
        what = f"lacks {_first(missing)}" if missing else f"also has {_first(foreign)}"
        raise WeightsError(f"{path} {what}: those are not the weights of torchvision's s3d")
    for name, tensor in wanted.items():
        found = weights[name]
        if not isinstance(found, Tensor) or found.shape != tensor.shape:
            has = _by(found) if isinstance(found, Tensor) else "no tensor"
            raise WeightsError(f"{path}: {name} is {has} where S3D has {_by(tensor)}")
        if found.is_complex() or found.is_quantized or not bool(torch.isfinite(found).all()):
            raise WeightsError(f"{path} has NaN or infinite weights in {name}; fetch the file again")
        if name.endswith("running_var") and bool((found < 0).any()):
            raise WeightsError(f"{path} has negative variances in {name}; fetch the file again")


def _first(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _by(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"


def weights_digest(path: Path) -> str:
    """Raises WeightsError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise WeightsError(f"{path} is far too large for the weights of S3D (32 MB)")
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"the weights {path} cannot be read: {error.strerror}") from None
