from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Scoring
from edge.detector import Reconstructor, Stopwatch, choose_variant, open_runtime, raw_score
from edge.errors import BundleError
from edge.preprocess import InputSpec
from edge.runtimes import OnnxRuntime
from tests.builders import BLUR, bundle_at, scene


def test_the_error_is_where_the_model_could_not_rebuild(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path / "b")
    with open_runtime(bundle, "fp32") as runtime:
        model = Reconstructor(runtime, bundle.manifest.input, bundle.manifest.scoring)
        error, smooth = model.errors(scene(1, intruder=True), Stopwatch())
    row, column = np.unravel_index(smooth.argmax(), smooth.shape)
    assert abs(column - 212 * 124 / 320) < 8
    assert abs(row - 112 * 124 / 240) < 10
    assert error.shape == smooth.shape == (124, 124)


def test_the_peak_rule_reads_the_heat_and_the_mean_rule_the_error() -> None:
    error, heat = np.array([[1.0, 3.0]], np.float32), np.array([[5.0, -1.0]], np.float32)
    assert raw_score(error, heat, Scoring(rule="peak")) == 5
    assert raw_score(error, heat, Scoring(rule="mean")) == 2


def test_auto_takes_the_fastest_model_the_bundle_has(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path / "b")
    assert choose_variant(bundle, "auto") == "fp32"
    both = bundle.manifest.model_copy(update={"variants": {"fp32": "a", "int8-cpu": "b"}})
    assert choose_variant(type(bundle)(bundle.folder, both, ""), "auto") == "int8-cpu"
    none = bundle.manifest.model_copy(update={"variants": {"int8-trt": "a"}})
    with pytest.raises(BundleError, match="no model for this processor"):
        choose_variant(type(bundle)(bundle.folder, none, ""), "auto")


def test_an_input_the_model_does_not_take_is_one_sentence() -> None:
    with (
        OnnxRuntime(BLUR.read_bytes(), "blur") as runtime,
        pytest.raises(BundleError, match=r"\(1, 3, 8, 8\)"),
    ):
        runtime(np.zeros((1, 3, 8, 8), np.float32))


def test_a_stopwatch_keeps_each_lap() -> None:
    watch = Stopwatch()
    watch.lap("first")
    watch.lap("second")
    assert list(watch.laps) == ["first", "second"]
    assert all(taken >= 0 for taken in watch.laps.values())


def test_the_spec_of_the_default_is_the_report_s() -> None:
    assert (InputSpec().height, InputSpec().width) == (124, 124)
