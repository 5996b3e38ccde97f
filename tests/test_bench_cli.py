"""bench as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge.bench_figures import read_report
from tests.builders import flying_bundle, folder_of, patrol_pictures

pytestmark = pytest.mark.slow


def skerry(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "skerry", *map(str, words)], capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("cli") / "normal", patrol_pictures("." * 140, seed=0))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, normal: Path) -> Path:
    return flying_bundle(tmp_path_factory.mktemp("bench") / "b", normal).folder


ALONE = ("--broker", "none")


def test_bench_measures_every_stage_and_writes_what_it_belongs_to(
    tmp_path: Path, bundle: Path, normal: Path
) -> None:
    file, plot = tmp_path / "bench.json", tmp_path / "bench.svg"
    done = skerry(
        "bench", bundle, "--footage", normal, "--frames", 20, "--json", file, "--plot", plot, *ALONE
    )
    assert done.returncode == 0, done.stderr
    (run,) = read_report(file).runs
    every = ("decode", "preprocess", "infer", "score", "localize")
    assert {*every, "event", "outbox", "snapshot", "heatmap", "frame", "alert"} == set(run.stages)
    assert all(0 <= row.p50 <= row.p95 <= row.p99 <= row.max for row in run.stages.values())
    assert run.stages["frame"].max <= sum(run.stages[name].max for name in every) + 1e-9
    assert (run.variant, run.pace, run.frames) == ("fp32", "max", 20)
    assert plot.read_text().startswith("<svg")
    assert "left out: publish (--broker none" in done.stdout


def test_bench_without_footage_films_a_scene_of_its_own(bundle: Path) -> None:
    assert skerry("bench", bundle, "--frames", 5, *ALONE).returncode == 0


def test_a_budget_that_is_not_kept_ends_with_code_1(tmp_path: Path, bundle: Path, normal: Path) -> None:
    words = ("bench", bundle, "--source", normal, "--frames", 5, *ALONE)
    kept = skerry(*words, "--budget", "p99=60000ms", "--json", tmp_path / "a.json")
    assert kept.returncode == 0, kept.stderr
    over = skerry(*words, "--budget", "p50=0.001ms", "--compare", tmp_path / "a.json")
    assert over.returncode == 1
    assert "budget OVER: alert.p50" in over.stdout
    assert "now / then" in over.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--fps", "fast"), "give looks a second"),
        (("--fps", "0"), "give looks a second"),
        (("--budget", "speed=1"), "means nothing"),
        (("--budget", "cpu=5%"), "give --fps 2"),
        (("--variant", "fp23"), "did you mean fp32"),
        (("--compare", "absent.json"), "cannot be read"),
        (("--source", "absent.mp4"), "does not exist"),
        (("--broker", "mqtt://example.org"), "unencrypted"),
    ],
)
def test_mistakes_end_in_one_sentence_with_code_2(
    bundle: Path, words: tuple[str, ...], sentence: str
) -> None:
    broker = () if "--broker" in words else ALONE
    done = skerry("bench", bundle, "--frames", 5, *words, *broker)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_bench_needs_more_footage_than_the_warm_up(tmp_path: Path, bundle: Path) -> None:
    short = folder_of(tmp_path / "short", patrol_pictures("." * 5))
    done = skerry("bench", bundle, "--footage", short, *ALONE)
    assert done.returncode == 2
    assert "fewer than 11 frames" in done.stderr


def test_a_bench_that_fails_writes_no_figures(tmp_path: Path, bundle: Path) -> None:
    file = tmp_path / "bench.json"
    done = skerry("bench", bundle, "--source", "absent.mp4", "--json", file, *ALONE)
    assert done.returncode == 2
    assert not file.exists()


def test_the_json_is_plain(tmp_path: Path, bundle: Path, normal: Path) -> None:
    file = tmp_path / "bench.json"
    skerry("bench", bundle, "--source", normal, "--frames", 3, "--json", file, *ALONE)
    found = json.loads(file.read_text())
    assert {"machine", "processor", "onnxruntime", "bundle", "source", "broker"} <= set(found["facts"])
    assert len(found["runs"][0]["alerts_ms"]) == 3
