"""Scored videos that a test can write in one line: `frames` one after another, `period_s` apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edge.events import Box
from train.evaluation.scored import Scored
from train.evaluation.truth import Interval, Mask, Region, Video


def scored(
    causal: Sequence[float],
    *abnormal: Interval,
    name: str = "video",
    raw: Sequence[float] | None = None,
    period_s: float = 1.0,
    every: int = 1,
    ignored: tuple[Interval, ...] = (),
    regions: Sequence[Region] | None = None,
    mask: Callable[[int], Mask | None] | None = None,
    boxes: Sequence[tuple[Box, ...]] | None = None,
    heat: Sequence[object] | None = None,
    size: tuple[int, int] = (1, 4),
) -> Scored:
    """Each `every`-th native frame was looked at; `abnormal` and `ignored` are native intervals."""
    count = len(causal)
    native = every * count
    video = Video(
        name=name,
        path=Path(name),
        abnormal=abnormal,
        ignored=ignored,
        regions=None if regions is None else tuple(regions),
        mask=mask,
    )
    return Scored(
        video=video,
        frame=np.arange(0, native, every),
        stream_s=np.arange(count) * period_s,
        raw=np.array(causal if raw is None else raw, np.float64),
        causal=np.array(causal, np.float64),
        abnormal=video.labels(native)[::every],
        counted=video.counted(native)[::every],
        boxes=tuple(boxes) if boxes is not None else ((),) * count,
        heat=None if heat is None else np.array(heat, np.float16),
        size=size,
        period_s=period_s,
    )


def box(x: int, y: int, width: int, height: int, peak: float) -> Box:
    return Box(x=x, y=y, width=width, height=height, peak=peak, area=width * height)
