"""Which layers of a model can be made of integers, what each costs in float, and how a person names them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import shape_inference

from edge.errors import UsageError, nearest

HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")

# Reading a weight of four bytes takes as long as this many multiply-accumulates, on a core of a desktop (28
# GB/s against 85 thousand million a second) and, within a factor of two, on a Jetson's GPU.
WEIGHT_COST = 12


@dataclass(frozen=True)
class Layer:
    """`cost`: time in float, in multiply-accumulates: of the arithmetic, or of reading the weights."""

    name: str
    operator: str
    cost: float


def layers(model: onnx.ModelProto, operators: Collection[str] = HEAVY) -> tuple[Layer, ...]:
    """The layers with weights of their own, in the order in which they run."""
    inferred = shape_inference.infer_shapes(model, strict_mode=True)
    graph = inferred.graph
    shapes = {part.name: _shape(part) for part in (*graph.value_info, *graph.output)}
    weights = {part.name: tuple(part.dims) for part in graph.initializer}
    return tuple(
        Layer(node.name, node.op_type, _cost(node, weights[node.input[1]], shapes))
        for node in graph.node
        if node.op_type in operators and len(node.input) > 1 and node.input[1] in weights
    )


def named(words: Sequence[str], known: Sequence[Layer], option: str) -> frozenset[str]:
    """`first`, `last` and names -> names of layers. Raises UsageError for any other word."""
    places = {"first": known[0].name, "last": known[-1].name} if known else {}
    names = [layer.name for layer in known]
    for word in words:
        if word not in places and word not in names:
            raise UsageError(
                f"{option} {word}: no layer has this name{nearest(word, [*places, *names])}; there are "
                f"first, last, {', '.join(names)}"
            )
    return frozenset(places.get(word, word) for word in words)


def _shape(part: Any) -> tuple[int, ...]:
    return tuple(size.dim_value for size in part.type.tensor_type.shape.dim)


def _cost(node: Any, weights: tuple[int, ...], shapes: dict[str, tuple[int, ...]]) -> float:
    size = math.prod(weights)
    return float(max(size * _uses(node, shapes), size * WEIGHT_COST))


def _uses(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    """How often each weight is used: once per place of the map that the kernel is put on."""
    if node.op_type == "Conv":
        return math.prod(shapes[node.output[0]][2:])
    if node.op_type == "ConvTranspose":
        strides = next((part.ints for part in node.attribute if part.name == "strides"), [1])
        return math.prod(shapes[node.output[0]][2:]) // math.prod(strides)
    return math.prod(shapes[node.output[0]][:-1])
