from __future__ import annotations

from pathlib import Path

import pytest

from edge.clip_pace import SHARE, Pace, measure_pace
from edge.detector import open_runtime
from tests.clips import clip_bundle, extractor_spec


def test_each_picture_costs_a_call_of_a_per_frame_extractor_and_no_picture_two() -> None:
    pace = Pace(extractor_spec(frames=16, stride=8, fps=8.0), 0.02)
    assert pace.clip_s == pytest.approx(0.16)
    assert pace.share == pytest.approx(0.16)
    sparse = Pace(extractor_spec(frames=16, stride=64, fps=8.0), 0.02)
    assert sparse.clip_s == pytest.approx(0.32)


def test_a_clip_costs_one_call_of_a_per_clip_extractor() -> None:
    pace = Pace(extractor_spec("clip", stride=8, fps=8.0), 0.3)
    assert (pace.clip_s, pace.share, pace.kept) == (0.3, pytest.approx(0.3), 8)


@pytest.mark.parametrize("call_s", [0.005, 0.07, 0.3, 1.7])
@pytest.mark.parametrize("sees", ["frame", "clip"])
@pytest.mark.parametrize("stride", [1, 4, 16, 50])
def test_the_stride_that_is_named_is_the_smallest_that_keeps_up(
    call_s: float, sees: str, stride: int
) -> None:
    made = extractor_spec("frame" if sees == "frame" else "clip", frames=16, stride=stride, fps=8.0)
    pace = Pace(made, call_s)

    def share(other: int) -> float:
        return Pace(made.model_copy(update={"stride": other}), call_s).share

    assert share(pace.kept) <= SHARE + 1e-9
    if pace.share > SHARE:
        assert pace.kept > stride
        assert share(pace.kept - 1) > SHARE - 1e-9
    else:
        assert pace.kept == stride


def test_one_that_keeps_up_and_one_that_does_not_say_so() -> None:
    made = extractor_spec("clip", frames=16, stride=4, fps=16.0)
    assert Pace(made, 0.05).said() == "the clip model keeps up: 50 ms a clip each 0.25 s, 20% of the time"
    assert Pace(made, 0.33).said() == (
        "the clip model cannot keep up here: 330 ms a clip each 0.25 s, 132% of the time, its share is 50%; "
        "export it with a stride of 11 frames or more, it has 4"
    )


def test_it_is_measured_on_this_machine(tmp_path: Path) -> None:
    bundle = clip_bundle(tmp_path / "b")
    with open_runtime(bundle, "fp32") as runtime:
        pace = measure_pace(bundle, runtime)
    assert 0 < pace.call_s < 0.1
    assert pace.extractor == extractor_spec()
