"""`skerry train mil` as a person meets it: what is said, what is kept, what goes wrong."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edge.errors import SkerryError, UsageError
from tests.bagging import SPEC, WIDTH, folders, raw, video
from train.checkpoint import load_checkpoint
from train.cli import app
from train.mil_recipes import MilRecipe

pytestmark = pytest.mark.slow  # trains: the check stays under two minutes

SKERRY = [sys.executable, "-m", "skerry"]
CPU = ("--device", "cpu")


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MilRecipe, "STEPS", 3)


def train(*options: object) -> str:
    """What the command printed; its error, if it raised one, is raised."""
    result = CliRunner().invoke(app, ["mil", *(str(option) for option in (*CPU, *options))])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def of(home: Path, count: int = 12) -> list[object]:
    normal, anomalous = folders(home, count)
    return ["--normal", normal, "--anomalous", anomalous, "--batch", 4, "--epochs", 2]


@pytest.mark.parametrize("recipe", ["faithful", "small"])
def test_features_in_a_head_out_and_what_it_is_worth(tmp_path: Path, recipe: str) -> None:
    out = tmp_path / "a.ckpt"
    said = train(*of(tmp_path), "--recipe", recipe, "--out", out)
    assert f"recipe {recipe}: a " in said
    assert f"features {WIDTH} wide, one every 0.5 s" in said
    assert re.search(r"train +\d+ normal and \d+ anomalous videos of \d+ sources, \d+ clips", said)
    assert f"{out}: epoch 2 of 2 trained" in said
    assert re.search(r"threshold \S+ from \d+ normal validation videos, \d+ sources?: of further ones", said)
    assert re.search(r"accuracy [01]\.\d{3}, AUC [01]\.\d{3}", said)
    assert re.search(r"anomalous +precision \S+, recall \S+, F1 \S+\nnormal +precision", said)
    assert re.search(r"anomalous videos: \d found, \d missed; normal videos: \d passed, \d alarmed", said)
    kept = load_checkpoint(out)
    assert kept.kind == "mil"
    assert kept.clip.extractor == SPEC
    assert kept.head()(torch.zeros(1, kept.clip.history, WIDTH)).shape == (1,)


def test_the_figures_at_the_end_are_of_videos_that_training_never_saw(tmp_path: Path) -> None:
    said = train(*of(tmp_path), "--out", tmp_path / "a.ckpt")
    splits = load_checkpoint(tmp_path / "a.ckpt").splits
    sources = [{clip.source for clip in part} for part in (splits.train, splits.validation, splits.test)]
    assert not sources[0] & sources[2]
    assert not sources[1] & sources[2]
    counts = re.search(r"(\d+) found, (\d+) missed; normal videos: (\d+) passed, (\d+) alarmed", said)
    assert counts is not None
    assert sum(map(int, counts.groups())) == len(splits.test)


@pytest.mark.slow
def test_a_head_that_learnt_tells_the_held_out_videos_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The anomalous clips lie far from the normal ones: whatever the recipe, this must be found."""
    monkeypatch.setattr(MilRecipe, "STEPS", 20)
    given = of(tmp_path, 20)
    said = train(*given, "--recipe", "small", "--lr", 0.01, "--out", tmp_path / "a.ckpt")
    assert "AUC 1.000" in said


def test_the_command_says_so_when_nothing_is_held_out(tmp_path: Path) -> None:
    said = train(*of(tmp_path, count=3), "--out", tmp_path / "a.ckpt")
    assert "fewer than 10 sources: all of them are trained on and validation losses flatter" in said
    assert "nothing was held out and nothing measured: 6 sources are too few, 10 needed" in said
    assert "accuracy" not in said
    splits = load_checkpoint(tmp_path / "a.ckpt").splits
    assert (len(splits.train), splits.validation, splits.test) == (6, (), ())


def test_a_bag_shorter_than_32_segments_is_trained_on_and_the_command_says_so(tmp_path: Path) -> None:
    normal, anomalous = folders(tmp_path, 6, clips=40)
    video(normal / "one.npz", raw(99, False, clips=1))
    said = train("--normal", normal, "--anomalous", anomalous, "--epochs", 1, "--out", tmp_path / "a.ckpt")
    assert "1 of 13 videos have fewer than 32 clips: in their 32 segments clips stand several times\n" in said


