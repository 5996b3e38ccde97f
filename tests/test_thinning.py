from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import FakeClock
from edge.decoding import Packet
from edge.recordings import open_recording
from edge.thinning import Thinner
from edge.videos import VideoRecording, bgr
from tests.filming import film
from tests.test_decoding import SECONDS, X264, Counted, Entered, costing, entries_of


def filmed(path: Path, *options: str, seconds: float = 6) -> Path:
    return film(path, seconds=seconds, options=[*X264, "-sc_threshold", "0", *options])


class Watch:
    """One look at a file as if a camera sent it."""

    def __init__(
        self,
        path: Path,
        fps: float,
        change: Any = lambda packets: packets,
        early_s: float = 0.0,
        entered: set[int] | None = None,
    ) -> None:
        with VideoRecording(path, FakeClock()) as recording:
            self.decoder = Counted(recording._context)
            base = recording._stream.time_base
            assert base is not None
            thinner = Thinner(self.decoder, base, fps, recording.fps, None, early_s)  # type: ignore[arg-type]
            if entered is not None:
                thinner._syntax = Entered(entered)  # type: ignore[assignment]
            self.early: list[tuple[float, float]] = []  # of each picture: before its turn; the next, foretold
            self.seen: list[tuple[int, Any]] = []
            self.delays: list[int] = []  # in packets, from a picture's own to when it came
            self.items = 0
            packets: Sequence[Packet] = change(list(recording._packets()))
            self.shown: list[int] = []  # where each picture stands in the film
            order = sorted(sent.pts or 0 for sent in packets)
            self.work: list[int] = []
            for number, packet in enumerate(packets):
                fed = self.decoder.fed
                for item in thinner.push(packet):
                    if item is not None:
                        self.seen.append((self.items, bgr(item)))
                        self.shown.append(order.index(item.pts or 0))
                        self.early.append((thinner.early_s, thinner.next_early_s))
                        at = next(place for place, sent in enumerate(packets) if sent.pts == item.pts)
                        self.delays.append(number - at)
                    self.items += 1
                self.work.append(self.decoder.fed - fed)

    @property
    def indices(self) -> list[int]:
        return [index for index, _ in self.seen]


def same_pictures(watch: Watch, path: Path) -> None:
    with open_recording(path) as recording:
        whole = [frame.image for frame in recording]
    for place, (_, picture) in zip(watch.shown, watch.seen, strict=True):
        np.testing.assert_array_equal(picture, whole[place])


