"""calibrate, inspect and drift as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import bundle_at, flying_bundle, folder_of, patrol_pictures

pytestmark = pytest.mark.slow


def skerry(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "skerry", *map(str, words)], capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("cli") / "normal", patrol_pictures("." * 140, seed=0))


RATES = ("--folder-fps", 2, "--false-alarms-per-hour", 15)


def test_calibrate_says_the_threshold_and_how_it_was_found(tmp_path: Path, normal: Path) -> None:
    bundle_at(tmp_path / "b")
    done = skerry("calibrate", tmp_path / "b", "--normal", normal, *RATES)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "for 15 false alarms per hour, from 70 s (7 blocks) of normal footage by pareto" in told
    assert "per hour (90 %)" in told


def test_calibrate_for_one_alarm_an_hour_says_how_much_footage_that_takes(
    tmp_path: Path, normal: Path
) -> None:
    bundle_at(tmp_path / "b")
    done = skerry("calibrate", tmp_path / "b", "--normal", normal, "--folder-fps", 2)
    assert done.returncode == 2
    assert "1 needs 14.83 minutes" in done.stderr


def test_calibrate_refuses_a_view_that_is_no_size(tmp_path: Path, normal: Path) -> None:
    bundle_at(tmp_path / "b")
    done = skerry("calibrate", tmp_path / "b", "--normal", normal, *RATES, "--view", "1080p")
    assert done.returncode == 2
    assert "give auto, or width and height like 1920x1080" in done.stderr


def test_inspect_tells_what_the_bundle_is_and_whether_it_can_fly(tmp_path: Path, normal: Path) -> None:
    bundle_at(tmp_path / "b")
    assert "Not calibrated" in skerry("inspect", tmp_path / "b").stdout
    bundle = flying_bundle(tmp_path / "b", normal)
    told = skerry("inspect", tmp_path / "b").stdout
    assert bundle.digest[:12] in told
    assert "7 blocks of 10 s" in told
    assert "Not calibrated" not in told


def test_inspect_refuses_a_changed_bundle_with_code_3(tmp_path: Path) -> None:
    bundle_at(tmp_path / "b")
    (tmp_path / "b" / "model.fp32.onnx").write_bytes(b"x")
    done = skerry("inspect", tmp_path / "b")
    assert done.returncode == 3
    assert done.stderr.startswith("skerry: ")
    assert len(done.stderr.splitlines()) == 1


def test_drift_says_its_verdict_and_a_script_reads_it_from_json(tmp_path: Path, normal: Path) -> None:
    flying_bundle(tmp_path / "b", normal)
    file = tmp_path / "drift.json"
    flights = {
        "same": patrol_pictures("." * 130, seed=7000),
        "higher": patrol_pictures("XX." * 43, seed=7000),
    }
    for state, pictures in flights.items():
        flight = folder_of(tmp_path / state, pictures)
        done = skerry("drift", tmp_path / "b", "--flight", flight, "--folder-fps", 2, "--json", file)
        assert done.returncode == 0, done.stderr
        found = json.loads(file.read_text())
        assert found["state"] == state
        assert found["recalibrate"] == (state != "same")
        assert done.stdout.strip() == found["verdict"]


def test_drift_of_a_bundle_without_threshold_is_a_bundle_error(tmp_path: Path, normal: Path) -> None:
    bundle_at(tmp_path / "b")
    done = skerry("drift", tmp_path / "b", "--flight", normal)
    assert done.returncode == 3
    assert "skerry calibrate" in done.stderr


def test_drift_of_a_short_flight_says_how_much_it_needs(tmp_path: Path, normal: Path) -> None:
    flying_bundle(tmp_path / "b", normal)
    short = folder_of(tmp_path / "short", patrol_pictures("." * 30))
    done = skerry("drift", tmp_path / "b", "--flight", short, "--folder-fps", 2)
    assert done.returncode == 2
    assert "give 60 s or more" in done.stderr