def test_features_of_unknown_origin_are_trained_on_and_said_not_to_fly(tmp_path: Path) -> None:
    for seed in range(4):
        np.save(tmp_path / f"{'Normal' if seed % 2 else 'Abuse'}_{seed}.npy", raw(seed, not seed % 2))
    table = tmp_path / "train.txt"
    table.write_text("Abuse_0.mp4\nNormal_1.mp4\nAbuse_2.mp4\nNormal_3.mp4\n")
    said = train("--list", table, "--epochs", 1, "--out", tmp_path / "a.ckpt")
    assert "these features do not say what made them: the head can be evaluated, but not flown" in said
    labels = {clip.name: clip.label for clip in load_checkpoint(tmp_path / "a.ckpt").splits.train}
    assert labels == {
        "Abuse_0": "anomalous",
        "Normal_1": "normal",
        "Abuse_2": "anomalous",
        "Normal_3": "normal",
    }


def test_videos_that_a_list_gives_one_source_are_never_split(tmp_path: Path) -> None:
    features = tmp_path / "features"
    lines = []
    for seed in range(48):
        video(features / f"v{seed:02}.npz", raw(seed, bool(seed % 2)))
        lines.append(f"v{seed:02}.mp4 {'anomalous' if seed % 2 else 'normal'} source{seed // 4}")
    (tmp_path / "list.txt").write_text("\n".join(lines))
    listed = ("--list", tmp_path / "list.txt", "--features", features)
    train(*listed, "--epochs", 1, "--out", tmp_path / "a.ckpt")
    splits = load_checkpoint(tmp_path / "a.ckpt").splits
    parts = [[clip.source for clip in part] for part in (splits.train, splits.validation, splits.test)]
    assert sorted(source for part in parts for source in part) == sorted(
        f"source{seed // 4}" for seed in range(48)
    )
    assert not set(parts[0]) & set(parts[1])
    assert not set(parts[0]) & set(parts[2])
    assert not set(parts[1]) & set(parts[2])


def test_resumed_and_uninterrupted_trainings_end_in_the_same_weights(tmp_path: Path) -> None:
    common = of(tmp_path)[:-2]
    train(*common, "--epochs", 4, "--out", tmp_path / "whole.ckpt")
    train(*common, "--epochs", 2, "--out", tmp_path / "halves.ckpt")
    train(*common, "--epochs", 4, "--out", tmp_path / "halves.ckpt", "--resume")
    whole, halves = (load_checkpoint(tmp_path / f"{name}.ckpt").weights for name in ("whole", "halves"))
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_the_pairing_is_kept_in_the_checkpoint(tmp_path: Path) -> None:
    said = train(*of(tmp_path, 3), "--pairing", "one-to-one", "--out", tmp_path / "a.ckpt")
    assert "ranked one-to-one" in said
    recipe = load_checkpoint(tmp_path / "a.ckpt").recipe
    assert isinstance(recipe, MilRecipe)
    assert recipe.pairing == "one-to-one"


