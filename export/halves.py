"""Anybody's ONNX model -> the same with half weights and arithmetic, float at both ends: for TensorRT."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.shape_inference import InferenceError

from export.tensorrt_rules import UnfitError

_LARGEST = float(np.finfo(np.float16).max)
_STAYS = {"Resize": {1, 2}, "Upsample": {1}}  # inputs that are float whatever the picture is


def halved(data: bytes) -> bytes:
    """Raises UnfitError for a model in which something can only be float."""
    model = onnx.load_from_string(data)
    graph = model.graph
    if any(part.type == AttributeProto.GRAPH for node in graph.node for part in node.attribute):
        raise UnfitError("the extractor has branches or loops, which are not halved")
    _halve_constants(graph)
    for node in graph.node:
        _halve_attributes(node)
    _cast_at_both_ends(graph)
    del graph.value_info[:]
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, InferenceError) as error:
        raise UnfitError(f"the extractor cannot be halved: {str(error).strip().splitlines()[0]}") from None
    return bytes(model.SerializeToString(deterministic=True))


def _halve_constants(graph: GraphProto) -> None:
    kept = {
        node.input[place]
        for node in graph.node
        for place in _STAYS.get(node.op_type, ())
        if place < len(node.input)
    }
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            tensor.CopyFrom(_half(tensor))


def _half(tensor: TensorProto) -> TensorProto:
    """What is beyond half's range becomes its end."""
    values = np.clip(numpy_helper.to_array(tensor), -_LARGEST, _LARGEST).astype(np.float16)
    return numpy_helper.from_array(values, tensor.name)


def _halve_attributes(node: NodeProto) -> None:
    for part in node.attribute:
        if part.type == AttributeProto.TENSOR and part.t.data_type == TensorProto.FLOAT:
            part.t.CopyFrom(_half(part.t))
        if node.op_type == "Cast" and part.name == "to" and part.i == TensorProto.FLOAT:
            part.i = TensorProto.FLOAT16


def _cast_at_both_ends(graph: GraphProto) -> None:
    given = next(value.name for value in graph.input)
    answer = graph.output[0].name
    for node in graph.node:
        node.input[:] = [f"{given}.half" if name == given else name for name in node.input]
        node.output[:] = [f"{answer}.half" if name == answer else name for name in node.output]
        node.input[:] = [f"{answer}.half" if name == answer else name for name in node.input]
    first = helper.make_node("Cast", [given], [f"{given}.half"], name="to_half", to=TensorProto.FLOAT16)
    last = helper.make_node("Cast", [f"{answer}.half"], [answer], name="to_float", to=TensorProto.FLOAT)
    graph.node.insert(0, first)
    graph.node.append(last)
