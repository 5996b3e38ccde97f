"""What a clip costs, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from edge.bench import Plan, run
from edge.bench_clips import ClipTimes, cost_of, show_clips, turn_of
from edge.bench_figures import Report
from edge.openvino_runtime import MARK, openvino_here
from tests.benching import report
from tests.benching import run as made_up
from tests.builders import bundle_at, folder_of
from tests.clips import FPS, calibrated, clip_bundle, clip_spec, extractor_spec, pictures

MS = 1_000_000


def test_a_clip_is_all_that_is_done_from_one_score_to_the_next() -> None:
    times = ClipTimes()
    for taken in ({"infer": 9 * MS}, {"infer": MS, "score": MS}, {"preprocess": 2 * MS, "decode": 50 * MS}):
        times.add(taken)
    assert times.ms == []  # made from nothing, not one more
    times.add({"preprocess": MS, "infer": 30 * MS, "score": MS})
    assert times.ms == [34.0]


def test_what_others_did_between_two_turns_is_not_counted() -> None:
    times = ClipTimes()
    for _ in range(2):
        times.begin()
        times.add({"infer": MS, "score": MS})
        times.add({"infer": 4 * MS, "score": MS})
    assert times.ms == [5.0, 5.0]


def test_a_turn_is_long_enough_for_a_few_clips(tmp_path: Path) -> None:
    assert turn_of(clip_bundle(tmp_path / "c", clip_spec(extractor_spec(stride=10)))) == 4 + 3 * 10
    assert turn_of(bundle_at(tmp_path / "b")) == 0


def said(found: Report) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        show_clips(found, console)
    return captured.get()


@pytest.mark.parametrize("sees", ["frame", "clip"])
def test_the_share_of_the_time_and_of_two_cores_and_the_stride_that_is_kept_are_said(
    tmp_path: Path, sees: str
) -> None:
    made = extractor_spec("frame" if sees == "frame" else "clip")  # a clip each half second
    bundle = clip_bundle(tmp_path / "b", clip_spec(made))
    quick, slow = cost_of(bundle, [100.0], threads=2), cost_of(bundle, [400.0], threads=1)
    assert quick is not None
    assert slow is not None
    assert (quick.share, quick.kept, slow.share) == (pytest.approx(0.2), 2, pytest.approx(0.8))
    shown = said(report(made_up("int8-cpu", clip=quick), made_up("fp32", clip=slow)))
    rows = [" ".join(line.replace("│", " ").split()) for line in shown.splitlines()]
    assert "int8-cpu, 2 fps 1 100.0 100.0 20% 20% yes" in rows
    assert f"fp32, 2 fps 1 400.0 400.0 80% 40% {slow.kept}, not 2" in rows
    assert "a Jetson must make a clip in 250 ms or less; this was not run on one" in shown
    on_a_jetson = said(report(made_up("int8-cpu", clip=quick), l4t="36.4"))
    assert "250 ms or less\n" in on_a_jetson


def test_models_of_other_kinds_say_nothing_of_clips() -> None:
    assert said(report()) == ""


def test_where_no_second_clip_was_seen_nothing_is_made_up(tmp_path: Path) -> None:
    assert cost_of(clip_bundle(tmp_path / "b"), [], 1) is None
    assert cost_of(bundle_at(tmp_path / "r"), [4.0], 1) is None


@pytest.mark.parametrize("sees", ["frame", "clip"])
def test_a_clip_bundle_is_benched_by_every_runtime_that_may_fly_it(tmp_path: Path, sees: str) -> None:
    spec = clip_spec(extractor_spec("frame" if sees == "frame" else "clip"))
    bundle = calibrated(clip_bundle(tmp_path / "b", spec))
    normal = folder_of(tmp_path / "normal", pictures("." * 60))
    found = run(bundle, [Plan(str(normal), None, frames=20, folder_fps=FPS)], "all", "none")
    expected = {"fp32", f"fp32{MARK}"} if openvino_here() else {"fp32"}
    assert {one.variant for one in found.runs} == expected
    for one in found.runs:
        assert one.clip is not None
        assert one.stages["frame"].count == 20
        assert one.clip.ms.count == one.stages["score"].count - 1 >= 7  # the first is made from nothing
    assert Report.model_validate_json(found.model_dump_json()) == found
