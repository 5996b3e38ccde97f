"""Model bytes -> callable, computed by OpenVINO: optional, for companion computers with an x86 processor.

It reads the same ONNX files as ONNX Runtime. Worth its 60 MB more of memory for convolutions in space and
time: see docs/variants.md for what was measured. `pip install 'skerry[openvino]'`.
"""

from __future__ import annotations

import platform
from importlib.util import find_spec
from types import TracebackType
from typing import Any

import numpy as np

from edge.errors import BundleError, UsageError
from edge.runtimes import Tensor

MARK = "@openvino"  # behind a variant's name: that file, computed by OpenVINO
_X86 = ("x86_64", "amd64")


def openvino_here() -> bool:
    """Installed, on a processor that it is for."""
    return platform.machine().lower() in _X86 and find_spec("openvino") is not None


class OpenVinoRuntime:
    """Float arithmetic stays in 32 bits, so that every x86 answers alike. Raises UsageError where OpenVINO is
    missing, BundleError for a model that it cannot take."""

    def __init__(self, model: bytes, name: str, threads: int = 1) -> None:
        try:
            import openvino
        except ImportError:
            raise UsageError(
                f"{name} needs OpenVINO, which is not installed: pip install 'skerry[openvino]', or name the "
                f"variant without {MARK}"
            ) from None
        self._name = name
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,  # the camera's decoder wants a core too
        }
        try:
            core = openvino.Core()
            self._compiled: Any = core.compile_model(core.read_model(model), "CPU", settings)
        except RuntimeError as error:
            raise BundleError(f"{name} is not a model that OpenVINO can load: {_reason(error)}") from None
        if (len(self._compiled.inputs), len(self._compiled.outputs)) != (1, 1):
            raise BundleError(
                f"{name} has more than one input or output: Skerry flies models with one of each"
            )
        self._request: Any = self._compiled.create_infer_request()

    @property
    def input_shape(self) -> tuple[int, ...]:
        shape = self._compiled.input(0).partial_shape
        return tuple(-1 if size.is_dynamic else int(size.get_length()) for size in shape)

    def __call__(self, tensor: Tensor) -> Tensor:
        try:
            found = self._request.infer([tensor])
        except RuntimeError as error:
            raise BundleError(
                f"{self._name} failed on an input of {tensor.shape}: {_reason(error)}"
            ) from None
        return np.array(found[self._compiled.output(0)], np.float32)  # a copy: the next call overwrites it

    def __enter__(self) -> OpenVinoRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._request = self._compiled = None


def _reason(error: RuntimeError) -> str:
    """The last line that says anything: those before it name files of OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (said or [type(error).__name__])[-1][:200]
