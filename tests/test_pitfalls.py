"""Ten ways in which published figures of anomaly detection mislead, and that none of them works here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.bench import EVERY_FRAME, WARM_UP, facts, measure
from edge.bundle import ModelBundle, Scoring
from edge.calibrate import calibrate
from edge.detector import open_detector, open_runtime
from edge.errors import FootageError
from edge.preprocess import InputSpec
from edge.recordings import open_recording
from edge.survey import Plan
from tests.builders import ERRORS, bundle_at, flying_bundle, folder_of, patrol_pictures
from tests.labelled import array, frames, text, ucsd_published
from tests.scored_videos import scored
from train.cae import CaeConfig
from train.evaluation.frames import legacy_scores
from train.evaluation.judge import judge
from train.evaluation.readers import read_data_set
from train.evaluation.results import Evaluation
from train.evaluation.run import score_videos
from train.evaluation.scored import Scored
from train.evaluation.truth import DataSet, Video
from train.fit import fit
from train.footage import Clip, Sampling, read_footage, split
from train.recipes import Recipe

GAP = 5.0  # seconds that must lie between parts of one clip


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 s at 2 fps."""
    return folder_of(tmp_path_factory.mktemp("pitfalls") / "normal", patrol_pictures("." * 140))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, normal: Path) -> ModelBundle:
    return flying_bundle(tmp_path_factory.mktemp("pitfalls") / "bundle", normal)


def flown(bundle: ModelBundle, folder: Path, plan: str) -> Scored:
    """A recording, one picture per letter at 2 fps, as the bundle's detector scored it; 1-2 are abnormal."""
    video = Video(folder.name, folder_of(folder, patrol_pictures(plan)), ((1, 2),), folder_fps=2.0)
    (found,) = score_videos(bundle, DataSet("set", "test", (video,)))
    return found


# 1. Per-video extremes: they leak the future and force an anomaly into every video.


def test_1_normal_videos_raise_nothing_in_the_strict_figures() -> None:
    quiet = [scored(np.random.default_rng(seed).random(50).tolist(), name=f"{seed}") for seed in range(8)]
    table = judge(quiet, 2.0, resamples=0).strict.confusion
    assert table is not None
    assert (table.false_positive, table.true_negative) == (0, 400)
    assert all(legacy_scores(video.raw, video.period_s).max() > 0.5 for video in quiet)


def test_1_all_videos_share_one_scale_in_the_strict_figures() -> None:
    low = scored([1.0, 2.0, 3.0, 4.0], (3, 3))
    shifted = scored([101.0, 102.0, 103.0, 104.0], (3, 3))
    assert judge([low, low], None, resamples=0).strict.auc_micro.value == 1
    assert judge([low, shifted], None, resamples=0).strict.auc_micro.value == pytest.approx((3 + 6) / 12)
    assert judge([low, low], None, resamples=0).legacy == judge([low, shifted], None, resamples=0).legacy


# 2. Smoothing with the future.

scores = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scores, scores)
def test_2_what_comes_later_does_not_change_how_a_frame_was_judged(
    past: list[float], future: list[float]
) -> None:
    def confusion(of: list[float]) -> np.ndarray:
        table = judge([scored(of, (0, len(of) - 1))], 0.5, resamples=0).strict.confusion
        assert table is not None
        return np.array(list(table.model_dump().values()))

    assert (confusion(past + future) == confusion(past) + confusion(future)).all()


def test_2_the_detector_scores_a_frame_the_same_whatever_follows(bundle: ModelBundle, tmp_path: Path) -> None:
    one = flown(bundle, tmp_path / "one", "...X...XXX")
    other = flown(bundle, tmp_path / "other", "...X...")
    assert one.causal[:7].tolist() == other.causal.tolist()
    assert one.boxes[:7] == other.boxes


def test_2_legacy_scores_do_look_ahead_which_is_why_they_stand_apart() -> None:
    quiet, loud = np.array([0.0, 1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0, 9.0])
    assert abs(legacy_scores(quiet, 1.0)[0] - legacy_scores(loud, 1.0)[0]) > 0.1


# 3. The best checkpoint on the test set.


