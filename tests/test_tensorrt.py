"""The engine's runtime and its builder, on every TensorRT of the fleet; simulated, for none of it is here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import tensorrt_builder, tensorrt_runtime
from edge.errors import BundleError, SkerryError
from edge.gpu import Device, EngineError, GpuError, describe_device, load_toolkit
from edge.runtimes import OnnxRuntime
from edge.simengine import CONTEXT_BYTES
from edge.simgpu import TENSORRTS, SimGpu, simulated
from edge.tensorrt_builder import BuildOptions, build_engine
from edge.tensorrt_runtime import Complaints, TensorRtRuntime
from tests.builders import BLUR
from tests.engines import engine_for, prove, tensor


@pytest.mark.parametrize("version", TENSORRTS)
def test_one_code_path_builds_runs_and_gives_back_on_every_tensorrt(version: str) -> None:
    prove(version)


def mutated(module: ModuleType, right: str, wrong: str) -> ModuleType:
    """The module's source with one thing changed, run afresh."""
    source = Path(str(module.__file__)).read_text()
    assert right in source, f"{module.__name__} has no {right!r} any more"
    changed = ModuleType(f"{module.__name__}_mutated")
    changed.__dict__["__file__"] = module.__file__
    sys.modules[changed.__name__] = changed  # dataclasses look their module up
    exec(compile(source.replace(right, wrong), str(module.__file__), "exec"), changed.__dict__)
    return changed


STRONG = "1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)"
POOL = "config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)"
NOT_10, NOT_11 = TENSORRTS[:3], TENSORRTS[3:]


@pytest.mark.parametrize(
    ("right", "wrong", "fails_on"),
    [
        ("builder.build_serialized_network(", "builder.build_engine(", TENSORRTS),
        (POOL, "config.max_workspace_size = options.workspace_mb << 20", TENSORRTS),
        (POOL, "builder.max_batch_size = 1", TENSORRTS),
        (POOL, "config.set_flag(trt.BuilderFlag.FP16)", TENSORRTS),
        (POOL, "config.set_flag(trt.BuilderFlag.INT8)", TENSORRTS),
        (POOL, "config.int8_calibrator = None", NOT_11),
        (POOL, "trt.IInt8EntropyCalibrator2", NOT_11),
        (POOL, "builder.platform_has_fast_fp16", TENSORRTS),
        (STRONG, "1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)", TENSORRTS),
        (STRONG, "1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED", TENSORRTS),
        (STRONG, "0", TENSORRTS),
        (STRONG, "2", NOT_11),
        (STRONG, "1", NOT_10),
        ("parser.parse(model)", "parser.supports_model(model)", TENSORRTS),
        ("set_timing_cache(cache, False)", "set_timing_cache(cache, True)", TENSORRTS),
        ("            trt.IProgressMonitor.__init__(self)\n", "", TENSORRTS),
        ("config.progress_monitor = monitor", "config.progress_monitor = progress(trt, tell)", TENSORRTS),
    ],
)
def test_a_builder_that_does_it_the_old_way_fails(right: str, wrong: str, fails_on: tuple[str, ...]) -> None:
    changed = mutated(tensorrt_builder, right, wrong)
    assert failing(lambda version: prove(version, builder=changed)) == fails_on


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("execute_async_v3(self._lane.handle)", "execute_async_v2([], self._lane.handle)"),
        ("execute_async_v3(self._lane.handle)", "execute_async(1, [], self._lane.handle)"),
        ("execute_async_v3(self._lane.handle)", "execute_async_v3(self._lane._stream)"),
        ("range(engine.num_io_tensors)", "range(engine.num_bindings)"),
        ("engine.get_tensor_name(number)", "engine.get_binding_name(number)"),
        ("engine.get_tensor_shape(name)", "engine.get_binding_shape(name)"),
        ("engine.get_tensor_mode(name) == mode", "engine.binding_is_input(name)"),
        ("self._context.set_tensor_address(name, port.device)", "True"),
        ("self._lane.upload(self._input.host, self._input.device)", "pass"),
        ("        self._lane.wait()\n", ""),
        ("np.array(self._output.values)", "self._output.values"),
        ("        self._held.close()\n", ""),
        ("self._context = self._engine = self._runtime", "self._runtime = self._engine = self._context"),
        ("self._logger = listener(trt, self._complaints)", "pass"),
        ("            trt.ILogger.__init__(self)\n", "            pass\n"),
    ],
)
def test_a_runtime_that_does_it_the_old_way_or_in_the_wrong_order_fails(right: str, wrong: str) -> None:
    changed = mutated(tensorrt_runtime, right, wrong)
    assert failing(lambda version: prove(version, runtime=changed)) == TENSORRTS


