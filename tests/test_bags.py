"""Bags: segments by the published rule, streams as in flight, splits by source, the way back to frames."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clips import ClipSpec, ExtractorSpec, windows
from edge.errors import UsageError
from tests.bagging import SPEC, WIDTH, bag, bags, raw
from train.bags import (
    Bag,
    check_widths,
    clip_truth,
    folds,
    frame_scores,
    groups,
    joined,
    running_mean,
    segment_spans,
    segment_truth,
    segmented,
    sources_of,
    split,
    spread,
    stream,
    without_truth,
)


def published_segments(features: np.ndarray) -> np.ndarray:
    """The released code, retold: MATLAB's round(linspace(1, n, 33)), clips a to b - 1 of each pair, or clip a
    where a pair holds none; each mean to length 1."""
    count = len(features)
    marks = [int(np.floor(1 + (count - 1) * k / 32 + 0.5)) for k in range(33)]
    rows = []
    for begin, end in pairwise(marks):
        part = features[begin - 1 : end - 1] if end > begin else features[begin - 1 : begin]
        mean = part.mean(0)
        rows.append(mean / np.linalg.norm(mean))
    return np.stack(rows)


@pytest.mark.parametrize("clips", [1, 2, 5, 31, 33, 34, 64, 100, 321])
def test_segments_are_those_of_the_published_rule_but_for_the_last_clip(clips: int) -> None:
    """The published code leaves the very last clip out; here the last segment takes it in."""
    features = raw(1, True, clips)
    ours, theirs = segmented(features), published_segments(features)
    assert ours.shape == (32, WIDTH)
    assert np.allclose(ours[:-1], theirs[:-1], atol=1e-6)
    first, behind = segment_spans(clips)[-1]
    last = features[first:behind].mean(0)
    assert behind == clips
    assert np.allclose(ours[-1], last / np.linalg.norm(last), atol=1e-6)


@given(st.integers(1, 500), st.integers(1, 64))
def test_segments_cover_every_clip_in_order_and_hold_one_at_least(clips: int, segments: int) -> None:
    spans = segment_spans(clips, segments)
    assert len(spans) == segments
    assert spans[0, 0] == 0
    assert spans[-1, 1] == clips
    assert (spans[:, 1] > spans[:, 0]).all()
    assert (np.diff(spans[:, 0]) >= 0).all()
    assert set(range(clips)) == {clip for a, b in spans for clip in range(a, b)}


def test_features_cut_into_segments_already_stay_as_they_are() -> None:
    assert segment_spans(32).tolist() == [[n, n + 1] for n in range(32)]
    features = raw(4, True, 32)
    assert np.allclose(segmented(features, "none"), features)


def test_a_bag_without_clips_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="a bag needs one clip at least; this video is shorter than one"):
        segment_spans(0)


def test_the_mean_comes_before_the_length() -> None:
    """Normalised first, a long and a short feature would weigh the same."""
    features = np.array([[9.0, 0.0], [0.0, 1.0]], np.float32)
    assert segmented(features, segments=1)[0] == pytest.approx(np.array([9, 1]) / np.sqrt(82))
    assert segmented(features, "none", segments=1)[0].tolist() == [4.5, 0.5]


@given(st.integers(1, 90))
def test_scores_of_segments_come_back_to_their_clips(clips: int) -> None:
    scores = np.random.default_rng(clips).normal(size=32)
    found = spread(scores, clips)
    spans = segment_spans(clips)
    assert found.shape == (clips,)
    for clip in range(clips):
        assert found[clip] == max(s for s, (a, b) in zip(scores, spans, strict=True) if a <= clip < b)


def test_half_of_its_clips_make_a_segment_anomalous() -> None:
    assert segment_spans(4, 2).tolist() == [[0, 2], [2, 4]]
    assert segment_truth(np.array([True, False, False, False]), 2).tolist() == [True, False]
    assert segment_truth(np.array([False, True, True, True, False, False]), 2).tolist() == [True, False]


@pytest.mark.parametrize("average", [1, 2, 4])
@pytest.mark.parametrize("clips", [1, 3, 20])
def test_streams_of_training_are_what_flight_sees(average: int, clips: int) -> None:
    features = raw(2, True, clips)
    spec = ClipSpec(extractor=SPEC, average=average)
    assert stream(features, average, 64) == pytest.approx(windows(features, spec)[:, 0], abs=1e-6)


def test_a_long_bag_is_averaged_down_without_skipping_a_clip() -> None:
    features = np.arange(1, 21, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)
    found = stream(features, 1, 5, "none")
    assert found[:, 0].tolist() == [2.5, 6.5, 10.5, 14.5, 18.5]


@given(st.integers(1, 30), st.integers(1, 9))
def test_a_running_mean_is_of_as_many_as_there_are(clips: int, average: int) -> None:
    features = raw(clips, False, clips)
    slow = [features[max(0, end - average) : end].mean(0) for end in range(1, clips + 1)]
    assert running_mean(features, average) == pytest.approx(np.stack(slow), abs=1e-5)


def test_a_clip_is_anomalous_if_half_of_its_frames_are() -> None:
    spec = ExtractorSpec(frames=4, stride=2, width=1, sha256="a" * 64)
    frames = np.array([0, 0, 0, 1, 1, 0, 0, 0, 0], bool)
    assert clip_truth(frames, spec).tolist() == [False, True, False]


def test_a_frame_has_the_score_of_the_newest_whole_clip_or_of_the_one_that_it_begins() -> None:
    spec = ExtractorSpec(frames=4, stride=2, width=1, sha256="a" * 64)
    scores = np.array([1.0, 2.0, 3.0])
    assert frame_scores(scores, spec, 9, causal=True).tolist() == [1, 1, 1, 1, 1, 2, 2, 3, 3]
    assert frame_scores(scores, spec, 9, causal=False).tolist() == [1, 1, 2, 2, 3, 3, 3, 3, 3]


def test_scores_of_another_length_are_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"9 frames make 3 clips of 4 every 2, there are 2 scores; the"):
        frame_scores(np.zeros(2), SPEC, 9, causal=True)


def test_joined_videos_know_which_clips_are_whose() -> None:
    whole = joined("ab", [bag(0, False, 3, "x"), bag(1, True, 2, "y"), bag(2, False, 1, "x")])
    assert whole.anomalous
    assert whole.sources == ("x", "y")
    assert whole.truth is not None
    assert whole.truth.tolist() == [False, False, False, True, True, False]
    assert whole.features.shape == (6, WIDTH)
    assert without_truth(whole).truth is None
    with pytest.raises(ValueError, match="6 clips, truth of 2"):
        Bag("c", whole.features, True, ("x",), np.zeros(2, bool))


def test_bags_that_share_a_source_through_others_are_one_group() -> None:
    def of(name: str, *sources: str) -> Bag:
        return Bag(name, raw(0, False, 1), False, sources)

    found = groups([of("1", "a"), of("2", "b"), of("3", "c"), of("4", "b", "a"), of("5", "d"), of("6", "b")])
    assert sorted(sorted(one.name for one in group) for group in found) == [
        ["1", "2", "4", "6"],
        ["3"],
        ["5"],
    ]
    assert sources_of([one for group in found for one in group]) == 3


@given(st.lists(st.integers(0, 30), min_size=12, max_size=60), st.integers(0, 5))
def test_no_source_is_on_two_sides_of_a_split(sources: list[int], seed: int) -> None:
    many = [bag(n, bool(n % 2), 1, f"s{source}") for n, source in enumerate(sources)]
    try:
        parts = split(many, seed)
    except UsageError as error:
        assert "needs both classes" in str(error)  # noqa: PT017 - either is right for such a draw
        return
    names = [{one.sources[0] for one in part} for part in parts.values()]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]
    assert sum(len(part) for part in parts.values()) == len(many)


def test_a_tenth_each_is_held_out_of_both_classes_and_the_seed_says_which() -> None:
    parts = split(bags(50), 0)
    assert [len(part) for part in parts.values()] == [80, 10, 10]
    assert [sum(one.anomalous for one in part) for part in parts.values()] == [40, 5, 5]
    again, other = split(bags(50), 0), split(bags(50), 1)
    test = [one.name for one in parts["test"]]
    assert [one.name for one in again["test"]] == test
    assert [one.name for one in other["test"]] != test


def test_with_few_sources_everything_is_trained_on() -> None:
    parts = split(bags(4), 0)
    assert [len(part) for part in parts.values()] == [8, 0, 0]
    with pytest.raises(UsageError, match="the bags come from 8 sources; 9 parts need as many at least"):
        folds(bags(4), 9, 0)


@pytest.mark.parametrize(("only", "option"), [(False, "--anomalous"), (True, "--normal")])
def test_one_class_alone_is_one_sentence_that_names_the_option(only: bool, option: str) -> None:
    with pytest.raises(UsageError, match=f"needs both classes; give some by {option}"):
        split([one for one in bags(6) if one.anomalous is only], 0)


def test_another_width_is_one_sentence_that_names_the_video() -> None:
    odd = Bag("odd", np.zeros((2, 3), np.float32), True, ("s",))
    assert check_widths(bags(2)) == WIDTH
    with pytest.raises(UsageError, match="odd has features 3 wide, the others 6; make all of them by one"):
        check_widths([*bags(2), odd])
