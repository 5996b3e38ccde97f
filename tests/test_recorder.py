from __future__ import annotations

import weakref
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

from edge.clock import FakeClock
from edge.errors import BrokerError, SkerryError, UsageError
from edge.events import Box, Event, Health, Phase, PictureMessage, Topics, parse, uuid7
from edge.incidents import Incidents, Levels
from edge.pipeline import Finding
from edge.recorder import FlightRecorder
from edge.settings import PictureSettings
from tests.builders import frame, scene

BOX = Box(x=10, y=20, width=30, height=40, peak=50.0, area=900)


@dataclass
class RecordingGround:
    """Keeps what it is given, in order."""

    trouble: SkerryError | None = None
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    healths: list[Health] = field(default_factory=list)

    def check(self) -> None:
        if self.trouble:
            raise self.trouble

    def publish(self, topic: str, payload: bytes) -> None:
        self.messages.append((topic, payload))

    def publish_health(self, health: Health) -> None:
        self.healths.append(health)


class EmptyBacklog:
    def depth(self) -> int:
        return 3

    def age_s(self) -> float:
        return 1.5


class StillSource:
    skipped = 4
    state = "watching"

    def due_s(self) -> float:
        return 0

    def read(self) -> None:
        return None

    def close(self) -> None: ...


@dataclass
class Flight:
    recorder: FlightRecorder
    ground: RecordingGround
    clock: FakeClock
    told: list[str]

    def see(self, *scores: float) -> None:
        for score in scores:
            number = self.recorder.vitals.frames_scored
            heat = np.full((124, 124), score, np.float32)
            self.recorder.observe(
                frame(scene(number), number), Finding(score, heat, (BOX,), {"infer": 2_000_000})
            )
            self.clock.advance(0.5)

    @property
    def events(self) -> list[Event]:
        read = [parse(topic, payload) for topic, payload in self.ground.messages]
        return [message for message in read if isinstance(message, Event)]

    @property
    def pictures(self) -> list[PictureMessage]:
        read = [parse(topic, payload) for topic, payload in self.ground.messages]
        return [message for message in read if isinstance(message, PictureMessage)]


def make_flight(pictures: PictureSettings | None = None) -> Flight:
    ground, clock, told = RecordingGround(), FakeClock(), []

    def tell(state: str) -> bool:
        told.append(state)
        return True

    recorder = FlightRecorder(
        topics=Topics("isle", "d1"),
        session=uuid7(),
        bundle="b" * 64,
        incidents=Incidents(Levels(10, 7, 2), persistence=1, cool_down_s=1.0, update_s=2.0),
        heat_level=7,
        pictures=pictures or PictureSettings(),
        ground=ground,
        backlog=EmptyBacklog(),
        source=StillSource(),
        clock=clock,
        health_interval=10.0,
        tell_systemd=tell,
    )
    return Flight(recorder, ground, clock, told)


def test_an_incident_is_told_as_begin_update_and_end_with_one_id() -> None:
    flight = make_flight()
    flight.see(2, 12, 12, 12, 12, 12, 2, 2, 2)
    events = flight.events
    assert [event.phase for event in events] == [Phase.BEGIN, Phase.UPDATE, Phase.END]
    assert len({event.id for event in events}) == 1
    assert [event.sequence for event in events] == [1, 2, 3]
    assert events[0].boxes == (BOX,)
    assert events[0].begun == events[2].begun
    assert (events[0].frame, events[0].frame_width, events[0].frame_height) == (1, 320, 240)


def test_a_begin_brings_a_snapshot_and_a_heat_map_of_the_same_incident() -> None:
    flight = make_flight()
    flight.see(12)
    shown = {picture.kind: picture for picture in flight.pictures}
    assert set(shown) == {"snapshot", "heatmap"}
    assert {picture.id for picture in flight.pictures} == {flight.events[0].id}
    heat = cv2.imdecode(np.frombuffer(shown["heatmap"].data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert heat.shape == (124, 124)
    assert heat[0, 0] == int(12 * 128 / 7)


def test_the_box_is_drawn_unless_the_setting_says_no() -> None:
    def amber(chosen: PictureSettings) -> int:
        flight = make_flight(chosen)
        flight.see(12)
        data = next(picture.data for picture in flight.pictures if picture.kind == "snapshot")
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
        return int((image[..., 2] - image[..., 0] > 60).sum())  # red well over blue

    assert amber(PictureSettings()) > 50
    assert amber(PictureSettings(boxes=False)) == 0


def test_pictures_can_be_left_at_home() -> None:
    flight = make_flight(PictureSettings(send=False))
    flight.see(12)
    assert len(flight.events) == 1
    assert flight.pictures == []


def test_ready_comes_with_the_first_scored_frame_and_the_watchdog_only_with_frames() -> None:
    flight = make_flight()
    flight.recorder.blind()
    assert flight.told == []
    flight.see(2)
    assert flight.told == ["READY=1\nSTATUS=watching", "WATCHDOG=1"]
    flight.recorder.blind()
    assert len(flight.told) == 2


def test_health_says_what_was_watched_and_what_was_blind() -> None:
    flight = make_flight()
    flight.see(*[2.0] * 6)
    for _ in range(8):
        flight.clock.advance(1)
        flight.recorder.blind()
    (health,) = flight.ground.healths
    assert health.frames_scored == 6
    assert health.frames_skipped == 4
    assert health.blind_s == pytest.approx(7.5)  # since 0.5 s after the last frame was judged
    assert health.stages_ms["infer"].p50 == 2
    assert health.outbox_depth == 3
    assert health.score_p50 == 2


def test_health_says_how_much_of_what_was_seen_could_be_judged() -> None:
    flight = make_flight()
    assert flight.recorder.health().judged is None
    for judged in (1.0, 0.5, 0.0):
        flight.recorder.observe(frame(scene(0)), Finding(1.0, judged=judged))
    assert flight.recorder.health().judged == pytest.approx(0.5)


def test_finishing_ends_the_incident_and_reports_health_once_more() -> None:
    flight = make_flight()
    flight.see(12)
    flight.recorder.finish()
    assert [event.phase for event in flight.events] == [Phase.BEGIN, Phase.END]
    assert flight.ground.healths[-1].last_sequence == 2


def test_a_picture_that_was_told_is_not_kept_and_its_incident_still_ends_with_its_size() -> None:
    flight, seen = make_flight(), frame(scene(0))
    picture = weakref.ref(seen.image)
    flight.recorder.observe(seen, Finding(12.0))
    del seen
    flight.recorder.finish()
    assert picture() is None
    ended = flight.events[-1]
    assert (ended.phase, ended.frame_width, ended.frame_height) == (Phase.END, 320, 240)


@pytest.mark.parametrize("trouble", [BrokerError("the sender died"), UsageError("another flies as d1")])
def test_a_link_that_is_over_ends_the_flight_rather_than_fly_on_mute(trouble: SkerryError) -> None:
    flight = make_flight()
    flight.ground.trouble = trouble
    with pytest.raises(type(trouble)):
        flight.see(2)
    with pytest.raises(type(trouble)):
        flight.recorder.blind()
