from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.errors import FootageError
from tests.labelled import frames, short_film, text
from train.evaluation.layouts.spans import without
from train.evaluation.readers import read_data_set
from train.plan import FlightPlan
from train.simulator import simulate_flights


def own_footage(root: Path, table: str) -> Path:
    short_film(root / "flight1.mp4")
    frames(root / "flight2")
    frames(root / "normal" / "flight0")
    text(root / "intervals.csv", table)
    return root


def test_a_table_tells_intervals_and_the_rest_is_normal(tmp_path: Path) -> None:
    root = own_footage(tmp_path, "video,first_frame,last_frame\nflight1.mp4,4,5\nflight1.mp4,0,1\n")
    data = read_data_set(root)
    assert [(v.name, v.abnormal, v.frames) for v in data.videos] == [
        ("flight1.mp4", ((0, 1), (4, 5)), None),
        ("flight2", (), 6),
    ]
    assert [path.name for path in data.normal] == ["flight0"]


def test_a_table_may_name_a_video_without_suffix_or_frames(tmp_path: Path) -> None:
    root = own_footage(
        tmp_path, "\ufeffvideo, first_frame, last_frame, what\nflight1, 2, 3, boat\nflight2,,,\n"
    )
    assert [v.abnormal for v in read_data_set(root).videos] == [((2, 3),), ()]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("video,first,last\nflight1,1,2\n", "lacks the column first_frame"),
        ("", "lacks the column video"),
        ("video,first_frame,last_frame\nflight3,1,2\n", "did you mean"),
        ("video,first_frame,last_frame\nflight1,5,2\n", "no interval"),
        ("video,first_frame,last_frame\nflight1,-5,2\n", "no frame numbers"),
        ("video,first_frame,last_frame\nflight1,3\n", "no frame numbers"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, table: str, sentence: str) -> None:
    with pytest.raises(FootageError, match=sentence):
        read_data_set(own_footage(tmp_path, table))


def test_a_name_of_two_recordings_is_refused(tmp_path: Path) -> None:
    root = own_footage(tmp_path, "video,first_frame,last_frame\na,1,2\n")
    frames(root / "day" / "a")
    frames(root / "night" / "a")
    with pytest.raises(FootageError, match="several recordings"):
        read_data_set(root)
    text(root / "intervals.csv", "video,first_frame,last_frame\nnight/a,1,2\n")
    assert [v.name for v in read_data_set(root).videos if v.abnormal] == ["night/a"]


def test_an_interval_beyond_the_recording_is_refused_when_counted(tmp_path: Path) -> None:
    root = own_footage(tmp_path, "video,first_frame,last_frame\nflight2,4,6\n")
    video = read_data_set(root).videos[1]
    with pytest.raises(FootageError, match="names frame 6"):
        video.labels(6)


def test_subway_reads_pairs_and_what_to_ignore(tmp_path: Path) -> None:
    frames(tmp_path / "entrance", 8)
    text(tmp_path / "entrance.txt", "# from 0\n0 2 ignored\n3 4\n6,7  # a remark\n\n")
    data = read_data_set(tmp_path)
    (video,) = data.videos
    assert (data.layout, video.abnormal, video.ignored) == ("subway", ((3, 4), (6, 7)), ((0, 2),))
    assert "stands still" in data.note


@pytest.mark.parametrize("content", ["", "1\n", "1 2 3\n", "2 1\n", "one two\n"])
def test_subway_with_nonsense_is_refused(tmp_path: Path, content: str) -> None:
    frames(tmp_path / "entrance", 8)
    text(tmp_path / "entrance.txt", content)
    with pytest.raises(FootageError, match=r"entrance\.txt"):
        read_data_set(tmp_path)


UCF = """Abuse028_x264.mp4  Abuse  2  3  -1  -1
Arson011_x264.mp4  Arson  1  2  5  900

Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1
"""


def ucf_crime(root: Path) -> Path:
    text(root / "Temporal_Anomaly_Annotation_for_Testing_Videos.txt", UCF)
    for name in ("Abuse/Abuse028_x264", "deep/below/Arson011_x264", "N/Normal_Videos_003_x264"):
        frames(root / name)
    frames(root / "Training" / "Normal_Videos_100_x264")
    return root


def test_ucf_crime_counts_from_one_and_finds_videos_below(tmp_path: Path) -> None:
    data = read_data_set(ucf_crime(tmp_path))
    assert [(v.name, v.abnormal) for v in data.videos] == [
        ("Abuse028_x264", ((1, 2),)),
        ("Arson011_x264", ((0, 1), (4, 899))),
        ("Normal_Videos_003_x264", ()),
    ]
    assert [path.name for path in data.normal] == ["Normal_Videos_100_x264"]


