from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.detector import choose_variant, open_runtime, peak
from edge.errors import BundleError
from edge.observer import Observer, Stopwatch
from edge.preprocess import InputSpec
from edge.runtimes import OnnxRuntime
from tests.builders import BLUR, bundle_at, frame, scene


def test_the_evidence_is_where_the_model_could_not_rebuild(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path / "b")
    scoring = bundle.manifest.scoring
    with open_runtime(bundle, "fp32") as runtime:
        observer = Observer(runtime, bundle.manifest.input, scoring, (124, 124))
        raw = observer.look(frame(scene(1, intruder=True)), Stopwatch())
    (smooth,) = raw.maps(scoring, None)
    assert raw.error is not None
    assert smooth is not None
    row, column = np.unravel_index(smooth.argmax(), smooth.shape)
    assert abs(column - 212 * 124 / 320) < 8
    assert abs(row - 112 * 124 / 240) < 10
    assert raw.error.shape == smooth.shape == (124, 124)
    assert (raw.head, raw.features, raw.speed) == (None, None, None)


def test_a_score_is_the_hottest_place_of_any_branch_and_0_without_evidence() -> None:
    one, other = np.array([[1.0, 3.0]], np.float32), np.array([[5.0, -1.0]], np.float32)
    assert peak([one, None, other]) == 5
    assert peak([None]) == 0


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


def test_a_stage_that_comes_again_in_a_frame_is_added_up() -> None:
    watch = Stopwatch()
    for _ in range(3):
        watch.lap("infer")
    assert list(watch.laps) == ["infer"]


def test_a_picture_is_a_thumbnail_unless_the_model_says_otherwise() -> None:
    assert (InputSpec().height, InputSpec().width) == (124, 124)
