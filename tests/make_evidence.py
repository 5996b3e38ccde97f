"""Makes tests/data/evidence.onnx: a stand-in for a network of evidence, of a kilobyte and without training.

It has the contract of one: 1 x 6 x 384 x 512 (the picture now and an earlier one, RGB in [0, 1]) to
1 x 68 x 48 x 64: logits 2 x 2 to a cell, then 64 features. Its logits are high where grey differs from the
grey around it; its features are means and mean squares of the six planes, and 52 that are always 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

EVIDENCE = Path(__file__).parent / "data" / "evidence.onnx"
HEIGHT, WIDTH = 384, 512
STEEP, SURE = 100.0, 8.0  # logit = STEEP * difference - SURE: 0.08 of the range of grey is even odds


def evidence_model() -> bytes:
    graph = helper.make_graph(
        [*_head(), *_features(), helper.make_node("Concat", ["logits", "features"], ["evidence"], axis=1)],
        "evidence",
        [helper.make_tensor_value_info("pair", TensorProto.FLOAT, [1, 6, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("evidence", TensorProto.FLOAT, [1, 68, HEIGHT // 8, WIDTH // 8])],
        [
            _constant("first", [0], np.int64),
            _constant("fourth", [3], np.int64),
            _constant("colours", [1], np.int64),
            _constant("pads", [0, 0, 0, 0, 0, 52, 0, 0], np.int64),
            _constant("steep", STEEP, np.float32),
            _constant("sure", SURE, np.float32),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _head() -> list[NodeProto]:
    make = helper.make_node
    return [
        make("Slice", ["pair", "first", "fourth", "colours"], ["now"]),
        make("ReduceMean", ["now", "colours"], ["gray"], keepdims=1),
        make("AveragePool", ["gray"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        make("AveragePool", ["small"], ["around"], kernel_shape=[15, 15], pads=[7] * 4, count_include_pad=0),
        make("Sub", ["small", "around"], ["signed"]),
        make("Abs", ["signed"], ["difference"]),
        make("Mul", ["difference", "steep"], ["steeper"]),
        make("Sub", ["steeper", "sure"], ["large"]),
        make("SpaceToDepth", ["large"], ["logits"], blocksize=2),
    ]


def _features() -> list[NodeProto]:
    make = helper.make_node
    return [
        make("AveragePool", ["pair"], ["means"], kernel_shape=[8, 8], strides=[8, 8]),
        make("Mul", ["pair", "pair"], ["squares"]),
        make("AveragePool", ["squares"], ["powers"], kernel_shape=[8, 8], strides=[8, 8]),
        make("Concat", ["means", "powers"], ["moments"], axis=1),
        make("Pad", ["moments", "pads"], ["features"]),
    ]


def _constant(name: str, value: object, dtype: type) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


if __name__ == "__main__":
    EVIDENCE.write_bytes(evidence_model())
