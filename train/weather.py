"""What footage may look like without anything foreign in it: light, shadows, noise, compression, rain.

Pictures are H x W x 3 float32 in [0, 1].
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Random = np.random.Generator


def over(clean: Floats, now: Floats, earlier: Floats | None, random: Random) -> tuple[Floats, Floats, Floats]:
    """(clean, now, earlier) in one weather. Light and shadow fall on all three; noise, compression and rain
    only on what is seen, so that repairing sees through them. Without an earlier picture: now twice."""
    pictures = [clean, now] if earlier is None else [clean, now, earlier]
    if random.random() < 0.6:
        pictures = _graded(pictures, random)
    if random.random() < 0.3:
        pictures = _shaded(pictures, random)
    if len(pictures) > 2 and random.random() < 0.25:
        pictures[2] = pictures[2] * np.float32(np.exp(random.normal(0, 0.2)))  # an exposure step
    if random.random() < 0.1:
        pictures[1:] = _rained(pictures[1:], random)
    amount = random.choice((0.0, 0.01, 0.03))
    if amount:
        pictures[1:] = [_noisy(picture, amount, random) for picture in pictures[1:]]
    if random.random() < 0.2:
        quality = int(random.integers(20, 80))
        pictures[1:] = [_compressed(picture, quality) for picture in pictures[1:]]
    clean, now, *rest = (np.clip(picture, 0, 1) for picture in pictures)
    return clean, now, rest[0] if rest else now


def _graded(pictures: list[Floats], random: Random) -> list[Floats]:
    """Gain, gamma and a colour cast."""
    gamma = float(np.exp(random.normal(0, 0.15)))
    gain = (np.exp(random.normal(0, 0.2)) * np.exp(random.normal(0, 0.05, 3))).astype(np.float32)
    return [np.asarray(cv2.pow(np.maximum(picture, 0), gamma), np.float32) * gain for picture in pictures]


def _shaded(pictures: list[Floats], random: Random) -> list[Floats]:
    """The edge of a large shadow, which half of the time has moved since the earlier picture."""
    side = len(pictures[0])
    angle, place, width = random.uniform(0, 2 * np.pi), random.uniform(-0.4, 0.4), random.uniform(0.01, 0.3)
    depth = np.float32(random.uniform(0.1, 0.5))
    moved = random.uniform(-0.1, 0.1) if random.random() < 0.5 else 0.0
    line = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    across = line * np.float32(np.cos(angle)) + line[:, None] * np.float32(np.sin(angle))
    places = (place, place, place + moved)
    shades = [1 - depth * np.clip((across - at) / np.float32(width) + 0.5, 0, 1) for at in places]
    return [picture * shade[..., None] for picture, shade in zip(pictures, shades, strict=False)]


def _noisy(picture: Floats, amount: float, random: Random) -> Floats:
    noise: Floats = random.standard_normal(picture.shape, np.float32) * np.float32(amount)
    return noise + picture


def _compressed(picture: Floats, quality: int) -> Floats:
    whole = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", whole[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    bgr = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    back: Floats = np.divide(bgr[:, :, ::-1], np.float32(255), dtype=np.float32)
    return back


def _rained(pictures: list[Floats], random: Random) -> list[Floats]:
    """Bright thin streaks that fall one way, elsewhere in every picture."""
    angle, much = random.normal(np.pi / 2, 0.25), int(random.integers(4, 25))
    bright = np.float32(random.uniform(0.1, 0.4))
    rained = []
    for picture in pictures:
        streaks = np.zeros(picture.shape[:2], np.float32)
        starts = random.uniform(-8, len(picture), (much, 2))
        ends = starts + random.uniform(6, 18, (much, 1)) * (np.cos(angle), np.sin(angle))
        for start, end in zip(np.rint(starts * 16).astype(int), np.rint(ends * 16).astype(int), strict=True):
            cv2.line(streaks, start.tolist(), end.tolist(), 1.0, 1, cv2.LINE_AA, 4)
        rained.append(picture + (1 - picture) * (bright * streaks)[..., None])
    return rained
