from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.events import MAX_PICTURE_BYTES, Box
from edge.snapshots import draw, heat_picture, snapshot
from tests.builders import scene

BOX = Box(x=100, y=50, width=60, height=40, peak=5.0, area=100)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_snapshot_is_a_jpeg_no_wider_than_asked() -> None:
    data = snapshot(noise(1080, 1920), (BOX,), width=640, cap=MAX_PICTURE_BYTES)
    assert data is not None
    assert data.startswith(b"\xff\xd8\xff")
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (360, 640, 3)


def test_a_small_picture_is_not_enlarged() -> None:
    data = snapshot(scene(0), (), width=640, cap=MAX_PICTURE_BYTES)
    assert data is not None
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (240, 320, 3)


@pytest.mark.parametrize("cap", [4_000, 20_000, 60_000])
def test_the_cap_holds_whatever_the_picture(cap: int) -> None:
    data = snapshot(noise(240, 320), (), width=640, cap=cap)
    assert data is None or len(data) <= cap


def test_boxes_are_drawn_where_they_are_and_the_original_stays() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    drawn = draw(image, (BOX,))
    assert drawn[50, 120].any()
    assert drawn[70, 100].any()
    assert not drawn[70, 130].any()
    assert not image.any()


def test_heat_is_grey_with_128_at_its_level() -> None:
    heat = np.array([[0, 7, 14, -3, 100]], np.float32)
    data = heat_picture(heat, 7.0, MAX_PICTURE_BYTES)
    assert data is not None
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).tolist() == [
        [0, 128, 255, 0, 255]
    ]


def test_a_heat_map_beyond_the_cap_is_not_sent() -> None:
    heat = np.random.default_rng(0).random((124, 124)).astype(np.float32)
    assert heat_picture(heat, 1.0, 1024) is None
