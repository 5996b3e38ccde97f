from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge.bundle import Branch, Calibration, ModelBundle, Scoring, write_bundle
from edge.errors import BundleError, UsageError
from edge.localize import Scale
from edge.preprocess import InputSpec
from edge.yardsticks import Yardsticks
from export.gate import Gate, as_written, levels_of
from export.held_out import thumbnails
from export.parity import ParityError, Tolerance
from export.static_integers import for_tensorrt
from export.variants import RESTORED, fp16, fp32
from tests.builders import bundle_at, frame, scene
from tests.networks import lively, pictures

SPEC = InputSpec()
NORMAL = [tensor[None].numpy() for tensor in pictures(4, seed=5)]


@pytest.fixture(scope="module")
def gate() -> Gate:
    held = thumbnails((frame(scene(seed), seed) for seed in range(4)), 3, SPEC)
    return Gate.on(held, lively(), Tolerance())


def test_each_variant_is_asked_and_the_same_file_passes(gate: Gate) -> None:
    data = fp32(lively(), SPEC, RESTORED)
    for variant in ("fp32", "int8-trt"):
        found = gate.judge(variant, data)
        assert found.within_tolerance
        assert found.max_drift < 1e-4
        assert gate.strain(variant, data) < 0.05


def test_another_network_does_not_pass(gate: Gate) -> None:
    data = fp32(lively(seed=1), SPEC, RESTORED)
    assert not gate.judge("fp32", data).within_tolerance
    assert gate.strain("fp32", data) > 1


def test_halves_are_rounded_as_the_file_says() -> None:
    """An optimised session keeps more than half precision between the layers of a processor."""
    seen = pictures(1).numpy()
    full, half = (as_written(made(lively(), SPEC, RESTORED))(seen) for made in (fp32, fp16))
    assert np.abs(full - half).max() > 1e-5


def test_a_variant_that_gives_nan_is_refused(gate: Gate) -> None:
    model = onnx.load_from_string(for_tensorrt(onnx.load_from_string(fp32(lively(), SPEC)), NORMAL, ()))
    for part in model.graph.initializer:
        if "scale" in part.name and part.data_type == onnx.TensorProto.FLOAT:
            part.CopyFrom(
                onnx.numpy_helper.from_array(np.full(tuple(part.dims), np.nan, np.float32), part.name)
            )
    with pytest.raises(ParityError, match="int8-trt gives NaN"):
        gate.judge("int8-trt", model.SerializeToString())


def calibrated(folder: Path, *branches: Branch) -> ModelBundle:
    """Typical evidence 1; three places of which the middle one has a high of 3."""
    bundle = bundle_at(folder, Scoring(branches=branches))
    scale = Scale(1.0, np.array([[2, 3, 9]], np.float32))
    statistics = Yardsticks((scale,) * len(branches)).to_bytes()
    found = Calibration(
        threshold=1.5,
        release=1.0,
        median=0,
        box_level=0.5,
        false_alarms_per_hour=1,
        method="conformal",
        smallest_rate=1,
        expected=(0, 2),
        view=(240, 320),
        block_s=10,
        block_maxima=(1.0,),
        footage_s=100,
        frames=200,
        fps=2,
        variant="fp32",
        statistics="calibration.npz",
        created=datetime(2026, 6, 1, tzinfo=timezone.utc),
    )
    manifest = bundle.manifest.model_copy(update={"calibration": found})
    return write_bundle(folder, manifest, {"calibration.npz": statistics})


def test_levels_are_evidence_at_a_place_of_middling_habits(tmp_path: Path) -> None:
    found = levels_of(calibrated(tmp_path / "b", Branch(source="error", window=3)))
    assert (found.alarm, found.hot) == (1 + 1.5 * 2, 1 + 0.5 * 2)


def test_a_bundle_that_looks_otherwise_than_the_gate_has_no_levels_for_it(tmp_path: Path) -> None:
    other = calibrated(tmp_path / "b", Branch(source="error", window=9), Branch(source="motion", window=3))
    with pytest.raises(UsageError, match="none of its branches"):
        levels_of(other)


def test_a_bundle_without_a_threshold_has_no_levels(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="has no threshold yet"):
        levels_of(bundle_at(tmp_path / "b", Scoring(branches=(Branch(source="error", window=3),))))
