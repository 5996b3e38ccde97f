from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.shrinking import _row_means, _worth_it, shrunk


def noise(rows: int, columns: int) -> NDArray[np.uint8]:
    return np.random.default_rng(rows).integers(0, 256, (rows, columns, 3), np.uint8)


@pytest.mark.parametrize("size", [(124, 124), (224, 224), (97, 301)])
@pytest.mark.parametrize("camera", [(1080, 1920), (720, 1280), (1200, 1600), (1013, 1367)])
def test_a_large_picture_shrinks_as_opencv_shrinks_it(camera: tuple[int, int], size: tuple[int, int]) -> None:
    picture = noise(*camera)
    assert _worth_it(picture, *size)
    theirs = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA).astype(int)
    apart = np.abs(shrunk(picture, *size) - theirs)
    assert apart.max() <= 1  # where the mean lies on a half, but for the order in which it is summed
    assert np.mean(apart > 0) < 1e-3


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 400), st.data())
def test_every_row_counts_with_its_share(rows: int, data: st.DataObject) -> None:
    height = data.draw(st.integers(1, rows // 3))
    flat = np.random.default_rng(rows).integers(0, 256, (rows, 7), np.uint8)
    repeated = np.repeat(flat, height, axis=0).reshape(height, rows, 7)  # each mean is of whole rows here
    means = np.concatenate(
        [_row_means(flat, height, top, min(5, height - top)) for top in range(0, height, 5)]
    )
    np.testing.assert_allclose(means, repeated.mean(axis=1), atol=1e-3)


def test_a_picture_that_is_small_or_lies_scattered_in_memory_is_left_to_opencv() -> None:
    assert not _worth_it(noise(360, 640), 124, 124)
    assert not _worth_it(noise(1080, 1920)[:, ::-1], 124, 124)
    assert not _worth_it(noise(1080, 1920), 500, 124)
    assert not _worth_it(noise(1920, 1080), 124, 1200)
    mirrored = noise(1080, 1920)[:, ::-1]
    theirs = cv2.resize(mirrored, (124, 124), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(shrunk(mirrored, 124, 124), theirs)
