"""What TensorRT 10.3 to 11.4 demand of a file in 8 bits, checked on the file. Nothing here asks TensorRT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edge.errors import SkerryError
from export.layers import HEAVY

LEAST_OPSET = 13  # one scale for each output channel
HALF_SCALES_OPSET = 19


class UnfitError(SkerryError):
    """A file that TensorRT would refuse, or run otherwise than meant."""

    exit_code = 3


def must_suit_tensorrt(model: bytes) -> None:
    """Raises UnfitError that names every broken rule."""
    broken = list(broken_rules(onnx.load_from_string(model)))
    if broken:
        raise UnfitError(f"the int8-trt model does not suit TensorRT: {'; '.join(broken)}")


def broken_rules(model: onnx.ModelProto) -> Iterator[str]:
    file = _File(model)
    yield from file.of_the_container()
    yield from file.of_the_quantisers()
    yield from file.of_the_layers()


class _File:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.stored = {part.name: part for part in model.graph.initializer}
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def of_the_container(self) -> Iterator[str]:
        opsets = [(opset.domain, opset.version) for opset in self.model.opset_import]
        if len(opsets) != 1 or opsets[0][0]:
            yield f"operator sets {opsets}, where one of the standard domain is allowed"
        elif opsets[0][1] < LEAST_OPSET:
            yield f"operator set {opsets[0][1]}, at least {LEAST_OPSET} is needed"
        if any(part.data_location == onnx.TensorProto.EXTERNAL for part in self.stored.values()):
            yield "weights outside the file"

    def of_the_quantisers(self) -> Iterator[str]:
        quantisers = [node for node in self.nodes if _is(node, "QuantizeLinear", "DequantizeLinear")]
        if not quantisers:
            yield "nothing is quantised"
        for node in quantisers:
            zero = self._array(node.input[2]) if len(node.input) > 2 else None
            if zero is None or zero.dtype != np.int8 or zero.any():
                yield f"{node.name} has a zero point that is not 0 in int8"
            scale = self._array(node.input[1])
            if scale is not None and scale.dtype == np.float16 and self._opset() < HALF_SCALES_OPSET:
                yield f"{node.name} has a scale in half precision, below operator set {HALF_SCALES_OPSET}"

    def of_the_layers(self) -> Iterator[str]:
        for node in self.nodes:
            if node.op_type not in HEAVY:
                continue
            quantised = [self._is_dequantised(name) for name in node.input]
            if quantised[0] != quantised[1]:
                yield f"{node.name} has only one of input and weights quantised"
            if any(quantised[2:]):
                yield f"{node.name} has a quantised bias"
            if any(_is(reader, "QuantizeLinear") for reader in self._behind(node)) and self._has_relu(node):
                yield f"{node.name} is parted from its ReLU by a quantiser"

    def _behind(self, node: Any) -> list[Any]:
        return [reader for name in node.output for reader in self.readers.get(name, [])]

    def _has_relu(self, node: Any) -> bool:
        """Whether a ReLU follows, be it behind the quantisers."""
        ahead = self._behind(node)
        while ahead and all(_is(one, "QuantizeLinear", "DequantizeLinear") for one in ahead):
            ahead = [reader for one in ahead for reader in self._behind(one)]
        return any(_is(one, "Relu") for one in ahead)

    def _is_dequantised(self, name: str) -> bool:
        return name in self.maker and _is(self.maker[name], "DequantizeLinear")

    def _array(self, name: str) -> np.ndarray[Any, Any] | None:
        return np.asarray(numpy_helper.to_array(self.stored[name])) if name in self.stored else None

    def _opset(self) -> int:
        return max((opset.version for opset in self.model.opset_import), default=0)


def _is(node: Any, *operators: str) -> bool:
    return node.op_type in operators