def failing(proof: object) -> tuple[str, ...]:
    assert callable(proof)
    failed = []
    for version in TENSORRTS:
        try:
            proof(version)
        except Exception:  # noqa: BLE001 - however it fails, it fails
            failed.append(version)
    return tuple(failed)


# What the runtime refuses


@pytest.mark.parametrize("version", TENSORRTS)
def test_an_engine_of_another_tensorrt_is_one_sentence(version: str) -> None:
    other = TENSORRTS[TENSORRTS.index(version) - 1]
    with pytest.raises(EngineError, match=rf"TensorRT {version}.*got {other}.*`skerry engine build`"):
        TensorRtRuntime(engine_for(simulated(other)), "engine 1", simulated(version))


def test_an_engine_of_another_gpu_is_one_sentence() -> None:
    thor = simulated(gpu=SimGpu(module="Thor", compute=(11, 0)))
    with pytest.raises(EngineError, match=r"not an engine for this GPU.*compute 8\.7 got compute 11\.0"):
        TensorRtRuntime(engine_for(thor), "engine 1", simulated())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=200), cut=st.floats(0, 0.999))
def test_a_truncated_or_foreign_engine_is_one_sentence_and_holds_nothing(junk: bytes, cut: float) -> None:
    gpu = SimGpu()
    toolkit = simulated(gpu=gpu)
    whole = engine_for(toolkit)
    for data in (junk, whole[: int(len(whole) * cut)] + junk):
        with pytest.raises(BundleError) as told:
            TensorRtRuntime(data, "engine 1", toolkit)
        assert str(told.value).startswith("engine 1 is not an engine for this GPU and TensorRT 10.3.0: ")
        assert "\n" not in str(told.value)
    assert (gpu.used, gpu.pinned, gpu.streams) == (0, {}, {})


@pytest.mark.parametrize(
    ("room", "told"),
    [
        (0, "no room to run engine 1: .*out of memory"),
        (CONTEXT_BYTES + 1000, "memory is exhausted: stop what else uses it.*--variant"),
        (CONTEXT_BYTES + 190_000, "memory is exhausted: stop what else uses it.*--variant"),
    ],
)
def test_a_gpu_without_room_is_one_sentence_and_nothing_stays_taken(room: int, told: str) -> None:
    gpu = SimGpu()
    toolkit = simulated(gpu=gpu)
    engine = engine_for(toolkit)
    gpu.memory = room
    with pytest.raises(GpuError, match=told):
        TensorRtRuntime(engine, "engine 1", toolkit)
    assert (gpu.used, gpu.pinned, gpu.streams) == (0, {}, {})


def test_a_gpu_that_fails_in_flight_is_no_fault_of_the_bundle() -> None:
    """Exit code 70: systemd starts the daemon again, and its start finds what still works."""
    gpu = SimGpu()
    toolkit = simulated(gpu=gpu)
    with TensorRtRuntime(engine_for(toolkit), "engine 1", toolkit) as runtime:
        gpu.failing.add("execute_async_v3")
        with pytest.raises(GpuError, match=r"failed to run engine 1: .*launch failed") as told:
            runtime(tensor(1))
        gpu.failing.clear()
        gpu.failing.add("cudaStreamSynchronize")
        with pytest.raises(GpuError, match="cudaErrorLaunchFailure"):
            runtime(tensor(1))
        gpu.failing.clear()
    assert told.value.exit_code == SkerryError.exit_code == 70


def test_an_input_of_another_shape_or_kind_is_refused_before_it_is_copied() -> None:
    toolkit = simulated()
    with TensorRtRuntime(engine_for(toolkit), "engine 1", toolkit) as runtime:
        assert runtime.input_shape == (1, 3, 124, 124)
        with pytest.raises(BundleError, match=r"\(1, 3, 8, 8\)"):
            runtime(np.zeros((1, 3, 8, 8), np.float32))
        with pytest.raises(BundleError, match="float64"):
            runtime(np.zeros((1, 3, 124, 124)))  # type: ignore[arg-type]


def test_a_picture_that_does_not_lie_contiguous_is_taken_all_the_same() -> None:
    toolkit = simulated()
    turned = tensor(3).transpose(0, 1, 3, 2)
    with (
        TensorRtRuntime(engine_for(toolkit), "engine 1", toolkit) as runtime,
        OnnxRuntime(BLUR.read_bytes(), "blur") as truth,
    ):
        np.testing.assert_allclose(runtime(turned), truth(np.ascontiguousarray(turned)), rtol=1e-6)


