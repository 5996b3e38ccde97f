import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

import skerry
from edge.bundle import ModelBundle, Scoring, load_bundle
from edge.calibrate import calibrate
from edge.detector import open_runtime
from edge.openvino_runtime import openvino_here
from edge.preprocess import InputSpec, to_tensor
from edge.survey import Plan
from export.gate import levels_of
from export.tensorrt_rules import must_suit_tensorrt
from tests.builders import flying_bundle, folder_of, scene
from tests.labelled_scenes import scenes_in
from tests.networks import SMALL, Pointer, lively, pairs, pointing
from train.cae import CAE
from train.checkpoint import Checkpoint, Epoch, Record, load_checkpoint, save_checkpoint, versions
from train.footage import Sampling, read_footage
from train.recipes import recipe

pytestmark = pytest.mark.slow

HISTORY = (
    Epoch(epoch=1, train=0.04, validation=0.05, seconds=1),
    Epoch(epoch=2, train=0.02, validation=0.03, seconds=2),
)


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flights")
    for clip in range(4):
        folder_of(folder / f"clip{clip}", [scene(100 * clip + number) for number in range(10)])
    return folder


@pytest.fixture(scope="module")
def checkpoint(flights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("trained") / "cae.ckpt", lively(), flights)


def saved(path: Path, network: CAE, flights: Path) -> Path:
    """A checkpoint as training would leave it, without the training."""
    footage = read_footage([flights], Sampling(fps=2, folder_fps=2), 0, InputSpec())
    record = Record(
        recipe=recipe("report", model=SMALL),
        input=InputSpec(),
        splits=footage.splits,
        history=HISTORY,
        versions=versions(),
    )
    optimiser = torch.optim.Adam(network.parameters()).state_dict()
    state = torch.Generator().get_state()
    save_checkpoint(path, Checkpoint(record, network.state_dict(), None, optimiser, state))
    return path


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    out = tmp_path_factory.mktemp("made") / "islands"
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, checkpoint, "--out", out) == 0
    return load_bundle(out)


