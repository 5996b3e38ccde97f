"""Model bytes -> callable, computed by ONNX Runtime on an NVIDIA GPU: `pip install 'skerry[gpu]'`.

ONNX Runtime would rather answer slowly than not at all: where CUDA does not work it computes on the processor
and says so in a log that nobody reads. Here that is an error, for the whole model and for every part of it.
"""

from __future__ import annotations

import ctypes
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import BundleError, UsageError
from edge.gpu import GpuError
from edge.runtimes import ON_CUDA, OnnxRuntime, Tensor, first_line

PROVIDER = "CUDAExecutionProvider"
LIBRARY = "libonnxruntime_providers_cuda.so"
SILENT = 4  # of ONNX Runtime's log: only what ends the process


class CudaRuntime(OnnxRuntime):
    """Raises UsageError where this ONNX Runtime has no CUDA, GpuError where CUDA does not work or the GPU is
    full, BundleError for a model that it cannot take."""

    def _opened(self, ort: Any, model: bytes, options: Any) -> Any:
        if PROVIDER not in ort.get_available_providers():
            raise UsageError(
                f"{self._name} needs an ONNX Runtime with CUDA, this one has none: pip install 'skerry[gpu]' "
                f"after pip uninstall onnxruntime, or name the variant without {ON_CUDA}"
            )
        _load_what_pip_installed(ort)
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        options.log_severity_level = SILENT
        ort.set_default_logger_severity(SILENT)  # lines of its own; what they say is in our sentence
        try:
            session = ort.InferenceSession(model, options, providers=[PROVIDER], enable_fallback=0)
        except self._refusals(ort) as error:
            raise BundleError(
                f"{self._name} is not a model that ONNX Runtime can load: {first_line(error)}"
            ) from None
        except self._failures as error:
            raise self._failure(_missing(ort) or first_line(error)) from None
        if session.get_providers()[:1] != [PROVIDER]:
            raise self._failure(_missing(ort) or "ONNX Runtime would take the processor")
        return session

    def _failure(self, why: str) -> GpuError:
        return GpuError(
            f"{self._name} cannot run on the GPU: {why}; see that driver, CUDA and cuDNN are those that this "
            f"ONNX Runtime was made for, or name the variant without {ON_CUDA}"
        )

    def _ready(self) -> None:
        """One inference tells whether there is room; opening does not."""
        shape = self.input_shape
        if min(shape) > 0 and not np.isfinite(self(np.zeros(shape, np.float32))).all():
            raise GpuError(f"{self._name} gives NaN or infinity on the GPU")

    def __call__(self, tensor: Tensor) -> Tensor:
        try:
            output: Tensor = self._session.run(None, {self._input.name: tensor})[0]
        except self._failures as error:
            raise GpuError(f"{self._name} failed on the GPU: {first_line(error)}") from None
        return output

    @staticmethod
    def _refusals(ort: Any) -> tuple[type[Exception], ...]:
        """What is wrong with the file, and not with the machine."""
        native = ort.capi.onnxruntime_pybind11_state
        return (native.InvalidProtobuf, native.InvalidGraph)


def _load_what_pip_installed(ort: Any) -> None:
    """CUDA and cuDNN out of Python packages, where the system's loader does not look. What it prints of those
    that are not there is no error: they may be the system's, and where they are not, the session says so."""
    preload = getattr(ort, "preload_dlls", None)  # since 1.21
    if preload is not None:
        with redirect_stdout(io.StringIO()):
            preload()


def _missing(ort: Any) -> str:
    """What keeps ONNX Runtime from loading CUDA, which only its log would say; '' if nothing does."""
    try:
        ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / LIBRARY))
    except OSError as error:
        return first_line(error)
    return ""
