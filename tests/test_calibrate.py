from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle import Scoring, load_bundle
from edge.calibrate import LEAST_BLOCKS, Plan, block_maxima, calibrate, statistics, threshold_for
from edge.detector import open_detector, open_runtime
from edge.errors import BundleError, UsageError
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
    calibration = flying_bundle(tmp_path / "b", normal, rate=2.0).calibration()
    assert calibration.method == "gumbel"
    assert calibration.false_alarms_per_hour == 2
    assert calibration.frames == 140
    assert calibration.footage_s == 70
    assert len(calibration.block_maxima) == 7
    assert calibration.smallest_rate == pytest.approx(360 / 8)
    assert calibration.median < calibration.box_level < calibration.release < calibration.threshold
    assert calibration.threshold > max(calibration.block_maxima)


def test_a_rate_the_footage_supports_is_a_conformal_quantile(tmp_path: Path, normal: Path) -> None:
    calibration = flying_bundle(tmp_path / "b", normal, rate=100.0).calibration()
    assert calibration.method == "conformal"
    assert min(calibration.block_maxima) < calibration.threshold


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
        calibrate(before, Plan((short,), rate=1))
    assert load_bundle(tmp_path / "b").digest == before.digest


def test_calibrating_again_replaces_the_statistics_file(tmp_path: Path, normal: Path) -> None:
    bundle = flying_bundle(tmp_path / "b", normal)
    other = folder_of(tmp_path / "other", patrol_pictures("." * 140, seed=500))
    again = calibrate(bundle, Plan((other,), rate=1, folder_fps=2))
    assert again.digest != bundle.digest
    assert len(list((tmp_path / "b").glob("calibration-*.npz"))) == 1


def test_an_unknown_variant_is_named_before_any_footage_is_read(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no variant 'int9'"):
        calibrate(bundle_at(tmp_path / "b"), Plan((tmp_path / "absent",), rate=1), "int9")


def test_the_mean_rule_keeps_its_own_unit(tmp_path: Path, normal: Path) -> None:
    bundle = bundle_at(tmp_path / "b", Scoring(rule="mean", window=5))
    calibration = calibrate(bundle, Plan((normal,), rate=1, folder_fps=2)).calibration()
    assert calibration.threshold < 0.01  # a mean squared error of pictures in [0, 1]
    assert calibration.box_level > 1  # standard deviations


def test_block_maxima_are_per_recording_and_drop_a_short_last_block() -> None:
    first = [(n / 2, float(n)) for n in range(44)]  # 0 .. 21.5 s: blocks 0, 1 and a stump
    second = [(n / 2, 100.0 - n) for n in range(30)]  # 0 .. 14.5 s: the last is nearly half, and dropped
    assert block_maxima([first, second], 10.0) == [19.0, 39.0, 100.0]


def test_block_maxima_skip_blocks_without_evidence() -> None:
    assert block_maxima([[(0.0, -math.inf)]], 10.0) == []


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 20))
def test_conformal_thresholds_keep_the_promised_share_of_blocks_quiet(seed: int, rate: int) -> None:
    maxima = np.random.default_rng(seed).gumbel(size=720).tolist()
    threshold, method = threshold_for(maxima, rate, 10.0)
    assert method == "conformal"
    alarms = sum(value >= threshold for value in maxima)
    assert alarms <= rate * 2  # 720 blocks of 10 s are two hours


def test_the_gumbel_tail_lands_near_the_true_quantile() -> None:
    found = [
        threshold_for(np.random.default_rng(seed).gumbel(5, 2, 60).tolist(), 1.0, 10.0) for seed in range(40)
    ]
    true = 5 - 2 * math.log(-math.log1p(-1 / 360))
    assert {method for _, method in found} == {"gumbel"}
    assert abs(np.median([value for value, _ in found]) - true) < 1.5


@given(st.lists(st.floats(-1e6, 1e6), min_size=LEAST_BLOCKS, max_size=40), st.floats(0.01, 300))
def test_an_extrapolated_threshold_is_never_below_the_largest_normal_block(
    maxima: list[float], rate: float
) -> None:
    threshold, method = threshold_for(maxima, rate, 10.0)
    if method == "gumbel":
        assert threshold > max(maxima)
    assert math.isfinite(threshold)


def test_statistics_shrink_a_quiet_place_towards_the_picture() -> None:
    random = np.random.default_rng(0)
    maps = [random.normal(1, 0.1, (40, 40)).astype(np.float16) for _ in range(50)]
    for smooth in maps:
        smooth[10, 10] = 1.0  # nothing ever happened here
    found = statistics(maps)
    assert found.std[10, 10] > 0.07
    assert found.mean[10, 10] == pytest.approx(1.0, abs=0.01)
