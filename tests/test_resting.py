from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edge.resting import AWAKE_S, LONGEST_S, PAUSE_S, Rest

FRAME_S = 1 / 30


@dataclass
class Camera:
    """Sends a packet each `every_s`; reading one takes as long as it is not there yet."""

    every_s: float = FRAME_S
    now_s: float = 100.0
    sent_from_s: float = 100.0
    number: int = 0
    slept: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)  # from a packet's coming to its being read

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def read(self) -> None:
        at_s = self.sent_from_s + self.number * self.every_s
        self.now_s = max(at_s, self.now_s)
        self.late.append(self.now_s - at_s)
        self.number += 1

    def watched(self, packets: int, every: int = 15, size: int = 1 << 16) -> Camera:
        rest = Rest(lambda: self.now_s, self.sleep)
        for _ in range(packets):
            with rest:
                self.read()
            rest.took(size)
            if (self.number - 1) % every == 0:
                rest.picture_came(every * self.every_s)
        return self


def test_packets_between_two_looks_are_taken_together() -> None:
    camera = Camera().watched(150)
    read_at = [number * FRAME_S + late for number, late in enumerate(camera.late)]
    moments = {round(at_s, 6) for at_s in read_at}
    assert len(moments) <= 90  # of 150
    assert max(camera.late) <= PAUSE_S


def test_of_a_small_stream_more_is_taken_together_as_far_as_the_socket_holds_it() -> None:
    small, larger, large = (Camera().watched(300, size=size) for size in (2 << 10, 5 << 10, 32 << 10))
    assert max(large.slept) == pytest.approx(PAUSE_S)
    assert PAUSE_S < max(larger.slept) < LONGEST_S
    assert max(small.slept) == pytest.approx(LONGEST_S)
    assert len(small.slept) < 0.75 * len(large.slept)
    assert max(larger.slept) * 5 * 30 <= 32 + 5  # KiB
    assert max(small.late[15::15]) == pytest.approx(0, abs=1e-9)


def test_a_picture_that_is_looked_at_is_read_when_it_comes() -> None:
    camera = Camera().watched(150)
    assert camera.slept
    assert max(camera.late[::15]) == pytest.approx(0, abs=1e-9)
    assert max(camera.late[14::15]) == pytest.approx(0, abs=1e-9)  # nor is one that comes a frame early


def test_a_stream_that_waits_in_the_socket_is_read_without_a_pause() -> None:
    camera = Camera(sent_from_s=0.0).watched(300)  # all of it came long ago
    assert camera.slept == []


def test_a_first_picture_that_came_late_makes_none_after_it_late() -> None:
    camera = Camera()
    camera.now_s += AWAKE_S  # held up on its way
    camera.watched(40)
    assert max(camera.late[15::15]) == pytest.approx(0, abs=1e-9)


def test_where_every_picture_is_looked_at_there_is_no_sleep() -> None:
    assert Camera(every_s=1 / 30).watched(100, every=1).slept == []


def test_before_the_first_picture_there_is_no_sleep() -> None:
    camera = Camera()
    rest = Rest(lambda: camera.now_s, camera.sleep)
    for _ in range(30):
        with rest:
            camera.read()
    assert camera.slept == []
