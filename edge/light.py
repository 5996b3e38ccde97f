"""Changes of light over the whole picture: a lamp switched off, an exposure that steps, dusk.

Two means against them: `levelled` brings every picture to one brightness and contrast, so that nothing of
the change is left to see; `LightGuard` tells the moment of a step, so that a clip with both lights in it
need not count.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frames import Picture
from edge.preprocess import InputSpec

# Of the full range of a pixel. About what daylight footage has, so that levelling moves it little.
_BRIGHTNESS, _CONTRAST = 0.45, 0.22
_GAIN = (0.25, 6.0)  # beyond it a picture is black or empty, and levelling would show its noise

_THUMBNAIL = 32  # pixels on each side
_STEP = 0.02  # median change of a pixel, of the full range, that may be a step of light
_SAME, _TOGETHER = 0.01, 0.9  # this share of the pixels must grow brighter, or darker, or stay within _SAME
_EXPLAINED = 0.5  # of it that may remain once one gain and one offset are taken out
_ALIKE = 0.6  # correlation that the two pictures must have: it is the same scene
_ENDS = (0.02, 0.98)  # pixels outside are black or burnt out: they follow no gain
_ENOUGH = 0.25  # share of the pixels between the ends, below which only darkness can be told


def levelled(tensor: NDArray[np.float32], spec: InputSpec) -> NDArray[np.float32]:
    """1 x 3 x h x w as `to_tensor` makes it -> the same picture at one brightness and contrast."""
    mean, std = (np.asarray(part, np.float32)[:, None, None] for part in (spec.mean, spec.std))
    pixels = (tensor * std + mean) / np.float32(255 * spec.scale)
    grey = pixels.mean(axis=1)
    gain = np.float32(np.clip(_CONTRAST / max(float(grey.std()), 1e-6), *_GAIN))
    level = np.clip((pixels - grey.mean()) * gain + np.float32(_BRIGHTNESS), 0, 1)
    return np.asarray((level * np.float32(255 * spec.scale) - mean) / std, np.float32)


class LightGuard:
    """Pictures of one stream, in order: is this one lit otherwise than the one before, all over?"""

    def __init__(self) -> None:
        self._before: NDArray[np.float32] | None = None

    def stepped(self, image: Picture) -> bool:
        """True where one gain and one offset explain most of a large change since the picture before."""
        small = cv2.resize(image, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
        now = np.asarray(small.mean(axis=2) / 255, np.float32).ravel()
        before, self._before = self._before, now
        return before is not None and is_step(before, now)


def is_step(before: NDArray[np.float32], now: NDArray[np.float32]) -> bool:
    """Grey values in 0..1 of the same places."""
    change = now - before
    together = max(float((change > -_SAME).mean()), float((change < _SAME).mean()))
    if float(np.median(np.abs(change))) < _STEP or together < _TOGETHER:
        return False
    inside = (before > _ENDS[0]) & (before < _ENDS[1]) & (now > _ENDS[0]) & (now < _ENDS[1])
    if inside.mean() < _ENOUGH:
        return min(float(np.median(before)), float(np.median(now))) < _ENDS[0]  # to darkness, or from it
    x, y = before[inside], now[inside]
    gain, offset = _line(x, y)
    rest = float(np.median(np.abs(y - gain * x - offset)))
    if rest >= _EXPLAINED * float(np.median(np.abs(y - x))):
        return False
    spread = float(x.std() * y.std())
    return spread > 0 and float(((x - x.mean()) * (y - y.mean())).mean()) > _ALIKE * spread


def _line(x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[float, float]:
    """Gain and offset from x to y by least squares, once more without the half that fits worst."""
    chosen = np.ones(len(x), bool)
    gain, offset = 1.0, 0.0
    for _ in range(2):
        spread = float(x[chosen].var())
        middle_x, middle_y = float(x[chosen].mean()), float(y[chosen].mean())
        shared = float(((x[chosen] - middle_x) * (y[chosen] - middle_y)).mean())
        gain = max(0.0, shared / spread) if spread > 1e-6 else 1.0
        offset = middle_y - gain * middle_x
        apart = np.abs(y - gain * x - offset)
        chosen = apart <= np.median(apart)
    return gain, offset
