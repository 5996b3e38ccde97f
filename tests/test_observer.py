from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle import Branch, Scoring
from edge.frames import Frame, Picture
from edge.latent import Latent
from edge.motion import STILL
from edge.observer import Memory, Observer, Raw, Stopwatch, judged, probability
from edge.places import Gatherer
from edge.preprocess import InputSpec
from edge.runtimes import Tensor
from tests.builders import TILE, frame
from tests.route import SIZE, flight, strip, view
from tests.test_motion import filmed, ground, turned, under_shadow

MOVING = Scoring(branches=(Branch(source="error", window=3), Branch(source="motion", window=3)))
PAIRS = Scoring(branches=(Branch(source="head", window=3), Branch(source="motion", window=3)))
TILED = InputSpec(frames=2, height=TILE[0], width=TILE[1], tiling="auto")


class Recording:
    """A runtime that keeps what it was given; every cell of its map is the tile's number."""

    def __init__(self) -> None:
        self.given: list[NDArray[np.float32]] = []

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (1, 6, *TILE)

    def __call__(self, tensor: Tensor) -> Tensor:
        self.given.append(tensor.copy())
        if tensor.shape[1] == 3:
            return tensor
        return np.full((1, 68, TILE[0] // 8, TILE[1] // 8), len(self.given), np.float32)

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def test_logits_are_laid_out_as_a_network_folds_them() -> None:
    """Of each 2 x 2: top left, top right, bottom left, bottom right are channels 0 to 3."""
    folded = np.array([[[-30.0, 1]], [[2, 3]], [[4, 5]], [[6, 30]]], np.float32)
    laid = [[-30, 2, 1, 3], [4, 6, 5, 30]]
    np.testing.assert_allclose(probability(folded), 1 / (1 + np.exp(-np.array(laid, np.float64))), rtol=1e-5)


def test_probabilities_of_wild_logits_are_finite() -> None:
    wild = np.full((4, 2, 2), np.inf, np.float32)
    assert probability(wild).max() <= 1
    assert probability(-wild).min() >= 0


def gray(value: float) -> NDArray[np.float32]:
    return np.full((2, 3), value, np.float32)


def test_each_branch_reads_its_own_source_and_a_missing_one_is_none() -> None:
    sources = ("error", "head", "motion", "latent")
    scoring = Scoring(branches=tuple(Branch(source=source, window=1) for source in sources))
    raw = Raw(error=gray(1), head=gray(2), features=np.full((4, 2, 3), 3, np.float32), speed=gray(4))
    latent = Latent(np.zeros((4, 1, 1), np.float32), np.eye(4, dtype=np.float32))
    found = raw.maps(scoring, latent)
    assert [None if m is None else float(m.mean()) for m in found] == [1, 2, 4, 9]
    assert [m is None for m in raw.maps(scoring, None)] == [False, False, False, True]
    assert Raw().maps(scoring, latent) == [None] * 4


@pytest.mark.parametrize("fps", [2, 10, 30])
def test_memory_fades_in_seconds_whatever_the_rate_of_frames(fps: int) -> None:
    memory = Memory(0.5)
    memory([gray(1)], 0.0)
    for n in range(1, fps + 1):
        (kept,) = memory([gray(0)], n / fps)
    assert kept is not None
    np.testing.assert_allclose(kept, np.exp(-2), rtol=1e-5)


def test_memory_of_what_stays_is_what_stays() -> None:
    memory = Memory(0.3)
    for n in range(5):
        (kept,) = memory([gray(7)], n / 4)
    np.testing.assert_allclose(kept, 7)


def test_without_a_time_constant_nothing_is_remembered() -> None:
    memory, new = Memory(0), gray(2)
    memory([gray(9)], 0.0)
    assert memory([new], 0.1)[0] is new


@pytest.mark.parametrize("then", [-1.0, 0.0])
def test_time_that_stands_or_runs_backwards_forgets(then: float) -> None:
    memory = Memory(0.5)
    memory([gray(9)], 0.0)
    np.testing.assert_array_equal(memory([gray(1)], then)[0], gray(1))


def test_a_branch_that_pauses_forgets_and_the_others_do_not() -> None:
    memory = Memory(1.0)
    memory([gray(8), gray(8)], 0.0)
    assert memory([None, gray(0)], 0.5)[0] is None
    one, other = memory([gray(0), gray(0)], 1.0)
    assert one is not None
    assert other is not None
    assert one.max() == 0
    np.testing.assert_allclose(other, 8 * np.exp(-1), rtol=1e-5)


def test_a_map_of_another_size_begins_anew() -> None:
    memory = Memory(1.0)
    memory([gray(8)], 0.0)
    assert memory([np.zeros((4, 4), np.float32)], 0.1)[0].tolist() == np.zeros((4, 4)).tolist()  # type: ignore[union-attr]


def colour(picture: NDArray[np.uint8]) -> Picture:
    return np.repeat(picture[..., None], 3, axis=2)


def moving(count: int) -> list[Frame]:
    scene = ground()
    return [frame(colour(filmed(scene, turned(0, 5.4 * n, 2.3 * n))), n) for n in range(count)]


def test_a_model_of_one_picture_tells_of_motion_where_the_scoring_asks_for_it() -> None:
    spec = InputSpec()
    with Recording() as runtime:
        asked = Observer(runtime, spec, MOVING, (124, 124))
        plain = Observer(runtime, spec, Scoring(), (124, 124))
        frames = moving(3)
        speeds = [asked.look(one, Stopwatch()).speed for one in frames]
        assert [speed is None for speed in speeds] == [True, False, False]
        assert [plain.look(one, Stopwatch()).speed for one in frames] == [None] * 3
    assert {tensor.shape for tensor in runtime.given} == {(1, 3, 124, 124)}


def test_tiles_are_of_the_picture_now_and_of_the_earlier_one_laid_on_it() -> None:
    with Recording() as runtime:
        observer = Observer(runtime, TILED, PAIRS, (216, 384))
        first, second = (observer.look(one, Stopwatch()) for one in moving(2))
    before, after = runtime.given
    np.testing.assert_array_equal(before[0, :3], before[0, 3:])
    apart = np.abs(after[0, :3] - after[0, 3:])[:, 20:190, 20:360].mean()
    assert 0 < apart < 0.2 * np.abs(after[0, :3] - before[0, :3])[:, 20:190, 20:360].mean()
    assert first.speed is None
    assert second.speed is not None
    assert second.head is not None
    assert second.head.shape == (54, 96)


def test_a_head_says_nothing_of_where_the_edge_of_a_shadow_passes() -> None:
    scene = filmed(ground(), STILL) // 4 + 90
    with Recording() as runtime:
        observer = Observer(runtime, TILED, PAIRS, (216, 384))
        observer.look(frame(colour(under_shadow(scene, 150)), 0), Stopwatch())
        raw = observer.look(frame(colour(under_shadow(scene, 162)), 1), Stopwatch())
    assert raw.head is not None
    assert raw.head[:, 37:42].max() < 0.05  # of 96 columns; the edge is in the fortieth
    assert raw.head[:, :20].min() > 0.5
    assert raw.head[:, 60:].min() > 0.5


def test_features_are_put_together_only_for_a_branch_that_looks_at_them() -> None:
    found = {}
    for source in ("head", "latent"):
        scoring = Scoring(branches=(Branch(source=source, window=3),))
        with Recording() as runtime:
            found[source] = Observer(runtime, TILED, scoring, (216, 384)).look(moving(1)[0], Stopwatch())
    assert found["head"].features is None
    assert found["latent"].features is not None
    assert found["latent"].features.shape == (64, 27, 48)
    np.testing.assert_array_equal(found["head"].head, found["latent"].head)


def test_frames_skipped_are_paired_with_and_cost_no_run() -> None:
    frames = moving(3)
    with Recording() as runtime:
        observer = Observer(runtime, TILED, PAIRS, (216, 384))
        observer.skip(frames[0])
        observer.skip(frames[1])
        raw = observer.look(frames[2], Stopwatch())
    assert len(runtime.given) == 1
    assert raw.speed is not None


def test_the_stages_of_a_frame_are_told_apart(tmp_path: Path) -> None:
    watch = Stopwatch()
    with Recording() as runtime:
        observer = Observer(runtime, TILED, PAIRS, (500, 900))
        observer.look(moving(1)[0], watch)
    assert len(runtime.given) == 4
    assert set(watch.laps) == {"preprocess", "motion", "infer"}


def test_a_model_of_a_route_sees_the_same_place_on_another_flight() -> None:
    land, gatherer = strip(), Gatherer()
    gatherer.begin()
    for picture in flight(land, 1):
        gatherer.add(picture)
    spec = TILED.model_copy(update={"beside": "route"})
    with Recording() as runtime:
        observer = Observer(runtime, spec, PAIRS, SIZE, gatherer.places().walk())
        watch = Stopwatch()
        raw = observer.look(frame(view(land, 400), 0), watch)
        off = observer.look(frame(view(strip(seed=9), 400), 1), watch)
    assert "recall" in watch.laps
    assert raw.judged > 0.7
    assert off.judged == 0
    known, unknown = runtime.given[0], runtime.given[-1]
    apart = np.abs(known[0, :3] - known[0, 3:])
    assert 0 < apart[:, :, :400].mean() < 0.05
    np.testing.assert_array_equal(unknown[0, :3], unknown[0, 3:])  # nothing recalled: judged alone
    assert raw.head is not None


def test_where_no_other_flight_was_nothing_is_judged() -> None:
    known = np.zeros((80, 120), np.bool_)
    known[:, :60] = True
    sure = judged(known, (20, 30))
    assert sure[:, :12].all()
    assert not sure[:, 14:].any()
    assert not judged(None, (20, 30)).any()
    assert judged(np.ones((80, 120), np.bool_), (20, 30)).all()
