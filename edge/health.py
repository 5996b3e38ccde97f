"""The daemon observing itself: counters, latencies, temperatures -> one Health message per interval."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.events import Latency

THERMAL = Path("/sys/class/thermal")
_KEPT = 1000  # newest samples per stage and interval


def quantile(values: list[float], q: float) -> float:
    """Nearest-rank quantile of sorted `values`, which must not be empty."""
    return values[min(len(values) - 1, int(q * len(values)))]


@dataclass
class Vitals:
    """Counts of the session, and samples since the last `drain`."""

    frames_read: int = 0
    frames_scored: int = 0
    blind_ns: int = 0
    _judged: float = 0.0  # shares of pictures, summed
    _stages: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=_KEPT)))
    _scores: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def scored(self, score: float, stages_ns: Mapping[str, int], judged: float = 1.0) -> None:
        self.frames_scored += 1
        self._judged += judged
        self._scores.append(score)
        for name, taken in stages_ns.items():
            self._stages[name].append(taken / 1e6)

    @property
    def judged(self) -> float | None:
        """Mean share of the pictures that the model could judge; None before the first."""
        return self._judged / self.frames_scored if self.frames_scored else None

    def drain(self) -> tuple[tuple[float, float] | None, dict[str, Latency]]:
        """(p50, p99) of the scores or None, and each stage's latency, since the last call."""
        scores = sorted(self._scores)
        stages = {
            name: Latency(p50=quantile(s, 0.5), p99=quantile(s, 0.99))
            for name, s in ((name, sorted(taken)) for name, taken in self._stages.items())
            if s
        }
        self._scores.clear()
        self._stages.clear()
        return ((quantile(scores, 0.5), quantile(scores, 0.99)) if scores else None), stages


def temperatures(root: Path = THERMAL) -> dict[str, float]:
    """Degrees Celsius of the kernel's thermal zones by type; zones that cannot be read are left out."""
    found: dict[str, float] = {}
    for zone in sorted(root.glob("thermal_zone*")):
        try:
            name = re.sub(r"[^A-Za-z0-9._-]", "-", (zone / "type").read_text().strip()).lstrip("-._")
            found[name[:64] or zone.name] = int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):
            continue
        if len(found) == 16:
            break
    return found
