"""`skerry export` of a head for clips, and the verbs that then take its bundle, as a person types them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import skerry
from edge.bundle import ModelBundle, load_bundle
from edge.clip_detector import ClipStream
from edge.detector import open_runtime
from export.extractors import Asked, open_extractor
from tests.broker import free_port
from tests.builders import flying_bundle, folder_of, scene
from tests.clips import FPS, pictures
from tests.extractors import mil_checkpoint, network, opened
from train.checkpoint import load_checkpoint
from train.features import Job, do
from train.s3d import S3D

pytestmark = pytest.mark.slow

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`skerry WORDS` in this process; its exit code."""

    def typed(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["skerry", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            skerry.main()
        return int(str(ended.value.code or 0))

    return typed


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("normal") / "flight", pictures("." * 520))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, normal: Path) -> tuple[ModelBundle, Path]:
    """The bundle, exported once, and the extractor's file."""
    folder = tmp_path_factory.mktemp("made")
    path, extractor = opened(folder)
    checkpoint = mil_checkpoint(folder / "mil.ckpt", extractor.spec, "causal")
    words = ("export", checkpoint, "--extractor", path, "--out", folder / "b", "--footage", normal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["skerry", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            skerry.main()
    assert not ended.value.code
    return load_bundle(folder / "b"), path


# The bundle


def test_a_head_and_its_extractor_become_a_clip_bundle(made: tuple[ModelBundle, Path]) -> None:
    bundle, path = made
    manifest = bundle.manifest
    trained = load_checkpoint(bundle.folder.parent / "mil.ckpt")
    assert (manifest.kind, manifest.clip) == ("clip", trained.clip)
    assert set(manifest.variants) == {"fp32", "fp16", "int8-cpu", "int8-trt"}
    assert set(manifest.files) == {*manifest.variants.values(), "head.fp32.onnx"}
    assert manifest.files["model.fp32.onnx"] == trained.clip.extractor.sha256
    assert manifest.provenance["extractor"] == path.name
    assert manifest.provenance["gate"]["pictures"] == "clips"
    assert manifest.provenance["split"]["clips"] == {"train": 0, "validation": 0, "test": 0}
    assert manifest.provenance["training"]["validation_loss"] == 0.6
    found = manifest.parity["int8-cpu"]
    assert (found.frames, found.within_tolerance) == (7 * 12, True)
    assert found.feature_cosine is not None
    assert 0.99 < found.feature_cosine < 1


@pytest.mark.parametrize("variant", ["fp32", "fp16", "int8-cpu", "int8-trt"])
def test_every_variant_of_it_makes_features_for_its_head(
    made: tuple[ModelBundle, Path], variant: str
) -> None:
    with open_runtime(made[0], variant) as runtime:
        ClipStream(made[0], runtime)


def test_nothing_in_it_names_the_machine(made: tuple[ModelBundle, Path], normal: Path) -> None:
    manifest = (made[0].folder / "manifest.json").read_text()
    assert str(made[1].parent) not in manifest
    assert str(normal.parent) not in manifest


def test_alarms_are_counted_at_a_calibrated_threshold(
    made: tuple[ModelBundle, Path], normal: Path, run: Run, tmp_path: Path
) -> None:
    bundle, path = made
    assert calibrated(run, bundle.folder, normal) == 0
    threshold = load_bundle(bundle.folder).calibration().threshold
    words = ("export", bundle.folder.parent / "mil.ckpt", "--extractor", path, "--footage", normal)
    given = ("--variants", "fp32", "--frames", 2, "--calibrated", bundle.folder)
    assert run(*words, *given, "--out", tmp_path / "b") == 0
    assert load_bundle(tmp_path / "b").manifest.provenance["gate"]["threshold"] == threshold


def calibrated(run: Run, bundle: Path, normal: Path) -> int:
    return run("calibrate", bundle, "--normal", normal, "--folder-fps", FPS, "--false-alarms-per-hour", 20)


def test_the_gate_looks_at_the_recordings_behind_the_features_where_they_still_are(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    path, extractor = opened(tmp_path)
    features = []
    for seed, name in enumerate(("a", "b")):
        recording = folder_of(tmp_path / name, pictures("." * 20, 100 * seed))
        job = Job(recording, name, tmp_path / f"{name}.npz")
        assert do(job, extractor, FPS, lambda: None).state == "made"
        features.append(job.out)
    checkpoint = mil_checkpoint(
        tmp_path / "mil.ckpt", extractor.spec, validation=(features[0],), train=(features[1],)
    )
    words = (
        "export",
        checkpoint,
        "--extractor",
        path,
        "--variants",
        "fp32,int8-cpu",
        "--out",
        tmp_path / "o",
    )
    assert run(*words) == 0
    gate = load_bundle(tmp_path / "o").manifest.provenance["gate"]
    assert (gate["footage"], gate["undisturbed"]) == ("the checkpoint's validation split", 5)
    for picture in (tmp_path / "a").iterdir():
        picture.unlink()
    (tmp_path / "a").rmdir()
    assert run(*words, "--force") == 2
    assert "are not to be found: name normal footage with --footage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "no extractor was named"),
        (("--extractor", "{other}"), "is not the one that the head was trained with"),
        (("--extractor", "{own}", "--search"), "--search is not for a head for clips"),
        (("--extractor", "{own}", "--motion"), "--motion is not for a head for clips"),
        (("--extractor", "{own}", "--variants", "int4"), "no such variant"),
        (("--extractor", "{own}", "--footage", "{short}"), "as long as one clip of the model, 1 s"),
        (("--extractor", "{own}", "--footage", "{normal}", "--in-float", "third"), "--in-float third"),
    ],
)
def test_a_wrong_order_is_one_sentence_and_writes_nothing(
    tmp_path: Path,
    run: Run,
    capsys: pytest.CaptureFixture[str],
    normal: Path,
    words: tuple[str, ...],
    sentence: str,
) -> None:
    own, extractor = opened(tmp_path)
    foreign = tmp_path / "other.onnx"
    foreign.write_bytes(network(seed=7))
    short = folder_of(tmp_path / "short", pictures("..."))
    named = {"own": own, "other": foreign, "short": short, "normal": normal}
    checkpoint = mil_checkpoint(tmp_path / "mil.ckpt", extractor.spec)
    out = tmp_path / "b"
    assert run("export", checkpoint, "--out", out, *(word.format(**named) for word in words)) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not out.exists()


# The verbs


def test_the_bundle_is_calibrated_inspected_benched_compared_and_flown(
    made: tuple[ModelBundle, Path],
    normal: Path,
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = made[0].folder
    assert calibrated(run, bundle, normal) == 0
    assert run("inspect", bundle) == 0
    shown = capsys.readouterr().out
    assert "head.fp32.onnx" in shown
    assert "cosine" in shown
    later = folder_of(tmp_path / "later", pictures("." * 300, seed=9000))
    assert run("drift", bundle, "--flight", later, "--folder-fps", FPS, "--json", tmp_path / "d.json") == 0
    assert "recalibrate" in json.loads((tmp_path / "d.json").read_text())
    words = ("--source", "sim://?width=320&height=240&fps=30", "--broker", "none")
    assert run("bench", bundle, *words, "--frames", 30, "--json", tmp_path / "bench.json") == 0
    assert "What a clip costs" in capsys.readouterr().out
    state, nobody = ("--state-dir", tmp_path / "state"), ("--broker", f"mqtt://127.0.0.1:{free_port()}")
    assert run("run", "--bundle", bundle, *flown(later), *state, *nobody) == 0
    assert "the clip model keeps up" in capsys.readouterr().err
    still = flying_bundle(tmp_path / "still", folder_of(tmp_path / "n", [scene(n) for n in range(140)]))
    beside = ("--bundle", still.folder, "--clip-bundle", bundle)
    assert run("run", *beside, *flown(later), *state, *nobody) == 0
    assert "the clip model keeps up" in capsys.readouterr().err


def flown(recording: Path) -> tuple[object, ...]:
    return ("--source", recording, "--folder-fps", FPS, "--replay", "fast")


@pytest.mark.timeout(900)  # each conversion takes ten seconds of a quiet core
def test_s3d_and_its_head_become_a_bundle_in_which_it_flies_byte_for_byte(
    tmp_path: Path, run: Run, normal: Path
) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "s3d.pth"
    torch.save(S3D().state_dict(), weights)
    opened_once = open_extractor(None, weights, Asked(frames=14, size=32, stride=7, fps=FPS))
    checkpoint = mil_checkpoint(tmp_path / "mil.ckpt", opened_once.spec)
    out = tmp_path / "b"
    words = ("--weights", weights, "--size", 32, "--footage", normal, "--frames", 2)
    words = (*words, "--min-rank-correlation", 0.9)  # untrained as it is, its logits hardly differ
    assert run("export", checkpoint, *words, "--variants", "fp32,int8-cpu", "--out", out) == 0
    made = load_bundle(out)
    assert made.model("fp32") == opened_once.model
    found = made.manifest.parity["int8-cpu"]
    assert found.within_tolerance
    assert len(made.model("int8-cpu")) < 0.3 * len(made.model("fp32"))
