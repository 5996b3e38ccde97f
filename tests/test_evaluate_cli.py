"""`skerry evaluate` as a person types it, and its page as a person sees it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.browser import find_chromium, screenshot
from tests.builders import bundle_at, folder_of, patrol_pictures
from tests.labelled_scenes import bundle_in, scenes_in
from train.evaluation.results import Evaluation

pytestmark = pytest.mark.slow


def skerry(*words: object) -> subprocess.CompletedProcess[str]:
    """On 80 columns, as a terminal has them."""
    line = [sys.executable, "-m", "skerry", *map(str, words)]
    around = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(line, capture_output=True, text=True, timeout=120, env=around)


def refusal(*words: object) -> tuple[int, str]:
    """Exit code and the one sentence of a command that must not work."""
    done = skerry("evaluate", *words)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("skerry: ")
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_in(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes_in(tmp_path_factory.mktemp("patrol & <co>") / "set")


@pytest.fixture(scope="module")
def evaluated(bundle: Path, data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What it printed, and the folder it wrote."""
    out = tmp_path_factory.mktemp("out")
    options = ("--folder-fps", 2, "--resamples", 50, "--worst", 3)
    done = skerry("evaluate", bundle, data_set, "--out", out / "report", "--json", out / "e.json", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout, out


def test_the_table_has_a_strict_and_a_legacy_column_and_says_what_strict_is(
    evaluated: tuple[str, Path],
) -> None:
    printed, out = evaluated
    lines = printed.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    (header,) = [line.split() for line in lines if line.split()[:1] == ["strict"] and "legacy" in line]
    assert header == ["strict", "legacy"]
    (auc,) = [line for line in lines if "AUC, all frames" in line]
    strict, legacy = auc.split("(micro)")[1].split()[:2]
    assert float(strict) > 0.95 < float(legacy)  # a red square on grey
    assert "strict: what flight would have seen" in printed
    assert lines[-1] == f"report: {out / 'report' / 'index.html'}"


def test_a_threshold_over_motion_as_it_was_measured_before_is_noted(
    bundle: Path, data_set: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(bundle, old)
    manifest = json.loads((old / "manifest.json").read_text())
    manifest["scoring"]["branches"][-1] |= {"source": "motion"}
    manifest["calibration"] |= {"motion": 0}
    (old / "manifest.json").write_text(json.dumps(manifest))
    done = skerry("evaluate", old, data_set, "--folder-fps", 2, "--resamples", 0)
    assert done.returncode == 0, done.stderr
    assert "note: this version measures motion otherwise" in " ".join(done.stderr.split())


def test_the_json_says_what_was_found_and_is_the_one_of_the_report(evaluated: tuple[str, Path]) -> None:
    _, out = evaluated
    found = Evaluation.model_validate_json((out / "e.json").read_bytes())
    assert found.layout == "intervals"
    assert (found.judgement.videos, found.judgement.frames, found.judgement.abnormal_frames) == (3, 44, 9)
    assert found.judgement.strict.events == 2
    assert found.judgement.strict.event_recall.value == 1
    assert json.loads((out / "report" / "evaluation.json").read_text()) == json.loads(
        (out / "e.json").read_text()
    )


def test_the_same_command_twice_gives_the_same_figures(
    evaluated: tuple[str, Path], bundle: Path, data_set: Path
) -> None:
    _, out = evaluated
    again = out / "again.json"
    done = skerry("evaluate", bundle, data_set, "--folder-fps", 2, "--resamples", 50, "--json", again)
    assert done.returncode == 0
    assert "report:" not in done.stdout
    one, two = (json.loads(path.read_text())["judgement"] for path in (out / "e.json", again))
    assert one == two


def test_a_bundle_without_threshold_is_a_bundle_error(tmp_path: Path, data_set: Path) -> None:
    bundle_at(tmp_path / "b")
    code, sentence = refusal(tmp_path / "b", data_set)
    assert code == 3
    assert "has no threshold yet" in sentence


def test_a_folder_that_is_no_bundle_is_a_bundle_error(tmp_path: Path, data_set: Path) -> None:
    assert refusal(tmp_path, data_set)[0] == 3


def test_a_folder_in_no_layout_is_told_what_was_looked_for(tmp_path: Path, bundle: Path) -> None:
    code, sentence = refusal(bundle, folder_of(tmp_path / "plain", patrol_pictures("..")))
    assert code == 2
    assert "intervals.csv" in sentence


def test_an_unknown_layout_and_an_unknown_variant_are_told(bundle: Path, data_set: Path) -> None:
    code, sentence = refusal(bundle, data_set, "--layout", "intervls")
    assert (code, "did you mean intervals?" in sentence) == (2, True)
    assert refusal(bundle, data_set, "--variant", "fp99")[0] == 3


def test_footage_without_anything_abnormal_is_told(tmp_path: Path, bundle: Path) -> None:
    code, sentence = refusal(bundle, scenes_in(tmp_path, {"calm": "...."}))
    assert code == 2
    assert "no video has an abnormal frame" in sentence


def test_where_nothing_can_be_written_is_told_before_the_work(
    tmp_path: Path, bundle: Path, data_set: Path
) -> None:
    code, sentence = refusal(bundle, data_set, "--json", tmp_path / "no" / "e.json")
    assert (code, "--json" in sentence) == (2, True)
    code, sentence = refusal(bundle, data_set, "--out", data_set)
    assert (code, "holds other things already" in sentence) == (2, True)
    assert sorted(path.name for path in data_set.iterdir()) == ["calm", "intervals.csv", "one", "two"]


# The page, seen

needs_chromium = pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed")
WIDE = (1280, 5200)


def share(picture: NDArray[np.uint8], colour: tuple[int, int, int], tolerance: int = 12) -> float:
    """Of the picture's pixels, how many have about this BGR colour."""
    return float((np.abs(picture.astype(int) - colour).max(axis=2) <= tolerance).mean())


@needs_chromium
def test_the_page_shows_its_curves_its_pictures_and_its_timelines(
    evaluated: tuple[str, Path], tmp_path: Path
) -> None:
    seen = screenshot(evaluated[1] / "report" / "index.html", tmp_path / "b", WIDE)
    assert seen.shape == (WIDE[1], WIDE[0], 3)
    assert share(seen, (255, 255, 255)) > 0.5  # paper
    assert share(seen, (246, 130, 47), 40) > 0.0005  # lines of the curves: SVG is let through
    # Truth that is shaded on the timelines: red at a fifth over white.
    assert share(seen, (237, 235, 248), 30) > 0.005


@needs_chromium
def test_the_page_is_dark_for_whom_it_is_dark(evaluated: tuple[str, Path], tmp_path: Path) -> None:
    seen = screenshot(evaluated[1] / "report" / "index.html", tmp_path / "b", WIDE, dark=True)
    assert share(seen, (25, 20, 15)) > 0.5
    assert share(seen, (255, 255, 255)) < 0.01
    assert share(seen, (246, 130, 47), 40) > 0.0005


@needs_chromium
def test_a_narrow_screen_cuts_nothing_off(evaluated: tuple[str, Path], tmp_path: Path) -> None:
    """What is wider than the screen would shrink the page or push ink to its right edge."""
    seen = screenshot(evaluated[1] / "report" / "index.html", tmp_path / "b", (500, 6000))
    assert share(seen[:, -8:], (255, 255, 255)) > 0.98
