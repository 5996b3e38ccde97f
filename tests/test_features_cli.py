"""`skerry features` as a person meets it: what is made, kept, said, and what goes wrong."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner, Result

from edge.errors import SkerryError
from skerry import build
from tests.builders import folder_of
from tests.clips import FOLDER, pictures
from tests.test_s3d import state_dict
from train.feature_files import read_features

PATCHES = FOLDER / "patches.onnx"
PATCHES_3D = FOLDER / "patches3d.onnx"
COMMON = ("--extractor", PATCHES, "--folder-fps", 4, "--fps", 4, "--frames", 4, "--stride", 2)


@pytest.fixture
def flights(tmp_path: Path) -> Path:
    home = tmp_path / "flights"
    folder_of(home / "calm" / "monday", pictures("." * 12))
    folder_of(home / "calm" / "tuesday", pictures("." * 8))
    folder_of(home / "foreign" / "monday", pictures("....XX....", seed=50))
    return home


def invoke(*options: object) -> Result:
    return CliRunner().invoke(build("features"), ["features", *(str(option) for option in options)])


def features(*options: object) -> str:
    """What the command printed; its error, if it raised one, is raised."""
    result = invoke(*options)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def rows(said: str) -> dict[str, list[int]]:
    """The table at the end."""
    found = re.findall(r"^ *(\S+) +((?:\d+ *){7})$", said, re.MULTILINE)
    return {name: [int(word) for word in numbers.split()] for name, numbers in found}


def test_each_recording_becomes_a_file_below_the_same_folders(flights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = features(flights, "--out", out, *COMMON)
    assert (
        "extractor patches.onnx: 96 numbers of 4 pictures at 4 fps, a new clip every 0.5 s, mean-change"
        in said
    )
    assert rows(said) == {
        "calm": [2, 2, 0, 0, 5 + 3, 3, 5],
        "foreign": [1, 1, 0, 0, 4, 4, 4],
        "all": [3, 3, 0, 0, 12, 3, 5],
    }
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    assert names == ["calm/monday.npz", "calm/tuesday.npz", "extractor.onnx", "foreign/monday.npz"]
    video = read_features(out / "foreign" / "monday.npz")
    assert video.name == "foreign/monday"
    assert video.features.shape == (4, 96)
    assert video.frames == 10


def test_what_is_there_is_kept_and_only_what_changed_is_made_anew(flights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    features(flights, "--out", out, *COMMON)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    folder_of(flights / "calm" / "wednesday", pictures("." * 6))
    (flights / "calm" / "monday" / "00011.png").unlink()
    said = features(flights, "--out", out, *COMMON)
    assert rows(said)["all"] == [4, 2, 2, 0, 4 + 3 + 2 + 4, 2, 4]
    changed = {path.name for path, moment in before.items() if path.stat().st_mtime_ns != moment}
    assert changed == {"monday.npz"}
    said = features(flights, "--out", out, *COMMON, "--stride", 4)
    assert rows(said)["all"][:4] == [4, 4, 0, 0]


def test_a_damaged_file_of_features_is_made_anew(flights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    features(flights, "--out", out, *COMMON)
    path = out / "calm" / "monday.npz"
    whole = read_features(path).features
    path.write_bytes(path.read_bytes()[:200])
    assert rows(features(flights, "--out", out, *COMMON))["all"][:4] == [3, 1, 2, 0]
    assert np.array_equal(read_features(path).features, whole)


def test_the_extractor_that_lies_beside_the_features_makes_the_same_ones(
    flights: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    features(flights, "--out", one, *COMMON)
    features(flights, "--out", two, *COMMON[2:], "--extractor", one / "extractor.onnx")
    first, second = (read_features(out / "calm" / "monday.npz") for out in (one, two))
    assert first.extractor == second.extractor
    assert np.array_equal(first.features, second.features)
    said = features(flights, "--out", one, *COMMON[2:], "--extractor", one / "extractor.onnx")
    assert rows(said)["all"][:4] == [3, 0, 3, 0]


def test_features_of_another_extractor_are_not_mixed_in(flights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    features(flights, "--out", out, *COMMON)
    other = ("--extractor", PATCHES_3D, "--folder-fps", 4, "--fps", 4)
    with pytest.raises(
        SkerryError, match=r"holds features of another extractor; give that one by --extractor"
    ):
        features(flights, "--out", out, *other)
    assert read_features(out / "calm" / "monday.npz").width == 96
    features(flights, "--out", out, *other, "--force")
    assert read_features(out / "calm" / "monday.npz").width == 48


def test_a_list_names_recordings_and_its_folders_are_mirrored(flights: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.txt"
    table.write_text("calm/monday normal harbour\n\ncalm/tuesday normal\n")
    out = tmp_path / "out"
    said = features("--list", table, "--videos", flights, "--out", out, *COMMON)
    assert rows(said) == {"calm": [2, 2, 0, 0, 8, 3, 5]}
    assert (out / "calm" / "monday.npz").is_file()


def test_a_recording_that_cannot_be_used_is_one_sentence_and_the_others_are_done(
    flights: Path, tmp_path: Path
) -> None:
    folder_of(flights / "calm" / "short", pictures("..."))
    (flights / "broken.mp4").write_bytes(b"no video")
    result = invoke(flights, flights / "nowhere", "--out", tmp_path / "out", *COMMON)
    assert result.exit_code == 2
    sentences = [line for line in result.output.splitlines() if line.startswith("skerry: ")]
    assert len(sentences) == 3
    assert any("nowhere does not exist" in line for line in sentences)
    assert any("broken.mp4" in line for line in sentences)
    short = next(line for line in sentences if "/short " in line)
    assert short.endswith(
        "short gives 3 pictures at 4 fps, and one clip needs 4: give fewer --frames or a higher --fps"
    )
    assert rows(result.output)["all"][:4] == [5, 3, 0, 2]


def test_a_video_of_10_frames_is_shorter_than_a_long_clip(tmp_path: Path) -> None:
    folder_of(tmp_path / "ten", pictures("." * 10))
    given = (tmp_path / "ten", "--out", tmp_path / "out", "--extractor", PATCHES, "--folder-fps", 8)
    assert rows(features(*given)) == {".": [1, 1, 0, 0, 1, 1, 1]}  # 8 pictures, every 4
    result = invoke(*given, "--frames", 16)
    assert result.exit_code == 2
    assert "ten gives 10 pictures at 8 fps, and one clip needs 16" in result.output


def test_a_slow_recording_is_used_and_the_command_says_so(tmp_path: Path) -> None:
    folder_of(tmp_path / "slow", pictures("." * 10))
    given = ("--extractor", PATCHES, "--fps", 8, "--frames", 4)
    said = features(tmp_path / "slow", "--out", tmp_path / "out", *given, "--folder-fps", 4)
    assert "slow has 4 frames a second, less than the 8 asked for: some stand in twice" in said
    assert read_features(tmp_path / "out" / "slow.npz").frames == 19


def not_a_number(path: Path) -> Path:
    """An extractor that answers dark pictures well and bright ones with NaN."""
    nodes = [
        helper.make_node("ReduceMean", ["pictures", "places"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["one", "mean"], ["dark"]),
        helper.make_node("Sqrt", ["dark"], ["root"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([2, 3], np.int64), "places"),
        numpy_helper.from_array(np.float32(0.2), "one"),
    ]
    taken = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [1, 3, 32, 32])
    given = helper.make_tensor_value_info("root", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "nan", [taken], [given], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_nan_features_are_one_sentence_and_no_file(flights: Path, tmp_path: Path) -> None:
    model = not_a_number(tmp_path / "nan.onnx")
    given = ("--extractor", model, *COMMON[2:], "--pixels", "0..1")
    result = invoke(flights, "--out", tmp_path / "out", *given)
    assert result.exit_code == 2
    assert "monday: the extractor nan.onnx gives NaN or infinity on it" in result.output
    assert not list((tmp_path / "out").rglob("*.npz"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--extractor", "none.onnx"], "the extractor none.onnx cannot be read: No such file"),
        (["--extractor", PATCHES, "--pooling", "max"], "--pooling max is not one of mean, mean-change"),
        (["--extractor", PATCHES, "--pixels", "0..2"], r"--pixels 0..2 is not one of .* \(did you mean"),
        (["--extractor", PATCHES, "--output", "logits"], "no output 'logits'; it has embedding"),
        (["--extractor", PATCHES, "--size", 64], "--size 64: patches.onnx takes pictures of 32 x 32"),
        (["--extractor", PATCHES_3D, "--frames", 8], "looks at 4 frames at once, not at 8; give --frames 4"),
        (["--extractor", PATCHES_3D, "--pooling", "mean"], "sees whole clips: there is nothing to pool"),
        (["--extractor", PATCHES, "--weights", PATCHES], "--weights is for S3D alone"),
        (["--extractor", "s3d"], "S3D needs its weights: fetch torchvision's s3d-d76dad2f.pth"),
        (["--weights", PATCHES], "is not a file of plain PyTorch weights, or it is cut short"),
        (["--weights", "none.pth"], "the weights none.pth cannot be read: No such file"),
        (["--weights", PATCHES, "--frames", 8], "--frames 8: S3D looks at 14 frames at least"),
        (["--weights", PATCHES, "--size", 16], "--size 16: S3D needs pictures of 32 pixels at least"),
        (["--weights", PATCHES, "--pixels", "imagenet"], "s3d says itself which output and pixels it has"),
        ([], "no extractor was named; give --extractor FILE, or --weights FILE for S3D"),
        (["--videos", "."], "--videos says where the recordings of a --list are; without one, leave it out"),
        (["--list", "none.txt"], "the list none.txt cannot be read: No such file"),
    ],
)
def test_what_a_person_can_get_wrong_is_one_sentence(
    options: list[object], sentence: str, flights: Path, tmp_path: Path
) -> None:
    with pytest.raises(SkerryError, match=sentence) as caught:
        features(flights, "--out", tmp_path / "out", *options)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_list_that_names_missing_recordings_is_one_sentence(flights: Path, tmp_path: Path) -> None:
    table = flights / "list.txt"
    table.write_text("calm/monday\n" + "".join(f"calm/{n}.mp4\n" for n in range(5)))
    with pytest.raises(SkerryError, match=r"calm/0.mp4, calm/1.mp4, calm/2.mp4 and 2 more; name the folder"):
        features("--list", table, "--out", tmp_path / "out", *COMMON)


def test_folders_without_footage_and_places_that_cannot_be_written_are_one_sentence(
    flights: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SkerryError, match="empty holds no footage"):
        features(tmp_path / "empty", "--out", tmp_path / "out", *COMMON)
    with pytest.raises(SkerryError, match="No footage was named"):
        features("--out", tmp_path / "out", *COMMON)
    (tmp_path / "file").touch()
    with pytest.raises(SkerryError, match=r"--out .*file cannot be written to: File exists"):
        features(flights, "--out", tmp_path / "file", *COMMON)


@pytest.mark.slow
def test_s3d_makes_features_from_its_weights_and_whose_they_are_is_said(
    flights: Path, tmp_path: Path
) -> None:
    torch.save(state_dict(), tmp_path / "weights.pth")
    given = (
        "--weights",
        tmp_path / "weights.pth",
        "--frames",
        14,
        "--size",
        32,
        "--fps",
        8,
        "--folder-fps",
        4,
    )
    result = invoke(flights / "calm" / "monday", "--out", tmp_path / "out", *given)
    assert result.exit_code == 0, result.output
    assert "extractor s3d: 1024 numbers of 14 pictures at 8 fps, a new clip every 1.75 s" in result.output
    assert re.search(
        r"weights weights.pth: sha256 [0-9a-f]{12}, not torchvision's published ones", result.output
    )
    assert read_features(tmp_path / "out" / "monday.npz").features.shape == (1, 1024)


@pytest.mark.slow
def test_ctrl_c_ends_within_a_moment_keeps_what_is_whole_and_goes_on_from_there(tmp_path: Path) -> None:
    for number in range(40):
        folder_of(tmp_path / "flights" / f"f{number:02}", pictures("." * 60, seed=60 * number))
    out = tmp_path / "out"
    words = [str(word) for word in ("features", tmp_path / "flights", "--out", out, *COMMON, "--workers", 1)]
    process = subprocess.Popen(
        [sys.executable, "-m", "skerry", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    deadline = time.monotonic() + 120
    while "of 40 recordings" not in process.stdout.readline() and time.monotonic() < deadline:
        pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    told = re.search(r"stopped: (\d+) of 40 are done; the same command goes on from there", said)
    assert told is not None, said
    assert "Traceback" not in said
    whole = list(out.rglob("*.npz"))
    assert int(told[1]) <= len(whole) < 40
    assert not list(out.rglob(".*"))  # nothing half-written
    again = rows(features(*words[1:]))["."]
    assert again[:4] == [40, 40 - len(whole), len(whole), 0]
