import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Parity
from edge.preprocess import InputSpec, to_tensor
from edge.runtimes import Tensor
from export.disturb import DISTURBANCES
from export.held_out import Model, Scores, Thumbnails, Tiles, evenly, foreign, shrunk, thumbnails, tiles
from export.parity import (
    PROVISIONAL_MARGIN,
    Levels,
    ParityError,
    Reference,
    Tolerance,
    check,
    eager,
    measure,
    one_thread,
    rank_correlation,
    reference,
    strain,
)
from tests.builders import frame, scene
from tests.networks import Pointer, lively, pointing

SPEC = InputSpec()
TILE = InputSpec(frames=2, height=64, width=96, tiling="auto")  # of frames of 240 x 320


@pytest.fixture(scope="module")
def frames() -> Thumbnails:
    return thumbnails((frame(scene(seed), seed) for seed in range(6)), 4, SPEC)


@pytest.fixture(scope="module")
def pairs() -> Tiles:
    return tiles((frame(scene(seed), seed) for seed in range(7)), 4, TILE)


def altered(change: Callable[[Tensor], None], network: Pointer | None = None) -> Model:
    """The network with a change of its answer, 68 x 8 x 12."""
    model = eager(network or pointing())

    def run(tensor: Tensor) -> Tensor:
        evidence: Tensor = model(tensor).copy()
        change(evidence[0])
        return evidence

    return run


def scaled(factor: float) -> Callable[[Tensor], Tensor]:
    """A model whose every score is `factor` times that of a model which answers black."""
    return lambda tensor: tensor * np.float32(1 - factor**0.5)


def black(frames: Thumbnails) -> Reference:
    scores = frames.ask(scaled(1)).scores
    return Reference(scores, PROVISIONAL_MARGIN * float(scores[: frames.undisturbed].max()))


def at(scores: Scores) -> Callable[[Tensor], Tensor]:
    """A model that gives these scores in turn."""
    left = iter(scores)
    return lambda tensor: tensor + np.float32(next(left) ** 0.5)


class Counted(np.ndarray):  # type: ignore[type-arg]
    """A picture whose life can be watched."""

    __hash__ = object.__hash__


# Held-out frames


def test_a_shrunk_picture_gives_the_tensor_that_the_original_gives() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
    for spec in (SPEC, InputSpec(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))):
        small = shrunk(picture, spec)
        assert small.shape == (124, 124, 3)
        assert np.array_equal(to_tensor(small, spec), to_tensor(picture, spec))


def test_held_out_frames_come_as_they_are_and_in_every_disturbance(frames: Thumbnails) -> None:
    assert frames.undisturbed == 4
    assert len(frames.pictures) == 4 * (1 + len(DISTURBANCES))
    normal, disturbed = frames.pictures[:4], frames.pictures[4:]
    assert all(not np.array_equal(picture, normal[number % 4]) for number, picture in enumerate(disturbed))


def test_the_same_frames_are_disturbed_in_the_same_way_each_time(frames: Thumbnails) -> None:
    again = thumbnails((frame(scene(seed), seed) for seed in range(6)), 4, SPEC)
    assert all(np.array_equal(a, b) for a, b in zip(frames.pictures, again.pictures, strict=True))