def damaged(home: Path, name: str) -> list[object]:
    """What somebody gives who got one thing wrong."""
    normal, anomalous = folders(home, 6)
    both = ["--normal", normal, "--anomalous", anomalous]
    table = home / "list.txt"
    if name == "other width":
        np.save(normal / "wide.npy", np.zeros((3, WIDTH + 1), np.float32))
    if name == "nan":
        np.save(normal / "nan.npy", np.full((3, WIDTH), np.nan, np.float32))
    if name == "other clips":
        video(normal / "fast.npz", raw(7, False), SPEC.model_copy(update={"fps": 8.0}))
    if name == "missing":
        table.write_text("v00.mp4 normal\nv98.mp4 normal\nv99.mp4 anomalous\n")
        return ["--list", table]
    if name == "label":
        table.write_text("v00.mp4 calm\n")
        return ["--list", table, "--features", home]
    if name == "empty list":
        table.write_text("\n \n")
        return ["--list", table]
    return {
        "one class": ["--normal", normal],
        "the same twice": [*both, "--anomalous", normal / "v00.npz"],
        "twice in one": [*both, "--normal", normal / "v00.npz"],
        "both ways": [*both, "--list", table],
        "features alone": [*both, "--features", home],
        "no folder": ["--list", table, "--features", home / "none"],
        "nothing": [],
        "no features": ["--normal", home / "empty", "--anomalous", anomalous],
        "nowhere": ["--normal", home / "nowhere", "--anomalous", anomalous],
        "pairing": [*both, "--pairing", "all-pairs"],
        "recipe": [*both, "--recipe", "smal"],
        "lr": [*both, "--lr", -1],
        "device": [*both, "--device", "tpu"],
        "resume": [*both, "--resume"],
    }.get(name, both)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("other width", "wide has features 7 wide, the others 6; make all of them by one extractor"),
        ("nan", "nan.npy has NaN or infinite features, first in row 0; extract them again"),
        (
            "other clips",
            r"fast.npz and .*v00.npz were made by different extractors or clips; make all of them",
        ),
        ("missing", "list.txt names videos whose features are not below .*: v98.mp4, v99.mp4; make them by"),
        ("label", "list.txt, line 1: after the path comes normal or anomalous, then perhaps its source"),
        ("empty list", "list.txt names no video; write a path and a label on each line"),
        (
            "one class",
            "no anomalous video among these videos: learning to rank needs both classes; give some",
        ),
        ("the same twice", r"v00.npz is given as normal and as anomalous; name each video once"),
        ("both ways", "--list names videos of both classes; leave --normal and --anomalous out"),
        ("features alone", "--features says where the features of a --list are; without one, leave it out"),
        ("no folder", r"none, where the features of .*list.txt should be, is no folder"),
        ("nothing", "give features of both classes by --normal and --anomalous, or a --list with labels"),
        ("no features", r"empty holds no features .*`skerry features VIDEOS --out .*empty` makes them"),
        ("nowhere", "nowhere does not exist; name a feature file or a folder of them"),
        ("pairing", r"--pairing all-pairs is not one of all, one-to-one"),
        ("recipe", r"there is no recipe 'smal' \(did you mean small\?\)"),
        ("lr", "--lr -1.0: input should be greater than 0"),
        ("device", "--device 'tpu' is not one of"),
        ("resume", "no checkpoint at .* to resume; leave --resume out"),
    ],
)
def test_what_a_person_can_get_wrong_is_one_sentence(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SkerryError, match=sentence) as caught:
        train(*damaged(tmp_path, name), "--epochs", 1, "--out", tmp_path / "a.ckpt")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.ckpt").exists()


def test_one_file_named_twice_in_one_class_counts_once(tmp_path: Path) -> None:
    """A folder and a file in it, as a shell's * gives them."""
    train(*damaged(tmp_path, "twice in one"), "--epochs", 1, "--out", tmp_path / "a.ckpt")
    splits = load_checkpoint(tmp_path / "a.ckpt").splits
    assert sum(len(part) for part in (splits.train, splits.validation, splits.test)) == 12


def test_a_checkpoint_goes_on_with_the_same_features_alone(tmp_path: Path) -> None:
    out = tmp_path / "a.ckpt"
    given = of(tmp_path / "one")
    train(*given, "--out", out)
    with pytest.raises(UsageError, match="exists already; go on with it by --resume or replace it"):
        train(*given, "--out", out)
    with pytest.raises(UsageError, match=r"--pairing one-to-one is not the checkpoint's own \(all\)"):
        train(*given[:-1], 3, "--pairing", "one-to-one", "--out", out, "--resume")
    video(tmp_path / "one" / "normal" / "more.npz", raw(77, False))
    with pytest.raises(UsageError, match="was trained on other features or sources; resume it with the same"):
        train(*given[:-1], 3, "--out", out, "--resume")


def test_the_checkpoint_of_an_autoencoder_is_not_resumed_as_a_head(tmp_path: Path) -> None:
    given = of(tmp_path)
    train(*given, "--out", tmp_path / "a.ckpt")
    result = CliRunner().invoke(
        app, ["cae", "--normal", str(tmp_path), "--out", str(tmp_path / "a.ckpt"), "--resume"]
    )
    assert isinstance(result.exception, UsageError)
    assert "holds a head for clips; go on with it by `skerry train mil`" in str(result.exception)


@pytest.mark.slow
def test_ctrl_c_saves_the_last_whole_epoch_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "a.ckpt"
    given = of(tmp_path)[:-1]
    process = subprocess.Popen(
        [*SKERRY, "train", "mil", *map(str, given), "19", "--out", str(out), *CPU],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    deadline = time.monotonic() + 120
    while not process.stdout.readline().startswith("epoch 1/") and time.monotonic() < deadline:
        pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "19 epochs were planned: run the same command with --resume to go on" in said
    assert "Traceback" not in said
    assert 1 <= len(load_checkpoint(out).history) < 19
