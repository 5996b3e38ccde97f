from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle import MANIFEST, load_bundle, write_bundle
from edge.detector import open_detector, open_runtime
from edge.errors import BundleError
from tests.builders import BLUR, bundle_at


def edit(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_written_bundle_is_read_back_with_the_same_digest(tmp_path: Path) -> None:
    written = bundle_at(tmp_path / "b")
    read = load_bundle(tmp_path / "b")
    assert read == written
    assert read.model("fp32") == BLUR.read_bytes()


def test_one_changed_byte_is_refused(tmp_path: Path) -> None:
    bundle_at(tmp_path / "b")
    model = tmp_path / "b" / "model.fp32.onnx"
    data = bytearray(model.read_bytes())
    data[20] ^= 1
    model.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"model\.fp32\.onnx was changed .* copy the bundle again"):
        load_bundle(tmp_path / "b")


def test_a_model_changed_after_the_check_is_still_refused(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path / "b")
    (tmp_path / "b" / "model.fp32.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="was changed"):
        bundle.model("fp32")


def test_what_is_not_checked_at_once_is_checked_when_it_is_read(tmp_path: Path) -> None:
    bundle_at(tmp_path / "b")
    (tmp_path / "b" / "model.fp32.onnx").write_bytes(b"other")
    bundle = load_bundle(tmp_path / "b", whole=False)
    with pytest.raises(BundleError, match="was changed"):
        bundle.model("fp32")


@pytest.mark.parametrize("name", [MANIFEST, "model.fp32.onnx"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    bundle_at(tmp_path / "b")
    (tmp_path / "b" / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing; copy the bundle again"):
        load_bundle(tmp_path / "b")


@pytest.mark.parametrize("number", [2, 0, "1", None, True, [1]])
def test_an_unknown_format_number_is_refused(tmp_path: Path, number: object) -> None:
    bundle_at(tmp_path / "b")
    edit(tmp_path / "b", format=number)
    with pytest.raises(BundleError, match=r"has format .*, this software reads 1"):
        load_bundle(tmp_path / "b")


def test_a_folder_that_is_none_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="skerry export CKPT"):
        load_bundle(tmp_path / "nowhere")


def test_an_unknown_key_in_the_manifest_is_named(tmp_path: Path) -> None:
    bundle_at(tmp_path / "b")
    edit(tmp_path / "b", threshhold=1)
    with pytest.raises(BundleError, match="threshhold"):
        load_bundle(tmp_path / "b")


def test_a_file_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    bundle_at(tmp_path / "b")
    edit(tmp_path / "b", variants={"fp32": "../../etc/passwd"})
    with pytest.raises(BundleError, match="variants"):
        load_bundle(tmp_path / "b")


def test_a_model_without_a_digest_is_refused(tmp_path: Path) -> None:
    bundle_at(tmp_path / "b")
    edit(tmp_path / "b", variants={"fp32": "model.fp32.onnx", "int8-cpu": "other.onnx"})
    with pytest.raises(BundleError, match=r"no digest for other\.onnx"):
        load_bundle(tmp_path / "b")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.binary(max_size=300)
    | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_hostile_manifests_raise_nothing_but_bundle_errors(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "b").mkdir(exist_ok=True)
    (tmp_path / "b" / MANIFEST).write_bytes(raw)
    with pytest.raises(BundleError):
        load_bundle(tmp_path / "b")


def test_an_uncalibrated_bundle_says_how_to_calibrate(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="skerry calibrate"):
        bundle_at(tmp_path / "b").calibration()


def test_a_variant_that_is_not_there_lists_what_is(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no variant 'int8-trt'; it has fp32"):
        bundle_at(tmp_path / "b").model("int8-trt")


def test_a_wrong_input_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path / "b")
    spec = bundle.manifest.input.model_copy(update={"height": 64})
    changed = write_bundle(tmp_path / "b", bundle.manifest.model_copy(update={"input": spec}), {})
    with pytest.raises(BundleError, match="takes 1x3x124x124, its manifest says 1x3x64x124"):
        open_runtime(changed, "fp32")


def test_bytes_that_are_no_model_are_refused(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path / "b")
    broken = write_bundle(tmp_path / "b", bundle.manifest, {"model.fp32.onnx": b"not a model"})
    with pytest.raises(BundleError, match="not a model that ONNX Runtime can load"):
        open_runtime(broken, "fp32")


def test_a_kind_this_version_cannot_fly_is_refused(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path / "b")
    frame = write_bundle(tmp_path / "b", bundle.manifest.model_copy(update={"kind": "frame"}), {})
    with open_runtime(frame, "fp32") as runtime, pytest.raises(BundleError, match="holds a frame model"):
        open_detector(frame, runtime)


def test_writing_again_removes_what_nothing_names(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path / "b")
    renamed = bundle.manifest.model_copy(update={"variants": {"fp32": "new.onnx"}})
    write_bundle(tmp_path / "b", renamed, {"new.onnx": BLUR.read_bytes()})
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [MANIFEST, "new.onnx"]
