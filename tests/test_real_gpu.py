"""What a real NVIDIA GPU proves: CUDA in any case, TensorRT where it is installed.

Imports little, so that it runs on a GPU machine that has only numpy, onnxruntime, pytest and cuda-bindings:
`pytest --noconftest -c /dev/null tests/test_real_gpu.py`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.gpu import EngineError, GpuError, Lane, Toolkit, call, describe_device, load_toolkit
from edge.runtimes import OnnxRuntime, Tensor
from edge.tensorrt_builder import BuildOptions, build_engine
from edge.tensorrt_runtime import TensorRtRuntime

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find_spec("cuda") is None, reason="cuda-bindings is not installed"),
]
BLUR = Path(__file__).parent / "data" / "blur.onnx"
SHAPE = (1, 3, 124, 124)


@pytest.fixture
def cudart() -> Any:
    return import_module("cuda.bindings.runtime")


def tensor(seed: int) -> Tensor:
    return np.random.default_rng(seed).random(SHAPE, np.float32)


def free(cudart: Any) -> int:
    return int(call(cudart, "cudaMemGetInfo")[0])


def test_bytes_go_to_the_device_and_back_and_a_full_one_says_so(cudart: Any) -> None:
    with Lane(Toolkit(None, cudart)) as lane:
        here, there, device = lane.pinned(1 << 20), lane.pinned(1 << 20), lane.device(1 << 20)
        here[:] = np.random.default_rng(0).integers(0, 256, 1 << 20)
        lane.upload(here, device)
        lane.download(device, there)
        lane.wait()
        np.testing.assert_array_equal(here, there)
        with pytest.raises(GpuError, match="memory is exhausted"):
            lane.device(1 << 50)
        lane.upload(here, device)  # the lane survives it
        lane.wait()


def test_what_was_taken_is_given_back(cudart: Any) -> None:
    toolkit = Toolkit(None, cudart)
    Lane(toolkit).close()  # the first use of CUDA keeps memory of its own
    before = free(cudart)
    for _ in range(8):
        with Lane(toolkit) as lane:
            lane.device(256 << 20)
            lane.pinned(1 << 20)
            assert free(cudart) <= before - (256 << 20)
    assert free(cudart) >= before - (16 << 20)


def test_the_device_is_named(cudart: Any) -> None:
    found = describe_device(Toolkit(None, cudart))
    (properties,) = call(cudart, "cudaGetDeviceProperties", 0)
    assert found.compute == f"{properties.major}.{properties.minor}"
    assert found.module
    assert found.multiprocessors > 0


class _Identity:
    """An engine and its context in one: copies its input to its output on the stream it is given."""

    num_io_tensors = 2

    def __init__(self, cudart: Any) -> None:
        self._cudart, self._addresses = cudart, dict[str, int]()

    def deserialize_cuda_engine(self, engine: bytes) -> _Identity:
        return self

    def create_execution_context(self) -> _Identity:
        return self

    def get_tensor_name(self, index: int) -> str:
        return ("INPUT", "OUTPUT")[index]

    def get_tensor_mode(self, name: str) -> str:
        return name

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return SHAPE

    def get_tensor_dtype(self, name: str) -> str:
        return "FLOAT"

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        addresses = self._addresses["OUTPUT"], self._addresses["INPUT"]
        call(self._cudart, "cudaMemcpyAsync", *addresses, 4 * int(np.prod(SHAPE)), kind, stream_handle)
        return True


def test_frames_go_through_the_runtime_on_real_cuda(cudart: Any) -> None:
    """TensorRT is a stand-in here that copies; memory, stream and order are real."""
    trt = SimpleNamespace(
        __version__="10.3.0",
        ILogger=object,
        Runtime=lambda _logger: _Identity(cudart),
        TensorIOMode=SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT"),
        DataType=SimpleNamespace(FLOAT="FLOAT"),
    )
    with TensorRtRuntime(b"", "identity", Toolkit(trt, cudart)) as runtime:
        outputs = [runtime(tensor(seed)) for seed in range(50)]
    for seed, output in enumerate(outputs):
        np.testing.assert_array_equal(output, tensor(seed))


@pytest.mark.skipif(find_spec("tensorrt_lean_bindings") is None, reason="the lean runtime is not installed")
@pytest.mark.parametrize(
    "engine", [b"", b"junk" * 1000, b"ftrt" + bytes(4096)], ids=["empty", "foreign", "spoilt header"]
)
def test_the_real_lean_runtime_refuses_what_is_no_engine(cudart: Any, engine: bytes) -> None:
    import_module("tensorrt_lean_libs")
    toolkit = Toolkit(import_module("tensorrt_lean_bindings"), cudart)
    with pytest.raises(EngineError, match="is not an engine for this GPU and TensorRT") as told:
        TensorRtRuntime(engine, "junk", toolkit)
    assert "TensorRT gives no reason" not in str(told.value)


@pytest.mark.skipif(find_spec("tensorrt") is None, reason="TensorRT is not installed")
def test_real_tensorrt_builds_runs_and_refuses() -> None:
    toolkit = load_toolkit()
    model, lines = BLUR.read_bytes(), list[str]()
    built = build_engine(model, "blur", toolkit, BuildOptions(), write=lines.append)
    again = build_engine(model, "blur", toolkit, BuildOptions(), built.timing_cache)
    assert lines
    for engine in (built.engine, again.engine):
        with TensorRtRuntime(engine, "blur", toolkit) as runtime, OnnxRuntime(model, "blur") as truth:
            for seed in (1, 2):
                np.testing.assert_allclose(runtime(tensor(seed)), truth(tensor(seed)), atol=2e-3)
    for spoilt in (b"", b"junk" * 100, built.engine[: len(built.engine) // 2]):
        with pytest.raises(EngineError):
            TensorRtRuntime(spoilt, "spoilt", toolkit)
