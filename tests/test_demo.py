"""The demo as a newcomer runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import UsageError
from edge.events import Phase
from edge.thresholds import smallest_rate, threshold_for
from export.account import read_arrived
from export.demo import Footage, _own, _prepare
from tests.filming import film

pytest.importorskip("amqtt")


def demo(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "skerry", "demo", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_finds_most_intruders_and_its_account_adds_up(tmp_path: Path) -> None:
    done = demo("--out", tmp_path / "demo")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    for verb in ("train cae", "export", "calibrate", "watch", "run"):
        assert f"$ skerry {verb}" in done.stdout
    assert "intruders found / planted" in done.stdout
    assert (tmp_path / "demo" / "pictures" / "incidents.png").is_file()
    assert (tmp_path / "demo" / "flights" / "patrol-01.truth.json").is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_models_fly_together_and_it_is_said_which_began_each_incident(tmp_path: Path) -> None:
    done = demo("--clips", "--out", tmp_path / "demo")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    for verb in ("features", "train mil", "export", "calibrate", "run"):
        assert f"$ skerry {verb}" in done.stdout
    assert "--clip-bundle" in done.stdout
    arrived = read_arrived(tmp_path / "demo" / "ground.jsonl")
    begun = [one.event.raised_by for one in arrived if one.event.phase is Phase.BEGIN]
    assert begun
    assert set(begun) <= {"reconstruction", "clip"}
    assert "incidents begun by" in done.stdout


def test_a_persons_own_videos_have_no_labels_to_learn_clips_from(tmp_path: Path) -> None:
    short = film(tmp_path / "short.mp4", seconds=0.2)
    done = demo("--clips", "--out", tmp_path / "demo", "--video", short, "--video", short)
    assert done.returncode == 2
    assert "--clips learns from flights with labels" in done.stderr


def test_one_video_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give it twice: --video NORMAL --video PATROL"):
        _own([tmp_path / "a.mp4"], 2.0, tmp_path)


def test_a_folder_with_other_things_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="name another folder"):
        _prepare(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_an_earlier_demo_may_be_replaced(tmp_path: Path) -> None:
    _prepare(tmp_path / "demo")
    (tmp_path / "demo" / "cae.ckpt").touch()
    _prepare(tmp_path / "demo")


def test_a_verb_that_fails_ends_the_demo_with_its_sentence_and_code(tmp_path: Path) -> None:
    short = film(tmp_path / "short.mp4", seconds=0.2)
    done = demo("--out", tmp_path / "demo", "--video", short, "--video", short)
    assert done.returncode == 2
    assert done.stderr.count("skerry: ") == 1
    assert "Traceback" not in done.stderr


def test_the_last_third_of_a_persons_own_normal_video_is_kept_for_calibration(tmp_path: Path) -> None:
    video = film(tmp_path / "normal.mp4", seconds=3, fps=30)
    footage = _own([video, video], 10.0, tmp_path / "demo")
    learned = sorted(path.name for path in footage.learn[0].iterdir())
    kept = sorted(path.name for path in footage.calibrate.iterdir())
    assert len(learned) == 20
    assert len(kept) == 10
    assert learned[-1] < kept[0]
    assert footage.seconds == pytest.approx(1)


@pytest.mark.parametrize("seconds", [8.5, 20.0, 40.0, 300.0, 3600.0])
def test_calibration_is_asked_for_a_rate_that_so_short_a_flight_supports(seconds: float) -> None:
    nowhere = Path("nowhere")
    block_s = min(5.0, max(1.0, seconds / 8))
    footage = Footage((nowhere,), nowhere, nowhere, 4.0, seconds, block_s=block_s)
    blocks = int(seconds / block_s)
    threshold_for([float(n % 3) for n in range(blocks - 1)], footage.alarms_per_hour, block_s)
    assert footage.alarms_per_hour <= max(1, 2 * smallest_rate(blocks, block_s))
