"""Model bytes -> callable. ONNX Runtime on the CPU; others come behind the same protocol."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError

Tensor = NDArray[np.float32]
ON_CUDA = "@cuda"  # behind a variant's name: that file, computed by `edge.cuda_runtime`


class Runtime(Protocol):
    """One input, one output; a context manager, because engines hold device memory."""

    @property
    def input_shape(self) -> tuple[int, ...]: ...
    def __call__(self, tensor: Tensor) -> Tensor: ...
    def __enter__(self) -> Runtime: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class OnnxRuntime:
    """One thread and no spinning: at 2 fps a second thread saves 0.4 ms of 500 and costs 16 times the CPU."""

    def __init__(self, model: bytes, name: str, threads: int = 1) -> None:
        import onnxruntime as ort
        from onnxruntime.capi import onnxruntime_pybind11_state as native

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        self._failures: tuple[type[Exception], ...] = (
            *(e for e in vars(native).values() if isinstance(e, type) and issubclass(e, Exception)),
            UnicodeDecodeError,  # of a message that quotes a damaged name
        )
        self._name = name
        self._session = self._opened(ort, model, options)
        self._session._model_bytes = None  # a second copy, for a fall back to other providers
        self._input = self._session.get_inputs()[0]
        self._ready()

    def _opened(self, ort: Any, model: bytes, options: Any) -> Any:
        try:
            return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except self._failures as error:
            raise BundleError(
                f"{self._name} is not a model that ONNX Runtime can load: {first_line(error)}"
            ) from None

    def _ready(self) -> None:
        """What a runtime wants to know before it counts; this one nothing."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(size if isinstance(size, int) else -1 for size in self._input.shape)

    def __call__(self, tensor: Tensor) -> Tensor:
        try:
            output: Tensor = self._session.run(None, {self._input.name: tensor})[0]
        except self._failures as error:
            raise BundleError(
                f"{self._name} failed on an input of {tensor.shape}: {first_line(error)}"
            ) from None
        return output

    def __enter__(self) -> OnnxRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
