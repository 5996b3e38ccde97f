"""TensorRT engines of clip models on a simulated GPU: what is built, what the gate says, what flies."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import skerry
from edge import clip_gate, engine_cli
from edge.bundle import ModelBundle, write_bundle
from edge.clip_detector import ClipStream, extractor_shape
from edge.clips import Extract
from edge.engine_build import Order, make_engine
from edge.engine_choice import open_fastest
from edge.engine_gate import Tolerance, gate
from edge.engines import EngineStore, Precision
from edge.gpu import EngineError
from edge.observer import Stopwatch
from edge.runtimes import OnnxRuntime
from edge.simgpu import SimGpu, simulated
from edge.tensorrt_runtime import TensorRtRuntime
from tests.clips import calibrated, clip_bundle, clip_spec, extractor_spec, pictures, stream
from tests.engines import VARIANTS, files_of

SEES = ("frame", "clip")
VERSION = "10.3.0"


def gpu_clips_at(path: Path, sees: str = "frame", **changes: object) -> ModelBundle:
    """A calibrated clip bundle with three variants of its extractor; fp32 is byte for byte the head's own."""
    spec = clip_spec(extractor_spec("frame" if sees == "frame" else "clip"), **changes)
    bundle = calibrated(clip_bundle(path, spec))
    model = bundle.model("fp32")
    manifest = bundle.manifest.model_copy(update={"variants": VARIANTS})
    return write_bundle(path, manifest, {**files_of(model), "model.fp32.onnx": model})


@pytest.fixture(params=SEES)
def sees(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bundle(tmp_path: Path, sees: str) -> ModelBundle:
    return gpu_clips_at(tmp_path / "b", sees)


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "engines")


