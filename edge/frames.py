"""One picture of a stream, and when it was taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Picture: TypeAlias = NDArray[np.uint8]  # height x width x 3, BGR


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """`stream_s` is the source's own timeline in seconds and the only one in which durations of the
    watched scene are measured; `mono_ns` and `utc` say when this machine got the picture."""

    image: Picture
    index: int  # position in the source, counting every frame it delivered, from 0
    stream_s: float
    mono_ns: int
    utc: datetime

    @property
    def height(self) -> int:
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    def unseen(self) -> Frame:
        """All that is known of it, with a black picture that takes no memory."""
        return replace(self, image=np.broadcast_to(np.uint8(0), self.image.shape))