def test_key_frames_alone_are_decoded_where_they_give_the_rate(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.ts", "-g", "15", "-bf", "0")
    watch = Watch(path, 2)
    assert watch.indices == list(range(0, 180, 15))
    assert watch.decoder.fed <= 12 + 15  # all of the first group: its length is learnt
    assert watch.delays[1:] == [0] * 11
    same_pictures(watch, path)


def test_half_a_group_is_decoded_where_that_gives_the_rate(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.ts", "-g", "30", "-bf", "0")
    watch = Watch(path, 2)
    assert watch.indices == list(range(0, 180, 15))
    assert watch.decoder.fed <= 30 + 5 * 16
    assert max(watch.work[30:]) == 1  # as they come, not in bursts
    same_pictures(watch, path)


def test_with_b_frames_pictures_come_in_order_and_at_once_where_no_more_are_wanted(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.ts", "-g", "30", "-bf", "3")
    watch = Watch(path, 2)
    assert len(watch.seen) == 12
    assert watch.delays[3::2] == [0] * 5  # the last wanted of each group
    assert max(watch.delays) <= 8
    assert watch.decoder.full < 60


def test_a_group_that_goes_on_longer_than_the_last_is_decoded_after_all(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.ts", "-force_key_frames", "0,0.5,1,1.5,5", "-g", "600", "-bf", "0")
    watch = Watch(path, 2)
    gaps = np.diff(watch.indices)
    assert gaps.max() <= 24  # half a period late once, where the key frame did not come
    assert len(watch.seen) >= 11
    same_pictures(watch, path)


def test_looking_keeps_step_with_key_frames_wherever_watching_began(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.ts", "-g", "30", "-bf", "0")
    watch = Watch(path, 2, lambda packets: packets[22:])  # no key frame for the first 8
    assert np.diff(watch.indices).tolist()[-7:] == [15] * 7
    assert sum(watch.work[38:]) <= 4 * 16  # groups of which the second picture is wanted in the middle


def test_a_rate_that_key_frames_do_not_divide_is_kept(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.ts", "-g", "24", "-bf", "0")
    watch = Watch(path, 2)
    assert watch.indices == list(range(0, 180, 15))
    same_pictures(watch, path)


def test_a_damaged_key_frame_costs_no_more_than_its_group(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.ts", "-g", "15", "-bf", "0")

    def spoilt(packets: list[Packet]) -> Iterator[Packet]:
        return iter([packet for place, packet in enumerate(packets) if place != 60])

    watch = Watch(path, 2, lambda packets: list(spoilt(packets)))
    assert len(watch.seen) >= 11
    assert max(np.diff(watch.indices)) <= 30


@pytest.mark.parametrize("options", [("-g", "20", "-x264-params", "intra-refresh=1"), ("-g", "900")])
def test_a_stream_that_cannot_be_entered_is_decoded_whole(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = filmed(tmp_path / "a.ts", *options, "-bf", "0", seconds=4)
    watch = Watch(path, 2)
    assert watch.indices[:8] == list(range(0, 120, 15))
    same_pictures(watch, path)


def test_the_last_look_before_a_key_frame_comes_early_and_that_is_foretold(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.ts", "-g", "30", "-bf", "0")
    watch = Watch(path, 2, early_s=0.1)
    assert watch.indices == [0, 15, *(30 * group + at for group in range(1, 6) for at in (0, 12))]
    assert watch.decoder.fed <= 30 + 5 * 13  # all of the first group: its length is learnt
    assert watch.delays[2:] == [0] * 10
    for (_, foretold), (came, _) in zip(watch.early[2:], watch.early[3:], strict=False):
        assert came == pytest.approx(foretold, abs=1e-3)
    assert [came for came, _ in watch.early[2:]] == pytest.approx([0, 0.1] * 5, abs=1e-3)
    same_pictures(watch, path)


def test_with_b_frames_the_early_look_is_at_the_picture_that_others_need_least_before(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.ts", "-g", "30", "-bf", "3")
    exact, early = Watch(path, 2), Watch(path, 2, early_s=0.1)
    assert len(early.seen) == len(exact.seen) == 12
    assert early.decoder.fed < exact.decoder.fed
    same_pictures(early, path)


def test_where_key_frames_come_at_each_look_none_is_early(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.ts", "-g", "15", "-bf", "0")
    watch = Watch(path, 2, early_s=0.1)
    assert watch.indices == list(range(0, 180, 15))
    assert {said for said, _ in watch.early} == {0.0}


def test_a_key_frame_that_comes_a_moment_before_a_look_is_looked_at_itself(intra: Path) -> None:
    watch = Watch(intra, 2, early_s=0.1, entered=entries_of([14]))
    exact = Watch(intra, 2, entered=entries_of([14]))
    looks = [index for index in watch.indices if 14 <= index < 70]
    assert looks == [14, 28, 42, 57]  # 56 would be too early for 60
    assert watch.decoder.fed < 0.7 * exact.decoder.fed
    assert watch.early[2][0] == pytest.approx(2 / 30, abs=1e-3)
    assert watch.early[1][1] == pytest.approx(2 / 30, abs=1e-3)


def test_a_stream_that_is_given_up_foretells_nothing(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.ts", "-force_key_frames", "0,1,2", "-g", "900", "-bf", "0", seconds=24)
    watch = Watch(path, 2, early_s=0.1)
    assert watch.early[5][0] == pytest.approx(0.1, abs=1e-3)
    assert watch.early[-1] == (0.0, 0.0)


@pytest.fixture(scope="module")
def intra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of which every picture can be entered at."""
    path = tmp_path_factory.mktemp("intra") / "a.ts"
    return film(path, size="16x16", seconds=SECONDS, options=[*X264, "-g", "1"])


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(st.integers(1, 45), min_size=1, max_size=8),
    fps=st.sampled_from([2.0, 1.0, 3.0, 0.7, 2.3]),
)
def test_whatever_key_frames_come_no_look_is_left_out_nor_earlier_than_it_may_be(
    intra: Path, steps: list[int], fps: float
) -> None:
    places = entries_of(steps)
    exact, early = Watch(intra, fps, entered=places), Watch(intra, fps, early_s=0.1, entered=places)
    assert len(early.seen) >= len(exact.seen) - 1
    gaps = np.diff([index for index, _ in early.seen]) / 30
    assert gaps.max() <= np.diff([index for index, _ in exact.seen]).max() / 30 + 0.1 + 1 / 30
    assert all(0 <= came <= 0.1 + 1 / 100 for came, _ in early.early)
    assert early.decoder.fed >= costing(places, early.indices)
