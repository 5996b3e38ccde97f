"""Anybody's ONNX feature extractor -> the graph that flies: one picture or clip in, one row of features out.

Its batch is fixed to 1 and its picture to one size, the outputs that are not asked for go with all that only
they need, arithmetic on constants is done beforehand, and how it wants its pixels is written into it: opened
again, it needs no options, and its bytes, and so its digest, stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from pydantic import ValidationError

from edge.errors import UsageError
from edge.preprocess import InputSpec
from export.padding import fold_padding

FEATURES = "features"
_NOTE = "skerry.input"  # what the graph is told about its pixels
# All that single pictures need: what else an input may one day have must not change the file and its digest.
_NOTED = {"height", "width", "colour", "scale", "mean", "std", "resize"}
_AXES = {4: ("batch", "colours", "height", "width"), 5: ("batch", "colours", "frames", "height", "width")}
_POOLED = ("embed", "feature", "pool", "avgpool")  # in the name of an output that is meant
_SMALL = 1024  # numbers; what is larger than shapes and paddings is left to the runtime
_NOT_FOLDED = {"QuantizeLinear", "DequantizeLinear", "RandomNormal", "RandomUniform", "Multinomial"}


class ExtractorError(UsageError):
    """A feature extractor that cannot be used; the text says why in one sentence."""


@dataclass(frozen=True)
class Wanted:
    """`size`: pixels on a side where the graph leaves it open; `frames`: of a clip, likewise; `output`: its
    name, None to choose."""

    size: int = 224
    frames: int | None = None
    output: str | None = None


def parsed(data: bytes, name: str) -> ModelProto:
    """Raises ExtractorError for what is no whole ONNX model with its weights inside."""
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise ExtractorError(f"{name} is not an ONNX model, or it is cut short") from None
    if not all(isinstance(word, str) for word in _words(model.graph)):  # protobuf lets bytes through
        raise ExtractorError(f"{name} is damaged: a name in it is no text")
    if not model.graph.node:
        raise ExtractorError(f"{name} is not an ONNX model: it holds no operations")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ExtractorError(f"{name} keeps its weights in another file; save it with them inside")
    return model


def _words(graph: GraphProto) -> Iterable[object]:
    yield from (value.name for value in (*graph.input, *graph.output, *graph.initializer))
    for node in graph.node:
        yield from (*node.input, *node.output, node.op_type, node.domain)
        yield from (attribute.name for attribute in node.attribute)


def noted(model: ModelProto) -> InputSpec | None:
    """How it wants its pixels, if it says."""
    for entry in model.metadata_props:
        if entry.key == _NOTE:
            try:
                return InputSpec.model_validate_json(entry.value)
            except ValidationError:
                return None
    return None


def note(model: ModelProto, spec: InputSpec) -> None:
    known = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, {**known, _NOTE: spec.model_dump_json(include=_NOTED)})


def shape_of(value: ValueInfoProto) -> tuple[int, ...]:
    """-1 for an axis left open; empty where the rank itself is."""
    return tuple(
        int(axis.dim_value) if axis.HasField("dim_value") else -1 for axis in value.type.tensor_type.shape.dim
    )


def fixed(model: ModelProto, wanted: Wanted, name: str) -> tuple[int, ...]:
    """Makes it fly: changes the model in place and returns the shape of its input. Raises ExtractorError."""
    graph = model.graph
    taken = _input(graph, name)
    shape = _fixed_shape(shape_of(taken), wanted, name)
    keep_output(graph, chosen_output(graph, wanted.output, name))
    _set_shape(taken, shape)
    fold(model)
    fold_padding(model)
    del graph.value_info[:]  # shapes between the nodes, of other sizes
    return shape


def _input(graph: GraphProto, name: str) -> ValueInfoProto:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise ExtractorError(f"{name} takes {len(inputs)} inputs; a feature extractor takes pictures alone")
    if inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise ExtractorError(f"{name} does not take float32 pictures; export it with a float32 input")
    return inputs[0]


def _fixed_shape(shape: tuple[int, ...], wanted: Wanted, name: str) -> tuple[int, ...]:
    axes = _AXES.get(len(shape))
    if axes is None or shape[1] not in (3, -1):
        raise ExtractorError(
            f"{name} takes {_by(shape)}; pictures are n x 3 x height x width, clips 1 x 3 x frames x height "
            "x width, RGB"
        )
    asked = {"batch": 1, "colours": 3, "frames": wanted.frames or 16}
    found = {
        axis: size if size > 0 else asked.get(axis, wanted.size)
        for axis, size in zip(axes, shape, strict=True)
    }
    if found["batch"] != 1:
        raise ExtractorError(f"{name} takes {found['batch']} at once; export it with a batch of 1, or open")
    if wanted.frames is not None and found.get("frames", wanted.frames) != wanted.frames:
        raise ExtractorError(
            f"{name} looks at {found['frames']} frames at once, not at {wanted.frames}; "
            f"give --frames {found['frames']}, or leave it out"
        )
    return tuple(found[axis] for axis in axes)


def _set_shape(value: ValueInfoProto, shape: Sequence[int]) -> None:
    dims = value.type.tensor_type.shape.dim
    del dims[:]
    for size in shape:
        dims.add().dim_value = size


def chosen_output(graph: GraphProto, asked: str | None, name: str) -> str:
    """The one asked for; else the only one, the only row of numbers, or the one called a feature."""
    names = [value.name for value in graph.output]
    if asked is not None:
        if asked not in names:
            raise ExtractorError(f"{name} has no output {asked!r}; it has {', '.join(names)}")
        return asked
    rows = [value.name for value in graph.output if len(shape_of(value)) == 2]
    called = [output for output in rows or names if any(part in output.lower() for part in _POOLED)]
    for candidates in (names, rows, called):
        if len(candidates) == 1:
            return str(candidates[0])
    raise ExtractorError(f"{name} has {len(names)} outputs: say which by --output, {', '.join(names)}")


def keep_output(graph: GraphProto, output: str) -> None:
    """Drops the other outputs, and every node and constant that only they need."""
    kept = [value for value in graph.output if value.name == output]
    del graph.output[:]
    graph.output.extend(kept)
    needed = {output}
    nodes = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= set(_names_in(node))
    _replace_nodes(graph, reversed(nodes))


def _names_in(node: NodeProto) -> Iterable[str]:
    """What a node reads, its branches and loop bodies included."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            for inner in attribute.g.node:
                yield from _names_in(inner)


