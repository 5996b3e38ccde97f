"""Labelled footage through a detector: rates, order, truth, memory."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.errors import BundleError, FootageError, UsageError
from edge.frames import Frame
from edge.incidents import Evidence
from edge.pipeline import Finding
from tests.builders import bundle_at
from tests.filming import film
from tests.labelled_scenes import bundle_in, data_set, video_in
from train.evaluation import run
from train.evaluation.heats import HeatRoom, halved
from train.evaluation.run import check_classes, evaluate, score_video, score_videos
from train.evaluation.scored import Scored
from train.evaluation.truth import Video


class Indexes:
    """A method whose score is the frame's native number."""

    def __init__(self, side: int | None = None) -> None:
        self.seen: list[int] = []
        self._side = side

    def __call__(self, frame: Frame) -> Finding:
        self.seen.append(frame.index)
        heat = None if self._side is None else np.full((self._side,) * 2, frame.index, np.float32)
        return Finding(float(frame.index), heat)


def scored_by(video: Video, method: Indexes, fps: float = 2.0, **more: object) -> Scored:
    return score_video(video, method, Evidence(2), fps, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_in(tmp_path_factory.mktemp("evaluated"))


# One video


def test_truth_is_picked_by_native_frame_numbers(tmp_path: Path) -> None:
    video = video_in(tmp_path / "v", "....XXXX.", folder_fps=4.0)
    found = scored_by(video, Indexes(), fps=2.0)
    assert found.frame.tolist() == [0, 2, 4, 6, 8]
    assert found.abnormal.tolist() == [False, False, True, True, False]
    assert found.stream_s.tolist() == [0, 0.5, 1, 1.5, 2]
    assert found.period_s == 0.5
    assert found.size == (240, 320)


def test_the_causal_score_is_that_of_flight_and_the_raw_one_the_frames_own(tmp_path: Path) -> None:
    found = scored_by(video_in(tmp_path / "v", "..XX."), Indexes())
    assert found.raw.tolist() == [0, 1, 2, 3, 4]
    assert found.causal.tolist() == [-math.inf, 0, 1, 2, 3]


def test_ignored_frames_do_not_count(tmp_path: Path) -> None:
    found = scored_by(video_in(tmp_path / "v", "..XX.", ignored=((1, 1),)), Indexes())
    assert found.counted.tolist() == [True, False, True, True, True]


def test_frames_come_in_time_order_and_are_told_one_by_one(tmp_path: Path) -> None:
    method, told = Indexes(), []
    scored_by(video_in(tmp_path / "v"), method, looked=lambda: told.append(len(method.seen)))
    assert method.seen == [0, 1, 2, 3, 4]
    assert told == [1, 2, 3, 4, 5]


def test_a_rate_asked_for_wins_over_the_layouts_and_both_over_the_usual(tmp_path: Path) -> None:
    timed = video_in(tmp_path / "timed")  # its layout says 2
    assert scored_by(timed, Indexes(), 100).stream_s[-1] == 2.0
    assert scored_by(timed, Indexes(), 100, folder_fps=4.0).stream_s[-1] == 1.0
    untimed = video_in(tmp_path / "untimed", folder_fps=None)
    assert scored_by(untimed, Indexes(), 100).stream_s[-1] == pytest.approx(0.4)


def test_a_truth_that_names_a_frame_beyond_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FootageError, match=r"the truth names frame 9, .* ends at 4; they do not belong together"
    ):
        scored_by(video_in(tmp_path / "v", abnormal=((2, 9),)), Indexes())


