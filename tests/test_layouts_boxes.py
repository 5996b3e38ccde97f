from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import FootageError
from tests.labelled import SIZE, frames, text
from train.evaluation.readers import read_data_set


def coco(root: Path, **change: Any) -> Path:
    frames(root / "images" / "flight1")
    images = [{"id": n, "file_name": f"flight1/{n:03d}.jpg", "video_id": 1} for n in range(5)]
    boxes = [{"image_id": 1, "bbox": [1, 2, 5, 6]}, {"image_id": 2, "bbox": [2, 2, 5, 6]}]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1}]} | change
    text(root / "annotations.json", json.dumps(content))
    return root


def test_coco_boxes_are_regions_and_unlisted_pictures_ignored(tmp_path: Path) -> None:
    data = read_data_set(coco(tmp_path))
    (video,) = data.videos
    assert (data.layout, video.name, video.frames) == ("coco", "flight1", 6)
    assert (video.abnormal, video.ignored) == (((1, 2),), ((5, 5),))
    assert video.regions is not None
    assert [(r.frame, r.track, r.x) for r in video.regions] == [(1, 1, 1), (2, 1, 2)]


def test_coco_tracks_are_kept_where_all_boxes_have_one(tmp_path: Path) -> None:
    boxes = [{"image_id": n, "bbox": [9 * n, 2, 5, 6], "track_id": 7} for n in (0, 2)]
    (video,) = read_data_set(coco(tmp_path, annotations=boxes)).videos
    assert video.regions is not None
    assert [r.track for r in video.regions] == [7, 7]


def test_coco_boxes_end_at_the_picture(tmp_path: Path) -> None:
    (video,) = read_data_set(coco(tmp_path, annotations=[{"image_id": 0, "bbox": [-5, 4, 99, 6]}])).videos
    assert video.regions is not None
    (region,) = video.regions
    assert (region.x, region.width) == (0, SIZE[0])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": [{"id": 1, "file_name": "/etc/passwd"}]}, "which is not there"),
        ({"images": [{"id": 1, "file_name": "../images/flight1/000.jpg"}]}, "which is not there"),
        ({"images": [{"id": n, "file_name": "flight1/000.jpg"} for n in (1, 2)]}, "twice"),
        ({"images": []}, "images"),
        ({"annotations": [{"image_id": 77, "bbox": [1, 1, 2, 2]}]}, "does not list"),
        ({"annotations": [{"image_id": 1, "bbox": [500, 1, 2, 2]}]}, "outside the picture"),
        ({"annotations": [{"image_id": 1, "bbox": [1, 1, 0, 2]}]}, "greater than 0"),
        ({"annotations": [{"image_id": 1, "bbox": [1, 1, float("nan"), 2]}]}, "annotations"),
        ({"images": [{"id": 1, "file_name": "flight1/000.jpg", "width": 640, "height": 480}]}, "640x480"),
    ],
)
def test_a_wrong_coco_file_is_one_sentence(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FootageError, match=sentence):
        read_data_set(coco(tmp_path, **change))


def test_coco_videos_in_one_folder_are_refused(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"flight1/{n:03d}.jpg", "video_id": n} for n in range(2)]
    with pytest.raises(FootageError, match="several videos"):
        read_data_set(coco(tmp_path, images=images))


def yolo(root: Path, lines: str) -> Path:
    frames(root / "images" / "flight1", 4)
    text(root / "labels" / "flight1" / "001.txt", lines)
    text(root / "labels" / "flight1" / "002.txt", "")
    text(root / "labels" / "classes.txt", "boat\n")
    return root


def test_yolo_boxes_are_shares_of_the_picture(tmp_path: Path) -> None:
    data = read_data_set(yolo(tmp_path, "0 0.5 0.5 0.25 0.5\n"))
    (video,) = data.videos
    assert (data.layout, video.abnormal, video.ignored) == ("yolo", ((1, 1),), ())
    assert video.regions is not None
    (region,) = video.regions
    assert (region.x, region.y, region.width, region.height) == (12, 6, 8, 12)


def test_yolo_outlines_become_boxes(tmp_path: Path) -> None:
    (video,) = read_data_set(yolo(tmp_path, "0 0.25 0.25 0.5 0.25 0.5 0.75\n")).videos
    assert video.regions is not None
    (region,) = video.regions
    assert (region.x, region.y, region.width, region.height) == (8, 6, 8, 12)


def test_yolo_splits_one_level_below_are_found(tmp_path: Path) -> None:
    frames(tmp_path / "test" / "images", 3)
    text(tmp_path / "test" / "labels" / "002.txt", "0 0.5 0.5 0.1 0.1\n")
    (video,) = read_data_set(tmp_path).videos
    assert video.abnormal == ((2, 2),)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("0 12 6 8 12", "shares from 0 to 1"),
        ("0 nan 0 0 0", "with numbers"),
        ("0 . . . .", "with numbers"),
        ("0 0.5 0.5", "neither"),
        ("0 0.5 0.5 0 0", "outside"),
    ],
)
def test_a_wrong_yolo_line_is_one_sentence(tmp_path: Path, line: str, sentence: str) -> None:
    with pytest.raises(FootageError, match=sentence) as error:
        read_data_set(yolo(tmp_path, line))
    assert "001.txt, line 1" in str(error.value)


def test_yolo_text_without_its_picture_is_refused(tmp_path: Path) -> None:
    root = yolo(tmp_path, "")
    text(root / "labels" / "flight1" / "009.txt", "")
    with pytest.raises(FootageError, match="belongs to no picture"):
        read_data_set(root)
