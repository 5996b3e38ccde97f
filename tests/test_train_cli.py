import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edge.errors import FootageError, SkerryError, UsageError
from train.checkpoint import load_checkpoint
from train.cli import app
from train.footage import read_split

pytestmark = pytest.mark.slow

SKERRY = [sys.executable, "-m", "skerry"]


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of twelve smooth pictures."""
    home = tmp_path_factory.mktemp("flights")
    slope = np.linspace(0, 60, 40).astype(np.uint8)
    for name, hue in (("a", 40), ("b", 90), ("c", 140)):
        (home / name).mkdir()
        for number in range(12):
            row = np.roll(slope, number) + np.uint8(hue)
            picture = np.repeat(np.repeat(row[None, :, None], 30, axis=0), 3, axis=2)
            assert cv2.imwrite(str(home / name / f"{number:02}.png"), picture)
    return home


def train(*options: object) -> str:
    """What the command printed; its error, if it raised one, is raised."""
    result = CliRunner().invoke(app, ["cae", *(str(option) for option in options)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def weights(path: Path) -> list[torch.Tensor]:
    return list(load_checkpoint(path).weights.values())


def test_normal_footage_in_a_checkpoint_out(flights: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.ckpt"
    said = train("--normal", flights, "--fps", 10, "--epochs", 2, "--out", out)
    assert "recipe report: tail relu-batchnorm-sigmoid, 2 epochs, batch 20, lr 0.01" in said
    assert "12 train (1 clips), 12 validation (1 clips), 12 test (1 clips)" in said
    assert f"{out}: epoch 2 of 2 trained" in said
    checkpoint = load_checkpoint(out)
    assert checkpoint.splits.rule == "clips"
    assert len(list(read_split(checkpoint, "test"))) == 12


def test_several_paths_may_follow_one_option(flights: Path, tmp_path: Path) -> None:
    clips = [flights / name for name in "abc"]
    train("--normal", *clips, "--fps", 10, "--epochs", 1, "--out", tmp_path / "one.ckpt")
    train("--normal", flights, "--fps", 10, "--epochs", 1, "--out", tmp_path / "two.ckpt")
    one, two = load_checkpoint(tmp_path / "one.ckpt"), load_checkpoint(tmp_path / "two.ckpt")
    assert one.splits == two.splits


def test_a_weak_split_is_said_to_be_one(flights: Path, tmp_path: Path) -> None:
    long = tmp_path / "long"
    long.mkdir()
    for name in "abc":
        for picture in (flights / name).iterdir():
            (long / f"{name}{picture.name}").write_bytes(picture.read_bytes())
    said = train("--normal", long, "--fps", 10, "--epochs", 1, "--out", tmp_path / "a.ckpt")
    assert "fewer than 3 clips" in said
    assert "a weaker split than by clip" in said
    assert load_checkpoint(tmp_path / "a.ckpt").splits.rule == "blocks"


def test_resumed_and_uninterrupted_trainings_end_in_the_same_weights(flights: Path, tmp_path: Path) -> None:
    common = ("--normal", flights, "--fps", 10, "--device", "cpu")
    train(*common, "--epochs", 4, "--out", tmp_path / "whole.ckpt")
    train(*common, "--epochs", 2, "--out", tmp_path / "halves.ckpt")
    train(*common, "--epochs", 4, "--out", tmp_path / "halves.ckpt", "--resume")
    whole, halves = weights(tmp_path / "whole.ckpt"), weights(tmp_path / "halves.ckpt")
    assert all(torch.equal(a, b) for a, b in zip(whole, halves, strict=True))


def test_a_training_that_early_stop_ended_is_not_resumed(flights: Path, tmp_path: Path) -> None:
    common = ("--normal", flights, "--fps", 10, "--lr", 1, "--early-stop", 1, "--out", tmp_path / "a.ckpt")
    assert "epoch 40 of 40" not in train(*common, "--epochs", 40)
    with pytest.raises(UsageError, match=r"early stop ended this training after .* train anew with --force"):
        train(*common, "--epochs", 50, "--resume")


def test_a_time_limit_ends_after_the_epoch_and_says_how_to_go_on(flights: Path, tmp_path: Path) -> None:
    said = train("--normal", flights, "--fps", 10, "--minutes", 0, "--out", tmp_path / "a.ckpt")
    assert "epoch 1 of 1 trained" in said
    assert "200 epochs were planned: run the same command with --resume to go on" in said


@pytest.mark.slow
def test_ctrl_c_saves_the_last_whole_epoch_and_says_how_to_go_on(flights: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.ckpt"
    command = [*SKERRY, "train", "cae", "--normal", flights, "--fps", "10", "--epochs", "19", "--out", out]
    process = subprocess.Popen(
        command,
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


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        (["--fps", 1], UsageError, r"\d frames at 1 fps are too few to train on, 30 are needed"),
        (["--fps", 0], UsageError, "--fps 0.0 must be above 0"),
        (["--recipe", "relu-sigmoid"], UsageError, "there is no recipe 'relu-sigmoid'"),
        (["--lr", -1], UsageError, "--lr -1.0: input should be greater than 0"),
        (["--device", "tpu"], UsageError, "--device 'tpu' is not one of"),
        (["--normal", "nowhere"], FootageError, "nowhere"),
        (["--resume"], UsageError, "no checkpoint at .* to resume; leave --resume out"),
        (
            ["--out", "/nowhere/a.ckpt"],
            UsageError,
            "--out /nowhere/a.ckpt must be a file in a folder that exists",
        ),
    ],
)
def test_what_a_person_can_get_wrong_is_one_sentence(
    options: list[object], error: type[SkerryError], sentence: str, flights: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=sentence) as caught:
        train("--normal", flights, "--fps", 10, "--epochs", 1, "--out", tmp_path / "a.ckpt", *options)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_neither_replaced_nor_resumed_by_mistake(flights: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.ckpt"
    common = ("--normal", flights, "--fps", 10, "--out", out)
    train(*common, "--epochs", 1)
    with pytest.raises(
        UsageError, match="exists already; go on with it by --resume or replace it by --force"
    ):
        train(*common, "--epochs", 1)
    with pytest.raises(UsageError, match="all 1 epochs are done already; give more with --epochs"):
        train(*common, "--resume")
    with pytest.raises(UsageError, match=r"--lr 0\.5 is not the checkpoint's own \(0\.01\)"):
        train(*common, "--resume", "--epochs", 2, "--lr", 0.5)
    with pytest.raises(UsageError, match="was trained on other footage or at another rate"):
        train("--normal", flights, "--fps", 10, "--folder-fps", 11, "--out", out, "--resume", "--epochs", 2)
    train(*common, "--epochs", 2, "--force")
    assert len(load_checkpoint(out).history) == 2