def test_closing_twice_is_fine_and_calling_after_it_is_not() -> None:
    toolkit = simulated()
    runtime = TensorRtRuntime(engine_for(toolkit), "engine 1", toolkit)
    runtime.close()
    runtime.close()
    with pytest.raises(EngineError, match="was closed"):
        runtime(tensor(1))


def test_a_runtime_that_cannot_be_made_is_one_sentence() -> None:
    gpu = SimGpu(failing={"Runtime"})
    with pytest.raises(GpuError, match="cannot start TensorRT"):
        TensorRtRuntime(b"", "engine 1", simulated(gpu=gpu))


# What the builder refuses


@pytest.mark.parametrize("version", TENSORRTS)
def test_an_operator_that_tensorrt_lacks_is_named(version: str) -> None:
    gpu = SimGpu(unsupported=("AveragePool",))
    with pytest.raises(EngineError, match=r"cannot take blur: .*operator AveragePool.*another variant"):
        build_engine(BLUR.read_bytes(), "blur", simulated(version, gpu), BuildOptions())


def test_what_the_real_parser_says_of_an_operator_becomes_one_sentence() -> None:
    """Both as the parser of TensorRT for RTX 1.7 said them."""
    unsaid = SimGpu(unsupported=("AveragePool",), lack="false")
    with pytest.raises(EngineError, match="cannot take blur: it cannot compute this at the operator Average"):
        build_engine(BLUR.read_bytes(), "blur", simulated(gpu=unsaid), BuildOptions())
    long = (
        "Invalid Node - features.10.l.0.c.bias_DequantizeLinear\nITensor::getDimensions: Error Code 4: API "
        "Usage Error (features.10.l.0.c.bias_DequantizeLinear: input has type Int32 but must have type FP8, "
        "FP4, Int4, Int8, or UInt8."
    )
    lines = SimGpu(unsupported=("AveragePool",), lack=long)
    with pytest.raises(EngineError, match="input has type Int32 but must have type FP8, FP4") as told:
        build_engine(BLUR.read_bytes(), "blur", simulated(gpu=lines), BuildOptions())
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("model", [b"", b"not a model", BLUR.read_bytes()[:100]])
def test_a_file_that_is_no_model_is_one_sentence(model: bytes) -> None:
    with pytest.raises(EngineError, match="cannot take blur"):
        build_engine(model, "blur", simulated(), BuildOptions())


def test_a_build_without_memory_says_what_to_do() -> None:
    with pytest.raises(GpuError, match=r"exhausted while building blur.*smaller --workspace"):
        build_engine(BLUR.read_bytes(), "blur", simulated(gpu=SimGpu(memory=1 << 20)), BuildOptions())


def test_a_build_that_tensorrt_gives_up_ends_with_its_reason() -> None:
    with pytest.raises(EngineError, match=r"Could not find any implementation.*its log has the rest"):
        build_engine(BLUR.read_bytes(), "blur", simulated(gpu=SimGpu(failing={"build"})), BuildOptions())


def test_errors_that_did_no_harm_before_the_build_are_not_its_reason() -> None:
    """As TensorRT for RTX 1.7 logged it of a timing cache that was none, and then built."""
    harmless = (
        "[cudaResources.cpp::ScopedCudaStream::25] Error Code 1: Cuda Runtime (In ScopedCudaStream at "
        "/_src/common/dispatch/cudaResources.cpp:25 (cudaError 35: CUDA driver version is insufficient for "
        "CUDA runtime version))",
    )
    fine = SimGpu(harmless=harmless)
    assert build_engine(BLUR.read_bytes(), "blur", simulated(gpu=fine), BuildOptions()).engine
    failing = SimGpu(failing={"build"}, harmless=harmless)
    with pytest.raises(EngineError, match="cannot build blur: Error Code 10: Internal Error") as told:
        build_engine(BLUR.read_bytes(), "blur", simulated(gpu=failing), BuildOptions())
    assert "driver" not in str(told.value)


def test_of_several_errors_in_a_step_the_last_three_are_the_reason_in_one_line() -> None:
    complaints = Complaints()
    assert complaints.reason == "TensorRT gives no reason"
    for severity, line in (
        ("WARNING", "tactic skipped"),
        ("ERROR", "the first of four"),
        ("ERROR", "ERROR: ModelImporter.cpp:489 In function parseNode:\n[6] Invalid Node - of_bias\n"),
        ("INTERNAL_ERROR", "Error Code 10: Could not find any implementation for node {ForeignNode}."),
        ("ERROR", "Error Code 2: Internal Error (Assertion engine != nullptr failed. )"),
        ("ERROR", "Error Code 2: Internal Error (Assertion engine != nullptr failed. )"),
    ):
        complaints(severity, line)
    assert complaints.reason == (
        "ERROR: ModelImporter.cpp:489 In function parseNode: [6] Invalid Node - of_bias; Error Code 10: "
        "Could not find any implementation for node {ForeignNode}.; Error Code 2: Internal Error (Assertion "
        "engine != nullptr failed. )"
    )
    assert not complaints.of_memory
    complaints("ERROR", "Error Code 1: Cuda Runtime (out of memory)")
    assert complaints.of_memory
    complaints.forget()
    assert complaints.reason == "TensorRT gives no reason"


