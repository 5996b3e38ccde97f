"""PyTorch -> ONNX: one file, one picture at a time, nothing in it of the machine it was made on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from torch import nn

from edge.preprocess import InputSpec

# The lowest that PyTorch writes without converting down, and one that TensorRT reads from version 10.0 on.
OPSET = 18
INPUT = "pictures"

_TALKATIVE = ("torch.onnx", "onnxscript", "onnx_ir", "root")


@contextmanager
def quietly() -> Iterator[None]:
    """Without the converters' warnings, which no person could act upon; errors still show."""
    loggers = [logging.getLogger(None if name == "root" else name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def to_onnx(network: nn.Module, spec: InputSpec, output: str) -> bytes:
    """A network of 1 x (3 * frames) x height x width -> the same, as an ONNX model with its weights inside.

    `output`: what the answer is called.
    """
    return converted(network, torch.zeros(1, 3 * spec.frames, spec.height, spec.width), output)


def converted(network: nn.Module, example: torch.Tensor, output: str, taken: str = INPUT) -> bytes:
    """Likewise, of a network that takes one tensor of the example's shape, called `taken`."""
    with quietly():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[taken],
            output_names=[output],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _anonymise(model)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _anonymise(model: onnx.ModelProto) -> None:
    """PyTorch notes on every node which line of whose source tree it came from: nobody's business."""
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    del graph.value_info[
        :
    ]  # shapes between the nodes: every reader infers them, and a quantiser trips over old ones
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
