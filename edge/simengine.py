"""The running half of the simulated TensorRT: an engine is a header and the ONNX file."""

from __future__ import annotations

import hashlib
import json
import math
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.runtimes import OnnxRuntime
from edge.simgpu import Misuse, SimGpu
from edge.simparts import Part, belongs, listening, say

if TYPE_CHECKING:
    from edge.simtensorrt import SimTensorRt

MAGIC = b"simulated TensorRT engine\n"
CONTEXT_BYTES = 1 << 20


def packed(model: bytes, trt: SimTensorRt, gpu: SimGpu) -> bytes:
    header = {"belongs": belongs(trt, gpu), "distortion": gpu.distortion}
    body = json.dumps(header).encode() + b"\n" + model
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


class Runtime(Part):
    def __init__(self, logger: Any) -> None:
        self._logger = listening(logger)
        if "Runtime" in self._gpu.failing:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        weakref.finalize(self, self._gpu.record.append, "~Runtime")

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        self._gpu.record.append("deserialize_cuda_engine")
        trouble, header, model = _unpacked(serialized_engine, self._trt, self._gpu)
        if trouble:
            say(self._logger, "ERROR", f"IRuntime::deserializeCudaEngine: Error Code 1: {trouble}")
            return None
        return self._trt.ICudaEngine(model, header["distortion"], weakref.ref(self), self._logger)


def _unpacked(data: bytes, trt: SimTensorRt, gpu: SimGpu) -> tuple[str, dict[str, Any], bytes]:
    if not data.startswith(MAGIC):
        return "Serialization (magic tag does not match)", {}, b""
    digest, _, body = data.removeprefix(MAGIC).partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return "Serialization (unexpected end of data)", {}, b""
    line, _, model = body.partition(b"\n")
    header: dict[str, Any] = json.loads(line)
    version, compute = header["belongs"]
    if version != trt.__version__:
        return f"expecting library version {trt.__version__} got {version}, please rebuild", {}, b""
    if compute != belongs(trt, gpu)[1]:
        return f"expecting compute {belongs(trt, gpu)[1]} got compute {compute}, please rebuild", {}, b""
    return "", header, model


class Engine(Part):
    def __init__(
        self, model: bytes, distortion: float, runtime: weakref.ref[Any], logger: weakref.ref[Any]
    ) -> None:
        self._runtime, self._logger, self._distortion = runtime, logger, distortion
        self._session = OnnxRuntime(model, "the simulated engine")
        shape = self._session.input_shape
        output = self._session(np.zeros(shape, np.float32)).shape
        self._shapes = {"input": shape, "output": output}
        weakref.finalize(self, self._gpu.record.append, "~ICudaEngine")

    @property
    def num_io_tensors(self) -> int:
        return 2

    def get_tensor_name(self, index: int) -> str:
        return list(self._shapes)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return getattr(self._trt.TensorIOMode, name.upper())

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def get_tensor_dtype(self, name: str) -> Any:
        return self._trt.DataType.FLOAT

    def create_execution_context(self) -> Any:
        scratch = self._gpu.take(CONTEXT_BYTES)
        if scratch is None:
            say(self._logger, "ERROR", "IExecutionContext: Error Code 1: Cuda Runtime (out of memory)")
            return None
        return self._trt.IExecutionContext(weakref.ref(self), self._logger, scratch)


class Context(Part):
    def __init__(self, engine: weakref.ref[Any], logger: weakref.ref[Any], scratch: int) -> None:
        self._engine, self._logger, self._addresses = engine, logger, dict[str, int]()
        weakref.finalize(self, self._gpu.device.pop, scratch)
        weakref.finalize(self, self._gpu.record.append, "~IExecutionContext")

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._gpu.record.append(f"set_tensor_address {name}")
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        self._gpu.record.append("execute_async_v3")
        engine = self._engine()
        if engine is None or engine._runtime() is None:
            raise Misuse("a context outlived its engine or its runtime")
        if type(stream_handle) is not int or stream_handle not in self._gpu.streams:
            raise Misuse(f"{stream_handle!r} is no stream's handle")
        unset = sorted(set(engine._shapes) - set(self._addresses))
        if unset or "execute_async_v3" in self._gpu.failing:
            reason = f"Address is not set for tensor {unset[0]}" if unset else "Cask (launch failed)"
            say(self._logger, "ERROR", f"IExecutionContext::enqueueV3: Error Code 3: {reason}")
            return False
        sizes = {name: 4 * math.prod(shape) for name, shape in engine._shapes.items()}
        ports = [self._gpu.at(self._addresses[name], size) for name, size in sizes.items()]
        self._gpu.streams[stream_handle].append(lambda: _compute(engine, *ports))
        return True


def _compute(engine: Any, source: bytearray, to: bytearray) -> None:
    tensor = np.frombuffer(source, np.float32).reshape(engine._shapes["input"])
    output = engine._session(tensor) * np.float32(1 + engine._distortion)
    to[: output.nbytes] = output.tobytes()
