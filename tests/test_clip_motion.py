"""How a clip moves: whatever stands still says nothing, and what moves says how fast and how unevenly."""

from __future__ import annotations

import numpy as np
import pytest

from edge.clip_motion import WIDTH, ClipMotion, numbers
from edge.clips import ClipMaker, ExtractorSpec
from edge.frames import Picture
from tests.clips import SMALL

GROUND = np.random.default_rng(0).integers(0, 255, (160, 320, 3), np.uint8)
SPEED = slice(28 + 16, 28 + 16 + 8)  # ranks of the flow as it is: blocks from the fastest, mean over pictures
BESIDE = slice(28 + 56 + 16, 28 + 56 + 16 + 8)  # the same, beside most of the picture


def ground(left: int) -> Picture:
    """A camera that looks at a rough ground, so far along."""
    rough = np.kron(GROUND[::8, ::8], np.ones((8, 8, 1), np.uint8))
    return np.ascontiguousarray(rough[8:152, 8 + left : 264 + left])


def with_something(at: int) -> Picture:
    picture = ground(0)
    picture[60:100, 40 + at : 80 + at] = np.kron(GROUND[:10, :10], np.ones((4, 4, 1), np.uint8))
    return picture


def of(shown: list[Picture], frames: int | None = None) -> np.ndarray:
    motion = ClipMotion(frames or len(shown))
    for picture in shown:
        motion.add(picture)
    return motion.feature()


def test_what_stands_still_fills_the_lowest_shares_alone() -> None:
    found = of([ground(0)] * 5)
    assert found.shape == (WIDTH,)
    assert set(np.unique(found)) == {0.0, 1.0}
    assert found.sum() == 7  # of change, and of speed, its change and that of its size, both ways


def test_a_single_picture_has_no_motion() -> None:
    assert np.array_equal(of([ground(0)]), np.zeros(WIDTH, np.float32))


def test_a_camera_that_moves_has_speed_and_nothing_moves_beside_it() -> None:
    found = of([ground(3 * step) for step in range(5)])
    assert found[SPEED][:6] == pytest.approx(3, abs=0.7)
    assert float(found[BESIDE][4:].max()) < 0.3


def test_something_that_moves_is_in_few_blocks_and_beside_the_rest() -> None:
    found = of([with_something(4 * step) for step in range(5)])
    assert float(found[SPEED][0]) > 1.5
    assert float(found[SPEED][-1]) < 0.1
    assert float(found[BESIDE][0]) > 1.5


def test_only_the_pictures_of_a_clip_count() -> None:
    before = [with_something(7 * step) for step in range(4)]
    clip = [ground(step) for step in range(4)]
    assert np.array_equal(of([*before, *clip], frames=4), of(clip))


def test_a_picture_that_was_missed_moves_nothing_and_a_new_start_forgets() -> None:
    motion = ClipMotion(3)
    motion.repeat()  # nothing yet to repeat
    for step in range(3):
        motion.add(ground(5 * step))
    moved = motion.feature()
    motion.repeat()
    motion.repeat()
    assert np.array_equal(motion.feature(), of([ground(0)] * 3))
    motion.restart()
    for step in range(3):
        motion.add(ground(5 * step))
    assert np.array_equal(motion.feature(), moved)


def test_the_width_is_that_of_all_numbers_of_any_clip() -> None:
    flows = np.random.default_rng(1).normal(size=(1, 36, 64, 2)).astype(np.float32)
    changes = np.full((1, 144, 256), 255, np.float32)
    made = np.concatenate(list(numbers(flows, changes)))
    assert made.shape == (WIDTH,)
    assert np.isfinite(made).all()


def test_motion_follows_what_the_extractor_says() -> None:
    spec = ExtractorSpec(frames=3, stride=2, fps=4, width=2 * 5 + WIDTH, motion=True, pooling="mean-change",
                         sha256="0" * 64)  # fmt: skip
    maker = ClipMaker(spec, SMALL, lambda tensor: np.full((1, 5), 2, np.float32))
    shown = [ground(2 * step) for step in range(5)]
    made = [feature for picture in shown if (feature := maker.add(picture)) is not None]
    assert (spec.seen, spec.embedding) == (10, 5)
    assert [feature.shape for feature in made] == [(10 + WIDTH,)] * 2
    assert np.array_equal(made[1][:10], [2] * 5 + [0] * 5)
    assert np.array_equal(made[1][10:], of(shown[2:]))


@pytest.mark.parametrize("size", [(8, 8), (1080, 1920), (144, 17)])
def test_pictures_of_any_size_have_as_many_numbers(size: tuple[int, int]) -> None:
    chance = np.random.default_rng(2)
    shown = [chance.integers(0, 255, (*size, 3), np.uint8) for _ in range(3)]
    found = of(shown)
    assert found.shape == (WIDTH,)
    assert np.isfinite(found).all()
