"""The `tensorrt` module of `edge.simgpu`: classes generated from the names that one version really offers.

A name that the version has and this simulation lacks raises NotImplementedError; one that the version lacks
raises AttributeError, and so does setting it. What is computed, ONNX Runtime computes.
"""

from __future__ import annotations

from typing import Any

from edge.simbuilder import Builder, Config, Network, Parser, ParserError, Tensor, TimingCache
from edge.simengine import Context, Engine, Runtime
from edge.simgpu import SimGpu, facts
from edge.simparts import Logger, Memory, Monitor, Value

BEHAVIOURS: dict[str, type] = {
    "ILogger": Logger,
    "IProgressMonitor": Monitor,
    "IHostMemory": Memory,
    "Builder": Builder,
    "INetworkDefinition": Network,
    "ITensor": Tensor,
    "OnnxParser": Parser,
    "ParserError": ParserError,
    "IBuilderConfig": Config,
    "ITimingCache": TimingCache,
    "Runtime": Runtime,
    "ICudaEngine": Engine,
    "IExecutionContext": Context,
}


class SimTensorRt:
    """One version. Classes are made when first asked for."""

    def __init__(self, version: str, gpu: SimGpu) -> None:
        content = facts("tensorrt", version)
        self.__version__: str = content["version"]
        self._classes: dict[str, list[str]] = content["classes"]
        self._gpu = gpu

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._classes:
            raise AttributeError(f"module 'tensorrt' has no attribute {name!r}")
        made = _generated(name, self._classes[name], self, self._gpu)
        setattr(self, name, made)
        return made


class _Lacking:
    """Stands for a real member that is not simulated."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: object, kind: type) -> Any:
        raise NotImplementedError(f"{self._name} is real, the simulated TensorRT lacks it")


def _generated(name: str, members: list[str], trt: SimTensorRt, gpu: SimGpu) -> Any:
    own: dict[str, Any] = {"_trt": trt, "_gpu": gpu}
    behaviour = BEHAVIOURS.get(name)
    if behaviour is None and members and all(member.isupper() for member in members):
        values = {member: Value(name, member, number) for number, member in enumerate(members)}
        return type(name, (), own | values)
    offered = dict(vars(behaviour)) if behaviour else {}
    own |= {key: value for key, value in offered.items() if key.startswith("_")}
    own |= {member: offered.get(member, _Lacking(f"{name}.{member}")) for member in members}
    return _strict(name, own, frozenset(members))


def _strict(name: str, own: dict[str, Any], members: frozenset[str]) -> Any:
    def set_known(self: Any, key: str, value: Any) -> None:
        """As in the bindings: only what there is can be set, unless a class of Python inherits."""
        if type(self) is made and not key.startswith("_") and key not in members:
            raise AttributeError(f"'tensorrt.{name}' object has no attribute {key!r}")
        object.__setattr__(self, key, value)

    ignored = {"__dict__", "__weakref__", "__module__", "__qualname__"}
    kept = {key: value for key, value in own.items() if key not in ignored}
    made = type(name, (), kept | {"__setattr__": set_known})
    return made
