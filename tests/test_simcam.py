from __future__ import annotations

import numpy as np
import pytest

from edge.clock import FakeClock, SystemClock
from edge.errors import UsageError
from edge.live import LiveSource
from edge.pipeline import EndOfStream
from edge.simcam import Painter, Scene, SimCamera
from edge.sources import Replay, open_source
from tests.broker import until

SMALL = Scene(width=96, height=64, intruder_every=10)


def test_a_picture_depends_on_scene_and_number_alone() -> None:
    one, other = Painter(SMALL), Painter(SMALL)
    other.picture(3)
    np.testing.assert_array_equal(one.picture(70), other.picture(70))
    assert one.picture(70).shape == (64, 96, 3)
    assert not np.array_equal(one.picture(70), one.picture(71))
    assert not np.array_equal(one.picture(70), Painter(SMALL.model_copy(update={"seed": 1})).picture(70))


def test_the_intruder_is_where_the_scene_says_and_nowhere_else() -> None:
    painter = Painter(SMALL)
    empty = Painter(SMALL.model_copy(update={"intruder_every": 0}))
    visits = [number for number in range(400) if painter.intruder(number)]
    assert visits[0] == 50
    assert len(visits) == 4 * 40
    box = painter.intruder(70)
    assert box is not None
    changed = np.any(painter.picture(70) != empty.picture(70), axis=2)
    ys, xs = np.nonzero(changed)
    assert box.x <= xs.min() <= xs.max() <= box.x + box.width
    assert box.y <= ys.min() <= ys.max() <= box.y + box.height
    assert changed.sum() > 0.5 * box.area
    np.testing.assert_array_equal(painter.picture(20), empty.picture(20))


def test_the_camera_keeps_the_clocks_pace_and_loses_what_it_is_late_for() -> None:
    clock = FakeClock()
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    camera = SimCamera(Scene(width=64, height=48, frames=12), clock, wait=wait)
    camera.open()
    for _ in range(3):
        camera.read()
    assert waits == pytest.approx([0, 0.1, 0.1])
    clock.advance(0.85)  # 0.2 -> 1.05: pictures 3 to 9 are lost
    camera.read()
    clock.advance(0.1)
    camera.read()
    with pytest.raises(EndOfStream):
        camera.read()


def test_a_fast_simulation_gives_each_sample_once_and_ends() -> None:
    source = open_source(
        "sim://?width=64&height=48&frames=21", fps=2, replay="fast", folder_fps=10, clock=FakeClock()
    )
    assert isinstance(source, Replay)
    frames = [source.read() for _ in range(5)]
    assert [frame.index for frame in frames] == [0, 5, 10, 15, 20]
    with pytest.raises(EndOfStream):
        source.read()


def test_a_realtime_simulation_is_a_live_camera_that_ends() -> None:
    uri = "sim://?width=64&height=48&fps=20&frames=10"
    source = open_source(uri, fps=50, replay="realtime", folder_fps=10, clock=SystemClock())
    assert isinstance(source, LiveSource)
    seen = []

    def over() -> bool:
        try:
            frame = source.read()
        except EndOfStream:
            return True
        seen.extend([] if frame is None else [frame.index])
        return False

    until(over)
    source.close()
    assert 0 < len(seen) <= 10
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("sim://?seeed=1", "unknown option seeed (did you mean seed?)"),
        ("sim://?fps=fast", "fps=fast: "),
        ("sim://?width=10", "width=10: "),
        ("sim://?fps=nan", "fps=nan: "),
        ("sim://lagoon", "takes options only"),
        ("v4l2://0?hight=3", "unknown option hight (did you mean height?)"),
        ("csi://left", "csi://0"),
    ],
)
def test_a_wrong_option_of_a_source_is_named_with_what_would_be_right(uri: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_source(uri, fps=2, replay="fast", folder_fps=10, clock=FakeClock())
    assert complaint in str(caught.value)
