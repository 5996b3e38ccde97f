"""What runs a bundle at start: the engine, the one before, or ONNX Runtime; and what `status` says of it."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import ModelBundle
from edge.engine_build import Order, make_engine
from edge.engine_choice import Choice, open_fastest
from edge.engines import EngineStore
from edge.errors import BundleError
from edge.events import Status
from edge.gpu import EngineError, Toolkit
from edge.runtimes import OnnxRuntime
from edge.simgpu import SimGpu, simulated
from edge.tensorrt_runtime import TensorRtRuntime
from tests.builders import bundle_at
from tests.engines import engine_for, gpu_bundle_at, tensor
from tests.test_events import a_status


@pytest.fixture
def bundle(tmp_path: Path) -> ModelBundle:
    return gpu_bundle_at(tmp_path / "bundle")


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "engines")


def opened(bundle: ModelBundle, store: EngineStore, toolkit: Toolkit, wanted: str = "auto") -> Choice:
    """What was chosen, tried on a frame and closed again; `why` must fit into a status."""
    choice = open_fastest(bundle, wanted, store.folder, lambda: toolkit)
    with choice.runtime as runtime, OnnxRuntime(bundle.model("fp32"), "truth") as truth:
        np.testing.assert_allclose(runtime(tensor(5)), truth(tensor(5)), rtol=1e-5)
    status = a_status().model_copy(update={"runtime": choice.why})
    assert Status.model_validate_json(status.to_json()).runtime == choice.why
    return choice


def on_processor(choice: Choice) -> bool:
    return isinstance(choice.runtime, OnnxRuntime) and choice.variant == "fp32"


def test_the_engine_of_this_device_flies(bundle: ModelBundle, store: EngineStore) -> None:
    toolkit = simulated()
    make_engine(bundle, Order(), store, toolkit)
    choice = opened(bundle, store, toolkit)
    assert isinstance(choice.runtime, TensorRtRuntime)
    assert (choice.variant, choice.why) == ("fp16", "TensorRT 10.3.0, fp16 engine 1")


def test_without_a_cache_the_processor_flies_and_tensorrt_is_not_even_looked_for(
    bundle: ModelBundle, store: EngineStore
) -> None:
    def never() -> Toolkit:
        raise AssertionError("TensorRT takes a second to load")

    choice = open_fastest(bundle, "auto", store.folder, never)
    assert on_processor(choice)
    assert choice.why == "ONNX Runtime, fp32"
    store.folder.mkdir()
    assert on_processor(open_fastest(bundle, "fp32", store.folder, never)), "a named variant is asked for"
    plain = bundle_at(bundle.folder.parent / "plain")
    assert on_processor(open_fastest(plain, "auto", store.folder, never)), "no model for engines"


def test_where_tensorrt_is_gone_the_processor_flies_and_the_reason_is_told(
    bundle: ModelBundle, store: EngineStore, caplog: pytest.LogCaptureFixture
) -> None:
    make_engine(bundle, Order(), store, simulated())

    def gone() -> Toolkit:
        raise EngineError("the Python package tensorrt is not installed; on a Jetson it is JetPack's own")

    with caplog.at_level(logging.WARNING, "skerry"):
        choice = open_fastest(bundle, "auto", store.folder, gone)
    assert on_processor(choice)
    assert choice.why.startswith("ONNX Runtime, fp32; the Python package tensorrt is not installed")
    assert "no engine: the Python package tensorrt" in caplog.text


def test_an_engine_of_another_tensorrt_is_not_even_opened(bundle: ModelBundle, store: EngineStore) -> None:
    make_engine(bundle, Order(), store, simulated("10.3.0"))
    gpu = SimGpu()
    choice = opened(bundle, store, simulated("10.16.1.11", gpu))
    assert on_processor(choice)
    assert "engine was built for TensorRT 10.3.0 on Orin, this is 10.16.1.11 on Orin" in choice.why
    assert "deserialize_cuda_engine" not in gpu.record


def test_an_engine_of_another_module_is_not_used(bundle: ModelBundle, store: EngineStore) -> None:
    make_engine(bundle, Order(), store, simulated())
    choice = opened(bundle, store, simulated(gpu=SimGpu(module="Thor", compute=(11, 0))))
    assert on_processor(choice)
    assert "this is 10.3.0 on Thor" in choice.why


def test_an_engine_of_another_model_is_never_used(
    bundle: ModelBundle, store: EngineStore, tmp_path: Path
) -> None:
    make_engine(bundle, Order(), store, simulated())
    other = gpu_bundle_at(tmp_path / "other", bundle.model("fp32") + b"\x32\x01x")
    choice = opened(other, store, simulated())
    assert on_processor(choice)
    assert "no engine of this bundle; `skerry engine build" in choice.why


def test_a_spoilt_engine_makes_way_for_the_one_before(bundle: ModelBundle, store: EngineStore) -> None:
    toolkit = simulated()
    make_engine(bundle, Order(), store, toolkit)
    newest = make_engine(bundle, Order(again=True), store, toolkit).record
    path = store.folder / f"{newest.stem}.engine"
    path.write_bytes(path.read_bytes()[:-10])
    choice = opened(bundle, store, toolkit)
    assert choice.why.startswith("TensorRT 10.3.0, fp16 engine 1; engine ")
    assert "was truncated or changed" in choice.why


def test_an_engine_that_the_gate_refused_makes_way_for_the_one_before(
    bundle: ModelBundle, store: EngineStore
) -> None:
    gpu = SimGpu()
    toolkit = simulated(gpu=gpu)
    make_engine(bundle, Order(), store, toolkit)
    gpu.distortion = 0.05
    with pytest.raises(EngineError):
        make_engine(bundle, Order(precision="int8"), store, toolkit)
    choice = opened(bundle, store, toolkit)
    assert choice.variant == "fp16"
    assert choice.why.startswith("TensorRT 10.3.0, fp16 engine 1; the gate refused int8 engine 2: it moves")


def test_where_the_gate_refused_the_only_engine_the_processor_flies(
    bundle: ModelBundle, store: EngineStore
) -> None:
    toolkit = simulated(gpu=SimGpu(distortion=0.05))
    with pytest.raises(EngineError):
        make_engine(bundle, Order(), store, toolkit)
    choice = opened(bundle, store, toolkit)
    assert on_processor(choice)
    assert "the gate refused fp16 engine 1: it moves a score" in choice.why


@pytest.mark.parametrize("broken", ["execute_async_v3", "cudaMalloc", "cudaStreamSynchronize", "Runtime"])
def test_a_gpu_that_fails_at_the_first_frame_leaves_the_processor_flying(
    broken: str, bundle: ModelBundle, store: EngineStore
) -> None:
    gpu = SimGpu()
    toolkit = simulated(gpu=gpu)
    make_engine(bundle, Order(), store, toolkit)
    gpu.failing.add(broken)
    choice = opened(bundle, store, toolkit)
    assert on_processor(choice)
    assert "the GPU" in choice.why
    assert (gpu.used, gpu.pinned, gpu.streams) == (0, {}, {})


def test_a_gpu_that_is_full_leaves_the_processor_flying(bundle: ModelBundle, store: EngineStore) -> None:
    gpu = SimGpu()
    toolkit = simulated(gpu=gpu)
    make_engine(bundle, Order(), store, toolkit)
    gpu.memory = 1000
    choice = opened(bundle, store, toolkit)
    assert on_processor(choice)
    assert "no room" in choice.why


def test_an_engine_that_gives_nan_at_the_first_frame_is_not_flown(
    bundle: ModelBundle, store: EngineStore
) -> None:
    toolkit = simulated()
    record = make_engine(bundle, Order(), store, toolkit).record
    path = store.folder / f"{record.stem}.engine"
    spoilt = SimGpu(distortion=float("nan"))
    bad = engine_for(simulated(gpu=spoilt), bundle.model("fp16"))
    path.write_bytes(bad)
    (store.folder / f"{record.stem}.json").write_text(
        record.model_copy(
            update={"sha256": hashlib.sha256(bad).hexdigest(), "size": len(bad)}
        ).model_dump_json()
    )
    choice = opened(bundle, store, toolkit)
    assert on_processor(choice)
    assert "gives NaN or infinity" in choice.why


def test_a_long_story_is_cut_to_what_the_wire_takes(bundle: ModelBundle, store: EngineStore) -> None:
    store.folder.mkdir()

    def wordy() -> Toolkit:
        raise EngineError("no\ttab\n" + "x" * 500)

    choice = open_fastest(bundle, "auto", store.folder, wordy)
    assert len(choice.why) == 200
    assert choice.why.isprintable()
    assert a_status().model_copy(update={"runtime": choice.why}).to_json()


def test_a_bundle_with_nothing_for_the_processor_either_is_refused(
    bundle: ModelBundle, store: EngineStore
) -> None:
    variants = {"fp16": bundle.manifest.variants["fp16"]}
    bare = ModelBundle(bundle.folder, bundle.manifest.model_copy(update={"variants": variants}), "")
    with pytest.raises(BundleError, match="no model for this processor"):
        open_fastest(bare, "auto", store.folder)
