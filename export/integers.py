"""Matrix products in int8 arithmetic, precise enough for a score that is a small difference of large sums.

Plain dynamic int8 is not: a network trained to reconstruct well has an error so small that rounding its
Linear layers to one byte moves a frame's score by some percent. The time goes into reading the weights from
memory, not into arithmetic, and that decides what precision costs:

- Inputs become two bytes, the second holding what the first rounded away. Both are rows of one product, so
  the weights are still read once: this costs nothing.
- Weights become one byte or two, side by side: a quarter or half as long to read as float.

Weights keep to 7 bits a byte. Sums of two products then fit the 16 bits that x86 processors without VNNI
add them up in, so every processor gets the same integers and a variant checked at the desk is the variant
that flies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, inliner, numpy_helper, parser

WEIGHT_LEVELS = 63  # 2 * 255 * 63 < 2**15
SECOND_WEIGHT = 1 / (2 * WEIGHT_LEVELS)  # of the first byte's step: rounding leaves at most half a step
DOMAIN = "skerry"

# `step` is what one unit of the first byte means, 1/254 of it what one unit of the second means.
# `weights` is inputs x (bytes * outputs); `significance` weighs the bytes, `split` is [bytes, outputs].
_LINEAR = """
<domain: "skerry", opset_import: ["" : 18]>
IntegerLinear (x, weights, scale, bias, significance, split) => (y)
{
    middle = Constant <value = uint8 {128}> ()
    least = Constant <value = float {1e-30}> ()
    levels = Constant <value = float {127.0}> ()
    finer = Constant <value = float {254.0}> ()
    rows = Constant <value = float[1, 2] {1.0, 0.003937007874015748}> ()
    size = Abs (x)
    largest = ReduceMax <keepdims = 0> (size)
    positive = Max (largest, least)
    step = Div (positive, levels)
    first = QuantizeLinear (x, step, middle)
    known = DequantizeLinear (first, step, middle)
    rest = Sub (x, known)
    fine_step = Div (step, finer)
    second = QuantizeLinear (rest, fine_step, middle)
    bytes = Concat <axis = 0> (first, second)
    counts = MatMulInteger (bytes, weights, middle)
    sums = Cast <to = 1> (counts)
    parts = MatMul (rows, sums)
    by_byte = Reshape (parts, split)
    whole = MatMul (significance, by_byte)
    unit = Mul (step, scale)
    product = Mul (whole, unit)
    y = Add (product, bias)
}
"""


def integer_linear(model: bytes, weight_bytes: Sequence[int]) -> bytes:
    """The model with its Gemm nodes, in their order, in int8 with one or two bytes a weight."""
    loaded = onnx.load_from_string(model)
    graph = loaded.graph
    layers = [node for node in graph.node if node.op_type == "Gemm"]
    for layer, count in zip(layers, weight_bytes, strict=True):
        _replace(graph, layer, count)
    loaded.functions.append(parser.parse_function(_LINEAR))
    loaded.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    plain = inliner.inline_local_functions(loaded)
    kept = [opset for opset in plain.opset_import if opset.domain != DOMAIN]
    del plain.opset_import[:]
    plain.opset_import.extend(kept)
    onnx.checker.check_model(plain, full_check=True)
    return bytes(plain.SerializeToString())


def _replace(graph: Any, layer: Any, count: int) -> None:
    """Turn a Gemm of a 1 x inputs row, its weights outputs x inputs, into a call of the function above."""
    x, name, *bias = layer.input
    stored = next(part for part in graph.initializer if part.name == name)
    weights, scale = to_bytes(numpy_helper.to_array(stored), count)
    significance = np.array([[1, SECOND_WEIGHT][:count]], np.float32)
    constants = {
        "bytes": weights,
        "scale": scale,
        "significance": significance,
        "split": np.array([count, len(scale)], np.int64),
        "no_bias": np.zeros(len(scale), np.float32),  # the exporter leaves out a bias that is all zeros
    }
    if bias:
        del constants["no_bias"]
    graph.initializer.remove(stored)
    for what, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(value, f"{name}.{what}"))
    offset = bias[0] if bias else f"{name}.no_bias"
    inputs = [x, f"{name}.bytes", f"{name}.scale", offset, f"{name}.significance", f"{name}.split"]
    call = helper.make_node("IntegerLinear", inputs, list(layer.output), name=layer.name, domain=DOMAIN)
    layer.CopyFrom(call)


def to_bytes(weights: NDArray[np.float32], count: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """outputs x inputs -> inputs x (count * outputs) in [-63, 63], and the step of each output."""
    largest = np.abs(weights).max(axis=1, keepdims=True).astype(np.float64)
    step = np.where(largest > 0, largest, 1) / WEIGHT_LEVELS
    first = np.rint(weights / step)
    parts = [first]
    if count == 2:
        parts.append(np.rint((weights / step - first) / SECOND_WEIGHT))
    return np.concatenate(parts).astype(np.int8).T.copy(), step[:, 0].astype(np.float32)