def run(patch: pytest.MonkeyPatch, *words: object) -> object:
    """`skerry export WORDS` in this process; its exit code."""
    patch.setattr(sys, "argv", ["skerry", "export", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        skerry.main()
    return ended.value.code or 0


def test_a_checkpoint_becomes_a_bundle_with_the_models_that_pass(made: ModelBundle) -> None:
    assert made.manifest.kind == "reconstruction"
    assert made.manifest.name == "islands"
    passed = {name for name, found in made.manifest.parity.items() if found.within_tolerance}
    assert passed >= {"fp32", "fp16", "int8-cpu"}
    assert made.manifest.variants == {name: f"model.{name}.onnx" for name in passed}
    there = {path.name for path in made.folder.iterdir()}
    assert there == {"manifest.json", *made.manifest.variants.values()}


def test_a_usual_variant_beyond_the_tolerance_is_left_out_and_its_figures_stay(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert run(monkeypatch, checkpoint, "--out", out, "--frames", 2, "--max-drift", 0.00001) == 0
    assert "int8-trt is left out; --search" in capsys.readouterr().out
    manifest = load_bundle(out).manifest
    assert set(manifest.variants) == {"fp32"}
    assert set(manifest.parity) == {"fp32", "fp16", "int8-cpu", "int8-trt"}
    assert manifest.parity["int8-trt"].max_drift > 0.00001
    told_by_edge(monkeypatch, "inspect", out)
    shown = capsys.readouterr().out
    assert "left out" in next(line for line in shown.splitlines() if "int8-trt" in line)
    assert "passed" in next(line for line in shown.splitlines() if "fp32 " in line and "%" in line)


def told_by_edge(patch: pytest.MonkeyPatch, *words: object) -> None:
    patch.setattr(sys, "argv", ["skerry", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        skerry.main()
    assert not ended.value.code


def test_layers_are_left_in_float_as_named_and_the_bundle_says_so(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (checkpoint, "--out", tmp_path / "b", "--frames", 2, "--variants", "fp32,int8-trt")
    assert run(monkeypatch, *words, "--in-float", "first,last", "--allow-drift") == 0
    made = load_bundle(tmp_path / "b")
    mixture = made.manifest.parity["int8-trt"].mixture
    assert mixture == "in float: node_conv2d, node_linear_1"
    must_suit_tensorrt(made.model("int8-trt"))


def test_a_search_leaves_in_float_what_the_gate_demands(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (checkpoint, "--frames", 5, "--variants", "fp32,int8-trt")
    assert run(monkeypatch, *words, "--out", tmp_path / "all", "--allow-drift") == 0
    drift = load_bundle(tmp_path / "all").manifest.parity["int8-trt"].max_drift
    words = (*words, "--out", tmp_path / "b", "--max-drift", 0.7 * drift, "--min-rank-correlation", 0)
    assert run(monkeypatch, *words, "--search") == 0
    found = load_bundle(tmp_path / "b").manifest.parity["int8-trt"]
    assert found.within_tolerance
    assert found.mixture.startswith("in float: node_")


def test_alarms_are_counted_at_the_threshold_of_a_calibrated_bundle(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (checkpoint, "--frames", 2, "--variants", "fp32")
    assert run(monkeypatch, *words, "--out", tmp_path / "a") == 0
    calm = folder_of(tmp_path / "normal", [scene(n) for n in range(130)])
    assert run(monkeypatch, *words, "--out", tmp_path / "b", "--calibrated", tmp_path / "a") == 3
    assert "has no threshold yet" in capsys.readouterr().err
    calibrated = calibrate(load_bundle(tmp_path / "a"), Plan((calm,), rate=20.0, folder_fps=2.0))
    assert run(monkeypatch, *words, "--out", tmp_path / "b", "--calibrated", tmp_path / "a") == 0
    gate = load_bundle(tmp_path / "b").manifest.provenance["gate"]
    assert gate["threshold_rule"] == "the calibrated threshold of bundle a"
    assert gate["threshold"] == pytest.approx(levels_of(calibrated).alarm)


def test_motion_and_relighting_are_watched_where_asked_for(
    tmp_path: Path, checkpoint: Path, made: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundle"
    assert run(monkeypatch, checkpoint, "--out", out, "--variants", "fp32", "--motion", "--relight") == 0
    asked, usual = load_bundle(out).manifest.scoring, made.manifest.scoring
    assert [branch.source for branch in asked.branches] == ["error", "error", "motion"]
    assert [branch.source for branch in usual.branches] == ["error", "error"]
    assert (asked.relight, usual.relight) == (True, False)


def test_a_density_of_features_that_an_autoencoder_has_not_is_refused(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, checkpoint, "--out", tmp_path / "b", "--latent") == 2
    assert "--latent: only a scout has features" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_the_bundle_is_not_calibrated_yet(made: ModelBundle) -> None:
    assert made.manifest.calibration is None


def test_the_models_fly_and_answer_as_the_checkpoint_does(made: ModelBundle, checkpoint: Path) -> None:
    tensor = to_tensor(scene(5), made.manifest.input)
    with torch.inference_mode():
        wanted = load_checkpoint(checkpoint).build()(torch.from_numpy(tensor)).numpy()
    for variant, near in (("fp32", 1e-5), ("int8-cpu", 0.05)):
        with open_runtime(made, variant) as runtime:
            assert np.abs(runtime(tensor) - wanted).max() < near


def test_the_bundle_says_how_far_each_model_is_from_pytorch(made: ModelBundle) -> None:
    parity = made.manifest.parity
    assert set(parity) == {"fp32", "fp16", "int8-cpu", "int8-trt"}
    frames = made.manifest.provenance["gate"]["undisturbed"]
    assert all(found.frames == 7 * frames for found in parity.values())
    assert parity["fp32"].max_drift < 1e-5 < parity["int8-cpu"].max_drift
    assert parity["int8-cpu"].mixture == "Linear weights of 1 and 1 bytes"
    assert all(found.heat_iou is not None and 0.9 < found.heat_iou <= 1 for found in parity.values())


def test_the_bundle_says_where_it_comes_from(made: ModelBundle, checkpoint: Path) -> None:
    provenance, record = made.manifest.provenance, load_checkpoint(checkpoint).record
    assert provenance["checkpoint_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert provenance["weights_sha256"] == record.weights_sha256
    assert provenance["data_sha256"] == record.splits.data_sha256
    assert provenance["recipe"]["name"] == "report"
    assert provenance["training"] == {
        "epochs": 2,
        "weights_of_epoch": 2,
        "train_mse": 0.02,
        "validation_mse": 0.03,
        "seconds": 3,
    }
    assert {"torch", "onnx", "onnxruntime"} <= set(provenance["exported_with"])
    assert "1.01 x the largest" in provenance["gate"]["threshold_rule"]
    assert provenance["gate"]["footage"] == "the checkpoint's validation split"


def test_nothing_in_the_bundle_names_the_machine(made: ModelBundle, checkpoint: Path) -> None:
    manifest = (made.folder / "manifest.json").read_text()
    assert str(checkpoint.parent) not in manifest


class Pointing(Checkpoint):
    """As a scout's: two pictures, tiles, evidence."""

    kind = "scout"
    input = InputSpec(frames=2, height=64, width=96, tiling="auto")

    def build(self) -> Pointer:  # type: ignore[override]
        return pointing()


def test_a_scout_becomes_a_bundle_of_evidence(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = Pointing(**vars(load_checkpoint(checkpoint)))
    monkeypatch.setattr("export.cli.load_checkpoint", lambda path: trained)
    assert run(monkeypatch, checkpoint, "--out", tmp_path / "b", "--variants", "int4") == 2
    assert "no such variant" in capsys.readouterr().err
    assert run(monkeypatch, checkpoint, "--out", tmp_path / "b", "--frames", 3) == 0
    assert "features" in capsys.readouterr().out
    made = load_bundle(tmp_path / "b")
    manifest = made.manifest
    assert (manifest.kind, manifest.input, manifest.scoring) == (
        "evidence",
        Pointing.input,
        Scoring.for_kind("evidence"),
    )
    assert set(manifest.variants) >= {"fp32", "fp16"}
    assert set(manifest.parity) == {"fp32", "fp16", "int8-trt"}
    found = manifest.parity["fp32"]
    assert (found.frames, found.within_tolerance) == (7 * 2 * 3, True)
    assert found.feature_drift is not None
    assert found.feature_drift < 1e-4
    assert manifest.provenance["gate"]["pictures"] == "tiles of frames"
    with open_runtime(made, "fp32") as runtime:
        assert runtime(pairs(1).numpy()).shape == (1, 68, 8, 12)


@pytest.mark.parametrize(
    ("beside", "asked", "sources", "memory_s"),
    [
        ("earlier", None, ["head", "motion"], 0.15),
        ("earlier", False, ["head"], 0.0),
        ("route", None, ["head"], 0.3),
        ("route", True, ["head", "motion"], 0.3),
    ],
)
def test_a_scout_of_pairs_watches_motion_and_one_of_a_route_only_where_asked_to(
    beside: Literal["earlier", "route"], asked: bool | None, sources: list[str], memory_s: float
) -> None:
    scoring = Scoring.for_kind("evidence", asked, beside=beside)
    assert [branch.source for branch in scoring.branches] == sources
    assert scoring.memory_s == memory_s


class OfRoute(Pointing):
    input = Pointing.input.model_copy(update={"beside": "route"})


def test_the_bundle_of_a_scout_of_a_route_looks_at_it_alone(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = OfRoute(**vars(load_checkpoint(checkpoint)))
    monkeypatch.setattr("export.cli.load_checkpoint", lambda path: trained)
    asked = ("--variants", "fp32", "--frames", 3)
    assert run(monkeypatch, checkpoint, "--out", tmp_path / "b", *asked) == 0
    assert load_bundle(tmp_path / "b").manifest.scoring == Scoring.for_kind("evidence", beside="route")


def test_the_table_and_the_next_command_are_printed(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, checkpoint, "--out", tmp_path / "b", "--variants", "fp32") == 0
    shown = capfd.readouterr()
    assert "rank corr." in shown.out
    assert "passed" in shown.out
    assert f"skerry calibrate {tmp_path / 'b'} --normal" in shown.out
    assert shown.err == ""


def test_a_variant_beyond_the_tolerance_ends_the_export_and_writes_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    words = (checkpoint, "--out", out, "--frames", 2, "--variants", "int8-cpu", "--max-drift", 0)
    assert run(monkeypatch, *words) == 3
    assert not out.exists()
    shown = capsys.readouterr()
    assert "int8-cpu moves a score by" in shown.err
    assert "more than the 0.000% allowed" in shown.err
    assert "beyond" in shown.out


def test_allowed_drift_is_written_down_as_such(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundle"
    words = (checkpoint, "--out", out, "--frames", 2, "--variants", "int8-cpu", "--max-drift", 0)
    assert run(monkeypatch, *words, "--allow-drift") == 0
    bundle = load_bundle(out)
    assert not bundle.manifest.parity["int8-cpu"].within_tolerance
    assert bundle.manifest.provenance["gate"]["tolerance"]["max_drift"] == 0


def test_a_network_that_gives_nan_is_refused_even_with_allowed_drift(
    flights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = lively()
    network.state_dict()["decoder.0.2.running_var"].fill_(-1)  # finite, yet its root is not
    broken = saved(tmp_path / "nan.ckpt", network, flights)
    assert run(monkeypatch, broken, "--out", tmp_path / "bundle", "--allow-drift") == 3
    assert "NaN" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert run(monkeypatch, checkpoint, "--out", tmp_path, "--force") == 2
    assert "no sound bundle" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_at_out_is_refused(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, checkpoint, "--out", checkpoint) == 2
    assert "is a file" in capsys.readouterr().err


def test_a_bundle_is_replaced_only_with_force_and_then_wholly(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = flying_bundle(tmp_path / "old", folder_of(tmp_path / "normal", [scene(n) for n in range(130)]))
    words = (checkpoint, "--out", old.folder, "--frames", 2, "--variants", "fp32")
    assert run(monkeypatch, *words) == 2
    assert "--force" in capsys.readouterr().err
    assert load_bundle(old.folder).digest == old.digest
    assert run(monkeypatch, *words, "--force") == 0
    new = load_bundle(old.folder)
    assert new.manifest.calibration is None
    assert sorted(path.name for path in new.folder.iterdir()) == ["manifest.json", "model.fp32.onnx"]


def test_footage_that_moved_is_named_and_other_footage_can_take_its_place(
    flights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = shutil.copytree(flights, tmp_path / "there")
    trained = saved(tmp_path / "cae.ckpt", lively(), there)
    here = there.rename(tmp_path / "here")
    words = (trained, "--out", tmp_path / "bundle", "--variants", "fp32", "--frames", 5)
    assert run(monkeypatch, *words) == 2
    assert "no longer at" in capsys.readouterr().err
    assert run(monkeypatch, *words, "--footage", here / "clip1", "--footage", here / "clip2") == 0
    gate = load_bundle(tmp_path / "bundle").manifest.provenance["gate"]
    assert gate["undisturbed"] == 5
    assert gate["footage"] == "given with --footage"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--variants", "fp23"), "did you mean fp32"),
        (("--name", ""), "--name has 0 characters"),
        (("--name", "x" * 101), "--name has 101 characters"),
        (("--frames", "0"), "--frames"),
        (("--footage", "/nowhere"), "/nowhere"),
        (("--in-float", "first", "--search"), "--in-float and --search exclude each other"),
        (("--variants", "int8-trt", "--in-float", "fist"), "did you mean first"),
    ],
)
def test_a_wrong_option_is_named(
    words: tuple[str, ...],
    sentence: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, checkpoint, "--out", tmp_path / "b", *words) == 2
    assert sentence in capsys.readouterr().err


def test_what_is_no_checkpoint_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "holiday.ckpt").write_bytes(b"sun")
    assert run(monkeypatch, tmp_path / "holiday.ckpt", "--out", tmp_path / "b") == 2
    assert "not a checkpoint" in capsys.readouterr().err


def told(folder: Path, *words: object) -> str:
    """What `skerry WORDS` printed, run in that folder."""
    line = [sys.executable, "-m", "skerry", *map(str, words)]
    around = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        line, cwd=folder, capture_output=True, text=True, timeout=280, check=False, env=around
    )
    assert (done.returncode, done.stderr.strip()) == (0, ""), done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_scout_is_trained_exported_calibrated_inspected_and_evaluated(tmp_path: Path) -> None:
    """By the commands alone. After one epoch it is no good yet, but better than chance."""
    for clip in range(4):
        folder_of(tmp_path / "normal" / f"clip{clip}", [scene(100 * clip + n) for n in range(12)])
    folder_of(tmp_path / "calm", [scene(3000 + number) for number in range(140)])
    scenes_in(tmp_path / "patrol", {"one": "....XXXX....", "calm": "." * 8})
    at = ("--folder-fps", 2)
    words = ("--normal", "normal", "--epochs", 1, "--batch", 8, "--device", "cpu", "--fps", 2, *at)
    said = told(tmp_path, "train", "scout", "--recipe", "quick", *words, "--out", "scout.ckpt")
    assert "scout.ckpt: epoch 1 of 1 trained" in said
    said = told(tmp_path, "export", "scout.ckpt", "--out", "eye", "--frames", 2)
    assert "passed" in said
    assert load_bundle(tmp_path / "eye").manifest.kind == "evidence"
    assert "--normal FOOTAGE" in said
    words = ("--normal", "calm", *at, "--false-alarms-per-hour", 20, "--view", "320x240")
    told(tmp_path, "calibrate", "eye", *words)
    bundle = load_bundle(tmp_path / "eye")
    assert bundle.calibration()
    assert bundle.digest[:12] in told(tmp_path, "inspect", "eye")
    told(tmp_path, "evaluate", "eye", "patrol", *at, "--resamples", 0, "--json", "found.json")
    found = json.loads((tmp_path / "found.json").read_text())["judgement"]
    assert (found["videos"], found["frames"], found["abnormal_frames"]) == (2, 20, 4)
    assert found["strict"]["auc_micro"]["value"] > 0.6


@pytest.mark.slow
def test_the_command_says_nothing_but_its_result(checkpoint: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "skerry", "export", checkpoint, "--out", tmp_path / "b", "--frames", "2"]
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=250, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Warning" not in done.stdout


LATENCY_PEERS = ("ONNX Runtime, its defaults",) + openvino_here() * (
    "OpenVINO, one thread",
    "OpenVINO, its defaults",
)


@pytest.mark.slow
def test_the_latency_benchmark_measures_every_model_against_eager(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "latency.py"
    out = tmp_path / "latency.json"
    words = [sys.executable, script, "--blocks", "4", "--calls", "2", "--paced", "--json", out]
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())
    assert set(written["results"]) == {"one picture, hot", "one picture, paced"}
    for found in written["results"].values():
        assert set(found) == {"eager", *LATENCY_PEERS, "onnx fp32", "onnx int8-cpu"}
        assert found["eager"]["ratio"] == 1
        assert all(row["median_ms"] > 0 for row in found.values())
    assert written["about"]["threads"] == 1


@pytest.mark.slow
def test_the_latency_benchmark_times_whole_frames_of_a_model_that_sees_tiles(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "latency.py"
    out = tmp_path / "latency.json"
    words = [sys.executable, script, "--kind", "scout", "--blocks", "4", "--calls", "1", "--json", out]
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())["results"]
    tile, frame = results["one picture, hot"], results["a 1080p frame, 12 tiles"]
    assert set(tile) == set(frame) == {"eager", *LATENCY_PEERS, "onnx fp32", "onnx int8-cpu"}
    assert all(frame[name]["median_ms"] > 6 * tile[name]["best_block_ms"] for name in ("eager", "onnx fp32"))
