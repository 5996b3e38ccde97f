"""Frame scores over time -> the causal score that meets the threshold.

Persistence first, then accumulation: running means and plain cumulative sums are at the mercy of single wild
frames, and with 200 of them an hour, at 1 false alarm an hour, find hardly any weak event. The sum of what
the least of two frames has over an allowance finds more events of 2 s and longer than the least itself (at
2 fps 53 in 100 for 37, at 10 fps 81 for 70), and at 2 fps fewer of 1 s (21 for 40), which are two frames.
Mean over all that was tried: 76 in 100 at 2 fps for 76, 91 at 10 fps for 86 (`benchmarks/evidence.py`).

The threshold comes from block maxima. The formula for the mean time between false alarms (Siegmund 1985) asks
for independent Gaussian scores; on autocorrelated ones it promised 1 an hour and gave 2 to 50.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

ALLOWANCE = 2.0  # with 1 a slow swell of the score adds up to alarms, with 3 hardly anything is added up
_MOST = 10.0  # spreads; a sum without limit would go on alarming long after a long event


@dataclass
class Cusum:
    """The least of the last `persistence` scores, plus what the ones before it had over a reference.

    `median` and `spread` (standard deviation, or its robust estimate) are of normal frame scores; the
    reference is `ALLOWANCE` spreads over the median. The result is in the unit of the score and never below
    the least of the last scores. A gap over `gap_s` seconds, or time that runs backwards, starts anew.
    """

    median: float
    spread: float
    persistence: int = 2
    gap_s: float = 5.0
    _recent: deque[float] = field(init=False)
    _sum: float = field(default=0.0, init=False)
    _last_s: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was seen: the next score is a flight's first."""
        self._recent = deque([-math.inf] * self.persistence, maxlen=self.persistence)
        self._sum = 0.0
        self._last_s = -math.inf

    def __call__(self, stream_s: float, score: float) -> float:
        """Minus infinity until `persistence` scores were seen."""
        if not 0 <= stream_s - self._last_s <= self.gap_s:
            self.reset()
        self._last_s = stream_s
        self._recent.append(score)
        least = min(self._recent)
        reference = self.median + ALLOWANCE * self.spread
        before, self._sum = self._sum, min(_MOST * self.spread, max(0.0, self._sum + least - reference))
        return least + before if self._sum else least
