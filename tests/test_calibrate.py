from __future__ import annotations

import math
from pathlib import Path

import pytest

from edge.bundle import Branch, Scoring, load_bundle
from edge.calibrate import block_maxima, calibrate
from edge.detector import open_detector, open_runtime
from edge.errors import BundleError, UsageError
from edge.recordings import FolderRecording
from edge.survey import Plan
from edge.thresholds import STRETCH
from tests.builders import bundle_at, flying_bundle, folder_of, frame, patrol_pictures, scene


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 s at 2 fps."""
    return folder_of(tmp_path_factory.mktemp("footage") / "normal", patrol_pictures("." * 140, seed=0))


def test_a_calibrated_bundle_lets_normal_frames_pass_and_finds_the_intruder(
    tmp_path: Path, normal: Path
) -> None:
    bundle = flying_bundle(tmp_path / "b", normal)
    calibration = load_bundle(tmp_path / "b").calibration()
    with open_runtime(bundle, "fp32") as runtime:
        detector = open_detector(bundle, runtime)
        quiet = [detector.inspect(frame(scene(9000 + n))).score for n in range(40)]
        found = detector.inspect(frame(scene(1, intruder=True)))
    assert max(quiet) < calibration.threshold
    assert found.score > 3 * calibration.threshold
    box = found.boxes[0]
    assert box.x <= 212 <= box.x + box.width
    assert box.y <= 112 <= box.y + box.height


def test_the_bundle_records_how_the_threshold_was_found(tmp_path: Path, normal: Path) -> None:
    calibration = flying_bundle(tmp_path / "b", normal, rate=15).calibration()
    assert calibration.method == "pareto"
    assert calibration.false_alarms_per_hour == 15
    assert calibration.frames == 140
    assert calibration.footage_s == 70
    assert len(calibration.block_maxima) == 7
    assert calibration.smallest_rate == pytest.approx(360 / 8 / STRETCH)
    low, high = calibration.expected
    assert 0 <= low < 60 < high  # one block of 7 may well be an alarm: 51 an hour
    assert calibration.median < calibration.box_level < calibration.release < calibration.threshold
    assert calibration.threshold > max(calibration.block_maxima)


def test_a_rate_with_many_blocks_above_it_is_a_conformal_quantile(tmp_path: Path, normal: Path) -> None:
    plan = Plan((normal,), rate=1200, folder_fps=2, block_s=1)
    calibration = calibrate(bundle_at(tmp_path / "b"), plan).calibration()
    assert calibration.method == "conformal"
    assert min(calibration.block_maxima) < calibration.threshold < max(calibration.block_maxima)


def test_a_rate_that_the_footage_cannot_support_is_refused_with_what_it_needs(
    tmp_path: Path, normal: Path
) -> None:
    with pytest.raises(UsageError, match=r"support no fewer than 11\.4 .* 1 needs 14\.83 minutes"):
        flying_bundle(tmp_path / "b", normal, rate=1)


def test_what_will_be_refused_is_refused_before_a_frame_is_looked_at(tmp_path: Path, normal: Path) -> None:
    looked: list[int] = []
    plan = Plan((normal,), rate=1, folder_fps=2)
    with pytest.raises(UsageError, match="give more footage or accept more alarms"):
        calibrate(bundle_at(tmp_path / "b"), plan, progress=lambda done, _: looked.append(done))
    assert looked == []


def test_too_little_footage_says_how_much_is_needed(tmp_path: Path) -> None:
    short = folder_of(tmp_path / "short", patrol_pictures("." * 20))
    with pytest.raises(UsageError, match=r"fills 1 blocks .* at least 6: give 60 s or more"):
        flying_bundle(tmp_path / "b", short)


def test_a_rate_beyond_one_per_block_is_refused(tmp_path: Path, normal: Path) -> None:
    with pytest.raises(UsageError, match="ask for fewer"):
        flying_bundle(tmp_path / "b", normal, rate=400)


def test_a_failed_calibration_leaves_the_old_one(tmp_path: Path, normal: Path) -> None:
    before = flying_bundle(tmp_path / "b", normal)
    short = folder_of(tmp_path / "short", patrol_pictures("." * 4))
    with pytest.raises(UsageError):
        calibrate(before, Plan((short,), rate=20))
    assert load_bundle(tmp_path / "b").digest == before.digest


def test_calibrating_again_replaces_the_statistics_file(tmp_path: Path, normal: Path) -> None:
    bundle = flying_bundle(tmp_path / "b", normal)
    other = folder_of(tmp_path / "other", patrol_pictures("." * 140, seed=500))
    again = calibrate(bundle, Plan((other,), rate=20, folder_fps=2))
    assert again.digest != bundle.digest
    assert len(list((tmp_path / "b").glob("calibration-*.npz"))) == 1


def test_an_unknown_variant_is_named_before_any_footage_is_read(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no variant 'int9'"):
        calibrate(bundle_at(tmp_path / "b"), Plan((tmp_path / "absent",), rate=20), "int9")


def test_the_mean_of_the_whole_picture_can_be_the_score(tmp_path: Path, normal: Path) -> None:
    """The rule of the first CAEs: it sees a large change of the picture, and no place."""
    scoring = Scoring(branches=(Branch(source="error", window=None),), persistence=1)
    bundle = calibrate(bundle_at(tmp_path / "b", scoring), Plan((normal,), rate=20, folder_fps=2))
    with open_runtime(bundle, "fp32") as runtime:
        inspect = open_detector(bundle, runtime).inspect
        quiet, found = inspect(frame(scene(9000))), inspect(frame(scene(1, intruder=True)))
    assert quiet.score < bundle.calibration().threshold < found.score
    assert found.boxes == ()


def test_a_branch_is_as_rare_as_the_wanted_alarms_at_a_heat_of_1(tmp_path: Path, normal: Path) -> None:
    calibration = flying_bundle(tmp_path / "b", normal).calibration()
    assert calibration.threshold == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize(("plan", "excused"), [("." * 70 + "X" * 70, False), (".X" * 70, True)])
def test_the_halves_of_a_single_recording_judge_each_other(tmp_path: Path, plan: str, excused: bool) -> None:
    """What only one half shows is no habit to the other, and the threshold rises far above it."""
    bundle = flying_bundle(tmp_path / "b", folder_of(tmp_path / "one", patrol_pictures(plan)), rate=60)
    with open_runtime(bundle, "fp32") as runtime:
        score = open_detector(bundle, runtime).inspect(frame(scene(1, intruder=True))).score
    assert (score > 0.5 * bundle.calibration().threshold) == excused
    assert excused or score < 0.01 * bundle.calibration().threshold


def test_footage_that_does_not_state_its_length_has_two_halves_all_the_same(
    tmp_path: Path, normal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = flying_bundle(tmp_path / "b", normal).calibration()
    monkeypatch.setattr(FolderRecording, "stated_frames", 0)
    unstated = flying_bundle(tmp_path / "c", normal).calibration()
    assert unstated.block_maxima == stated.block_maxima


def test_footage_that_was_cut_short_is_refused(
    tmp_path: Path, normal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FolderRecording, "stated_frames", 1000)
    with pytest.raises(UsageError, match="less than half of the frames that it states; copy it again"):
        flying_bundle(tmp_path / "b", normal)


def test_block_maxima_are_per_recording_and_drop_a_short_last_block() -> None:
    first = [(n / 2, float(n)) for n in range(44)]  # 0 .. 21.5 s: blocks 0, 1 and a stump
    second = [(n / 2, 100.0 - n) for n in range(30)]  # 0 .. 14.5 s: the last is nearly half, and dropped
    assert block_maxima([first, second], 10.0) == [19.0, 39.0, 100.0]


def test_block_maxima_skip_blocks_without_evidence() -> None:
    assert block_maxima([[(0.0, -math.inf)]], 10.0) == []