def test_3_the_test_clips_cannot_influence_which_weights_are_used(
    film: Callable[[str, int], Path], one_thread: None, tmp_path: Path
) -> None:
    patient = Recipe(model=CaeConfig(channels=(3, 4, 5), latent=6), epochs=3, batch=10, lr=0.1, early_stop=2)
    for name in "abcd":
        film(name, 10)

    def weights() -> dict[str, torch.Tensor]:
        footage = read_footage([tmp_path], Sampling(10, 10), 0, InputSpec())
        *_, last = fit(patient, footage, InputSpec(), torch.device("cpu"))
        assert last.record.best_epoch is not None
        validation = [epoch.validation for epoch in last.history]
        assert validation[last.record.best_epoch - 1] == min(validation)
        return dict(last.state_dict)

    before = weights()
    (test,) = read_footage([tmp_path], Sampling(10, 10), 0, InputSpec()).splits.test
    for picture in Path(test.path).iterdir():
        assert cv2.imwrite(str(picture), np.full((31, 40, 3), 255, np.uint8))
    after = weights()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """So little work is slower on several threads, much so on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def film(tmp_path: Path) -> Callable[[str, int], Path]:
    """Write a folder of so many small pictures, all different."""

    def write(name: str, count: int) -> Path:
        chance = np.random.default_rng(ord(name))
        return folder_of(tmp_path / name, list(chance.integers(0, 256, (count, 31, 40, 3), np.uint8)))

    return write


# 4. Random splits of frames.


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=12).filter(lambda n: sum(n) >= 30), st.integers(0, 99)
)
def test_4_neighbouring_frames_never_lie_on_both_sides_of_a_split(lengths: list[int], seed: int) -> None:
    clips = [
        Clip(name=f"{n}", path=f"/{n}", sha256=f"{n}", start=0, stop=much) for n, much in enumerate(lengths)
    ]
    splits = split(clips, Sampling(fps=2), seed)
    parts = (splits.train, splits.validation, splits.test)
    names = [{clip.name for clip in part} for part in parts]
    if len(clips) >= 3:
        assert not names[0] & names[1]
        assert not (names[0] | names[1]) & names[2]
        return
    least = min(2 * GAP, min(round(0.1 * much) // 2 or 1 for much in lengths))
    for clip in clips:
        spans = sorted((one.start, one.stop) for part in parts for one in part if one.name == clip.name)
        assert all(later[0] - earlier[1] >= least for earlier, later in pairwise(spans))


# 5. Truth of another length than the scores.


def test_5_scores_and_truth_of_different_lengths_are_refused() -> None:
    video = Video("v", Path("v"), ((1, 2),))
    n = np.arange(4.0)
    for short in ("stream_s", "raw", "causal", "abnormal", "counted", "boxes", "heat"):
        parts = {
            "frame": np.arange(4),
            "stream_s": n,
            "raw": n,
            "causal": n,
            "abnormal": n > 1,
            "counted": n >= 0,
            "boxes": ((),) * 4,
            "heat": np.zeros((4, 1, 1), np.float16),
        }
        Scored(video=video, size=(1, 1), period_s=1.0, **parts)
        with pytest.raises(ValueError, match="differ in length"):
            Scored(video=video, size=(1, 1), period_s=1.0, **{**parts, short: parts[short][:3]})


@pytest.mark.parametrize("truth", [{"frames": 9, "abnormal": ((1, 2),)}, {"abnormal": ((1, 8),)}])
def test_5_truth_that_does_not_fit_the_recording_is_refused(
    truth: dict[str, object], bundle: ModelBundle, tmp_path: Path
) -> None:
    path = folder_of(tmp_path / "v", patrol_pictures("." * 8))
    video = Video(name="v", path=path, folder_fps=2.0, **truth)
    with pytest.raises(FootageError, match="do not belong together"):
        score_videos(bundle, DataSet("set", "test", (video,)))


# 6. First and last frames.


def test_6_every_frame_that_was_looked_at_has_a_score_and_is_judged(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    found = flown(bundle, tmp_path / "v", ".XX.....")
    assert found.frame.tolist() == list(range(8))
    assert np.isfinite(found.raw).all()
    assert judge([found], 1.0, resamples=0).frames == 8


def test_6_a_frame_before_there_is_evidence_counts_as_missed_not_as_absent() -> None:
    early = scored([-np.inf, 1.0, 0.0, 0.0], (0, 1))
    strict = judge([early], 0.5, resamples=0).strict
    assert strict.recall.value == pytest.approx(0.5)
    assert strict.auc_micro.value == pytest.approx(0.5)


# 7. Subsets and splits of one name.


def test_7_which_subset_or_split_was_judged_is_said(tmp_path: Path) -> None:
    root = tmp_path / "shanghai"
    frames(root / "testing" / "frames" / "01_0014")
    array(root / "testing" / "test_frame_mask" / "01_0014.npy", [0, 0, 1, 1, 0, 0])
    note = read_data_set(root).note
    assert "1 test videos" in note
    assert "weakly supervised" in note


def test_7_an_evaluation_without_its_note_is_none() -> None:
    found = judge([scored([0.0, 1.0], (1, 1))], None, resamples=0)
    said = {
        "bundle": "b",
        "bundle_digest": "0",
        "data_set": "avenue",
        "layout": "avenue",
        "fps": 2.0,
        "variant": "fp32",
        "false_alarms_per_hour_wanted": 1.0,
        "judgement": found,
        "software": "1",
        "seconds": 1.0,
    }
    Evaluation(**said, note="all 21 videos")
    with pytest.raises(ValidationError, match="note"):
        Evaluation(**said)


# 8. Static cameras.


def test_8_a_set_of_static_cameras_says_that_it_is_no_patrol(tmp_path: Path) -> None:
    own = tmp_path / "own"
    frames(own / "flight")
    text(own / "intervals.csv", "video,first_frame,last_frame\nflight,2,3\n")
    assert "stands still" in read_data_set(ucsd_published(tmp_path / "ped")).note
    assert "stands still" not in read_data_set(own).note


# 9. Frames per second.


def test_9_latency_is_of_single_frames_after_a_warm_up_with_every_stage_in_it(
    bundle: ModelBundle, normal: Path
) -> None:
    seen: list[int] = []
    times = measure(bundle, normal, 3, "fp32", seen.append)
    assert len(seen) == WARM_UP + 3
    every = {"decode", "preprocess", "infer", "score", "localize"}
    assert {*every, "motion", "recall"} == set(EVERY_FRAME)
    assert {*every, "snapshot", "outbox"} <= set(times.stages)
    assert {len(values) for values in times.stages.values()} == {3}
    assert all(value > 0 for name in every for value in times.stages[name])
    whole = times.percentiles()["frame"]
    assert whole["max"] == pytest.approx(max(map(sum, zip(*(times.stages[n] for n in every), strict=True))))
    assert {"p50", "p95"} <= set(whole)
    assert {"processor", "onnxruntime", "variant", "pace"} <= set(facts(bundle, "fp32"))


# 10. A threshold from errors on what was learned.


def test_10_the_threshold_comes_from_frames_whose_statistics_did_not_see_them(tmp_path: Path) -> None:
    """The second flight meets something that the first did not: to statistics of both it is half known."""
    flights = {"first": "." * 70, "second": ".X" * 35}
    paths = [folder_of(tmp_path / name, patrol_pictures(plan)) for name, plan in flights.items()]
    plan = Plan(tuple(paths), rate=60, folder_fps=2.0)
    bundle = calibrate(bundle_at(tmp_path / "b", Scoring(branches=ERRORS.branches, persistence=1)), plan)
    familiar: list[float] = []
    with open_runtime(bundle, "fp32") as runtime, open_recording(paths[1], folder_fps=2.0) as recording:
        inspect = open_detector(bundle, runtime).inspect
        familiar = [inspect(frame).score for frame in recording]
    assert bundle.calibration().threshold > 100 * max(familiar)


def test_10_no_score_of_the_evaluation_moves_the_threshold() -> None:
    for top in (1.0, 100.0):
        assert judge([scored([0.0, top], (1, 1))], 0.5, resamples=0).strict.threshold == 0.5