def test_every_native_frame_of_a_video_file_is_counted_though_few_are_looked_at(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", seconds=2)
    video = Video("film", path, ((30, 59),), frames=60)
    found = scored_by(video, Indexes())
    assert found.frame.tolist() == [0, 15, 30, 45]
    assert found.abnormal.tolist() == [False, False, True, True]
    shorter = Video("film", path, ((30, 58),), frames=59)
    with pytest.raises(FootageError, match=r"film: the truth is for 59 frames, .* has 60"):
        scored_by(shorter, Indexes())


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_refused(tmp_path: Path, score: float) -> None:
    with pytest.raises(UsageError, match=r"v: frame 0 got the score .*; the model is broken"):
        score_video(video_in(tmp_path / "v"), lambda frame: Finding(score), Evidence(1), 2.0)


# Heat


def test_a_method_without_heat_leaves_none(tmp_path: Path) -> None:
    assert scored_by(video_in(tmp_path / "v"), Indexes()).heat is None


def test_heat_is_kept_at_map_size_while_there_is_room(tmp_path: Path) -> None:
    heat = scored_by(video_in(tmp_path / "v"), Indexes(side=8)).heat
    assert heat is not None
    assert (heat.dtype, heat.shape) == (np.float16, (5, 8, 8))
    assert heat[:, 3, 3].tolist() == [0, 1, 2, 3, 4]


def test_heat_is_halved_as_often_as_the_room_asks(tmp_path: Path) -> None:
    room = HeatRoom(limit=5 * 8 * 8 * 2 // 3)
    heat = scored_by(video_in(tmp_path / "v"), Indexes(side=8), room=room).heat
    assert heat is not None
    assert heat.shape == (5, 4, 4)
    assert heat.nbytes <= room.limit
    assert heat[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_halving_keeps_the_hottest_pixel_of_maps_of_odd_size() -> None:
    heat = np.zeros((1, 3, 5), np.float16)
    heat[0, 2, 4] = 7
    assert halved(heat).tolist() == [[[0, 0, 0], [0, 0, 7]]]


def test_heat_beyond_what_16_bits_hold_stays_a_number(tmp_path: Path) -> None:
    def burning(frame: Frame) -> Finding:
        return Finding(1.0, np.full((2, 2), 1e30, np.float32))

    heat = score_video(video_in(tmp_path / "v"), burning, Evidence(1), 2.0).heat
    assert heat is not None
    assert np.isfinite(heat).all()


# A data set


def test_maps_of_all_videos_have_one_size_when_the_room_gets_scarce(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = [video_in(tmp_path / name) for name in ("a", "b")]
    whole = 5 * 124 * 124 * 2
    monkeypatch.setattr(run, "HeatRoom", lambda: HeatRoom(limit=whole + whole // 2))
    shapes = {
        each.heat.shape
        for each in score_videos(load_bundle(bundle), data_set(*videos))
        if each.heat is not None
    }
    assert shapes == {(5, 62, 62)}


def test_each_video_is_scored_as_if_it_were_alone(tmp_path: Path, bundle: Path) -> None:
    one, two = video_in(tmp_path / "one", "..XX"), video_in(tmp_path / "two", "X...")
    together = score_videos(load_bundle(bundle), data_set(one, two))[1]
    alone = score_videos(load_bundle(bundle), data_set(two))[0]
    assert together.causal.tolist() == alone.causal.tolist()
    assert together.causal[0] == -math.inf


def test_progress_names_the_video_and_ends_at_all_frames(tmp_path: Path, bundle: Path) -> None:
    told: list[tuple[str, int, int]] = []
    videos = video_in(tmp_path / "a", "..XX"), video_in(tmp_path / "b", "..XX..")
    score_videos(load_bundle(bundle), data_set(*videos), tell=lambda *step: told.append(step))
    assert told[0] == ("a", 1, 10)
    assert told[-1] == ("b", 10, 10)
    assert len(told) == 10


def test_an_evaluation_says_what_it_is_of(tmp_path: Path, bundle: Path) -> None:
    opened = load_bundle(bundle)
    evaluation, scored = evaluate(opened, data_set(video_in(tmp_path / "a", "....XXXX")), resamples=10)
    assert (evaluation.bundle, evaluation.bundle_digest) == ("blur", opened.digest)
    assert (evaluation.data_set, evaluation.layout, evaluation.fps) == ("scenes", "by hand", 2.0)
    assert evaluation.judgement.frames == 8
    assert evaluation.judgement.abnormal_frames == 4
    assert evaluation.judgement.strict.threshold == opened.calibration().threshold
    assert len(scored) == 1


def test_a_name_with_broken_bytes_does_not_break_the_json(tmp_path: Path, bundle: Path) -> None:
    hostile = data_set(video_in(tmp_path / "a"), name="x\udc80\x1b[31m")
    evaluation, _ = evaluate(load_bundle(bundle), hostile, resamples=0)
    assert evaluation.data_set == "x\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[31m"
    assert evaluation.model_dump_json()


def test_a_bundle_without_threshold_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="has no threshold yet; run `skerry calibrate"):
        evaluate(bundle_at(tmp_path / "b"), data_set(video_in(tmp_path / "v")))


def test_footage_without_anything_abnormal_is_refused_before_the_work(tmp_path: Path, bundle: Path) -> None:
    told: list[object] = []
    with pytest.raises(UsageError, match="scenes: no video has an abnormal frame"):
        score_videos(
            load_bundle(bundle), data_set(video_in(tmp_path / "v", "...")), tell=lambda *s: told.append(s)
        )
    assert told == []


def test_footage_without_anything_normal_is_refused(tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(UsageError, match="none of the frames looked at is normal"):
        score_videos(load_bundle(bundle), data_set(video_in(tmp_path / "v", "XXX")))


def test_events_that_fall_between_two_looks_are_told(tmp_path: Path) -> None:
    video = video_in(tmp_path / "v", ".X..", folder_fps=4.0)
    with pytest.raises(UsageError, match=r"none of the frames looked at is abnormal; .* higher --fps"):
        check_classes(data_set(video), [scored_by(video, Indexes())])


def test_a_video_that_is_not_there_is_told_before_the_first_is_scored(tmp_path: Path, bundle: Path) -> None:
    told: list[object] = []
    gone = Video("gone", tmp_path / "gone.mp4", ((0, 1),))
    with pytest.raises(FootageError, match=r"gone\.mp4 does not exist"):
        score_videos(
            load_bundle(bundle), data_set(video_in(tmp_path / "v"), gone), tell=lambda *s: told.append(s)
        )
    assert told == []


def test_a_data_set_without_videos_is_refused(bundle: Path) -> None:
    with pytest.raises(UsageError, match="scenes has no labelled video"):
        score_videos(load_bundle(bundle), data_set())
