"""The forms in which one network flies: as trained, and the fastest that a processor without a GPU runs.

`int8-cpu` is what measuring left over. ONNX Runtime's convolutions work on blocks of 16 channels, so the
published 15/30/60 are widened to 16/32/64, which changes nothing in the answer and saves a tenth of the
time. The two Linear layers hold 99 % of the weights and wait for memory, so they become integers. The
convolutions stay in float: those of the decoder see long-tailed inputs behind ReLU and BatchNorm, and
quantising them moves the score by half while ONNX Runtime gains no time by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from edge.errors import UsageError, nearest
from edge.preprocess import InputSpec
from export.integers import integer_linear
from export.to_onnx import to_onnx
from train.cae import CAE

BLOCK = 16  # channels that ONNX Runtime's convolution kernels take at a time

# Bytes for each weight of the two Linear layers. The first sums thousands of features into each of a few
# numbers that everything else hangs on; one byte there moves a frame's score by up to 0.6 %, two by 0.03 %.
# One byte is enough in the second.
WEIGHT_BYTES = (2, 1)


def fp32(network: CAE, spec: InputSpec) -> bytes:
    return to_onnx(network, spec)


def int8_cpu(network: CAE, spec: InputSpec) -> bytes:
    return integer_linear(to_onnx(widened(network), spec), WEIGHT_BYTES)


VARIANTS: Mapping[str, Callable[[CAE, InputSpec], bytes]] = {"fp32": fp32, "int8-cpu": int8_cpu}


def parse_variants(words: str) -> tuple[str, ...]:
    """`fp32,int8-cpu` -> names, each once, in the order given. Raises UsageError."""
    names = tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
    for name in names:
        if name not in VARIANTS:
            raise UsageError(
                f"--variants {name}: there is no such variant{nearest(name, VARIANTS)}; "
                f"known: {', '.join(VARIANTS)}"
            )
    if not names:
        raise UsageError(f"--variants names no variant; known: {', '.join(VARIANTS)}")
    return names


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


def _padded(trained: Tensor, like: Tensor) -> Tensor:
    """Zeros of `like`'s shape with `trained` in the corner. A flattened map keeps its channels in front, so
    the corner is right for the Linear layers too."""
    padded = torch.zeros_like(like)
    padded[tuple(slice(size) for size in trained.shape)] = trained
    return padded
