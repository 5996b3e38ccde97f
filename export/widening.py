"""The same autoencoder, arranged so that a processor runs it faster. Nothing here changes an answer.

ONNX Runtime's convolutions work on blocks of 16 channels, so the published 15/30/60 are widened to 16/32/64
with channels that carry zeros. One of those then carries ones instead: the decoder's BatchNorms sit behind a
ReLU, where no exporter can fold them, and while their scale may move into the next layer's weights, their
offset may not become its bias, because a transposed convolution covers some pixels more often than others.
Seen through a channel of ones the offset is one more weight, right at every pixel and free.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch
from torch import Tensor, nn

from train.cae import CAE

BLOCK = 16  # channels that ONNX Runtime's convolution kernels take at a time


def streamlined(network: CAE) -> CAE:
    """Widened, and without the BatchNorms that have room to be folded."""
    wide = widened(network)
    outer, middle, _ = network.config.channels
    stages = list(wide.decoder)
    for behind, (stage, following) in zip((middle, outer), itertools.pairwise(stages), strict=True):
        _fold(stage, following, behind)
    return wide


def widened(network: CAE, block: int = BLOCK) -> CAE:
    """The same function with every channel count rounded up to whole blocks; the new channels carry zeros.

    Exact: weights, biases and the scale and offset of a BatchNorm are zero there, so nothing enters them and
    nothing leaves.
    """
    outer, middle, inner = (-(-channels // block) * block for channels in network.config.channels)
    wide = CAE(replace(network.config, channels=(outer, middle, inner)))
    trained = network.state_dict()
    wide.load_state_dict({name: _padded(trained[name], like) for name, like in wide.state_dict().items()})
    return wide.eval()


def _fold(stage: nn.Module, following: nn.Module, spare: int) -> None:
    """Move a stage's BatchNorm into the next stage's weights, its offset through channel `spare`."""
    up, _, norm = stage.children()
    after = next(following.children())
    assert isinstance(up, nn.ConvTranspose2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(after, nn.ConvTranspose2d)
    if spare == up.out_channels:  # no room
        return
    scale, offset = _affine(norm)
    with torch.no_grad():
        ones = torch.einsum("c,cokl->okl", offset, after.weight)
        after.weight *= scale[:, None, None, None]
        after.weight[spare] = ones
        assert up.bias is not None
        up.bias[spare] = 1.0  # its weights are zero, so it is 1 everywhere, and ReLU lets 1 pass
    assert isinstance(stage, nn.Sequential)
    del stage[2]


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def _padded(trained: Tensor, like: Tensor) -> Tensor:
    """Zeros of `like`'s shape with `trained` in the corner. A flattened map keeps its channels in front, so
    the corner is right for the Linear layers too."""
    padded = torch.zeros_like(like)
    padded[tuple(slice(size) for size in trained.shape)] = trained
    return padded
