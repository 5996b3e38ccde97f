"""Zeros laid around a picture before a convolution, as a step of their own -> the convolution's own padding.

Networks that pad unevenly are exported so. Whoever runs them copies every map once more: MobileNetV2 took
twice as long.
"""

from __future__ import annotations

from collections import Counter

from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper


def fold_padding(model: ModelProto) -> int:
    """Changes the model in place, answers nothing else than before; returns how many steps are gone."""
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(output.name for output in graph.output)
    gone = []
    for node in graph.node:
        pad = makers.get(node.input[0]) if node.op_type == "Conv" else None
        if pad is None or pad.op_type != "Pad" or readers[pad.output[0]] != 1:
            continue
        around = _zeros_around(graph, pad)
        if around is not None and _take_over(node, around):
            node.input[0] = pad.input[0]
            gone.append(pad)
    for pad in gone:
        graph.node.remove(pad)
    _drop_unread(graph)
    return len(gone)


def _zeros_around(graph: GraphProto, pad: NodeProto) -> list[int] | None:
    """Of the axes behind batch and channels, begins then ends; None where it is no plain padding by zeros."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    mode = next((part.s for part in pad.attribute if part.name == "mode"), b"constant")
    if mode != b"constant" or len(pad.input) < 2 or pad.input[1] not in constants or any(pad.input[3:]):
        return None
    if len(pad.input) > 2 and pad.input[2]:
        value = constants.get(pad.input[2])
        if value is None or numpy_helper.to_array(value).any():
            return None
    pads = [int(size) for size in numpy_helper.to_array(constants[pad.input[1]])]
    half = len(pads) // 2
    if min(pads) < 0 or any(pads[:2]) or any(pads[half : half + 2]):
        return None
    return [*pads[2:half], *pads[half + 2 :]]


def _take_over(convolution: NodeProto, around: list[int]) -> bool:
    """Adds to what the convolution pads itself, unless it finds that out by a rule."""
    known = {part.name: part for part in convolution.attribute}
    if "auto_pad" in known and known["auto_pad"].s != b"NOTSET":
        return False
    own = list(known["pads"].ints) if "pads" in known else [0] * len(around)
    if "pads" in known:
        convolution.attribute.remove(known["pads"])
    both = [mine + more for mine, more in zip(own, around, strict=True)]
    convolution.attribute.append(helper.make_attribute("pads", both))
    return True


def _drop_unread(graph: GraphProto) -> None:
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