@pytest.mark.parametrize("name", DISTURBANCES)
@pytest.mark.parametrize("size", [(124, 124), (37, 211)])
def test_a_disturbance_gives_a_new_picture_of_the_same_size(name: str, size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 100, np.uint8)
    picture[:, size[1] // 2 :] = 160
    before = picture.copy()
    disturbed = DISTURBANCES[name](picture, np.random.default_rng(3))
    assert disturbed.shape == picture.shape
    assert disturbed.dtype == np.uint8
    assert not np.array_equal(disturbed, before)
    assert np.array_equal(picture, before)


@given(st.integers(0, 500), st.integers(1, 40))
def test_frames_are_taken_evenly_from_a_stream_of_any_length(length: int, wanted: int) -> None:
    stream = (np.array(number) for number in range(length))
    taken = [int(picture) for picture in evenly(stream, wanted)]
    assert len(taken) == min(length, wanted)
    gaps = np.diff(taken)
    assert (gaps > 0).all()
    if wanted > 1 and length > wanted:
        assert taken[0] == 0
        assert gaps.max() <= 3 * gaps.min()
        assert taken[-1] >= length - 2 * gaps.max()


def test_taking_frames_evenly_keeps_few_in_memory() -> None:
    alive: weakref.WeakSet[Counted] = weakref.WeakSet()
    most = 0

    def stream() -> Iterator[Counted]:
        nonlocal most
        for _ in range(500):
            picture = np.zeros(1, np.uint8).view(Counted)
            alive.add(picture)
            most = max(most, len(alive))
            yield picture
            del picture

    assert len(evenly(stream(), 10)) == 10
    assert most <= 2 * 10 + 3


# Held-out tiles


def test_of_each_frame_come_the_central_tile_and_another(pairs: Tiles) -> None:
    assert pairs.undisturbed == len(pairs.pairs) == 2 * 4
    assert all(pair.now.shape == (64, 96, 3) for pair in pairs.pairs)
    first, second = pairs.pairs[:2]
    assert not np.array_equal(first.now, second.now)


def test_a_tile_is_paired_with_the_same_place_of_an_earlier_picture() -> None:
    seen = tiles((frame(scene(0), index) for index in range(3)), 3, TILE)
    assert [pair.earlier is None for pair in seen.pairs] == [True, True, False, False, False, False]
    for pair in seen.pairs[2:]:
        assert pair.earlier is not None
        assert np.array_equal(pair.now, pair.earlier)


def test_a_small_picture_gives_its_one_tile() -> None:
    small = tiles([frame(scene(0)[:40, :50])], 1, TILE)
    assert [pair.now.shape for pair in small.pairs] == [(64, 96, 3)]


def test_a_tile_does_not_keep_its_whole_picture_alive(pairs: Tiles) -> None:
    assert all(pair.now.base is None for pair in pairs.pairs)


def test_both_pictures_of_a_pair_are_disturbed_alike_and_the_same_each_time() -> None:
    still = tiles((frame(scene(0), index) for index in range(3)), 3, TILE)
    tensors, again = list(still.tensors()), list(still.tensors())
    assert len(tensors) == 6 * (1 + len(DISTURBANCES))
    assert all(np.array_equal(tensor[0, :3], tensor[0, 3:]) for tensor in tensors)
    assert all(np.array_equal(one, other) for one, other in zip(tensors, again, strict=True))
    assert all(not np.array_equal(tensor, tensors[n % 6]) for n, tensor in enumerate(tensors[6:]))


def test_the_score_of_a_tile_is_its_most_foreign_window() -> None:
    logits = np.full((4, 8, 12), -30, np.float32)
    logits[:, 3, 5] = 30  # 2 x 2 of the 3 x 3 pixels around it
    assert foreign(logits).max() == pytest.approx(4 / 9)


# The figures


def test_a_variant_that_agrees_has_no_drift_and_flips_no_alarm(frames: Thumbnails) -> None:
    found = measure(frames, black(frames), scaled(1), "twin", Tolerance())
    assert (found.frames, found.max_drift, found.mean_drift) == (28, 0, 0)
    assert found.rank_correlation == pytest.approx(1)
    assert (found.alarms_gained, found.alarms_lost, found.within_tolerance) == (0, 0, True)


@pytest.mark.parametrize(("factor", "within"), [(1.004, True), (0.996, True), (1.006, False), (0.99, False)])
def test_drift_is_relative_and_counts_both_ways(frames: Thumbnails, factor: float, within: bool) -> None:
    found = measure(frames, black(frames), scaled(factor), "bright", Tolerance())
    assert found.max_drift == pytest.approx(abs(factor - 1), rel=1e-2)
    assert found.mean_drift == pytest.approx(abs(factor - 1), rel=1e-2)
    assert found.within_tolerance is within


def test_one_drifting_frame_among_many_is_enough(frames: Thumbnails) -> None:
    truth = Reference(np.linspace(1, 2, 28), 5)
    scores = truth.scores.copy()
    scores[7] *= 1.006
    found = measure(frames, truth, at(scores), "one", Tolerance())
    assert found.max_drift == pytest.approx(0.006, rel=1e-3)
    assert found.mean_drift == pytest.approx(0.006 / 28, rel=1e-2)
    assert not found.within_tolerance


def test_alarms_gained_and_lost_are_counted_at_the_threshold(frames: Thumbnails) -> None:
    truth = Reference(np.array([0.9, 0.99, 1.01, 1.1] * 7), threshold=1)
    found = measure(frames, truth, at(np.array([0.9, 1.02, 0.98, 1.1] * 7)), "flip", Tolerance())
    assert (found.alarms_gained, found.alarms_lost) == (7, 7)


def test_a_variant_that_shuffles_the_frames_fails_by_rank_alone(frames: Thumbnails) -> None:
    truth = Reference(np.linspace(1, 1.001, 28), 5)
    found = measure(frames, truth, at(truth.scores[::-1]), "shuffled", Tolerance())
    assert found.max_drift < Tolerance.max_drift
    assert found.rank_correlation == pytest.approx(-1)
    assert not found.within_tolerance


def test_ranks_share_their_mean_where_scores_tie() -> None:
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5)
    a, b = np.array([1.0, 2, 2, 3]), np.array([1.0, 5, 6, 7])
    assert rank_correlation(a, b) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert rank_correlation(a, -b) == pytest.approx(-4.5 / (4.5 * 5) ** 0.5)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30, unique=True))
