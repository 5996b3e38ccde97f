"""A TensorRT engine -> callable, for TensorRT 10.3 to 11.4 by the calls that all of these have.

Device and page-locked memory are taken once, when the engine is opened. Never run with a real engine, nor
on a Jetson: see docs/tensorrt.md for what was proven on what.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from edge.gpu import Bytes, EngineError, GpuError, Lane, Toolkit
from edge.runtimes import Tensor

FLOAT_BYTES = 4
GRAVE = ("INTERNAL_ERROR", "ERROR")
LAST = 3  # errors that make a reason
LONGEST = 200  # characters of each


def listener(trt: Any, tell: Callable[[str, str], None]) -> Any:
    """A logger for TensorRT: `tell(severity, line)`, which may come from a thread of TensorRT's."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            tell(severity.name, message)

    return Listener()


class Complaints:
    """What TensorRT logged as errors in the step at hand: its reason for returning nothing.

    It logs errors that do no harm too (a timing cache that is none), so each step that can fail begins with
    `forget`. Of one failure it may log two, of which either says nothing: the reason has the last ones.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []

    def __call__(self, severity: str, line: str) -> None:
        said = " ".join(line.split())[:LONGEST]
        if severity in GRAVE and said and said not in self._lines:
            self._lines = [*self._lines, said][-LAST:]

    def forget(self) -> None:
        self._lines = []

    @property
    def reason(self) -> str:
        return "; ".join(self._lines) or "TensorRT gives no reason"

    @property
    def of_memory(self) -> bool:
        return "outofmemory" in self.reason.lower().replace(" ", "")


@dataclass(frozen=True, slots=True, eq=False)
class _Port:
    """One end of the engine: where its values lie on the device and on the host."""

    name: str
    shape: tuple[int, ...]
    device: int
    host: Bytes

    @property
    def values(self) -> Tensor:
        return self.host.view(np.float32).reshape(self.shape)


class TensorRtRuntime:
    """One engine on device 0, float32 in and out, one frame at a time; not for several threads.

    Raises EngineError for an engine that is truncated, foreign or made for another GPU or TensorRT; GpuError
    where the GPU has no room for it or fails.
    """

    def __init__(self, engine: bytes, name: str, toolkit: Toolkit) -> None:
        self._name, self._complaints = name, Complaints()
        self._held = ExitStack()
        try:
            self._open(engine, toolkit)
        except BaseException:
            self.close()
            raise

    def _open(self, engine: bytes, toolkit: Toolkit) -> None:
        trt = toolkit.trt
        # Given back in the opposite order: the buffers, then context, engine, runtime and, last, the logger.
        self._logger = listener(trt, self._complaints)
        self._runtime = self._made(lambda: trt.Runtime(self._logger), "start TensorRT")
        self._complaints.forget()
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise self._refusal(
                f"{self._name} is not an engine for this GPU and TensorRT {toolkit.version}: "
                f"{self._complaints.reason}; `skerry engine build` makes one"
            )
        self._complaints.forget()
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise GpuError(f"the GPU has no room to run {self._name}: {self._complaints.reason}")
        self._lane = self._held.enter_context(Lane(toolkit))
        self._input = self._port(trt, "INPUT")
        self._output = self._port(trt, "OUTPUT")
        self._complaints.forget()

    def _made(self, make: Callable[[], Any], what: str) -> Any:
        """The bindings raise TypeError where the library returned a null pointer."""
        try:
            made = make()
        except (TypeError, RuntimeError, MemoryError):
            made = None
        if made is None:
            raise GpuError(f"the GPU cannot {what}: {self._complaints.reason}")
        return made

    def _refusal(self, sentence: str) -> EngineError | GpuError:
        if self._complaints.of_memory:
            return GpuError(f"the GPU has no room to load {self._name}: {self._complaints.reason}")
        return EngineError(sentence)

    def _port(self, trt: Any, way: str) -> _Port:
        """The engine's only input or output, with its memory."""
        engine, mode = self._engine, getattr(trt.TensorIOMode, way)
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        found = [name for name in names if engine.get_tensor_mode(name) == mode]
        if len(found) != 1:
            raise EngineError(f"{self._name} has {len(found)} {way.lower()}s, Skerry flies models with one")
        (name,) = found
        shape = tuple(int(size) for size in engine.get_tensor_shape(name))
        if engine.get_tensor_dtype(name) != trt.DataType.FLOAT or min(shape, default=0) < 1:
            raise EngineError(f"the {way.lower()} of {self._name} is not float32 of a fixed size")
        size = FLOAT_BYTES * math.prod(shape)
        port = _Port(name, shape, self._lane.device(size), self._lane.pinned(size))
        if not self._context.set_tensor_address(name, port.device):
            raise GpuError(f"{self._name} refuses the memory of {name}: {self._complaints.reason}")
        return port

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self._input.shape

    def __call__(self, tensor: Tensor) -> Tensor:
        if self._context is None:
            raise EngineError(f"{self._name} was closed; open it again")
        if tensor.shape != self._input.shape or tensor.dtype != np.float32:
            raise EngineError(
                f"{self._name} failed on an input of {tensor.shape} {tensor.dtype}: it takes float32 of "
                f"{self._input.shape}"
            )
        np.copyto(self._input.values, tensor)
        self._lane.upload(self._input.host, self._input.device)
        if not self._context.execute_async_v3(self._lane.handle):
            raise GpuError(f"the GPU failed to run {self._name}: {self._complaints.reason}")
        self._lane.download(self._output.device, self._output.host)
        self._lane.wait()
        return np.array(self._output.values)  # a copy: the next frame overwrites the buffer

    def close(self) -> None:
        """Idempotent. TensorRT's objects are let go in the order that it demands."""
        self._held.close()
        self._context = self._engine = self._runtime = self._logger = None

    def __enter__(self) -> TensorRtRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
