"""Whole recordings through a clip bundle, as in flight, and what the evaluation says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.bundle import ModelBundle
from tests.builders import folder_of
from tests.clips import FPS, calibrated, clip_bundle, clip_spec, pictures
from train.evaluation.readers import read_data_set
from train.evaluation.run import evaluate

PLANS = {
    "late": "........XXXXXXXX....",
    "early": "....XXXXXXXX........",
    "calm": "." * 20,
    "still": "." * 16,
}  # a letter a picture, 4 a second


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("red") / "recordings"
    rows = ["video,first_frame,last_frame"]
    for number, (name, plan) in enumerate(PLANS.items()):
        folder_of(folder / name, pictures(plan, seed=100 * number))
        if "X" in plan:
            rows.append(f"{name},{plan.index('X')},{plan.rindex('X')}")
    (folder / "intervals.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return calibrated(clip_bundle(tmp_path_factory.mktemp("bundle") / "b", clip_spec(smooth_s=0.0)))


def test_a_clip_bundle_is_judged_by_frames_by_events_and_by_whole_videos(
    bundle: ModelBundle, red: Path
) -> None:
    found, scored = evaluate(bundle, read_data_set(red), resamples=0, folder_fps=FPS)
    strict = found.judgement.strict
    assert found.fps == FPS
    assert sorted(len(one.frame) for one in scored) == [16, 20, 20, 20]
    assert strict.auc_micro.value is not None
    assert strict.auc_micro.value > 0.85
    assert strict.events == 2
    assert strict.event_recall.value == 1
    assert strict.video_accuracy.value == strict.video_precision.value == strict.video_f1.value == 1
    assert strict.video_confusion is not None
    assert strict.video_confusion.model_dump() == {
        "true_positive": 2, "false_positive": 0, "true_negative": 2, "false_negative": 0
    }  # fmt: skip


def test_its_score_moves_only_with_clips_and_never_before_what_it_shows(
    bundle: ModelBundle, red: Path
) -> None:
    _, scored = evaluate(bundle, read_data_set(red), resamples=0, folder_fps=FPS)
    late = next(one for one in scored if one.video.name == "late")
    assert len({float(score) for score in late.raw[:3]}) == 1  # the median, before the first clip
    assert late.causal[: PLANS["late"].index("X")].max() < 1.0 <= late.causal.max()


def test_a_threshold_that_nothing_reaches_finds_nothing_and_says_so(tmp_path: Path, red: Path) -> None:
    deaf = calibrated(clip_bundle(tmp_path / "b", clip_spec(smooth_s=0.0)), threshold=1e6)
    strict = evaluate(deaf, read_data_set(red), resamples=0, folder_fps=FPS)[0].judgement.strict
    assert strict.video_accuracy.value == 0.5
    assert strict.video_recall.value == 0
    assert strict.video_precision.value is None
    assert strict.event_recall.value == 0


@pytest.mark.slow
def test_the_command_writes_a_report_without_heat_maps(
    bundle: ModelBundle, red: Path, tmp_path: Path
) -> None:
    given = ["evaluate", bundle.folder, red, "--folder-fps", FPS, "--resamples", 0]
    given += ["--out", tmp_path / "report", "--json", tmp_path / "found.json"]
    done = subprocess.run(
        [sys.executable, "-m", "skerry", *map(str, given)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stderr
    assert "Video F1" in done.stdout
    strict = json.loads((tmp_path / "found.json").read_text())["judgement"]["strict"]
    assert strict["video_confusion"]["true_positive"] == 2
    assert strict["au_pro"]["value"] is None
    assert "Video F1" in next((tmp_path / "report").glob("*.html")).read_text()
