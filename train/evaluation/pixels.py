"""Figures of pixels: heat against masks, at the picture's own size.

Pixels are counted, not kept: a float16 has 65 536 codes, so a histogram of codes per video orders every pixel
exactly as a list of all of them would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import FootageError
from train.evaluation.curves import Weights, area_up_to, roc_area
from train.evaluation.scored import Floats, Scored
from train.evaluation.truth import Mask

CODES = 1 << 16
PRO_LIMIT = 0.3


@dataclass(frozen=True, eq=False)
class PixelCounts:
    """One video's pixels per value of heat, from the coolest up.

    `covered` are shares of the masks' components, adding up to 1 for each of them.
    """

    normal: NDArray[np.int64]
    abnormal: NDArray[np.int64]
    covered: Floats
    components: int


def by_heat(histogram: NDArray[Any]) -> NDArray[Any]:
    """From the order of float16 codes, where negative heat follows positive, to that of heat.

    -0 goes to 0, as they are equal.
    """
    positive, negative = np.split(histogram, 2)
    positive, negative = positive.copy(), negative.copy()
    positive[0] += negative[0]
    negative[0] = 0
    return np.concatenate([negative[::-1], positive])


def count_pixels(scored: Scored) -> PixelCounts | None:
    """Of the frames that count. None without heat, or where abnormal frames have no masks.

    Raises FootageError where a mask has another size than the picture.
    """
    counted = np.flatnonzero(scored.counted)
    mask_of = scored.video.mask
    if scored.heat is None or (mask_of is None and scored.abnormal[counted].any()):
        return None
    every, abnormal = np.zeros(CODES, np.int64), np.zeros(CODES, np.int64)
    covered, components = np.zeros(CODES), 0
    for place in counted.tolist():
        seen = _codes_at_native_size(scored.heat[place], scored.size)
        every += np.bincount(seen.ravel(), minlength=CODES)
        mask = None if mask_of is None else mask_of(int(scored.frame[place]))
        if mask is not None and _fitting(mask, scored, place).any():
            weights, found = _component_weights(mask)
            hidden = seen[mask]
            abnormal += np.bincount(hidden, minlength=CODES)
            covered += np.bincount(hidden, weights, minlength=CODES)
            components += found
    every, abnormal, covered = (by_heat(histogram) for histogram in (every, abnormal, covered))
    return PixelCounts(every - abnormal, abnormal, covered, components)


def _codes_at_native_size(heat: NDArray[np.float16], size: tuple[int, int]) -> NDArray[np.uint16]:
    wide = cv2.resize(heat.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    seen: NDArray[np.uint16] = wide.astype(np.float16).view(np.uint16)
    return seen


def _fitting(mask: Mask, scored: Scored, place: int) -> Mask:
    if mask.shape != scored.size:
        raise FootageError(
            f"{scored.video.name}: the mask of frame {scored.frame[place]} is {mask.shape[1]} x "
            f"{mask.shape[0]}, the picture {scored.size[1]} x {scored.size[0]}; they do not belong together"
        )
    return mask


def _component_weights(mask: Mask) -> tuple[Floats, int]:
    """(1 / size of its component for each abnormal pixel, components); pixels touch at corners too."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    own = labels[mask]
    return 1 / np.bincount(own, minlength=count)[own], count - 1


class PixelFigures:
    """All videos' counts, from the hottest down; heat that no pixel has is left out."""

    def __init__(self, videos: Sequence[PixelCounts | None]) -> None:
        self._used = np.array([video is not None for video in videos])
        present = [video for video in videos if video is not None]
        seen = sum((video.normal + video.abnormal for video in present), np.zeros(CODES, np.int64))
        hottest = np.flatnonzero(seen)[::-1]
        shape = (len(present), len(hottest))
        self._normal = np.array([video.normal[hottest] for video in present], np.float64).reshape(shape)
        self._abnormal = np.array([video.abnormal[hottest] for video in present], np.float64).reshape(shape)
        self._covered = np.array([video.covered[hottest] for video in present]).reshape(shape)
        self._components = np.array([video.components for video in present], np.float64)

    def auroc(self, weights: Weights) -> float | None:
        """All pixels pooled. Dominated by the large normal area: nearly blind to small targets."""
        drawn = weights[self._used]
        return roc_area(_sums(drawn @ self._normal), _sums(drawn @ self._abnormal))

    def au_pro(self, weights: Weights) -> float | None:
        """Mean covered share of a mask's components over the share of normal pixels covered, up to 0.3."""
        drawn = weights[self._used]
        false = _sums(drawn @ self._normal)
        components = float(drawn @ self._components)
        if not (components > 0 and false[-1] > 0):
            return None
        return area_up_to(false / false[-1], _sums(drawn @ self._covered) / components, PRO_LIMIT)


def _sums(histogram: Floats) -> Floats:
    return np.append(0.0, np.cumsum(histogram))
