"""What is opened for a flight, and what need not be whole for it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from edge.bundle import Branch, ModelBundle, Scoring, load_bundle, write_bundle
from edge.describe import describe
from edge.errors import BundleError
from edge.flight import Flight, _leeway, _warn_of_mismatch, choose, open_flight
from edge.leeway import EXACT, Leeway, LoopFilter
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


def opened(settings: Settings, stack: ExitStack) -> Flight:
    return open_flight(choose(settings), settings, stack)


@pytest.mark.parametrize("wanted", ["always", "auto", "never"])
def test_decoding_has_the_leeway_that_is_set_for_a_model_that_sees_thumbnails(
    bundle: ModelBundle, tmp_path: Path, wanted: LoopFilter
) -> None:
    asked = settings(bundle, tmp_path).model_copy(update={"loop_filter": wanted, "early": 0.2})
    assert choose(asked).leeway == Leeway(wanted, 0.2)


def changed(bundle: ModelBundle, **parts: dict[str, object]) -> ModelBundle:
    """With other values in these parts of its manifest."""
    manifest = bundle.manifest
    update = {name: getattr(manifest, name).model_copy(update=values) for name, values in parts.items()}
    return replace(bundle, manifest=manifest.model_copy(update=update))


MOTION = (*Scoring().branches, Branch(source="motion", window=9))


@pytest.mark.parametrize(
    ("parts", "borne"),
    [
        ({}, Leeway("auto", 0.1)),
        ({"input": {"tiling": "auto"}}, Leeway("always", 0.1)),
        ({"input": {"tiling": "auto", "frames": 2, "beside": "route"}}, Leeway("always", 0.1)),
        ({"input": {"tiling": "auto", "frames": 2, "beside": "earlier"}}, EXACT),
        ({"scoring": {"branches": MOTION}}, EXACT),
        ({"scoring": {"memory_s": 0.3}}, EXACT),
    ],
)
def test_what_compares_a_picture_with_those_before_it_sees_each_exact_and_in_its_time(
    bundle: ModelBundle, tmp_path: Path, parts: dict[str, dict[str, object]], borne: Leeway
) -> None:
    assert _leeway(changed(bundle, **parts), settings(bundle, tmp_path)) == borne


def test_a_look_comes_no_earlier_than_half_way_from_the_one_before(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    asked = settings(bundle, tmp_path).model_copy(update={"fps": 10.0})
    assert _leeway(bundle, asked).early_s == 0.05


def test_a_threshold_over_motion_as_it_was_measured_before_is_told_and_flies(
    bundle: ModelBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert bundle.outdated() is None  # sees no motion
    now = changed(bundle, scoring={"branches": MOTION})
    assert now.outdated() is None
    old = changed(now, calibration={"motion": 0})
    assert "calibrate" in (old.outdated() or "")
    _warn_of_mismatch(old, old.calibration().variant, settings(bundle, tmp_path))
    assert [record.getMessage() for record in caplog.records] == [old.outdated()]
    shown = StringIO()
    describe(old, Console(file=shown, width=300))
    assert f"Calibrate again: {old.outdated()}." in shown.getvalue()


def spoil(bundle: ModelBundle, name: str) -> None:
    data = bytearray((bundle.folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle.folder / name).write_bytes(bytes(data))


def test_a_spoilt_model_that_does_not_fly_keeps_nobody_on_the_ground(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    spoil(bundle, "model.fp32.onnx")
    with ExitStack() as stack:
        flight = opened(settings(bundle, tmp_path), stack)
        assert flight.why == "ONNX Runtime, int8-cpu"
        assert flight.detector.inspect(frame(scene(1))).score >= 0


@pytest.mark.parametrize("part", ["model.int8-cpu.onnx", "statistics"])
def test_what_flies_is_verified_as_it_is_read(bundle: ModelBundle, tmp_path: Path, part: str) -> None:
    name = bundle.calibration().statistics if part == "statistics" else part
    assert name is not None
    spoil(bundle, name)
    with ExitStack() as stack, pytest.raises(BundleError, match="was changed after the bundle was made"):
        opened(settings(bundle, tmp_path), stack)
