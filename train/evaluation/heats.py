"""Heat maps of a whole evaluation, kept small: float16, and halved as often as their memory limit asks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.pipeline import Heat

Heats = NDArray[np.float16]  # n x h x w
_LARGEST = np.finfo(np.float16).max


@dataclass
class HeatRoom:
    """What the maps of all videos may take together, in bytes; `halvings`: how often every map is halved."""

    limit: int = 1 << 30
    halvings: int = 0
    used: int = 0

    def take(self, size: int) -> None:
        self.used += size
        while self.used > self.limit:
            self.halvings += 1
            self.used //= 4


@dataclass
class HeatStack:
    """The maps of one video. Nothing is kept when a frame has none."""

    room: HeatRoom
    _maps: list[NDArray[np.float16]] = field(default_factory=list)
    _halvings: int = 0
    _lacking: bool = False

    def add(self, heat: Heat | None) -> None:
        if heat is None:
            self._lacking = True
            self._maps.clear()
        if heat is None or self._lacking:
            return
        small = np.clip(heat, -_LARGEST, _LARGEST).astype(np.float16)
        for _ in range(self._halvings):
            small = halved(small[None])[0]
        self._maps.append(small)
        self.room.take(small.nbytes)
        while self._halvings < self.room.halvings:
            self._maps = [halved(kept[None])[0] for kept in self._maps]
            self._halvings += 1

    def stacked(self) -> Heats | None:
        """n x h x w; the maps leave this object one by one, so that they never lie in memory twice."""
        if self._lacking or not self._maps:
            return None
        whole = np.empty((len(self._maps), *self._maps[0].shape), np.float16)
        for place in reversed(range(len(whole))):
            whole[place] = self._maps.pop()
        return whole


def halved(heats: Heats) -> Heats:
    """n x h x w -> n x ceil(h / 2) x ceil(w / 2): the hottest of four, for a mean would hide small things."""
    odd = ((0, 0), (0, heats.shape[1] % 2), (0, heats.shape[2] % 2))
    even = np.pad(heats, odd, mode="edge")
    n, height, width = even.shape
    return np.asarray(even.reshape(n, height // 2, 2, width // 2, 2).max(axis=(2, 4)), np.float16)
