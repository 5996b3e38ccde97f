"""The forms in which one network flies, each as bytes of an ONNX model.

`fp32` as trained. `fp16` has halved weights and float at both ends. `int8-cpu` is what measuring left over
for a processor, `int8-trt` is for TensorRT; which layers stay in float is decided in `export.makers`.

On a processor an autoencoder is widened (see `export.widening`), and its two Linear layers, which hold 99 %
of the weights and wait for memory, become integers. Its convolutions stay in float: those of the decoder see
long-tailed inputs, and quantising them moves the score by half while ONNX Runtime gains no time by it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from edge.errors import UsageError, nearest
from edge.preprocess import InputSpec
from export.integers import integer_linear
from export.strided import strided
from export.to_onnx import to_onnx
from export.widening import streamlined
from train.cae import CAE

RESTORED, EVIDENCE = "restored", "evidence"  # what the answers are called in the models

# Bytes for each weight of the two Linear layers, fastest first. The first sums thousands of features into
# each of a few numbers that everything else hangs on; of a network trained to reconstruct well, one byte
# there moves a frame's score by up to 0.6 %, two by 0.03 %. One byte is enough in the second.
WEIGHT_BYTES = ((1, 1), (2, 1))


class _Half(nn.Module):
    """Halved weights, float in and out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).half()

    def forward(self, pictures: Tensor) -> Tensor:
        answer: Tensor = self.network(pictures.half()).float()
        return answer


def fp32(network: nn.Module, spec: InputSpec, answer: str = RESTORED) -> bytes:
    """The exporter folds every BatchNorm that stands behind a convolution into it."""
    return to_onnx(network, spec, answer)


def fp16(network: nn.Module, spec: InputSpec, answer: str = RESTORED) -> bytes:
    return to_onnx(_Half(network), spec, answer)


def evidence_fp32(network: nn.Module, spec: InputSpec) -> bytes:
    return fp32(strided(network), spec, EVIDENCE)


def evidence_fp16(network: nn.Module, spec: InputSpec) -> bytes:
    return fp16(strided(network), spec, EVIDENCE)


def int8_cpu(network: CAE, spec: InputSpec, weight_bytes: Sequence[int] = WEIGHT_BYTES[-1]) -> bytes:
    return integer_linear(to_onnx(streamlined(network), spec, RESTORED), weight_bytes)


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
