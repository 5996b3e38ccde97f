"""A GPU that needs no hardware: `simulated("10.3.0")` is a Toolkit with the surface of the real one.

`nvidia_api/` holds the names that the real packages offer, version by version; what a version lacks raises
AttributeError here as it does there. It takes memory, keeps streams in order and computes with ONNX Runtime,
and it is stricter than the real thing: what would be undefined there raises `Misuse`. It says nothing about
what TensorRT can parse or build, how accurate it is, or how fast.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from edge.gpu import Toolkit

FACTS = Path(__file__).parent / "nvidia_api"
TENSORRTS = ("10.3.0", "10.13.3.9", "10.16.1.11", "11.4.0.106")
CUDAS = ("12.9.10", "13.5.0")
_FIRST_ADDRESS = 1 << 56  # no host maps memory there: following a device pointer by mistake crashes


class Misuse(Exception):  # noqa: N818 - what a real GPU answers with silence or a crash
    """A call that the real thing would not survive, or would answer with garbage."""


@dataclass(eq=False)
class SimGpu:
    """The device, and what happened to it: `record` has every call that matters, in order.

    `memory`: bytes. `unsupported`: operators that the parser lacks, of which it says `lack`. `distortion`:
    relative error of what engines compute. `failing`: names of calls that fail from now on. `harmless`:
    errors that the builder logs before it builds.
    """

    module: str = "Orin"
    compute: tuple[int, int] = (8, 7)
    multiprocessors: int = 8
    memory: int = 1 << 30
    unsupported: tuple[str, ...] = ()
    lack: str = "No importer registered for op"
    distortion: float = 0.0
    failing: set[str] = field(default_factory=set)
    harmless: tuple[str, ...] = ()
    record: list[str] = field(default_factory=list)
    device: dict[int, bytearray] = field(default_factory=dict)
    pinned: dict[int, Any] = field(default_factory=dict)
    streams: dict[int, list[Callable[[], None]]] = field(default_factory=dict)
    _next: int = _FIRST_ADDRESS

    @property
    def used(self) -> int:
        return sum(map(len, self.device.values()))

    def take(self, size: int) -> int | None:
        """An address, or None where there is no room."""
        if self.used + size > self.memory:
            return None
        address, self._next = self._next, self._next + size + 256
        self.device[address] = bytearray(size)
        return address

    def at(self, address: int, size: int) -> bytearray:
        held = self.device.get(address)
        if held is None or len(held) < size:
            raise Misuse(f"{size} bytes at {address:#x} are not the program's")
        return held


def facts(package: str, version: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FACTS / f"{package}-{version}.json").read_text())
    return content


def simulated(tensorrt: str = "10.3.0", gpu: SimGpu | None = None, cuda: str | None = None) -> Toolkit:
    """A version of TENSORRTS, with the CUDA that goes with it unless one of CUDAS is named."""
    from edge.simtensorrt import SimTensorRt

    device = gpu or SimGpu()
    return Toolkit(
        SimTensorRt(tensorrt, device), SimCudart(cuda or CUDAS[not tensorrt.startswith("10.3")], device)
    )


@dataclass(frozen=True, slots=True)
class _Properties:
    name: bytes
    major: int
    minor: int
    multiProcessorCount: int  # noqa: N815 - CUDA's name
    totalGlobalMem: int  # noqa: N815


@dataclass(frozen=True, slots=True)
class _Stream:
    """`cudaStream_t`: no number, but has one."""

    handle: int

    def __int__(self) -> int:
        return self.handle


class SimCudart:
    """`cuda.bindings.runtime`: every function returns a tuple that begins with its error code."""

    def __init__(self, version: str, gpu: SimGpu) -> None:
        content = facts("cuda", version)
        self._names, self._gpu = frozenset(content["names"]), gpu
        for name, members in content["enums"].items():
            setattr(self, name, IntEnum(name, members))

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise AttributeError(f"module 'cuda.bindings.runtime' has no attribute {name!r}")
        function = _CUDA.get(name)
        if function is None:
            raise NotImplementedError(f"{name} is real, the simulated GPU lacks it")
        return lambda *arguments: self._answer(name, function, arguments)

    def _answer(self, name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        self._gpu.record.append(name)
        if name in self._gpu.failing:
            for lost in self._gpu.streams.values():
                lost.clear()
            return self.cudaError_t.cudaErrorLaunchFailure, None
        code, *returned = function(self._gpu, *arguments)
        return getattr(self.cudaError_t, code), *returned


def _count(_gpu: SimGpu) -> tuple[Any, ...]:
    return "cudaSuccess", 1


def _properties(gpu: SimGpu, _device: int) -> tuple[Any, ...]:
    return "cudaSuccess", _Properties(gpu.module.encode(), *gpu.compute, gpu.multiprocessors, gpu.memory)


def _string(_gpu: SimGpu, error: IntEnum) -> tuple[Any, ...]:
    return "cudaSuccess", error.name.encode()


def _memory(gpu: SimGpu) -> tuple[Any, ...]:
    return "cudaSuccess", gpu.memory - gpu.used, gpu.memory


def _malloc(gpu: SimGpu, size: int) -> tuple[Any, ...]:
    address = gpu.take(size)
    return ("cudaErrorMemoryAllocation", None) if address is None else ("cudaSuccess", address)


def _free(gpu: SimGpu, address: int) -> tuple[Any, ...]:
    if gpu.device.pop(address, None) is None:
        raise Misuse(f"{address:#x} was freed twice, or never taken")
    return ("cudaSuccess",)


def _malloc_host(gpu: SimGpu, size: int) -> tuple[Any, ...]:
    buffer = (ctypes.c_uint8 * size)()
    gpu.pinned[ctypes.addressof(buffer)] = buffer
    return "cudaSuccess", ctypes.addressof(buffer)


def _free_host(gpu: SimGpu, address: int) -> tuple[Any, ...]:
    if gpu.pinned.pop(address, None) is None:
        raise Misuse(f"host memory {address:#x} was freed twice, or never taken")
    return ("cudaSuccess",)


def _stream_create(gpu: SimGpu) -> tuple[Any, ...]:
    handle = max(gpu.streams, default=0x5000) + 16
    gpu.streams[handle] = []
    return "cudaSuccess", _Stream(handle)


def _stream_destroy(gpu: SimGpu, stream: _Stream) -> tuple[Any, ...]:
    if gpu.streams.pop(int(stream)):
        raise Misuse("a stream was destroyed with work in it")
    return ("cudaSuccess",)


def _synchronize(gpu: SimGpu, stream: _Stream) -> tuple[Any, ...]:
    queue = gpu.streams[int(stream)]
    while queue:
        queue.pop(0)()
    return ("cudaSuccess",)


def _copy(gpu: SimGpu, to: int, source: int, size: int, kind: IntEnum, stream: _Stream) -> tuple[Any, ...]:
    """Queued, as on a real GPU: what is read before the stream is waited for is what was there before."""
    up = kind.name == "cudaMemcpyHostToDevice"
    host, device = (source, to) if up else (to, source)
    if host not in gpu.pinned or len(gpu.pinned[host]) < size:
        raise Misuse("an asynchronous copy from or to host memory that is not page-locked, or too small")

    def copy() -> None:
        memory = gpu.at(device, size)
        if up:
            memory[:size] = bytes(gpu.pinned[host][:size])
        else:
            ctypes.memmove(host, bytes(memory[:size]), size)

    gpu.at(device, size)
    gpu.streams[int(stream)].append(copy)
    return ("cudaSuccess",)


_CUDA: dict[str, Callable[..., tuple[Any, ...]]] = {
    "cudaGetDeviceCount": _count,
    "cudaGetDeviceProperties": _properties,
    "cudaGetErrorString": _string,
    "cudaMemGetInfo": _memory,
    "cudaMalloc": _malloc,
    "cudaFree": _free,
    "cudaMallocHost": _malloc_host,
    "cudaFreeHost": _free_host,
    "cudaStreamCreate": _stream_create,
    "cudaStreamDestroy": _stream_destroy,
    "cudaStreamSynchronize": _synchronize,
    "cudaMemcpyAsync": _copy,
}