@pytest.mark.parametrize("version", ["10.3.0", "10.13.3.9", "10.16.1.11", "11.4.0.106"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_engine_of_a_clip_model_is_built_in_order_gated_and_kept(
    bundle: ModelBundle, store: EngineStore, version: str, precision: Precision
) -> None:
    gpu = SimGpu()
    toolkit = simulated(version, gpu)
    made = make_engine(bundle, Order(precision), store, toolkit)
    variant = {"fp16": "fp16", "int8": "int8-trt"}[precision]
    key = made.record.key
    assert key.onnx == bundle.manifest.files[f"model.{variant}.onnx"]
    assert (key.precision, key.shape) == (precision, extractor_shape(bundle))
    strongly_typed = 1 << int(toolkit.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    steps = [
        next(n for n, line in enumerate(gpu.record) if line.startswith(begin))
        for begin in (f"create_network {strongly_typed}", "parse", "build_serialized_network")
    ]
    assert steps == sorted(steps)
    gate = made.record.gate
    assert (gate.frames, gate.refusal) == (clip_gate.CLIPS, "")
    assert gate.feature_cosine == pytest.approx(1.0, abs=1e-6)
    assert (gpu.used, gpu.pinned, gpu.streams) == (0, {}, {}), "something was not given back"
    with TensorRtRuntime(store.engine(made.record), "engine", toolkit) as engine:
        assert engine.input_shape == extractor_shape(bundle)


def scores(bundle: ModelBundle, store: EngineStore, toolkit: object) -> tuple[str, list[float | None]]:
    with ExitStack() as stack:
        choice = open_fastest(bundle, "auto", store.folder, lambda: toolkit)  # type: ignore[arg-type, return-value]
        stack.enter_context(choice.runtime)
        watched = ClipStream(bundle, choice.runtime)
        seen = [watched.observe(frame, Stopwatch()) for frame in stream(pictures("...." + "X" * 8))]
        return choice.why, seen


def test_its_scores_are_those_of_the_processor(bundle: ModelBundle, store: EngineStore) -> None:
    toolkit = simulated(VERSION, SimGpu())
    make_engine(bundle, Order(), store, toolkit)
    why, flown = scores(bundle, store, toolkit)
    assert why == f"TensorRT {VERSION}, fp16 engine 1"
    other, truth = scores(bundle, EngineStore(store.folder.parent / "none"), toolkit)
    assert "ONNX Runtime" in other or "OpenVINO" in other
    np.testing.assert_allclose(np.array(flown, float), np.array(truth, float), rtol=1e-4, atol=1e-4)


def turned(model: Extract) -> Extract:
    """Another picture's features for half of the width."""
    return lambda given: np.roll(model(given), 16, axis=1)


def negated(model: Extract) -> Extract:
    """Features that have nothing in common."""
    return lambda given: -model(given)


def test_features_that_turn_are_refused_whatever_the_scores_do(bundle: ModelBundle) -> None:
    generous = Tolerance(clips=clip_gate.ClipTolerance(drift=1e9))
    with OnnxRuntime(bundle.model("fp32"), "truth") as truth:
        assert gate(bundle, truth, truth, truth, generous).refusal == ""
        found = gate(bundle, turned(truth), truth, truth, generous)
        mixed = gate(bundle, negated(truth), negated(truth), truth, generous)
    assert found.feature_cosine is not None
    assert found.feature_cosine < 0.99
    assert found.refusal.startswith("its features have a cosine of")
    assert mixed.feature_cosine == pytest.approx(1.0)
    assert mixed.refusal.startswith("its ONNX file's features have a cosine of"), "it is another model's"


def test_how_far_the_extractors_file_is_from_fp32_is_told_beside_and_refuses_nothing(
    bundle: ModelBundle,
) -> None:
    def quantised(given: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.round(truth(given) * 24) / np.float32(24)

    with OnnxRuntime(bundle.model("fp32"), "truth") as truth:
        strict = Tolerance(clips=clip_gate.ClipTolerance(drift=1e-6, cosine=0.9999999))
        found = gate(bundle, quantised, quantised, truth, strict)
    assert (found.max_drift, found.refusal) == (0, "")
    assert found.file_drift is not None
    assert found.file_drift > 1e-6


def test_an_engine_that_moves_scores_is_refused_and_the_processor_flies(
    tmp_path: Path, store: EngineStore, sees: str
) -> None:
    bundle = gpu_clips_at(tmp_path / "b", sees, normalise="none")  # else a mere factor is taken out
    wrong = simulated(VERSION, SimGpu(distortion=3.0))
    with pytest.raises(EngineError, match=r"it moves a score by .* of their spread, more than the 50\.00%"):
        make_engine(bundle, Order(), store, wrong)
    assert not list(store.folder.glob("*.engine"))
    why, seen = scores(bundle, store, wrong)
    assert "the gate refused fp16 engine 1" in why
    assert seen[-1] is not None


def test_one_that_gives_nan_is_refused(bundle: ModelBundle, store: EngineStore) -> None:
    with pytest.raises(EngineError, match="must not fly: it gives NaN or infinity"):
        make_engine(bundle, Order(), store, simulated(VERSION, SimGpu(distortion=float("nan"))))


def test_an_engine_for_another_size_of_clips_is_passed_over(
    bundle: ModelBundle, store: EngineStore, tmp_path: Path, sees: str
) -> None:
    """Its record names this model's digest, its bytes take other pictures."""
    toolkit = simulated(VERSION, SimGpu())
    make_engine(bundle, Order(), store, toolkit)
    another = gpu_clips_at(tmp_path / "o", "clip" if sees == "frame" else "frame")
    aside = EngineStore(tmp_path / "aside")
    make_engine(another, Order(), aside, toolkit)
    theirs = aside.records()[0]
    mine = store.records()[0]
    engine = aside.engine(theirs)
    (store.folder / f"{mine.stem}.engine").write_bytes(engine)
    record = mine.model_copy(update={"sha256": theirs.sha256, "size": len(engine)})
    (store.folder / f"{mine.stem}.json").write_text(record.model_dump_json())
    why, seen = scores(bundle, store, toolkit)
    assert "the bundle says" in why
    assert seen[-1] is not None


def test_the_verb_builds_one_and_lists_it(
    bundle: ModelBundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(engine_cli, "load_toolkit", lambda: simulated(VERSION, SimGpu()))
    for verb in ("build", "list"):
        words = ["skerry", "engine", verb, *([str(bundle.folder)] if verb == "build" else [])]
        monkeypatch.setattr(sys, "argv", [*words, "--engines", str(tmp_path / "e")])
        with pytest.raises(SystemExit) as ended:
            skerry.main()
        assert not ended.value.code, capsys.readouterr().err
    records = [json.loads(path.read_text()) for path in (tmp_path / "e").glob("*.json")]
    assert [record["key"]["shape"] for record in records] == [list(extractor_shape(bundle))]
    assert "fp16" in capsys.readouterr().out
