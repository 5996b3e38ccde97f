"""Makes tests/data/blur.onnx: a stand-in reconstructor that averages 15 x 15 pixels.

It rebuilds smooth backgrounds and not small things, as a CAE does, in half a kilobyte and without training.
The part that flies is tested without the onnx package, so the file is kept; a test rebuilds and compares it.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

BLUR = Path(__file__).parent / "data" / "blur.onnx"


def blur_model(height: int = 124, width: int = 124) -> bytes:
    shape = [1, 3, height, width]
    node = helper.make_node(
        "AveragePool", ["picture"], ["rebuilt"], kernel_shape=[15, 15], pads=[7, 7, 7, 7], count_include_pad=0
    )
    graph = helper.make_graph(
        [node],
        "blur",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("rebuilt", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    BLUR.write_bytes(blur_model())
