"""Makes the models of clip bundles for tests: extractors and heads of a kilobyte, without training.

`patches.onnx`: a picture of 32 x 32 to the means of its 4 x 4 patches in three colours (48);
`patches3d.onnx`: the same of four pictures at once. `red.onnx`: two features to how much redder than green
they are; `change.onnx`: one feature with changes (96) to how large the changes are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parent / "data"
WIDTH = 48
RED = np.repeat(np.array([10.0, -10.0, 0.0], np.float32), 16)
CHANGE = np.concatenate([np.zeros(WIDTH, np.float32), np.full(WIDTH, 10.0, np.float32)])


def models() -> dict[str, bytes]:
    return {
        "patches.onnx": _extractor([1, 3, 32, 32], [8, 8]),
        "patches3d.onnx": _extractor([1, 3, 4, 32, 32], [4, 8, 8]),
        "red.onnx": _head(2, RED),
        "change.onnx": _head(1, CHANGE),
    }


def _extractor(shape: list[int], kernel: list[int]) -> bytes:
    nodes = [
        helper.make_node("AveragePool", ["pictures"], ["patches"], kernel_shape=kernel, strides=kernel),
        helper.make_node("Flatten", ["patches"], ["embedding"]),
    ]
    return _model(nodes, ("pictures", shape), ("embedding", [1, WIDTH]), [])


def _head(history: int, weights: NDArray[np.float32]) -> bytes:
    nodes = [
        helper.make_node("ReduceMean", ["features", "time"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logit"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "time"),
        numpy_helper.from_array(weights, "weights"),
    ]
    return _model(nodes, ("features", [1, history, len(weights)]), ("logit", [1]), constants)


def _model(
    nodes: list[NodeProto],
    taken: tuple[str, list[int]],
    given: tuple[str, list[int]],
    constants: list[TensorProto],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "clips",
        [helper.make_tensor_value_info(taken[0], TensorProto.FLOAT, taken[1])],
        [helper.make_tensor_value_info(given[0], TensorProto.FLOAT, given[1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    for name, data in models().items():
        (FOLDER / name).write_bytes(data)
