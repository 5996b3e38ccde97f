"""Every incident of a flight on one picture: the snapshot with its boxes beside the heat map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.frames import Picture
from export.account import Incident

_WIDTH, _HEIGHT, _CAPTION = 640, 360, 28
_INK, _PAPER = (235, 235, 235), 24


def contact_sheet(incidents: Sequence[Incident], pictures: Path) -> Picture | None:
    """A row per incident with pictures, BGR; None when none came. `pictures` is what `watch --save` made."""
    rows = [row for incident in incidents if (row := _row(incident, pictures)) is not None]
    return np.vstack(rows) if rows else None


def _row(incident: Incident, pictures: Path) -> Picture | None:
    first = incident.messages[0].event
    stem = pictures / first.site / first.drone / str(incident.id)
    snapshot = cv2.imread(f"{stem}-snapshot.jpg", cv2.IMREAD_COLOR)
    heat = cv2.imread(f"{stem}-heatmap.png", cv2.IMREAD_GRAYSCALE)
    if snapshot is None or heat is None:
        return None
    warm = cv2.applyColorMap(_fitted(heat), cv2.COLORMAP_INFERNO)
    pair = np.hstack([_fitted(np.asarray(snapshot, np.uint8)), warm])
    return np.vstack([_caption(incident, pair.shape[1]), pair])


def _fitted(image: Picture) -> Picture:
    return np.asarray(cv2.resize(image, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_LINEAR), np.uint8)


def _caption(incident: Incident, width: int) -> Picture:
    worst = max((message.event for message in incident.messages), key=lambda event: event.peak_score)
    begun = incident.messages[0].event.begun.stream_s or 0.0
    text = f"{worst.severity.value}   {begun:.1f} s   score {worst.peak_score:.1f} of {worst.threshold:.1f}"
    strip = np.full((_CAPTION, width, 3), _PAPER, np.uint8)
    cv2.putText(strip, text, (10, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    cv2.putText(
        strip,
        "what it could not rebuild",
        (_WIDTH + 10, 19),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.5,
        _INK,
        1,
        cv2.LINE_AA,
    )
    return strip