def _replace_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    kept = list(nodes)
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in graph.node for name in _names_in(node)} | {out.name for out in graph.output}
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def fold(model: ModelProto) -> None:
    """Small results that follow from constants alone become constants: paddings, shapes."""
    graph = model.graph
    known = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if np.prod(tensor.dims) <= _SMALL
    }
    kept: list[NodeProto] = []
    made: list[onnx.TensorProto] = []
    for node in graph.node:
        results = _computed(node, known, model)
        if results is None:
            kept.append(node)
        else:
            known.update(results)
            made.extend(numpy_helper.from_array(value, output) for output, value in results.items())
    graph.initializer.extend(made)
    _replace_nodes(graph, kept)


def _computed(
    node: NodeProto, known: dict[str, NDArray[np.generic]], model: ModelProto
) -> dict[str, NDArray[np.generic]] | None:
    """By output; None where an input is not a known constant, or the results are not small."""
    standard = node.domain in ("", "ai.onnx") and node.op_type not in _NOT_FOLDED
    whole = any(attribute.type == AttributeProto.GRAPH for attribute in node.attribute)
    if not standard or whole or not all(name in known for name in node.input if name):
        return None
    if any(output.name in node.output for output in model.graph.output):
        return None
    versions = {entry.domain: entry.version for entry in model.opset_import}
    try:
        results = ReferenceEvaluator(node, opsets=versions).run(None, {n: known[n] for n in node.input if n})
    except (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError):
        return None  # the reference does not know it: the runtime will
    arrays = [np.asarray(result) for result in results]
    if any(array.size > _SMALL for array in arrays):
        return None
    return dict(zip(node.output, arrays, strict=False))


def settle_output(model: ModelProto, found: Sequence[int], name: str) -> int:
    """Given the shape that came out, makes that 1 x width, by the mean over all places; returns the width."""
    if len(found) < 2 or found[0] != 1:
        raise ExtractorError(f"{name} answers a picture with {_by(found)}; features are 1 x width")
    output = model.graph.output[0]
    if len(found) == 2:
        _set_shape(output, found)
        return found[1]
    made = output.name
    model.graph.node.append(helper.make_node("GlobalAveragePool", [made], [f"{made}.mean"]))
    model.graph.node.append(helper.make_node("Flatten", [f"{made}.mean"], [FEATURES], axis=1))
    del model.graph.output[:]
    pooled = helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, found[:2])
    model.graph.output.append(pooled)
    return found[1]


def _by(shape: Sequence[int]) -> str:
    return " x ".join("?" if size < 0 else str(size) for size in shape) or "an unknown shape"
