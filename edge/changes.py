"""What changed between two grey pictures of one place: the light, or things.

Light takes its part of all that lies under it, so that fine structure stays as it was, in proportion; where a
thing moves, structure changes about as much as brightness. Maps are h x w float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Map = NDArray[np.float32]

_AROUND = 9  # pixels: side of the square whose mean change vouches for the flow in its middle
_FAINT = 2.0  # grey levels of change that are worth little, whatever the noise
_SMOOTH, _FINE = 0.8, 2.0  # pixels: structure lies between the two, what is wider may be light
_GRAIN = 0.25  # grey levels: rounding alone changes structure so much, and in the dark that is percents
_BEYOND = 8  # pixels: as far as the wider of the two reaches
_DARK = 12.0  # grey levels added before the logarithm, so that noise in the dark is no structure
_WIDE = (29, 29)  # pixels, taken twice: what varies more slowly is light; narrower, and far steps are lost
_CONTRAST = 2.0  # grey levels per percent of what is left
_STEADY = 3.0  # percent by which half of a picture may grow lighter or darker before it is a step
_NEAR = 21  # pixels: side of the square in which structure must have changed with the light
_HALF = 0.25  # structure's part of a change of which half is believed; under a soft shadow it is a tenth
_PLAIN = 6.0  # percent: by so much the light must change to be a change at all
_APART = np.ones((41, 41), np.uint8)  # pixels: no thing may change so near to light that passes
_MUCH = 0.02  # of the picture, at least, light passes over; less may be a thing's own shadow


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """`percent` by which places grew lighter or darker, `fine` by which their fine structure did; in [0, 1]
    `things`, 0 where only the light changed, and `confidence`, 0 where nothing changed but by noise."""

    percent: Map
    fine: Map
    things: Map
    confidence: Map


def changed(before: Gray, now: Gray) -> Change:
    """`before` is registered onto `now`."""
    old, new = (_logarithms()[cv2.GaussianBlur(picture, (0, 0), _SMOOTH)] for picture in (before, now))
    whole = new - old
    fine = np.maximum(np.abs(whole - _smooth(whole)) - 100 * _GRAIN / (_DARK + now), 0)
    percent = np.asarray(cv2.blur(np.abs(whole), (_NEAR, _NEAR)), np.float32)
    part = cv2.blur(fine, (_NEAR, _NEAR)) / (percent + 0.5)
    things = np.asarray(part**4 / (part**4 + _HALF**4), np.float32)
    return Change(percent, fine, things, _confidence(before, now))


def passing(change: Change) -> Map | None:
    """1 where nothing but light is passing, else 0; None where it passes over little of the picture.

    Within a large smooth thing too nothing changes but brightness. But at its edges structure does, and near
    those nothing counts as light.
    """
    plain = (change.percent > _PLAIN).astype(np.uint8)
    things = plain * (change.things >= 0.5).astype(np.uint8)
    light = (plain - things) * (1 - cv2.dilate(things, _APART))
    if light.mean() < _MUCH:
        return None
    return np.asarray(cv2.dilate(light, _APART), np.float32)


def relit(earlier: Gray, now: Gray) -> Gray:
    """The earlier picture in the exposure of now; as it is where half of the picture kept its light."""
    some = (slice(None, None, 2),) * 2
    levels = _logarithms()
    percent = float(np.median(levels[now[some]] - levels[earlier[some]]))
    if abs(percent) < _STEADY:
        return earlier
    table = (np.arange(256) + _DARK) * math.exp(percent / 100) - _DARK
    return np.asarray(cv2.LUT(earlier, np.clip(np.rint(table), 0, 255).astype(np.uint8)), np.uint8)


def flattened(picture: Gray) -> Gray:
    """What is narrower than light is: the logarithm less its own surroundings.

    Flow follows the soft edge of a shadow, and is led astray on all that it passes over, unless the edge is
    taken out first.
    """
    levels = _logarithms()[picture]
    wide = cv2.blur(cv2.blur(levels, _WIDE), _WIDE)
    return np.asarray(np.clip(_CONTRAST * (levels - wide) + 128, 0, 255), np.uint8)


def _smooth(change: Map) -> Map:
    """Beyond its edge the change goes on as it rose: mirrored, every slope would end in a ridge there."""
    around = np.pad(change, _BEYOND, mode="reflect", reflect_type="odd")
    inside = (slice(_BEYOND, -_BEYOND),) * 2
    return np.asarray(cv2.GaussianBlur(around, (0, 0), _FINE)[inside], np.float32)


def _confidence(before: Gray, now: Gray) -> Map:
    """The change is held against twice its own median over the picture, which is what noise, rain and small
    errors of the fitted motion leave everywhere."""
    change = cv2.blur(cv2.absdiff(now, before).astype(np.float32), (_AROUND, _AROUND))
    usual = np.float32(2 * np.median(change) + _FAINT)
    return np.asarray(change**2 / (change**2 + usual**2), np.float32)


@cache
def _logarithms() -> NDArray[np.float32]:
    """Percent, of every grey level."""
    return np.asarray(100 * np.log(np.arange(256) + _DARK), np.float32)
