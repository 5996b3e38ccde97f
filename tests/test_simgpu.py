from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from edge.gpu import Lane
from edge.simgpu import CUDAS, TENSORRTS, Misuse, SimGpu, facts, simulated
from edge.simtensorrt import BEHAVIOURS


@pytest.mark.parametrize("version", TENSORRTS)
def test_the_simulation_offers_what_the_version_offers_and_nothing_more(version: str) -> None:
    trt = simulated(version).trt
    assert trt.__version__ == version
    for name, members in facts("tensorrt", version)["classes"].items():
        made = getattr(trt, name)
        assert {one for one in vars(made) if not one.startswith("_")} == set(members), name


@pytest.mark.parametrize("version", TENSORRTS)
@pytest.mark.parametrize(
    "gone",
    [
        "Builder.build_engine",
        "Builder.max_batch_size",
        "IBuilderConfig.max_workspace_size",
        "ICudaEngine.num_bindings",
        "ICudaEngine.get_binding_name",
        "IExecutionContext.execute_async",
        "IExecutionContext.execute_async_v2",
        "IExecutionContext.set_binding_shape",
    ],
)
def test_what_ended_with_8_raises_everywhere(version: str, gone: str) -> None:
    kind, member = gone.split(".")
    with pytest.raises(AttributeError, match=member):
        getattr(getattr(simulated(version).trt, kind), member)


@pytest.mark.parametrize(
    ("member", "offered"),
    [
        ("BuilderFlag.FP16", TENSORRTS[:3]),
        ("BuilderFlag.INT8", TENSORRTS[:3]),
        ("NetworkDefinitionCreationFlag.EXPLICIT_BATCH", TENSORRTS[:3]),
        ("IBuilderConfig.int8_calibrator", TENSORRTS[:3]),
        ("ICudaEngine.device_memory_size", TENSORRTS[:3]),
        ("HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY", TENSORRTS[1:]),
        ("NetworkDefinitionCreationFlag.STRONGLY_TYPED", TENSORRTS),
        ("IExecutionContext.execute_async_v3", TENSORRTS),
    ],
)
def test_what_came_or_went_is_there_in_its_versions_only(member: str, offered: tuple[str, ...]) -> None:
    kind, name = member.split(".")
    having = []
    for version in TENSORRTS:
        try:
            getattr(getattr(simulated(version).trt, kind), name)
        except AttributeError:
            continue
        except NotImplementedError:
            pass
        having.append(version)
    assert tuple(having) == offered


def test_a_class_that_11_lacks_is_an_attribute_error_there() -> None:
    assert simulated("10.16.1.11").trt.IInt8EntropyCalibrator2
    with pytest.raises(AttributeError, match="IInt8EntropyCalibrator2"):
        _ = simulated("11.4.0.106").trt.IInt8EntropyCalibrator2


def test_the_value_of_strongly_typed_moves_and_is_no_number() -> None:
    flags = [simulated(version).trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED for version in TENSORRTS]
    assert [int(flag) for flag in flags] == [1, 1, 1, 0]
    with pytest.raises(TypeError):
        _ = 1 << flags[0]


def test_an_attribute_that_no_version_has_cannot_be_set_either() -> None:
    trt = simulated().trt
    logger = _logger(trt)
    config = trt.Builder(logger).create_builder_config()
    config.builder_optimization_level = 2
    with pytest.raises(AttributeError, match="max_workspace_size"):
        config.max_workspace_size = 1 << 20


def test_a_real_member_that_is_not_simulated_says_so() -> None:
    with pytest.raises(NotImplementedError, match="engine_capability is real"):
        _ = simulated().trt.IBuilderConfig.engine_capability
    with pytest.raises(NotImplementedError, match="cudaMallocManaged"):
        _ = simulated().cudart.cudaMallocManaged


def test_nothing_is_simulated_that_no_version_has() -> None:
    everything = [facts("tensorrt", version)["classes"] for version in TENSORRTS]
    for kind, behaviour in BEHAVIOURS.items():
        invented = {name for name in vars(behaviour) if not name.startswith("_")}
        for version in everything:
            assert invented <= set(version[kind]), kind


def test_a_logger_whose_base_was_not_initialised_is_refused_as_by_pybind() -> None:
    trt = simulated().trt

    class Silent(trt.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="must be called"):
        trt.Runtime(Silent())


def _logger(trt: object) -> object:
    from edge.tensorrt_runtime import listener

    return listener(trt, lambda *_: None)


@pytest.mark.parametrize("version", CUDAS)
def test_the_simulated_cuda_raises_for_a_name_that_cuda_lacks(version: str) -> None:
    cudart = simulated(cuda=version).cudart
    assert int(cudart.cudaError_t.cudaErrorMemoryAllocation) == 2
    with pytest.raises(AttributeError, match="cudaMallocEverything"):
        _ = cudart.cudaMallocEverything


@pytest.mark.skipif(find_spec("cuda") is None, reason="cuda-bindings is not installed")
def test_what_skerry_calls_of_cuda_is_in_the_bindings_installed_here() -> None:
    from importlib import import_module

    from edge.simgpu import _CUDA

    cudart = import_module("cuda.bindings.runtime")
    assert [name for name in _CUDA if not hasattr(cudart, name)] == []


def test_a_copy_is_done_when_the_stream_is_waited_for_and_not_before() -> None:
    gpu = SimGpu()
    with Lane(simulated(gpu=gpu)) as lane:
        here, there, device = lane.pinned(4), lane.pinned(4), lane.device(4)
        here[:] = (1, 2, 3, 4)
        lane.upload(here, device)
        lane.download(device, there)
        assert there.tolist() == [0, 0, 0, 0]
        lane.wait()
        assert there.tolist() == [1, 2, 3, 4]
    assert (gpu.used, gpu.pinned, gpu.streams) == (0, {}, {})


def test_a_copy_from_memory_that_is_not_page_locked_is_caught() -> None:
    with Lane(simulated()) as lane, pytest.raises(Misuse, match="page-locked"):
        lane.upload(np.zeros(4, np.uint8), lane.device(4))
