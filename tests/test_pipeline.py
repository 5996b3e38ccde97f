from __future__ import annotations

from dataclasses import dataclass, field

from edge.frames import Frame
from edge.pipeline import EndOfStream, Finding, patrol
from tests.builders import frame, scene


@dataclass
class Script:
    """A source that gives what it is told: frames, None for a camera with nothing new; then it ends."""

    given: list[Frame | None]
    skipped: int = 0
    state: str = "watching"

    def due_s(self) -> float:
        return 0.25

    def read(self) -> Frame | None:
        if not self.given:
            raise EndOfStream
        return self.given.pop(0)

    def close(self) -> None: ...


@dataclass
class Notebook:
    seen: list[tuple[int, float]] = field(default_factory=list)
    blinded: int = 0

    def observe(self, frame: Frame, finding: Finding) -> None:
        self.seen.append((frame.index, finding.score))

    def blind(self) -> None:
        self.blinded += 1


class ByIndex:
    def inspect(self, frame: Frame) -> Finding:
        return Finding(score=float(frame.index))


def never(seconds: float) -> bool:
    return False


def test_every_frame_is_judged_in_order_and_blindness_is_told() -> None:
    notebook = Notebook()
    patrol(Script([frame(scene(0), 0), None, frame(scene(1), 1)]), ByIndex(), notebook, never)
    assert notebook.seen == [(0, 0.0), (1, 1.0)]
    assert notebook.blinded == 1


def test_the_wait_is_what_the_source_says_and_a_stop_ends_the_loop() -> None:
    waits: list[float] = []

    def third_time(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) == 3

    notebook = Notebook()
    patrol(Script([frame(scene(n), n) for n in range(9)]), ByIndex(), notebook, third_time)
    assert waits == [0.25] * 3
    assert len(notebook.seen) == 2
