"""What is opened for a flight, and what need not be whole for it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from edge.bundle import Branch, ModelBundle, load_bundle, write_bundle
from edge.errors import BundleError
from edge.flight import _sees_thumbnails_alone, open_flight
from edge.settings import Settings
from tests.builders import BLUR, flying_bundle, folder_of, frame, scene


@pytest.fixture
def bundle(tmp_path: Path) -> ModelBundle:
    """With two models, of which int8-cpu flies."""
    normal = folder_of(tmp_path / "normal", [scene(seed) for seed in range(140)])
    flying_bundle(tmp_path / "b", normal)
    loaded = load_bundle(tmp_path / "b")
    variants = {"fp32": "model.fp32.onnx", "int8-cpu": "model.int8-cpu.onnx"}
    manifest = loaded.manifest.model_copy(update={"variants": variants})
    return write_bundle(loaded.folder, manifest, {"model.int8-cpu.onnx": BLUR.read_bytes()})


def settings(bundle: ModelBundle, tmp_path: Path) -> Settings:
    return Settings.load({"source": "sim://", "bundle": bundle.folder, "state_dir": tmp_path / "state"})


@pytest.mark.parametrize("wanted", ["always", "auto", "never"])
def test_the_loop_filter_is_as_set_for_a_model_that_sees_thumbnails(
    bundle: ModelBundle, tmp_path: Path, wanted: str
) -> None:
    asked = settings(bundle, tmp_path).model_copy(update={"loop_filter": wanted})
    with ExitStack() as stack:
        assert open_flight(asked, stack).loop_filter == wanted


def test_the_loop_filter_is_kept_for_models_that_see_details_or_motion(bundle: ModelBundle) -> None:
    assert _sees_thumbnails_alone(bundle)
    manifest = bundle.manifest
    tiled = manifest.model_copy(update={"input": manifest.input.model_copy(update={"tiling": "auto"})})
    assert not _sees_thumbnails_alone(replace(bundle, manifest=tiled))
    branches = (*manifest.scoring.branches, Branch(source="motion", window=9))
    moving = manifest.scoring.model_copy(update={"branches": branches})
    watched = manifest.model_copy(update={"scoring": moving})
    assert not _sees_thumbnails_alone(replace(bundle, manifest=watched))


def spoil(bundle: ModelBundle, name: str) -> None:
    data = bytearray((bundle.folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle.folder / name).write_bytes(bytes(data))


def test_a_spoilt_model_that_does_not_fly_keeps_nobody_on_the_ground(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    spoil(bundle, "model.fp32.onnx")
    with ExitStack() as stack:
        flight = open_flight(settings(bundle, tmp_path), stack)
        assert flight.why == "ONNX Runtime, int8-cpu"
        assert flight.detector.inspect(frame(scene(1))).score >= 0


@pytest.mark.parametrize("part", ["model.int8-cpu.onnx", "statistics"])
def test_what_flies_is_verified_as_it_is_read(bundle: ModelBundle, tmp_path: Path, part: str) -> None:
    name = bundle.calibration().statistics if part == "statistics" else part
    assert name is not None
    spoil(bundle, name)
    with ExitStack() as stack, pytest.raises(BundleError, match="was changed after the bundle was made"):
        open_flight(settings(bundle, tmp_path), stack)