def test_ranks_see_only_the_order(values: list[float]) -> None:
    scores = np.array(values)
    stretched = np.argsort(np.argsort(scores)).astype(float) ** 3
    assert rank_correlation(scores, stretched) == pytest.approx(1)


def test_scores_that_never_change_have_no_order() -> None:
    flat, rising = np.ones(3), np.arange(3.0)
    assert rank_correlation(flat, flat) == 1
    assert rank_correlation(flat, rising) == 0


def test_a_scout_that_agrees_moves_neither_score_nor_features(pairs: Tiles) -> None:
    truth = reference(pairs, pointing())
    assert truth.scores.std() > 0.01  # else agreeing would say nothing
    found = measure(pairs, truth, altered(lambda evidence: None), "twin", Tolerance())
    assert (found.frames, found.max_drift, found.feature_drift, found.within_tolerance) == (56, 0, 0, True)


def test_features_that_move_fail_though_the_scores_stay(pairs: Tiles) -> None:
    truth = reference(pairs, pointing())
    assert truth.spread is not None
    step = 0.03 * truth.spread[0, :, :, None]

    def moved(evidence: Tensor) -> None:
        evidence[4:] += step

    found = measure(pairs, truth, altered(moved), "moved", Tolerance())
    assert found.max_drift == 0
    assert found.feature_drift == pytest.approx(0.03, rel=1e-2)
    assert not found.within_tolerance
    with pytest.raises(ParityError, match=r"moved moves the features .* 3\.000% .* 2\.000% allowed"):
        check({"moved": found}, Tolerance())


def test_a_score_far_below_the_normal_ones_is_held_against_those(pairs: Tiles) -> None:
    truth = reference(pairs, pointing())
    normal = float(np.median(truth.scores[: pairs.undisturbed]))
    assert truth.floor == pytest.approx(normal)
    quiet = Reference(np.full(56, 1e-9), 1, truth.floor, features=truth.features, spread=truth.spread)
    found = measure(
        pairs, quiet, altered(lambda evidence: evidence.__setitem__(slice(4), -16)), "q", Tolerance()
    )
    assert 0 < found.max_drift < 1e-5


def test_a_feature_that_never_changes_does_not_turn_rounding_into_drift(pairs: Tiles) -> None:
    network = pointing()
    with torch.no_grad():
        network.features.weight[7] = 0

    def rounded(evidence: Tensor) -> None:
        evidence[4 + 7] += np.float32(1e-6)

    found = measure(pairs, reference(pairs, network), altered(rounded, network), "rounded", Tolerance())
    assert found.feature_drift is not None
    assert found.feature_drift < 1e-3


def test_features_that_are_nan_are_refused(pairs: Tiles) -> None:
    def broken(evidence: Tensor) -> None:
        evidence[9] = np.nan

    with pytest.raises(ParityError, match="NaN or infinity on 56 of 56"):
        measure(pairs, reference(pairs, pointing()), altered(broken), "broken", Tolerance(1e9, -1, 1e9))


# Heat, and the threshold of a calibrated bundle


def warmed(factor: float) -> Model:
    """A model whose errors are `factor` times those of one that answers black, in the left half."""

    def run(tensor: Tensor) -> Tensor:
        answer = np.zeros_like(tensor)
        answer[..., :62] = tensor[..., :62] * np.float32(1 - factor**0.5)
        return answer

    return run


def hot(frames: Thumbnails) -> Reference:
    said = frames.ask(scaled(1))
    return replace(black(frames), heats=said.heats)


def test_heat_that_stays_where_it_was_is_in_common(frames: Thumbnails) -> None:
    assert measure(frames, hot(frames), scaled(1), "twin", Tolerance()).heat_iou == 1


def test_heat_that_goes_from_half_the_picture_is_missed(frames: Thumbnails) -> None:
    found = measure(frames, hot(frames), warmed(0.01), "half", Tolerance())
    assert found.heat_iou is not None
    assert 0.3 < found.heat_iou < 0.7