def test_ucf_crime_intervals_end_with_the_video(tmp_path: Path) -> None:
    video = read_data_set(ucf_crime(tmp_path)).videos[1]
    assert video.labels(6).tolist() == [True, True, False, False, True, True]
    with pytest.raises(FootageError, match="names frame 4"):
        replace(video, frames=None).labels(3)


def test_ucf_crime_says_how_many_videos_are_here(tmp_path: Path) -> None:
    root = ucf_crime(tmp_path)
    assert "all 3 annotated" in read_data_set(root).note
    (root / "Abuse" / "Abuse028_x264").rename(root / "gone")
    assert "only 2 of the 3" in read_data_set(root).note


@pytest.mark.parametrize("line", ["Abuse028_x264.mp4", "a.mp4 Abuse 1 2 3", "a.mp4 Abuse 9 2 -1 -1", "\n"])
def test_ucf_crime_with_nonsense_is_refused(tmp_path: Path, line: str) -> None:
    text(tmp_path / "Temporal_Anomaly_Annotation.txt", line)
    with pytest.raises(FootageError, match=r"Temporal_Anomaly_Annotation\.txt"):
        read_data_set(tmp_path)


def simulated(root: Path, **change: Any) -> Path:
    short_film(root / "patrol-01.mp4", 12)
    short_film(root / "normal-01.mp4")
    truth = {
        "format": 1,
        "frames": 12,
        "intruders": [{"track": 1, "first_frame": 3, "last_frame": 5, "touched": [2, 7]}],
        "boxes": [{"frame": 3, "track": 1, "x": 1, "y": 2, "width": 3, "height": 4, "kind": "boat"}],
    }
    text(root / "patrol-01.truth.json", json.dumps(truth | change))
    return root


def test_simulated_slivers_are_ignored(tmp_path: Path) -> None:
    data = read_data_set(simulated(tmp_path))
    (video,) = data.videos
    assert (data.layout, video.name, video.frames) == ("simulated", "patrol-01", 12)
    assert (video.abnormal, video.ignored) == (((3, 5),), ((2, 2), (6, 7)))
    assert video.regions is not None
    assert [(r.frame, r.track, r.x, r.y, r.width, r.height) for r in video.regions] == [(3, 1, 1, 2, 3, 4)]
    assert [path.name for path in data.normal] == ["normal-01.mp4"]


def test_one_intruders_slivers_do_not_hide_another(tmp_path: Path) -> None:
    two = [
        {"first_frame": 3, "last_frame": 5, "touched": [2, 7]},
        {"first_frame": 7, "last_frame": 8, "touched": [6, 9]},
    ]
    (video,) = read_data_set(simulated(tmp_path, intruders=two)).videos
    assert (video.abnormal, video.ignored) == (((3, 5), (7, 8)), ((2, 2), (6, 6), (9, 9)))


def test_a_flight_as_the_simulator_writes_it_is_read(tmp_path: Path) -> None:
    plan = FlightPlan(width=160, height=96, fps=4, seconds=16, normals=0, patrols=1, seed=3, intruders=1)
    flown = simulate_flights(plan, tmp_path, force=True).patrol[0]
    (video,) = read_data_set(tmp_path).videos
    assert video.path == flown.video
    assert video.labels(plan.frames).any()
    assert video.regions is not None
    assert all(video.labels(plan.frames)[region.frame] for region in video.regions)


@pytest.mark.parametrize(
    "change",
    [{"frames": 5}, {"boxes": [{"frame": 3}]}, {"intruders": None}, {"frames": 10**12}],
)
def test_a_truth_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(FootageError, match=r"patrol-01\.truth\.json"):
        read_data_set(simulated(tmp_path, **change))


def test_a_truth_without_its_video_is_refused(tmp_path: Path) -> None:
    (simulated(tmp_path) / "patrol-01.mp4").unlink()
    with pytest.raises(FootageError, match=r"looked for patrol-01\.mp4"):
        read_data_set(tmp_path)


def test_what_is_left_of_intervals_lies_outside_those_taken() -> None:
    assert without(((0, 9), (20, 22)), ((2, 3), (8, 20))) == ((0, 1), (4, 7), (21, 22))
    assert without(((5, 6),), ((0, 9),)) == ()
