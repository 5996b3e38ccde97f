"""What a source may do so that less is decoded, where its model bears it: see docs/capture.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

# Which pictures go through it. `auto`: all but key frames that are decoded alone (see edge.loop_filter).
LoopFilter: TypeAlias = Literal["always", "auto", "never"]
EARLY_S = 0.1  # of looks, where nothing else is set


@dataclass(frozen=True, slots=True)
class Leeway:
    """`early_s`: by how much a look may come before it is due, where that spares decoding; never late, and
    never fewer looks."""

    loop_filter: LoopFilter = "always"
    early_s: float = 0.0


EXACT = Leeway()


@dataclass(frozen=True)
class Lenient:
    """A recording's frames that are wanted, where an earlier one may stand in for one of them.

    `next_s`: when the look after the last one that was wanted is due; `period_s` from look to look.
    """

    wants: Callable[[float], bool]
    next_s: Callable[[], float]
    period_s: float
    early_s: float

    def __call__(self, stream_s: float) -> bool:
        return self.wants(stream_s)

    def leaves(self, end_s: float, frame_s: float) -> bool:
        """Whether the next look is due beyond `end_s`, the last frame before the stream is entered anew."""
        return end_s < self.next_s() - frame_s / 4

    def cheapest(self, times: Sequence[float], places: Sequence[int], frame_s: float) -> int:
        """Of frames in the order in which they are shown, of which the last was wanted: the one to decode.

        `places`: in the order of decoding, from where the stream is entered; all up to it must be decoded.
        """
        from_s = self.next_s() - self.period_s - self.early_s - frame_s / 4
        near = [number for number, time in enumerate(times) if time >= from_s]
        return min(near, key=lambda number: places[number], default=len(times) - 1)
