"""The forms in which one network flies: as trained, and the fastest that a processor without a GPU runs.

`int8-cpu` is what measuring left over. ONNX Runtime's convolutions work on blocks of 16 channels, so the
published 15/30/60 are widened to 16/32/64, which changes nothing in the answer and saves a tenth of the
time. The two Linear layers hold 99 % of the weights and wait for memory, so they become integers. The
convolutions stay in float: those of the decoder see long-tailed inputs behind ReLU and BatchNorm, and
quantising them moves the score by half while ONNX Runtime gains no time by it.

A scout flies in fp32 only. Its convolutions in static int8, all but the first and the head's, take 15 ms for
31, but move a tile's peak by up to 2 % and its features by as much of their spread; with only those in int8
that are coarse enough to stay within the gate, a tenth of the time is gained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

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


RESTORED, EVIDENCE = "restored", "evidence"  # what the answers are called in the models

Make: TypeAlias = Callable[[Any, InputSpec], bytes]  # of the network that its kind of checkpoint holds


def fp32(network: CAE, spec: InputSpec) -> bytes:
    return to_onnx(network, spec, RESTORED)


def int8_cpu(network: CAE, spec: InputSpec) -> bytes:
    return integer_linear(to_onnx(widened(network), spec, RESTORED), WEIGHT_BYTES)


def evidence_fp32(network: nn.Module, spec: InputSpec) -> bytes:
    """The exporter has folded every BatchNorm into the convolution before it."""
    return to_onnx(network, spec, EVIDENCE)


CAE_VARIANTS: Mapping[str, Make] = {"fp32": fp32, "int8-cpu": int8_cpu}
SCOUT_VARIANTS: Mapping[str, Make] = {"fp32": evidence_fp32}


def parse_variants(words: str, known: Iterable[str]) -> tuple[str, ...]:
    """`fp32,int8-cpu` -> names, each once, in the order given. Raises UsageError for others than `known`."""
    known = tuple(known)
    names = tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
    for name in names:
        if name not in known:
            raise UsageError(
                f"--variants {name}: this model has no such variant{nearest(name, known)}; "
                f"known: {', '.join(known)}"
            )
    if not names:
        raise UsageError(f"--variants names no variant; known: {', '.join(known)}")
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
