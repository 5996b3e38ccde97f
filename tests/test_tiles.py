from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.frames import Picture
from edge.tiles import OVERLAP, STRIDE, Tiling, starts, view_for, viewed

TILE = (96, 128)


def means(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A model whose every cell is the mean of its own pixels: C x h x w."""
    height, width, _ = picture.shape
    cells = picture.reshape(height // STRIDE, STRIDE, width // STRIDE, STRIDE, 3).astype(np.float32)
    return np.asarray(cells.mean(axis=(1, 3)).transpose(2, 0, 1), np.float32)


def random_picture(height: int, width: int) -> Picture:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


sides = st.integers(1, 400)


@settings(deadline=None, max_examples=150)
@given(sides, sides)
def test_tiles_joined_again_are_the_whole(height: int, width: int) -> None:
    picture, tiling = random_picture(height, width), Tiling((height, width), TILE)
    tiles = list(tiling.cut(picture))
    assert {tile.shape for tile in tiles} == {(*TILE, 3)}
    joined = tiling.join([means(tile) for tile in tiles])
    rows, columns = height // STRIDE, width // STRIDE  # cells within the picture
    inside = picture[: rows * STRIDE, : columns * STRIDE]
    assert joined.shape == (3, *tiling.cells)
    if inside.size:
        np.testing.assert_array_equal(joined[:, :rows, :columns], means(inside))


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 2500), st.integers(1, 2500))
def test_every_cell_is_written_by_a_tile_that_covers_it(height: int, width: int) -> None:
    tiling = Tiling((height, width), TILE)
    cells = TILE[0] // STRIDE, TILE[1] // STRIDE
    maps = [np.full((1, *cells), number, np.float32) for number in range(len(tiling.places))]
    joined = tiling.join(maps)[0]
    for (row, column), number in np.ndenumerate(joined):
        assert number in range(len(maps))
        y, x = tiling.places[int(number)]
        assert 0 <= row - y // STRIDE < cells[0]
        assert 0 <= column - x // STRIDE < cells[1]
        break
    assert np.isin(joined, range(len(maps))).all()


def test_each_tile_gives_the_nearer_half_of_an_overlap() -> None:
    tiling = Tiling((96, 224), TILE)  # tiles from 0 and from 96, which share columns 96 to 128
    joined = tiling.join([np.full((1, 12, 16), n, np.float32) for n in range(2)])
    assert tiling.places == ((0, 0), (0, 96))
    assert joined[0, 0].tolist() == [0.0] * 14 + [1.0] * 14


@given(st.integers(1, 20_000), st.integers(8, 64))
def test_tiles_begin_on_whole_cells_and_overlap_enough(whole: int, cells: int) -> None:
    part = cells * STRIDE
    if part <= OVERLAP + STRIDE:
        return
    found = starts(whole, part)
    assert found[0] == 0
    assert all(place % STRIDE == 0 for place in found)
    assert found[-1] + part >= whole
    assert all(b - a <= part - OVERLAP for a, b in pairwise(found))


def test_beyond_its_edges_a_picture_goes_on_as_it_ends() -> None:
    picture = random_picture(8, 8)
    (tile,) = Tiling((8, 8), (16, 24)).cut(picture)
    np.testing.assert_array_equal(tile[:8, :8], picture)
    np.testing.assert_array_equal(tile[8:, :8], np.broadcast_to(picture[7], (8, 8, 3)))
    np.testing.assert_array_equal(tile[:, 8:], np.broadcast_to(tile[:, 7:8], (16, 16, 3)))


@settings(deadline=None)
@given(st.integers(16, 4000), st.integers(16, 4000), st.integers(0, 40))
def test_a_view_takes_no_more_tiles_than_can_be_afforded(height: int, width: int, affordable: int) -> None:
    view = view_for((height, width), TILE, affordable)
    assert len(Tiling(view, TILE).places) <= max(1, affordable)
    assert view[0] <= max(16, height)
    assert view[1] <= max(16, width)


def test_a_view_is_the_picture_itself_where_there_is_time_and_keeps_its_shape_where_not() -> None:
    assert view_for((1080, 1920), (384, 512), 100) == (1080, 1920)
    height, width = view_for((1080, 1920), (384, 512), 6)
    assert len(Tiling((height, width), (384, 512)).places) in (4, 5, 6)
    assert width / height == pytest.approx(16 / 9, rel=0.01)


def test_a_picture_of_the_size_of_the_view_is_not_copied() -> None:
    picture = random_picture(40, 60)
    assert viewed(picture, (40, 60)) is picture
    assert viewed(picture, (20, 30)).shape == (20, 30, 3)
