from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.errors import UsageError
from edge.events import Box, Event, Moment, Phase, Severity, uuid7
from export.account import Arrived, Planted, draw_up, read_arrived, read_truth
from tests.builders import NOON

ON = Box(x=100, y=100, width=20, height=20, peak=9.0, area=300)
OFF = Box(x=10, y=10, width=20, height=20, peak=9.0, area=300)
BOAT = Planted(1, "boat", 10, 20, dict.fromkeys(range(10, 21), (110, 110, 30, 30)))
AT = Moment(mono_ns=1, boot_id="b", utc=NOON, clock_synced=True)
SESSION = uuid7()


def incident(start: int, *frames: tuple[Phase, int, Box]) -> list[Arrived]:
    """Messages numbered from `start`."""
    identity = uuid7()
    return [
        Arrived(
            Event(
                site="s", drone="d", session=SESSION, id=identity, sequence=start + n, phase=phase,
                severity=Severity.LOW, begun=AT, at=AT, frame=frame, frame_width=640, frame_height=360,
                score=9.0, peak_score=9.0, threshold=5.0, boxes=(box,), bundle="b",
            ),
            latency_ms=4.0 + n,
        )
        for n, (phase, frame, box) in enumerate(frames)
    ]  # fmt: skip


def test_an_intruder_is_found_by_a_box_on_it_while_it_shows() -> None:
    account = draw_up([BOAT], incident(1, (Phase.BEGIN, 12, ON), (Phase.END, 25, OFF)), 0)
    assert account.found == (BOAT,)
    assert account.false_alarms == ()
    assert account.faults == ()
    assert account.latencies_ms == (4.0, 5.0)


@pytest.mark.parametrize(("frame", "box"), [(12, OFF), (30, ON), (9, ON)])
def test_a_box_elsewhere_or_at_another_time_is_a_false_alarm(frame: int, box: Box) -> None:
    account = draw_up([BOAT], incident(1, (Phase.BEGIN, frame, box), (Phase.END, 40, box)), 0)
    assert account.found == ()
    assert len(account.false_alarms) == 1


def test_an_end_finds_nothing() -> None:
    account = draw_up([BOAT], incident(1, (Phase.BEGIN, 5, OFF), (Phase.END, 12, ON)), 0)
    assert account.found == ()


def test_two_intruders_in_one_incident_are_both_found_and_nothing_is_false() -> None:
    other = Planted(2, "car", 22, 30, {25: (100, 100, 5, 5)})
    told = incident(1, (Phase.BEGIN, 12, ON), (Phase.UPDATE, 25, ON), (Phase.END, 40, OFF))
    account = draw_up([BOAT, other], told, 0)
    assert account.found == (BOAT, other)
    assert account.false_alarms == ()


@pytest.mark.parametrize(
    ("arrived", "left", "fault"),
    [
        (incident(2, (Phase.BEGIN, 12, ON), (Phase.END, 25, OFF)), 0, "sequence numbers"),
        (incident(1, (Phase.BEGIN, 12, ON)), 0, "no begin or no end"),
        (incident(1, (Phase.UPDATE, 12, ON), (Phase.END, 25, OFF)), 0, "no begin or no end"),
        (incident(1, (Phase.BEGIN, 12, ON), (Phase.END, 25, OFF)), 3, "3 messages are still"),
    ],
)
def test_what_does_not_add_up_is_said(arrived: list[Arrived], left: int, fault: str) -> None:
    (found,) = draw_up([BOAT], arrived, left).faults
    assert fault in found


def test_a_lost_message_in_the_middle_is_noticed() -> None:
    told = incident(1, (Phase.BEGIN, 12, ON), (Phase.UPDATE, 14, ON), (Phase.END, 25, OFF))
    assert draw_up([BOAT], [told[0], told[2]], 0).faults


def test_truth_is_read_with_wake_and_shadow(tmp_path: Path) -> None:
    box = {
        "frame": 3,
        "track": 1,
        "kind": "boat",
        "x": 1,
        "y": 2,
        "width": 3,
        "height": 4,
        "extent": [0, 1, 9, 8],
    }
    truth = {"intruders": [{"track": 1, "kind": "boat", "touched": [2, 4]}], "boxes": [box]}
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(truth))
    assert read_truth(file) == (Planted(1, "boat", 2, 4, {3: (0, 1, 9, 8)}),)


@pytest.mark.parametrize("text", ["", "[]", '{"boxes": 3}', '{"boxes": [], "intruders": [{}]}'])
def test_a_file_that_is_no_truth_is_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "truth.json"
    file.write_text(text)
    with pytest.raises(UsageError, match="is not the truth of a simulated patrol"):
        read_truth(file)


def test_only_events_are_read_from_the_subscribers_lines(tmp_path: Path) -> None:
    (arrived,) = incident(1, (Phase.BEGIN, 12, ON))
    line = {"type": "event", "latency_ms": 4.0, **json.loads(arrived.event.to_json())}
    file = tmp_path / "ground.jsonl"
    file.write_text(
        '{"type": "broker", "state": "connected"}\n' + json.dumps(line) + '\n{"type": "snapshot"}\n'
    )
    assert read_arrived(file) == [arrived]
