"""Convolutions and matrix products in 8 bits whose ranges are measured once, on normal footage.

Two files are needed, because the two readers want opposite things. TensorRT takes symmetric signed integers,
quantisers in front of a layer's input and weights and nowhere else: one behind a convolution would part it
from its ReLU, a bias in integers is refused. ONNX Runtime on a processor takes unsigned inputs whose zero may
lie anywhere, and quantisers on both sides; TensorRT's file is slower there than float.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edge.runtimes import Tensor
from export.to_onnx import INPUT

# A ConvTranspose in integers was slower than in half precision on several versions of TensorRT, and wrong on
# one; ONNX Runtime on a processor has none at all.
TENSORRT_OPERATORS = ("Conv", "Gemm", "MatMul")
PROCESSOR_OPERATORS = ("Conv", "Relu")
SYMMETRIC = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "DedicatedQDQPair": False,
    "AddQDQPairToWeight": False,
}


class Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Normal footage, as the quantiser asks for it."""

    def __init__(self, tensors: Iterable[Tensor], name: str = INPUT) -> None:
        self._left: Iterator[Tensor] = iter(tensors)
        self._name = name

    def get_next(self) -> dict[str, Tensor] | None:
        tensor = next(self._left, None)
        return None if tensor is None else {self._name: tensor}


def for_tensorrt(
    model: onnx.ModelProto,
    normal: Iterable[Tensor],
    in_float: Collection[str],
    operators: Collection[str] = TENSORRT_OPERATORS,
) -> bytes:
    """Symmetric signed integers, on the inputs and weights of every layer that is not to stay in float."""
    options = {**SYMMETRIC, "OpTypesToExcludeOutputQuantization": list(operators)}
    return _quantised(model, normal, in_float, operators, QuantType.QInt8, options)


def for_processor(model: onnx.ModelProto, normal: Iterable[Tensor], in_float: Collection[str]) -> bytes:
    """Unsigned inputs, signed weights: what ONNX Runtime has fast kernels for on x86 and ARM.

    A ReLU behind such a convolution is taken along: else its input would be rounded too.
    """
    alone = {node.name for node in model.graph.node if node.op_type == "Relu"} - _behind(model, in_float)
    return _quantised(model, normal, {*in_float, *alone}, PROCESSOR_OPERATORS, QuantType.QUInt8, {})


def _behind(model: onnx.ModelProto, in_float: Collection[str]) -> set[str]:
    """ReLUs that follow a convolution in integers."""
    nodes = model.graph.node
    made = {
        name for node in nodes if node.op_type == "Conv" and node.name not in in_float for name in node.output
    }
    return {node.name for node in nodes if node.op_type == "Relu" and node.input[0] in made}


def _quantised(
    model: onnx.ModelProto,
    normal: Iterable[Tensor],
    in_float: Collection[str],
    operators: Collection[str],
    activations: QuantType,
    options: dict[str, Any],
) -> bytes:
    with tempfile.TemporaryDirectory(prefix="skerry-") as folder:
        file = Path(folder) / "model.onnx"
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # it recommends a preparation that the exporter has done
        try:
            quantize_static(
                model_input=model,
                model_output=file,
                calibration_data_reader=Pictures(normal),
                quant_format=QuantFormat.QDQ,
                activation_type=activations,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=list(operators),
                nodes_to_exclude=sorted(in_float),
                extra_options=options,
            )
        finally:
            logging.root.setLevel(level)
        return plain(onnx.load(file))


def plain(model: onnx.ModelProto) -> bytes:
    """The quantiser declares every domain it knows; what no node uses is a parser's stumbling block."""
    used = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    model.doc_string = model.producer_version = ""
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
