"""What goes to the ground as a picture: a JPEG of the frame with its boxes, a PNG of the heat map."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.events import Box
from edge.frames import Picture
from edge.pipeline import Heat

_AMBER = (0, 176, 255)  # BGR
# Tried in this order until the picture fits its cap.
_QUALITIES = (80, 65, 50, 35, 20)


def snapshot(image: Picture, boxes: Sequence[Box], *, width: int, cap: int) -> bytes | None:
    """JPEG at most `width` pixels wide and `cap` bytes long; None if even the worst quality is longer."""
    scale = min(1.0, width / image.shape[1])
    small = image
    if scale < 1:
        size = (round(image.shape[1] * scale), max(1, round(image.shape[0] * scale)))
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    small = draw(small, boxes, scale)
    for quality in _QUALITIES:
        done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if done and len(data) <= cap:
            return bytes(data)
    return None


def draw(image: Picture, boxes: Sequence[Box], scale: float = 1.0) -> Picture:
    """A copy with the boxes outlined; `scale` is image pixels per native pixel."""
    drawn: Picture = image.copy()
    for box in boxes:
        corner = (round(box.x * scale), round(box.y * scale))
        opposite = (round((box.x + box.width) * scale), round((box.y + box.height) * scale))
        cv2.rectangle(drawn, corner, opposite, _AMBER, max(1, round(image.shape[1] / 480)))
    return drawn


def heat_picture(heat: Heat, level: float, cap: int) -> bytes | None:
    """PNG, 8-bit grey, one pixel per map pixel; 0 is normal or less, 128 is `level`."""
    grey = np.clip(heat * (128 / level if level > 0 else 1.0), 0, 255).astype(np.uint8)
    done, data = cv2.imencode(".png", grey)
    return bytes(data) if done and len(data) <= cap else None
