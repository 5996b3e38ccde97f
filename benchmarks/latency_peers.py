"""What a user would run the same ONNX file with: as it comes, and held to one thread like ours."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from edge.openvino_runtime import OpenVinoRuntime, openvino_here
from edge.runtimes import Tensor
from export.held_out import Model


def peers(fp32: bytes) -> Iterator[tuple[str, Model]]:
    """ONNX Runtime and OpenVINO with their defaults take every core; an idle one costs them nothing here."""
    yield "ONNX Runtime, its defaults", OrtDefaults(fp32)
    if openvino_here():
        yield "OpenVINO, one thread", OpenVinoRuntime(fp32, "the bundle's fp32 model")
        yield "OpenVINO, its defaults", OpenVinoDefaults(fp32)


def left_out() -> Iterator[str]:
    """One sentence for each that a reader might look for."""
    if not openvino_here():
        yield "OpenVINO is not installed (or not for this processor): pip install 'skerry[openvino]'"
    if find_spec("anomalib") is None:
        yield "anomalib is not installed; it runs models of its own: see benchmarks/anomalib_peers.py"
    else:
        yield "anomalib runs models of its own: see benchmarks/anomalib_peers.py"


class OrtDefaults:
    """`InferenceSession(model)`, as every introduction has it."""

    def __init__(self, model: bytes) -> None:
        import onnxruntime as ort

        self._session: Any = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, tensor: Tensor) -> Tensor:
        return np.asarray(self._session.run(None, {self._input: tensor})[0])


class OpenVinoDefaults:
    """`Core().compile_model(model, "CPU")`."""

    def __init__(self, model: bytes) -> None:
        import openvino

        core = openvino.Core()
        self._compiled: Any = core.compile_model(core.read_model(model), "CPU")

    def __call__(self, tensor: Tensor) -> Tensor:
        return np.asarray(self._compiled(tensor)[0])
