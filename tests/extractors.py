"""Small convolutional extractors as others would bring them, and heads for them that nobody trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edge.clips import ClipSpec, ExtractorSpec
from edge.preprocess import InputSpec
from export.extractors import Asked, open_extractor
from train.checkpoint import Checkpoint, Epoch, Record, save_checkpoint, versions
from train.features import Extractor
from train.footage import Clip, Splits
from train.mil import build_head
from train.mil_recipes import mil_recipe

FPS = 4.0
FRAMES = 4
HISTORY = Epoch(epoch=1, train=0.5, validation=0.6, seconds=1.0)


def network(sees: str = "frame", opset: int = 17, seed: int = 0) -> bytes:
    """Two convolutions with a ReLU6 and a ReLU, a residual and the mean over all places: 24 numbers."""
    random = np.random.default_rng(seed)
    space = [1] if sees == "clip" else []
    kernel, depth = [3] * (2 + len(space)), [FRAMES] if sees == "clip" else []

    def weights(name: str, out: int, given: int) -> TensorProto:
        values = random.normal(0, 0.3, (out, given, *kernel)).astype(np.float32)
        return numpy_helper.from_array(values, name)

    pads = [1] * (2 * len(kernel))
    nodes = [
        helper.make_node("Conv", ["pictures", "w1", "b1"], ["c1"], pads=pads),
        helper.make_node("Clip", ["c1", "zero", "six"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=pads),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Add", ["r1", "r2"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    constants = [
        weights("w1", 24, 3),
        numpy_helper.from_array(random.normal(0, 0.3, 24).astype(np.float32), "b1"),
        weights("w2", 24, 24),
        numpy_helper.from_array(np.array(0.0, np.float32), "zero"),
        numpy_helper.from_array(np.array(6.0, np.float32), "six"),
    ]
    return model(nodes, [1, 3, *depth, 32, 32], [1, 24], constants, opset)


def model(
    nodes: list[NodeProto], taken: list[int], given: list[int], constants: list[TensorProto], opset: int = 17
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "extractor",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, taken)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, given)],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString())


def opened(folder: Path, sees: str = "frame", **asked: Any) -> tuple[Path, Extractor]:
    """The file as somebody brings it, and what becomes of it."""
    path = folder / f"{sees}.onnx"
    path.write_bytes(network(sees))
    pooling = {} if sees == "clip" else {"pooling": "mean"}
    given = {"fps": FPS, "frames": FRAMES, "stride": 2, **pooling, **asked}
    return path, open_extractor(path, asked=Asked(**given))


def mil_checkpoint(
    path: Path,
    extractor: ExtractorSpec,
    kind: str = "ranking",
    validation: tuple[Path, ...] = (),
    train: tuple[Path, ...] = (),
) -> Path:
    """As training would leave it, without the training. `validation`: feature files of normal videos."""
    usual = mil_recipe("small" if kind == "causal" else "faithful")
    torch.manual_seed(0)
    head = build_head(usual.model, extractor.width)
    record = Record(
        kind="mil",
        recipe=usual,
        input=InputSpec(),
        splits=splits(validation, train),
        clip=ClipSpec(extractor=extractor, history=usual.model.history, average=2),
        history=(HISTORY,),
        versions=versions(),
    )
    optimiser = torch.optim.Adam(head.parameters()).state_dict()
    state = torch.Generator().get_state()
    save_checkpoint(path, Checkpoint(record, head.state_dict(), None, optimiser, state))
    return path


def splits(validation: tuple[Path, ...], train: tuple[Path, ...] = ()) -> Splits:
    def named(path: Path) -> Clip:
        return Clip(name=path.stem, path=str(path), sha256="0" * 64, start=0, stop=9, label="normal")

    return Splits(
        rule="sources",
        fps=FPS / 2,
        folder_fps=FPS,
        data_sha256="1" * 64,
        train=tuple(named(path) for path in train),
        validation=tuple(named(path) for path in validation),
        test=(),
    )


def other(extractor: ExtractorSpec) -> ExtractorSpec:
    return extractor.model_copy(update={"sha256": "ab" * 32})
