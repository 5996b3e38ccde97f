from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge import engine_cli
from edge.bundle import ModelBundle
from edge.engines import EngineStore
from edge.errors import BundleError, UsageError
from edge.gpu import EngineError
from edge.simgpu import SimGpu, simulated
from tests.engines import blur_of, gpu_bundle_at

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimGpu:
    device = SimGpu(module="Orin Nano")
    monkeypatch.setattr(engine_cli, "load_toolkit", lambda: simulated(gpu=device))
    return device


@pytest.fixture
def bundle(tmp_path: Path) -> ModelBundle:
    return gpu_bundle_at(tmp_path / "bundle")


def said(*words: object) -> str:
    result = CliRunner().invoke(engine_cli.app, [str(word) for word in words], catch_exceptions=False)
    if result.exception is not None:
        raise result.exception
    return " ".join(result.output.split())


def refused(*words: object) -> BaseException:
    result = CliRunner().invoke(engine_cli.app, [str(word) for word in words])
    assert result.exception is not None
    return result.exception


def test_build_says_what_was_built_and_the_next_time_that_it_is_there(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    words = ("build", bundle.folder, "--engines", tmp_path / "engines")
    first = said(*words)
    assert first.startswith(
        "fp16 engine 1 for TensorRT 10.3.0 on Orin Nano built in 0 s: largest drift 0.000% from its file, of "
        "that from fp32 0.000%"
    )
    assert "is there already" in said(*words)
    assert "fp16 engine 2" in said(*words, "--again")


def test_the_daemons_settings_name_the_bundle_and_the_place(bundle: ModelBundle, tmp_path: Path) -> None:
    file = tmp_path / "skerry.toml"
    file.write_text(f'source = "sim://"\nbundle = "{bundle.folder}"\nstate_dir = "{tmp_path / "state"}"\n')
    assert str(tmp_path / "state" / "engines") in said("build", "--settings", file, "--precision", "int8")
    assert [one.key.precision for one in EngineStore(tmp_path / "state" / "engines").records()] == ["int8"]


def test_list_shows_what_the_gate_said_and_clean_removes_it(
    bundle: ModelBundle, tmp_path: Path, gpu: SimGpu
) -> None:
    where = ("--engines", tmp_path / "engines")
    assert "no engines in" in said("list", *where)
    said("build", bundle.folder, *where)
    gpu.distortion = 0.05
    assert isinstance(refused("build", bundle.folder, "--precision", "int8", *where), EngineError)
    shown = said("list", *where)
    assert "passed" in shown
    assert "moves" in shown
    assert said("clean", *where).startswith("2 engines removed")
    assert said("list", *where).startswith("no engines in")
    assert said("clean", "--engines", tmp_path / "nowhere").startswith("no engines in")
    assert not (tmp_path / "nowhere").exists()


def test_list_tells_the_engines_drift_and_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    bundle = gpu_bundle_at(tmp_path / "strays", integers=blur_of(15, 17))
    where = ("--engines", tmp_path / "engines")
    said("build", bundle.folder, "--precision", "int8", *where)
    (record,) = EngineStore(tmp_path / "engines").records()
    assert record.gate.file_drift is not None
    assert f"0.000% │ {record.gate.file_drift:.3%} │ passed" in said("list", *where)


def test_a_wrong_precision_names_the_right_ones(bundle: ModelBundle) -> None:
    error = refused("build", bundle.folder, "--precision", "fp61")
    assert isinstance(error, UsageError)
    assert str(error) == "--precision 'fp61' is none (did you mean fp16?): give fp16 or int8"


def test_without_a_bundle_or_settings_it_says_which_to_give() -> None:
    error = refused("build")
    assert isinstance(error, UsageError)
    assert "name a bundle, or give the daemon's --settings" in str(error)


def test_a_refusal_leaves_with_the_code_that_keeps_systemd_from_repeating_it(
    bundle: ModelBundle, tmp_path: Path, gpu: SimGpu
) -> None:
    gpu.unsupported = ("AveragePool",)
    error = refused("build", bundle.folder, "--engines", tmp_path / "engines")
    assert isinstance(error, EngineError)
    assert error.exit_code == BundleError.exit_code == 3


@pytest.mark.usefixtures("bundle")
def test_the_front_door_knows_the_verb_and_says_what_is_missing_in_one_line(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    import subprocess

    shown = subprocess.run(
        [
            sys.executable,
            "-m",
            "skerry",
            "engine",
            "build",
            str(bundle.folder),
            "--engines",
            str(tmp_path / "e"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if shown.returncode == 0:
        pytest.skip("there is a real TensorRT here")
    assert shown.returncode == 3
    assert shown.stderr.startswith("skerry: ")
    assert shown.stderr.count("\n") == 1
