from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.runtimes import OnnxRuntime
from export.padding import fold_padding


def model(around: list[int], value: float | None = 0.0, mode: str = "constant", **convolution: Any) -> bytes:
    """A picture padded, and then a convolution of 3 x 3."""
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    constants = [
        numpy_helper.from_array(np.array(around, np.int64), "pads"),
        numpy_helper.from_array(np.array(value or 0.0, np.float32), "value"),
        numpy_helper.from_array(weights, "weights"),
    ]
    given = ["pictures", "pads"] if value is None else ["pictures", "pads", "value"]
    nodes = [
        helper.make_node("Pad", given, ["padded"], mode=mode),
        helper.make_node("Conv", ["padded", "weights"], ["maps"], strides=[2, 2], **convolution),
    ]
    graph = helper.make_graph(
        nodes,
        "padded",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [1, 3, 16, 20])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, [1, 4, None, None])],
        constants,
    )
    return bytes(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString()
    )


def answer(data: bytes) -> np.ndarray[Any, Any]:
    with OnnxRuntime(data, "padded") as runtime:
        return runtime(np.random.default_rng(1).random((1, 3, 16, 20), np.float32))


@pytest.mark.parametrize("convolution", [{}, {"pads": [1, 0, 2, 1]}])
@pytest.mark.parametrize("value", [0.0, None])
def test_zeros_around_a_picture_become_the_convolutions_own(
    convolution: dict[str, Any], value: float | None
) -> None:
    data = model([0, 0, 0, 1, 0, 0, 1, 2], value, **convolution)
    folded = onnx.load_from_string(data)
    assert fold_padding(folded) == 1
    assert [node.op_type for node in folded.graph.node] == ["Conv"]
    assert [tensor.name for tensor in folded.graph.initializer] == ["weights"]
    onnx.checker.check_model(folded, full_check=True)
    np.testing.assert_allclose(answer(folded.SerializeToString()), answer(data), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "data",
    [
        model([0, 0, 1, 1, 0, 0, 1, 1], value=1.0),
        model([0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"),
        model([0, 0, -1, 0, 0, 0, 1, 1]),
        model([0, 0, 1, 1, 0, 0, 1, 1], auto_pad="SAME_UPPER"),
    ],
    ids=["ones", "a mirror", "cutting off", "found out by a rule"],
)
def test_any_other_padding_stays(data: bytes) -> None:
    kept = onnx.load_from_string(data)
    assert fold_padding(kept) == 0
    assert kept.SerializeToString() == data


def test_padding_that_something_else_reads_too_stays() -> None:
    shared = onnx.load_from_string(model([0, 0, 1, 1, 0, 0, 1, 1]))
    shared.graph.output.append(helper.make_tensor_value_info("padded", TensorProto.FLOAT, None))
    assert fold_padding(shared) == 0


def test_padding_of_the_channels_stays() -> None:
    data = model([0, 1, 0, 0, 0, 0, 0, 0])
    kept = onnx.load_from_string(data)
    assert fold_padding(kept) == 0