def test_heat_that_comes_elsewhere_counts_against_it(frames: Thumbnails) -> None:
    found = measure(frames, hot(frames), scaled(1.5), "hot", Tolerance())
    assert found.heat_iou is not None
    assert found.heat_iou < 0.9


def test_pictures_without_any_heat_agree(frames: Thumbnails) -> None:
    truth = replace(hot(frames), levels=Levels(alarm=1e9, hot=1e9))
    assert measure(frames, truth, scaled(1.2), "cool", Tolerance()).heat_iou == 1


def test_alarms_are_counted_at_the_calibrated_level_of_one_place(frames: Thumbnails) -> None:
    truth = hot(frames)
    assert truth.heats is not None
    peaks = np.sort(truth.heats.max(axis=(1, 2)))
    level = float(peaks[13] + peaks[14]) / 2
    calibrated = replace(truth, levels=Levels(alarm=level, hot=level))
    expected = int((peaks * 1.3 >= level).sum() - (peaks >= level).sum())
    found = measure(frames, calibrated, scaled(1.3), "loud", Tolerance())
    assert expected > 0
    assert (found.alarms_gained, found.alarms_lost) == (expected, 0)


def test_a_few_pictures_are_the_same_pictures_in_the_same_disturbances(
    frames: Thumbnails, pairs: Tiles
) -> None:
    few = frames.few()
    assert (few.undisturbed, len(few.pictures)) == (1, 1 + len(DISTURBANCES))
    assert all(few.pictures[kind] is frames.pictures[4 * kind] for kind in range(1 + len(DISTURBANCES)))
    assert pairs.few().pairs == (pairs.pairs[0], pairs.pairs[5])


# The gate


def test_strain_is_the_share_of_the_tolerance_that_is_used_up() -> None:
    assert strain(parity(max_drift=0.004), Tolerance()) == pytest.approx(0.8)
    assert strain(parity(rank=0.998), Tolerance()) == pytest.approx(2)
    features = parity(max_drift=0.004).model_copy(update={"feature_drift": 0.05})
    assert strain(features, Tolerance()) == pytest.approx(2.5)


def test_a_flipped_alarm_alone_is_too_much_strain() -> None:
    assert strain(parity().model_copy(update={"alarms_lost": 1}), Tolerance()) > 1
    assert strain(parity().model_copy(update={"alarms_gained": 1}), Tolerance()) > 1


def parity(max_drift: float = 0.0, rank: float = 1.0) -> Parity:
    return Parity(
        frames=10,
        max_drift=max_drift,
        mean_drift=0,
        rank_correlation=rank,
        alarms_gained=0,
        alarms_lost=0,
        within_tolerance=False,
    )


def test_a_failing_variant_is_named_with_its_figure_and_the_tolerance() -> None:
    with pytest.raises(ParityError) as caught:
        check({"fp32": parity(), "int8-cpu": parity(max_drift=0.47)}, Tolerance())
    sentence = str(caught.value)
    assert "int8-cpu moves a score by 47.000%, more than the 0.500% allowed" in sentence
    assert "fp32 " not in sentence
    assert "--allow-drift" in sentence
    assert caught.value.exit_code == 3


def test_a_low_rank_correlation_fails_too_and_says_so() -> None:
    with pytest.raises(ParityError, match=r"int8-cpu .*0\.99812.*less than the 0\.999 "):
        check({"int8-cpu": parity(rank=0.99812)}, Tolerance())


def test_variants_at_the_tolerance_pass() -> None:
    check({"fp32": parity(max_drift=0.005, rank=0.999)}, Tolerance())


def test_a_variant_that_gives_nan_is_refused_whatever_is_tolerated(frames: Thumbnails) -> None:
    with pytest.raises(ParityError, match="variant broken gives NaN or infinity on 28 of 28"):
        measure(
            frames, black(frames), lambda tensor: tensor * np.float32(np.nan), "broken", Tolerance(1e9, -1)
        )


def test_a_network_that_gives_nan_is_refused(frames: Thumbnails) -> None:
    network = lively()
    variance = network.decoder[0][2].running_var  # type: ignore[index]
    assert isinstance(variance, torch.Tensor)
    variance.fill_(-1)  # finite, yet its root is not
    with pytest.raises(ParityError, match="the checkpoint in PyTorch gives NaN"):
        reference(frames, network)


def test_the_provisional_threshold_lies_just_above_every_undisturbed_frame(frames: Thumbnails) -> None:
    network = lively()
    truth = reference(frames, network)
    normal = frames.ask(eager(network)).scores[: frames.undisturbed]
    assert normal.max() < truth.threshold < 1.02 * normal.max()


def test_pytorch_gets_its_threads_back() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
