from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.peers import (
    LAG_S,
    PEERS,
    FrameDifference,
    Lagged,
    OpticalFlow,
    PcaReconstruction,
    Peer,
    Rx,
    Thinned,
    blob_shares,
    principal_axes,
    reduced,
)
from edge.frames import Frame, Picture
from tests.builders import frame

FPS = 10.0
HEIGHT, WIDTH = 120, 160


def ground() -> Picture:
    """Structure that does not move, the same every time."""
    random = np.random.default_rng(0)
    coarse = random.integers(60, 160, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    return coarse.repeat(4, 0).repeat(4, 1)


def noisy(number: int) -> Picture:
    noise = np.random.default_rng(number).normal(0, 2, (HEIGHT, WIDTH, 3))
    return (ground() + noise).clip(0, 255).astype(np.uint8)


def with_square(picture: Picture, x: int, y: int, side: int = 20) -> Picture:
    rough = np.random.default_rng(9).integers(180, 256, (side, side, 3), np.uint8)
    picture[y : y + side, x : x + side] = rough
    return picture


def calm(count: int, first: int = 0) -> Iterator[Frame]:
    return (frame(noisy(number), number, FPS) for number in range(first, first + count))


def intruded(count: int, first: int) -> Iterator[Frame]:
    """A square walks in from the left."""
    for step in range(count):
        yield frame(with_square(noisy(first + step), 10 + 4 * step, 50), first + step, FPS)


def ready(name: str) -> Peer:
    peer = PEERS[name]()
    peer.fit(calm(40, 1000))
    peer.begin()
    return peer


@pytest.mark.parametrize("name", [name for name in PEERS if name != "pca-mean"])
def test_an_intruder_scores_above_every_calm_frame(name: str) -> None:
    peer = ready(name)
    quiet = [peer.look(each)[0] for each in calm(15)]
    loud = [peer.look(each)[0] for each in intruded(8, 15)]
    assert min(loud[2:]) > max(quiet[2:])


def test_the_mean_error_of_pca_rises_too() -> None:
    peer = ready("pca-mean")
    assert peer.look(next(intruded(1, 50)))[0] > 1.2 * peer.look(next(calm(1, 50)))[0]


@pytest.mark.parametrize("name", PEERS)
def test_heat_is_hottest_where_the_intruder_is(name: str) -> None:
    peer = ready(name)
    for each in [*calm(5), *intruded(4, 5)]:
        _, heat = peer.look(each)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    scale = (HEIGHT / heat.shape[0], WIDTH / heat.shape[1])
    assert 40 <= y * scale[0] <= 80
    assert 5 <= x * scale[1] <= 55


@pytest.mark.parametrize("name", PEERS)
def test_scores_know_nothing_of_later_frames(name: str) -> None:
    shared = [*calm(4), *intruded(2, 4)]
    one, other = ready(name), ready(name)
    first = [one.look(each)[0] for each in [*shared, *intruded(3, 6)]]
    second = [other.look(each)[0] for each in [*shared, *calm(3, 6)]]
    assert first[:6] == second[:6]


@pytest.mark.parametrize("name", PEERS)
def test_begin_forgets_the_video_before(name: str) -> None:
    peer = ready(name)
    before = [peer.look(each)[0] for each in calm(6)]
    for each in intruded(8, 6):
        peer.look(each)
    peer.begin()
    assert [peer.look(each)[0] for each in calm(6)] == before


@pytest.mark.parametrize("name", PEERS)
def test_other_sizes_and_grey_pictures_are_taken(name: str) -> None:
    peer = ready(name)
    for size in ((33, 47), (240, 700)):
        peer.begin()
        for number in range(3):
            score, heat = peer.look(frame(np.full((*size, 3), 90 + number, np.uint8), number, FPS))
            assert np.isfinite(score)
            assert np.isfinite(heat).all()


def test_boxes_begin_at_the_level_and_lie_on_the_intruder_in_native_pixels() -> None:
    peer = FrameDifference()
    looks = [*calm(3), *intruded(3, 3)]
    heats = [peer.look(each)[1] for each in looks]
    peer.begin()
    peer.level = float(heats[-1].max()) * 0.6
    found = [peer.inspect(each).boxes for each in looks]
    assert found[2] == ()
    box = found[-1][0]
    assert box.x < 10 + 4 * 2 + 10 < box.x + box.width
    assert box.y < 60 < box.y + box.height
    assert box.peak == pytest.approx(float(heats[-1].max()))


def test_without_a_level_there_are_no_boxes() -> None:
    peer = FrameDifference()
    assert all(peer.inspect(each).boxes == () for each in intruded(4, 0))


def test_frame_difference_is_the_change_over_two_frames_at_10_fps() -> None:
    peer = FrameDifference()
    blank = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pictures = [blank, blank + np.uint8(10), blank + np.uint8(30)]
    scores = [peer.look(frame(picture, n, FPS))[0] for n, picture in enumerate(pictures)]
    assert scores == pytest.approx([0, 10, 30])


def test_flow_is_pixels_in_the_lag_whatever_the_time_between_frames() -> None:
    random = np.random.default_rng(4)
    wide = (
        random.integers(0, 256, (HEIGHT // 4, WIDTH // 2, 1), np.uint8).repeat(3, 2).repeat(4, 0).repeat(4, 1)
    )
    for fps in (10.0, 5.0, 2.0):
        peer, speed = OpticalFlow(), 20  # pixels a second
        for number in range(4):
            x = round(40 + speed * number / fps)
            score, _ = peer.look(frame(np.ascontiguousarray(wide[:, x : x + WIDTH]), number, fps))
        assert score == pytest.approx(speed * LAG_S, rel=0.25)


def test_lagged_gives_the_youngest_picture_old_enough() -> None:
    lagged = Lagged()
    found = [lagged(np.array([n]), n / 10) for n in range(5)]
    assert found[0] is None
    assert [int(one[0][0]) for one in found[1:] if one] == [0, 0, 1, 2]


def test_lagged_starts_anew_after_a_gap_and_when_time_runs_backwards() -> None:
    lagged = Lagged()
    lagged(np.array([0]), 0.0)
    assert lagged(np.array([1]), 9.0) is None
    assert lagged(np.array([2]), 1.0) is None


def test_thinned_keeps_an_even_spread_of_a_stream_of_any_length() -> None:
    for length in (3, 10, 11, 100, 1000):
        thinned = Thinned(10)
        for number in range(length):
            thinned.add(np.array([number]))
        kept = [int(one[0]) for one in thinned.kept]
        assert len(set(np.diff(kept))) <= 1
        assert min(length, 5) <= len(kept) <= 10
        assert kept[-1] >= length * 0.8 - 1


def test_principal_axes_are_those_of_a_singular_value_decomposition() -> None:
    points = np.random.default_rng(1).normal(size=(12, 40)).astype(np.float32)
    points -= points.mean(axis=0)
    mine, theirs = principal_axes(points, 5), np.linalg.svd(points)[2][:5]
    assert np.abs(mine @ theirs.T) == pytest.approx(np.eye(5), abs=1e-3)


def test_principal_axes_leave_out_what_does_not_vary() -> None:
    flat = np.outer([-1.0, 0.0, 1.0], np.ones(8)).astype(np.float32)
    assert principal_axes(flat, 150).shape == (1, 8)


def test_pca_rebuilds_what_it_was_fitted_on_and_counts_its_numbers() -> None:
    peer, shown = PcaReconstruction(peak=False), list(calm(20))
    peer.fit(iter(shown))
    assert max(peer.look(each)[0] for each in shown) < 1e-9
    assert peer.parameters == (19 + 1) * 3 * 124**2


def test_rx_finds_a_rare_colour_and_the_local_one_also_within_a_gradient() -> None:
    ramp = np.linspace(0, 255, WIDTH, dtype=np.float32)[None, :, None].repeat(HEIGHT, 0).repeat(3, 2)
    odd = ramp.copy()
    odd[60:66, 40:46] = 255  # the colour of the right edge, far from it
    overall, nearby = Rx(local=False), Rx(local=True)
    for peer, hidden in ((overall, True), (nearby, False)):
        _, heat = peer.look(frame(odd.astype(np.uint8), 0, FPS))
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        assert (55 <= y <= 70 and 35 <= x <= 50) is not hidden


@pytest.mark.parametrize("name", ["mog2-share", "knn-share"])
def test_subtraction_knows_the_background_from_a_videos_first_frame(name: str) -> None:
    score, _ = ready(name).look(next(intruded(1, 0)))
    square = 20 * 20 / (HEIGHT * WIDTH)
    assert 0.5 * square < score < 3 * square


def test_blobs_carry_their_share_of_the_picture() -> None:
    mask = np.zeros((10, 20), np.uint8)
    mask[1:3, 1:3] = 1
    mask[5:9, 10:15] = 1
    shares = blob_shares(mask)
    assert shares[1, 1] == pytest.approx(4 / 200)
    assert shares[6, 12] == pytest.approx(20 / 200)
    assert shares[0, 0] == 0
    assert blob_shares(np.zeros((4, 4), np.uint8)).max() == 0


def test_reduced_keeps_small_pictures_and_the_shape_of_large_ones() -> None:
    small = np.zeros((30, 40, 3), np.uint8)
    assert reduced(small, 640) is small
    assert reduced(np.zeros((1080, 1920, 3), np.uint8), 640).shape == (360, 640, 3)
