"""OpenVINO beside ONNX Runtime: the same file, the same answers, and what is said where it is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edge import detector as detectors
from edge.bundle import ModelBundle, write_bundle
from edge.detector import choose_variant, open_runtime, processor_variants, runtime_name
from edge.engine_choice import open_fastest
from edge.errors import BundleError, UsageError
from edge.openvino_runtime import OpenVinoRuntime, openvino_here
from edge.runtimes import OnnxRuntime
from tests.builders import BLUR, bundle_at
from tests.clips import FOLDER, clip_bundle, clip_spec, extractor_spec
from tests.engines import tensor

needed = pytest.mark.skipif(not openvino_here(), reason="OpenVINO is not installed")


def both_variants(path: Path, sees: str) -> ModelBundle:
    spec = clip_spec(extractor_spec("clip" if sees == "clip" else "frame"))
    bundle = clip_bundle(path, spec)
    model = bundle.model("fp32")
    variants = {"fp32": "model.fp32.onnx", "int8-cpu": "model.int8-cpu.onnx"}
    return write_bundle(
        path, bundle.manifest.model_copy(update={"variants": variants}), {"model.int8-cpu.onnx": model}
    )


@needed
@pytest.mark.parametrize(
    ("model", "shape"),
    [(BLUR, (1, 3, 124, 124)), (FOLDER / "patches3d.onnx", (1, 3, 4, 32, 32))],
    ids=["a picture", "a clip"],
)
def test_it_answers_as_onnx_runtime_does(model: Path, shape: tuple[int, ...]) -> None:
    data = model.read_bytes()
    with OpenVinoRuntime(data, "model") as ours, OnnxRuntime(data, "model") as truth:
        assert ours.input_shape == truth.input_shape == shape
        first, kept = tensor(1, shape), ours(tensor(1, shape))
        ours(tensor(2, shape))
        np.testing.assert_allclose(kept, truth(first), atol=1e-5)  # the second did not overwrite it
        assert kept.dtype == np.float32


@needed
@pytest.mark.parametrize("data", [b"", b"no model at all", BLUR.read_bytes()[:-30]])
def test_what_is_no_model_is_one_sentence(data: bytes) -> None:
    with pytest.raises(BundleError, match="b/model is not a model that OpenVINO can load: ") as refused:
        OpenVinoRuntime(data, "b/model")
    assert "\n" not in str(refused.value)
    assert "src/" not in str(refused.value)


@needed
def test_an_input_of_the_wrong_size_is_one_sentence() -> None:
    with (
        OpenVinoRuntime(BLUR.read_bytes(), "model") as runtime,
        pytest.raises(BundleError, match=r"failed on an input of \(1, 3, 5, 5\)"),
    ):
        runtime(tensor(1, (1, 3, 5, 5)))


def test_where_it_is_missing_the_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match=r"pip install 'skerry\[openvino\]'"):
        OpenVinoRuntime(BLUR.read_bytes(), "model")


def test_whole_clips_fly_with_it_where_it_is_and_single_pictures_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, frames = both_variants(tmp_path / "a", "clip"), both_variants(tmp_path / "b", "frame")
    monkeypatch.setattr(detectors, "openvino_here", lambda: True)
    assert processor_variants(clips) == ("int8-cpu@openvino", "int8-cpu", "fp32@openvino", "fp32")
    assert processor_variants(frames) == ("int8-cpu", "fp32", "int8-cpu@openvino", "fp32@openvino")
    assert choose_variant(clips, "auto") == "int8-cpu@openvino"
    assert choose_variant(clips, "fp32") == "fp32"
    assert processor_variants(bundle_at(tmp_path / "c")) == ("fp32",)
    monkeypatch.setattr(detectors, "openvino_here", lambda: False)
    assert processor_variants(clips) == ("int8-cpu", "fp32")


@needed
def test_a_variant_names_its_runtime(tmp_path: Path) -> None:
    bundle = both_variants(tmp_path, "clip")
    with open_runtime(bundle, "int8-cpu@openvino") as runtime:
        assert isinstance(runtime, OpenVinoRuntime)
    with open_runtime(bundle, "int8-cpu") as other:
        assert isinstance(other, OnnxRuntime)
    assert runtime_name("int8-cpu@openvino") == "OpenVINO"
    with pytest.raises(BundleError, match="no variant 'int4'"):
        open_runtime(bundle, "int4@openvino")


@needed
def test_the_daemon_says_what_it_took(tmp_path: Path) -> None:
    choice = open_fastest(both_variants(tmp_path / "b", "clip"), "auto", tmp_path / "e")
    assert (choice.variant, choice.why) == ("int8-cpu@openvino", "OpenVINO, int8-cpu")
    choice.runtime.__exit__(None, None, None)


def test_an_openvino_that_does_not_work_is_said_and_flown_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detectors, "openvino_here", lambda: True)
    monkeypatch.setitem(sys.modules, "openvino", None)
    bundle = both_variants(tmp_path / "b", "clip")
    choice = open_fastest(bundle, "auto", tmp_path / "e")
    assert choice.variant == "int8-cpu"
    assert choice.why.startswith("ONNX Runtime, int8-cpu; ")
    assert "not installed" in choice.why
    with pytest.raises(UsageError, match="not installed"):
        open_fastest(bundle, "int8-cpu@openvino", tmp_path / "e")
