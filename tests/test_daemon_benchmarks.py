"""The benchmarks that watch a process from outside: what they read, and that they notice when it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.loop_filter import changes
from benchmarks.process import LOUD, QUIET, ROOT, watched, with_threshold
from edge.bundle import load_bundle
from edge.errors import SkerryError
from tests.builders import flying_bundle, folder_of, scene
from tests.filming import film

READY = "from edge.notify import notify; import time; notify('READY=1'); "


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return flying_bundle(folder / "b", folder_of(folder / "n", [scene(n) for n in range(140)])).folder


def test_a_process_is_ready_when_it_says_so_and_is_read_from_outside(tmp_path: Path) -> None:
    work = "[sum(range(10**6)) for _ in range(5)]; kept = bytearray(50_000_000); time.sleep(60)"
    with watched(python(READY + work), tmp_path) as process:
        assert 0 < process.ready_s < 30
        first = process.cpu_s()
        while process.memory().peak < 50:  # not ready to be measured: the rest of the code still runs
            process.check()
        assert process.cpu_s() > first
        assert process.memory().resident >= process.memory().shared > 0


def test_a_process_that_ends_before_or_after_it_was_ready_is_no_figure(tmp_path: Path) -> None:
    with (
        pytest.raises(SkerryError, match="ended with 1: no camera"),
        watched(python("raise SystemExit('no camera')"), tmp_path),
    ):
        pass
    with (
        pytest.raises(SkerryError, match="ended with 3"),
        watched(python(READY + "time.sleep(0.1); raise SystemExit(3)"), tmp_path) as process,
    ):
        process._process.wait(20)


@pytest.mark.parametrize("threshold", [QUIET, LOUD])
def test_a_copy_of_a_bundle_alarms_at_nothing_or_at_everything(
    bundle: Path, tmp_path: Path, threshold: float
) -> None:
    made = with_threshold(bundle, threshold, tmp_path / "copy")
    found = load_bundle(made.folder).calibration()
    assert (found.threshold, found.release) == (threshold, threshold)
    assert load_bundle(bundle).calibration().threshold not in (QUIET, LOUD)


def test_what_the_loop_filter_does_to_scores_is_told_for_each_way(bundle: Path, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", size="320x240", seconds=3, options=["-preset", "fast", "-crf", "38"])
    auto, never = changes(path, load_bundle(bundle), looks=5, rounds=1)
    assert (auto.way, never.way, auto.looks, never.looks) == ("auto", "never", 5, 5)
    assert 0 < auto.score_median <= auto.score_largest <= never.score_largest * 1.01
    assert auto.times_less > 0


@pytest.mark.slow
@pytest.mark.broker
def test_starts_of_the_daemon_and_of_the_peer_are_timed_in_turns(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    watch, out = film(tmp_path / "a.mp4", seconds=6), tmp_path / "start.json"
    words = ["--bundle", bundle, "--source", watch, "--rounds", "1", "--seconds", "0", "--json", out]
    script = ROOT / "benchmarks" / "start.py"
    done = subprocess.run(
        [sys.executable, *map(str, (script, *words, "--explain"))],
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())
    assert set(written["starts"]) == {"OpenCV + PyTorch", "skerry run"}
    for (one,) in written["starts"].values():
        assert one["wall_ms"] > 0 < one["cpu_ms"]
        assert one["first"]["resident"] > 30
    assert {"numpy", "edge", "onnxruntime"} <= {name for name, *_ in written["packages"]}
