"""The building half of the simulated TensorRT. The parser takes what ONNX Runtime takes."""

from __future__ import annotations

import weakref
from typing import Any

from edge.errors import BundleError
from edge.runtimes import OnnxRuntime
from edge.simengine import packed
from edge.simgpu import Misuse, SimGpu
from edge.simparts import Part, Value, belongs, listening, say

_TIMING = b"simulated timing cache of "
_PRECISIONS = {"FP16", "BF16", "INT8", "FP8", "INT4", "FP4"}  # flags that a strongly typed network refuses


class Builder(Part):
    def __init__(self, logger: Any) -> None:
        self._logger = listening(logger)
        if "Builder" in self._gpu.failing:
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int = 0) -> Any:
        self._gpu.record.append(f"create_network {flags}")
        return self._trt.INetworkDefinition(flags)

    def create_builder_config(self) -> Any:
        return self._trt.IBuilderConfig(self._logger)

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        self._gpu.record.append("build_serialized_network")
        trouble = _trouble(network, config, self._gpu)
        if trouble:
            say(self._logger, "ERROR", trouble)
            return None
        if not _stepped(config):
            say(self._logger, "ERROR", "IBuilder::buildSerializedNetwork: Error Code 1: build was cancelled")
            return None
        say(self._logger, "INFO", "Engine generation completed")
        return self._trt.IHostMemory(packed(network._model, self._trt, self._gpu))


def _trouble(network: Any, config: Any, gpu: SimGpu) -> str:
    """Why nothing can be built, in words like TensorRT's."""
    if network._model is None:
        return "Error Code 4: API Usage Error (Network must have at least one output)"
    refused = sorted(_PRECISIONS & config._flags)
    if refused:
        return (
            f"Error Code 3: API Usage Error ({refused[0]} flag cannot be used with a strongly typed network)"
        )
    if "build" in gpu.failing:
        return "Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode})"
    if config._workspace > gpu.memory - gpu.used:
        return "Error Code 1: Cuda Runtime (out of memory)"
    return ""


def _stepped(config: Any) -> bool:
    """Tells the monitor of three steps; False once it wants to stop."""
    if config._monitor is None:
        return True
    monitor = config._monitor()
    if monitor is None:
        raise Misuse("the progress monitor is gone while TensorRT builds")
    monitor.phase_start("Building Engine", None, 3)
    went_on = all(monitor.step_complete("Building Engine", step) for step in range(3))
    monitor.phase_finish("Building Engine")
    return went_on


class Network(Part):
    def __init__(self, flags: int) -> None:
        self._flags, self._model, self._ports = flags, None, ()

    @property
    def num_inputs(self) -> int:
        return int(self._model is not None)

    @property
    def num_outputs(self) -> int:
        return int(self._model is not None)

    def get_input(self, index: int) -> Any:
        return self._ports[index]


class Tensor(Part):
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_shape", shape)

    @property
    def name(self) -> str:
        return str(self._name)  # type: ignore[attr-defined]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._shape)  # type: ignore[attr-defined]


class Parser(Part):
    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._logger, self._errors = network, listening(logger), list[Any]()

    def parse(self, model: bytes, path: str | None = None) -> bool:
        self._gpu.record.append("parse")
        operator = next((one for one in self._gpu.unsupported if one.encode() in model), None)
        if operator:
            self._errors.append(self._trt.ParserError(self._gpu.lack, operator))
            return False
        shape = _input_shape(model)
        if shape is None:
            self._errors.append(self._trt.ParserError("Failed to parse the ONNX model", ""))
            return False
        self._network._model = model
        self._network._ports = (self._trt.ITensor("input", shape),)
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index]


class ParserError(Part):
    def __init__(self, text: str, operator: str) -> None:
        self._text, self._operator = text, operator

    def desc(self) -> str:
        return self._text

    def node_operator(self) -> str:
        return self._operator

    def node_name(self) -> str:
        return f"/net/{self._operator}_0" if self._operator else ""


def _input_shape(model: bytes) -> tuple[int, ...] | None:
    try:
        with OnnxRuntime(model, "the model") as runtime:
            return runtime.input_shape
    except BundleError:
        return None


class Config(Part):
    def __init__(self, logger: weakref.ref[Any]) -> None:
        self._logger, self._workspace, self._cache = logger, 0, None
        self._monitor: weakref.ref[Any] | None = None
        self._level, self._flags = 3, set[str]()

    def set_memory_pool_limit(self, pool: Value, pool_size: int) -> None:
        if pool is self._trt.MemoryPoolType.WORKSPACE:
            self._workspace = pool_size

    def set_flag(self, flag: Value) -> None:
        self._flags.add(flag.name)

    @property
    def builder_optimization_level(self) -> int:
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, level: int) -> None:
        self._level = level

    @property
    def progress_monitor(self) -> Any:
        return self._monitor and self._monitor()

    @progress_monitor.setter
    def progress_monitor(self, monitor: Any) -> None:
        if not getattr(monitor, "_ready", False):
            raise TypeError("IProgressMonitor.__init__() must be called when overriding __init__")
        self._monitor = weakref.ref(monitor)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        for line in self._gpu.harmless:
            say(self._logger, "ERROR", line)
        return self._trt.ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if ignore_mismatch:
            raise Misuse("a timing cache of another device was forced on this one")
        expected = _TIMING + " ".join(belongs(self._trt, self._gpu)).encode()
        fits = cache._data in (b"", expected)
        if fits:
            self._cache = self._trt.ITimingCache(expected)
        self._gpu.record.append(
            f"timing cache {'kept' if cache._data and fits else 'new' if fits else 'refused'}"
        )
        return fits

    def get_timing_cache(self) -> Any:
        return self._cache


class TimingCache(Part):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self) -> Any:
        return self._trt.IHostMemory(self._data)
