"""The forms in which one network flies: as trained, and the fastest that a processor without a GPU runs.

`int8-cpu` is what measuring left over. ONNX Runtime's convolutions work on blocks of 16 channels, so the
published 15/30/60 are widened to 16/32/64, which changes nothing in the answer and saves a tenth of the
time. The two Linear layers hold 99 % of the weights and wait for memory: as int8 they are read four times
faster. The decoder stays in float: behind ReLU and BatchNorm its inputs are long-tailed, and quantising it
moves the score by half while ONNX Runtime gains no time by it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import onnx
import torch
from torch import Tensor

from edge.errors import UsageError, nearest
from edge.preprocess import InputSpec
from export.to_onnx import quietly, to_onnx
from train.cae import CAE

BLOCK = 16  # channels that ONNX Runtime's convolution kernels take at a time


def fp32(network: CAE, spec: InputSpec) -> bytes:
    return to_onnx(network, spec)


def int8_cpu(network: CAE, spec: InputSpec) -> bytes:
    return quantised_linear(to_onnx(widened(network), spec))


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


def quantised_linear(model: bytes) -> bytes:
    """The model with its matrix products in int8: weights fixed now, inputs scaled anew for each picture."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="skerry-export-") as folder, quietly():
        out = Path(folder) / "int8.onnx"
        quantize_dynamic(
            onnx.load_from_string(model),
            out,
            op_types_to_quantize=["Gemm", "MatMul"],
            weight_type=QuantType.QInt8,
        )
        return out.read_bytes()
