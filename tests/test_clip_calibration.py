"""Clip bundles from normal footage to a threshold, and what is then done with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from edge.bundle import ModelBundle, load_bundle
from edge.calibrate import calibrate, own_rate
from edge.describe import describe
from edge.detector import open_runtime
from edge.errors import UsageError
from edge.footage_scores import causal_scores, flight_maxima
from edge.survey import Plan
from edge.thresholds import threshold_for
from skerry import build
from tests.builders import bundle_at, folder_of
from tests.clips import FPS, clip_bundle, clip_spec, extractor_spec, pictures

QUIET = "." * 280


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 s at 4 fps."""
    return folder_of(tmp_path_factory.mktemp("clips") / "normal", pictures(QUIET))


def plan(*footage: Path, rate: float = 60.0, block_s: float = 5.0) -> Plan:
    return Plan(footage, rate=rate, folder_fps=FPS, block_s=block_s)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, normal: Path) -> ModelBundle:
    spec = clip_spec(smooth_s=1.0)
    return calibrate(clip_bundle(tmp_path_factory.mktemp("bundle") / "b", spec), plan(normal))


def test_the_threshold_is_of_block_maxima_of_the_score_that_flies(bundle: ModelBundle, normal: Path) -> None:
    found = bundle.calibration()
    assert found.threshold == threshold_for(found.block_maxima, 60, 5).value
    assert found.median < found.release < found.threshold
    assert (found.fps, found.view, found.statistics, found.variant) == (FPS, (32, 32), None, "fp32")
    assert len(found.block_maxima) == 14
    assert found.frames == 280 - 3
    assert np.allclose(flight_maxima(bundle, [normal], FPS)[1:], found.block_maxima[1:])


def test_the_bundle_on_disk_is_the_one_that_was_calibrated(bundle: ModelBundle) -> None:
    assert load_bundle(bundle.folder) == bundle


def test_what_is_red_reaches_the_threshold_and_new_normal_footage_hardly(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    level = bundle.calibration().threshold
    fresh = folder_of(tmp_path / "fresh", pictures("." * 120 + "X" * 20 + "." * 20, seed=5000))
    with open_runtime(bundle, "fp32") as runtime:
        found = causal_scores(bundle, runtime, fresh, FPS)
    scores = np.array([score for _, score in found])
    assert scores[125:140].min() > level
    assert (scores[:120] >= level).mean() < 0.05
    assert len(found) == 160


def test_too_little_footage_is_refused_before_any_of_it_is_looked_at(tmp_path: Path) -> None:
    short = folder_of(tmp_path / "short", pictures("." * 80))
    looked: list[int] = []
    with pytest.raises(UsageError, match="fills 4 blocks"):
        calibrate(clip_bundle(tmp_path / "b"), plan(short), progress=lambda done, _: looked.append(done))
    with pytest.raises(UsageError, match="false alarms per hour; 1 needs"):
        calibrate(clip_bundle(tmp_path / "b"), plan(*[short] * 3, rate=1))
    assert not looked


def test_recordings_shorter_than_a_clip_are_one_sentence(tmp_path: Path) -> None:
    pieces = [folder_of(tmp_path / f"p{n}", pictures("...")) for n in range(8)]
    with pytest.raises(UsageError, match="as long as one clip of the bundle, 1 s; give longer ones"):
        calibrate(clip_bundle(tmp_path / "b"), plan(*pieces, rate=600))


def test_a_recording_of_ten_pictures_of_a_longer_clip_adds_nothing(tmp_path: Path, normal: Path) -> None:
    ten = folder_of(tmp_path / "ten", pictures("." * 3))
    with_it = calibrate(clip_bundle(tmp_path / "b"), plan(normal, ten)).calibration()
    without = calibrate(clip_bundle(tmp_path / "c"), plan(normal)).calibration()
    assert with_it.block_maxima == without.block_maxima


def test_footage_slower_than_the_model_is_one_sentence(tmp_path: Path, normal: Path) -> None:
    slow = Plan((normal,), rate=60, folder_fps=2.0)
    with pytest.raises(UsageError, match="has 2 pictures a second and the bundle looks at 4; give footage"):
        calibrate(clip_bundle(tmp_path / "b"), slow)


def test_a_clip_bundle_has_its_own_rate(tmp_path: Path) -> None:
    clips, other = clip_bundle(tmp_path / "b"), bundle_at(tmp_path / "c")
    assert [own_rate(clips, None), own_rate(clips, 4.0), own_rate(other, None), own_rate(other, 5.0)] == [
        *(4.0, 4.0, 2.0, 5.0)
    ]
    with pytest.raises(UsageError, match="--fps 2: this clip bundle looks at 4 pictures a second; leave"):
        own_rate(clips, 2.0)


def test_calibrate_inspect_and_drift_take_a_clip_bundle(tmp_path: Path, normal: Path) -> None:
    folder = clip_bundle(tmp_path / "b").folder
    run, rate = CliRunner().invoke, ["--folder-fps", "4"]
    words = [str(folder), "--normal", str(normal), "--false-alarms-per-hour", "60", "--block", "5"]
    done = run(build("calibrate"), ["calibrate", *words, *rate])
    assert done.exit_code == 0, done.output
    assert "for 60 false alarms per hour" in done.output
    verdict = tmp_path / "drift.json"
    done = run(build("drift"), ["drift", str(folder), "--flight", str(normal), *rate, "--json", str(verdict)])
    assert done.exit_code == 0, done.output
    assert json.loads(verdict.read_text())["state"] == "same"
    done = run(build("inspect"), ["inspect", str(folder)])
    assert done.exit_code == 0, done.output


def test_inspect_says_what_a_clip_bundle_looks_at(tmp_path: Path, bundle: ModelBundle) -> None:
    console = Console(record=True, width=200)
    describe(bundle, console)
    text = console.export_text()
    assert "clips of 4 pictures of 32 x 32 rgb at 4 a second, a clip each 0.5 s" in text
    assert "a head's logit of the last 1.5 s, smoothed over 1 s; it says when, not where" in text
    assert "head.fp32.onnx" in text
    spec = clip_spec(extractor_spec("clip", level=True), average=2)
    describe(clip_bundle(tmp_path / "b", spec), console)
    text = console.export_text()
    assert "at one brightness" in text
    assert "48 numbers of one clip, mean of 2, to length 1" in text
    assert "Not calibrated" in text