def test_a_builder_that_cannot_be_made_is_one_sentence() -> None:
    with pytest.raises(GpuError, match="cannot start TensorRT's builder"):
        build_engine(BLUR.read_bytes(), "blur", simulated(gpu=SimGpu(failing={"Builder"})), BuildOptions())


def test_progress_is_told_and_a_build_can_be_stopped() -> None:
    told: list[tuple[str, int, int]] = []

    def tell(phase: str, done: int, total: int) -> bool:
        told.append((phase, done, total))
        return done < 2

    with pytest.raises(GpuError, match="the build of blur was stopped"):
        build_engine(BLUR.read_bytes(), "blur", simulated(), BuildOptions(), tell=tell)
    assert told == [("Building Engine", 1, 3), ("Building Engine", 2, 3)]


def test_a_timing_cache_of_another_device_is_dropped_and_never_forced() -> None:
    gpu, lines = SimGpu(), list[str]()
    toolkit = simulated("10.16.1.11", gpu)
    build_engine(BLUR.read_bytes(), "blur", toolkit, BuildOptions(), b"of another", write=lines.append)
    assert [line for line in gpu.record if line.startswith("timing")] == [
        "timing cache refused",
        "timing cache new",
    ]
    assert any("timing cache is of another device" in line for line in lines)


# The libraries


def test_without_tensorrt_the_sentence_names_jetpack_and_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", ModuleType("cuda.bindings.runtime"))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"tensorrt is not installed; on a Jetson.*--system-site-packages"):
        load_toolkit()


def test_without_the_bindings_of_cuda_the_sentence_names_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.delitem(sys.modules, "cuda.bindings.runtime", raising=False)
    with pytest.raises(EngineError, match=r"cuda.bindings.runtime is not installed; pip install"):
        load_toolkit()


def test_a_tensorrt_whose_library_is_missing_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt.py").write_text(
        "raise ImportError('libnvdla_compiler.so: cannot open shared object file\\nmore')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", ModuleType("cuda.bindings.runtime"))
    with pytest.raises(EngineError, match=r"libnvdla_compiler.so: cannot open.*; install that library"):
        load_toolkit()


@pytest.mark.parametrize(
    ("version", "refused"),
    [("8.6.2", True), ("10.2.0.19", True), ("10.3.0", False), ("10.16.2.10", False), ("11.4.1", False)],
)
def test_tensorrt_before_10_3_is_refused(
    version: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolkit = simulated()
    toolkit.trt.__version__ = version
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", toolkit.cudart)
    monkeypatch.setitem(sys.modules, "tensorrt", toolkit.trt)
    if refused:
        with pytest.raises(EngineError, match=f"TensorRT {version} is too old"):
            load_toolkit()
    else:
        assert load_toolkit().version == version


@pytest.mark.parametrize("count", [0, None])
def test_a_machine_without_a_gpu_is_refused_before_tensorrt_is_touched(
    count: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = SimGpu(failing=set() if count is not None else {"cudaGetDeviceCount"})
    toolkit = simulated(gpu=gpu)
    if count is not None:
        monkeypatch.setitem(vars(sys.modules["edge.simgpu"])["_CUDA"], "cudaGetDeviceCount", _no_device)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", toolkit.cudart)
    monkeypatch.setitem(sys.modules, "tensorrt", toolkit.trt)
    with pytest.raises(EngineError, match=r"no NVIDIA GPU can be used here: .*groups video and render"):
        load_toolkit()
    assert not [line for line in gpu.record if not line.startswith("cuda")]


def _no_device(_gpu: SimGpu) -> tuple[str, int]:
    return "cudaSuccess", 0


def test_a_jetson_is_told_from_its_siblings_by_its_own_files(tmp_path: Path) -> None:
    for name, text in {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n# more",
        "var/lib/nvpmodel/status": "pmode:0001",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = describe_device(simulated(), tmp_path)
    assert found == Device("NVIDIA Jetson Orin Nano Developer Kit", "8.7", 8, "36.4.3", "pmode:0001")
    assert describe_device(simulated(), tmp_path / "pc") == Device("Orin", "8.7", 8, "", "")
