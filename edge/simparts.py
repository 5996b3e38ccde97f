"""What the simulated TensorRT is made of: enum values, memory, loggers and monitors of Python."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from edge.simgpu import Misuse, SimGpu

if TYPE_CHECKING:
    from edge.simtensorrt import SimTensorRt


class Value:
    """An enum's value as pybind11 makes it: no number, but convertible to one."""

    def __init__(self, owner: str, name: str, value: int) -> None:
        self._owner, self.name, self._value = owner, name, value

    def __int__(self) -> int:
        return self._value

    def __repr__(self) -> str:
        return f"<{self._owner}.{self.name}: {self._value}>"


class Part:
    """What a behaviour may count on: the generated classes have both."""

    _trt: SimTensorRt
    _gpu: SimGpu


_SEVERITIES = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
SEVERITY = {name: Value("Severity", name, number) for number, name in enumerate(_SEVERITIES)}


class Logger(Part):
    Severity = type("Severity", (), dict(SEVERITY))
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = SEVERITY.values()

    def __init__(self) -> None:
        self._ready = True


def listening(logger: Any) -> weakref.ref[Any]:
    """Held weakly: the real one leaves it to the caller to keep the logger alive."""
    if not getattr(logger, "_ready", False):
        raise TypeError("ILogger.__init__() must be called when overriding __init__")
    return weakref.ref(logger)


def say(logger: weakref.ref[Any], severity: str, message: str) -> None:
    alive = logger()
    if alive is None:
        raise Misuse("the logger is gone while TensorRT still speaks to it")
    alive.log(SEVERITY[severity], message)


class Monitor(Part):
    def __init__(self) -> None:
        self._ready = True


class Memory(Part):
    """`bytes(plan)`: the real one offers its buffer."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bytes__(self) -> bytes:
        return self._data

    @property
    def nbytes(self) -> int:
        return len(self._data)


def belongs(trt: SimTensorRt, gpu: SimGpu) -> list[str]:
    return [trt.__version__, f"{gpu.compute[0]}.{gpu.compute[1]}"]
