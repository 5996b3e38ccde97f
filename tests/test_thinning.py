from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.clock import FakeClock
from edge.decoding import Packet
from edge.recordings import open_recording
from edge.thinning import Thinner
from edge.videos import VideoRecording, bgr
from tests.filming import film
from tests.test_decoding import Counted

X264 = ("-c:v", "libx264", "-preset", "veryfast", "-sc_threshold", "0")


def filmed(path: Path, *options: str, seconds: float = 6) -> Path:
    return film(path, seconds=seconds, options=[*X264, *options])


class Watch:
    """One look at a file as if a camera sent it."""

    def __init__(self, path: Path, fps: float, change: Any = lambda packets: packets) -> None:
        with VideoRecording(path, FakeClock()) as recording:
            self.decoder = Counted(recording._context)
            base = recording._stream.time_base
            assert base is not None
            thinner = Thinner(self.decoder, base, fps, recording.fps)  # type: ignore[arg-type]
            self.seen: list[tuple[int, Any]] = []
            self.delays: list[int] = []  # in packets, from a picture's own to when it came
            self.items = 0
            packets: Sequence[Packet] = change(list(recording._packets()))
            self.work: list[int] = []
            for number, packet in enumerate(packets):
                fed = self.decoder.fed
                for item in thinner.push(packet):
                    if item is not None:
                        self.seen.append((self.items, bgr(item)))
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
    for index, picture in watch.seen:
        np.testing.assert_array_equal(picture, whole[index])


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
