"""UCF-Crime from features in the layouts of the field: lengths, missing videos, truth, one AUC."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ucf_crime
from benchmarks.mil_scores import trained
from edge.clips import ExtractorSpec
from edge.errors import UsageError
from train.bags import Bag
from train.mil_recipes import mil_recipe

pytestmark = pytest.mark.slow  # trains: the check stays under two minutes

WIDTH = 8
ROOT = Path(ucf_crime.__file__).parents[1]


def features(snippets: int, loud: range, seed: int) -> np.ndarray:
    """Numbers about 1, three of them larger where something happens."""
    found = np.random.default_rng(seed).uniform(0.5, 1.5, (snippets, WIDTH)).astype(np.float32)
    found[loud.start : loud.stop, :3] += 3
    return found


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Six training videos of each class, two test videos of each; features in three layouts."""
    train = []
    for number in range(6):
        np.save(tmp_path / f"Abuse{number:03d}_x264_i3d.npy", features(20, range(5, 9), number))
        crops = np.stack([features(18, range(0), 50 + number)] * 10, axis=1)
        np.save(tmp_path / f"Normal_Videos{number:03d}_x264.npy", crops)
        train += [f"Abuse/Abuse{number:03d}_x264.mp4"]
        train += [f"Training_Normal_Videos_Anomaly/Normal_Videos{number:03d}_x264.mp4"]
    for number in (28, 30):
        np.save(tmp_path / f"Abuse{number:03d}_x264.npy", features(10, range(4, 6), number))
        np.save(tmp_path / f"Normal_Videos_{number:03d}_x264.npy", features(12, range(0), number))
    (tmp_path / "train.txt").write_text("\n".join(train) + "\n")
    (tmp_path / "told.txt").write_text(
        "Abuse028_x264.mp4  Abuse  65  96  -1  -1\nAbuse030_x264.mp4  Abuse  65  96  150  400\n"
        "Normal_Videos_028_x264.mp4  Normal  -1  -1  -1  -1\n"
        "Normal_Videos_030_x264.mp4  Normal  -1  -1  -1  -1\n"
    )
    return tmp_path


def run(folder: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/ucf_crime.py", folder, "--train", folder / "train.txt"]
    command += ["--annotation", folder / "told.txt", "--recipe", "discriminant", *more]
    return subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def head() -> ucf_crime.Trained:
    bags = [
        Bag(f"{place}", features(12, range(6 * place), place), bool(place), (str(place),)) for place in (0, 1)
    ]
    spec = ExtractorSpec(sees="clip", frames=16, stride=16, fps=30, width=WIDTH, sha256="0" * 64)
    return trained(mil_recipe("discriminant", model={"kind": "discriminant", "axes": 4}), bags, spec)


def test_one_command_trains_tests_and_gives_the_frame_auc_of_every_annotated_video(made: Path) -> None:
    done = run(made, "--json", made / "found.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all 4 annotated videos, 704 frames" in done.stdout
    found = json.loads((made / "found.json").read_text())
    assert found["frames"] == (10 + 10 + 12 + 12) * 16
    assert found["abnormal_frames"] == 32 + 32 + 11  # 150 to 400 is cut at frame 160
    assert found["frame_auc"] > 0.85
    assert found["published"] == {"C3D": 75.41, "I3D": 77.92}


def test_a_video_without_features_is_named_and_left_out_only_when_asked(made: Path) -> None:
    (made / "Abuse030_x264.npy").unlink()
    refused = run(made)
    assert refused.returncode == 2
    assert "1 of the 4 annotated videos have no features" in refused.stdout
    assert "Abuse030_x264" in refused.stdout
    taken = run(made, "--partial")
    assert taken.returncode == 0
    assert "only 3 of the 4 annotated videos" in taken.stdout


def test_features_of_another_length_than_the_video_are_refused(made: Path) -> None:
    (made / "lengths.txt").write_text("Abuse028_x264.mp4 500\n")
    done = run(made, "--lengths", made / "lengths.txt")
    assert done.returncode == 2
    assert "has 10 snippets, but Abuse028_x264 has 500 frames, which make 31" in done.stdout


def test_with_a_known_length_the_last_score_goes_on_to_the_last_frame(
    made: Path, head: ucf_crime.Trained
) -> None:
    path = made / "Abuse028_x264.npy"
    found = ucf_crime.tested_video(head, "Abuse028_x264", path, ((64, 95),), 10 * 16 + 7)
    assert len(found.truth) == len(found.offline) == 167
    assert set(found.offline[160:]) == {found.offline[159]}
    assert found.truth.nonzero()[0].tolist() == list(range(64, 96))


@pytest.mark.parametrize(("snippets", "fits"), [(9, True), (10, True), (11, True), (8, False), (12, False)])
def test_an_extractor_may_leave_out_or_fill_up_the_last_snippet_and_no_more(
    tmp_path: Path, head: ucf_crime.Trained, snippets: int, fits: bool
) -> None:
    path = tmp_path / "Abuse001.npy"
    np.save(path, features(snippets, range(0), 1))
    if fits:
        assert len(ucf_crime.tested_video(head, "Abuse001", path, (), 165).truth) == 165
    else:
        with pytest.raises(UsageError, match="do not belong together"):
            ucf_crime.tested_video(head, "Abuse001", path, (), 165)


def test_an_interval_that_begins_behind_the_last_snippet_is_of_another_video(
    made: Path, head: ucf_crime.Trained
) -> None:
    with pytest.raises(UsageError, match="do not belong together"):
        ucf_crime.tested_video(head, "Abuse028_x264", made / "Abuse028_x264.npy", ((160, 200),), None)


def test_segments_need_the_length_of_their_video(tmp_path: Path, head: ucf_crime.Trained) -> None:
    path = tmp_path / "Abuse001_C.txt"
    np.savetxt(path, features(32, range(16, 32), 1))
    with pytest.raises(UsageError, match="32 segments, which do not tell how long"):
        ucf_crime.tested_video(head, "Abuse001", path, (), None)
    found = ucf_crime.tested_video(head, "Abuse001", path, ((800, 1599),), 1600)
    assert len(found.offline) == 1600
    assert found.streaming is None
    assert found.offline[found.truth].min() > found.offline[~found.truth].mean()


def test_lengths_that_are_no_table_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "lengths.txt"
    for text in ("Abuse001_x264.mp4\n", "Abuse001_x264.mp4 many\n", "Abuse001_x264.mp4 0\n"):
        table.write_text(text)
        with pytest.raises(UsageError, match=r"lengths\.txt"):
            ucf_crime.read_lengths(table)
