"""The GPU as Skerry needs it: TensorRT and CUDA found or refused, the device named, its memory kept count of.

Every CUDA call goes through `cuda.bindings.runtime`, NVIDIA's own maintained bindings: wheels for Python 3.10
on aarch64 exist (12.9.10 for JetPack 6's CUDA 12, 13.4.4), hold the CUDA runtime and need only the driver.
Never run on a Jetson: see docs/tensorrt.md for what was proven on what.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError, SkerryError
from edge.jetson import first_line, l4t

OLDEST = (10, 3)  # JetPack 6.1; TensorRT 8 has another interface

Bytes = NDArray[np.uint8]


class EngineError(BundleError):
    """An engine that cannot be made or used on this machine; trying again does not help."""


class GpuError(SkerryError):
    """A GPU that fails or has no room; trying again may help."""


@dataclass(frozen=True, slots=True)
class Toolkit:
    """The modules `tensorrt` and `cuda.bindings.runtime`, or `edge.simgpu`'s stand-ins for them."""

    trt: Any
    cudart: Any

    @property
    def version(self) -> str:
        return str(self.trt.__version__)


@dataclass(frozen=True, slots=True)
class Device:
    """What an engine belongs to. `module`: CUDA calls every one of them "Orin"; `l4t` is empty on a PC."""

    module: str
    compute: str  # capability, as 8.7
    multiprocessors: int
    l4t: str
    power_mode: str  # of nvpmodel, where there is one: recorded, no engine is refused for it


def load_toolkit() -> Toolkit:
    """TensorRT and CUDA with a GPU that answers. Raises EngineError, one sentence."""
    cudart = _module("cuda.bindings.runtime", "pip install 'skerry[tensorrt]' brings it")
    trt = _module(
        "tensorrt",
        "on a Jetson it is JetPack's python3-libnvinfer, seen by a venv made with --system-site-packages; "
        "elsewhere pip install 'skerry[tensorrt]' brings it",
    )
    toolkit = Toolkit(trt, cudart)
    _check_version(toolkit.version)
    # Before any object of TensorRT is made: without a GPU its runtime is a null pointer that crashes on use.
    error, count = cudart.cudaGetDeviceCount()
    if error != cudart.cudaError_t.cudaSuccess or not count:
        why = _reason(cudart, error) if error != cudart.cudaError_t.cudaSuccess else "none is there"
        raise EngineError(
            f"no NVIDIA GPU can be used here: {why}; check the driver, and that this user is in the groups "
            "video and render"
        )
    return toolkit


def _module(name: str, remedy: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if name.split(".", maxsplit=1)[0] != (error.name or "").split(".", maxsplit=1)[0]:
            raise EngineError(f"{name} needs the Python package {error.name}; install it") from None
        raise EngineError(f"the Python package {name} is not installed; {remedy}") from None
    except ImportError as error:  # a shared library that it needs is missing
        line = str(error).strip().splitlines()[0][:200]
        raise EngineError(f"{name} cannot be loaded: {line}; install that library, {remedy}") from None


def _check_version(version: str) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        raise EngineError(
            f"TensorRT {version} is too old for Skerry, which needs 10.3; on a Jetson, JetPack 6.1 brings it"
        )


def _reason(cudart: Any, error: Any) -> str:
    """`error` in the words of CUDA."""
    _, text = cudart.cudaGetErrorString(error)
    return f"{text.decode(errors='replace')} (CUDA error {int(error)})"


def describe_device(toolkit: Toolkit, root: Path = Path("/")) -> Device:
    """Device 0. `root`: where /etc, /proc and /var are. Raises GpuError."""
    (properties,) = call(toolkit.cudart, "cudaGetDeviceProperties", 0)
    name = properties.name.decode(errors="replace").rstrip("\0")
    return Device(
        module=first_line(root / "proc/device-tree/model") or name,
        compute=f"{properties.major}.{properties.minor}",
        multiprocessors=int(properties.multiProcessorCount),
        l4t=l4t(root),
        power_mode=first_line(root / "var/lib/nvpmodel/status"),
    )


def call(cudart: Any, function: str, *arguments: Any) -> tuple[Any, ...]:
    """What a CUDA function returns after its error code. Raises GpuError."""
    error, *returned = getattr(cudart, function)(*arguments)
    codes = cudart.cudaError_t
    if error == codes.cudaErrorMemoryAllocation:
        raise GpuError(
            "the GPU's memory is exhausted: stop what else uses it, or fly without an engine "
            "(--variant fp32 or int8-cpu)"
        )
    if error != codes.cudaSuccess:
        raise GpuError(f"the GPU failed in {function}: {_reason(cudart, error)}")
    return tuple(returned)


class Lane:
    """A CUDA stream with buffers that are taken once and given back together. Sizes in bytes."""

    def __init__(self, toolkit: Toolkit) -> None:
        self._cudart = toolkit.cudart
        self._device: list[int] = []
        self._pinned: list[int] = []
        (self._stream,) = call(self._cudart, "cudaStreamCreate")

    @property
    def handle(self) -> int:
        return int(self._stream)

    def device(self, size: int) -> int:
        """The address of `size` bytes on the device."""
        (address,) = call(self._cudart, "cudaMalloc", size)
        self._device.append(int(address))
        return int(address)

    def pinned(self, size: int) -> Bytes:
        """`size` bytes of page-locked host memory: only from there does a copy run beside the processor."""
        (address,) = call(self._cudart, "cudaMallocHost", size)
        self._pinned.append(int(address))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))

    def upload(self, host: Bytes, device: int) -> None:
        """Queued: `host` must not change before `wait`."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        call(self._cudart, "cudaMemcpyAsync", device, host.ctypes.data, host.nbytes, kind, self._stream)

    def download(self, device: int, host: Bytes) -> None:
        """Queued: `host` holds the bytes after `wait`."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        call(self._cudart, "cudaMemcpyAsync", host.ctypes.data, device, host.nbytes, kind, self._stream)

    def wait(self) -> None:
        call(self._cudart, "cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        """Gives everything back; a GPU that failed keeps its error, and nothing more can be done about it."""
        if self._stream is None:
            return
        self._cudart.cudaStreamSynchronize(self._stream)
        for address in self._device:
            self._cudart.cudaFree(address)
        for address in self._pinned:
            self._cudart.cudaFreeHost(address)
        self._cudart.cudaStreamDestroy(self._stream)
        self._device, self._pinned, self._stream = [], [], None

    def __enter__(self) -> Lane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
