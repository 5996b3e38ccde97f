"""What a change of light explains of the difference between a picture and its reconstruction.

Per tile the gain and bias that bring the reconstruction closest to the picture, in closed form, robust and
clamped, and interpolated between tiles: a cloud or an exposure step is explained away, a dark boat is not.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]  # colours x height x width

TILES = 4  # along each side
_GAIN = (0.5, 2.0)  # a thing twice as dark or bright as what was expected is a thing
_SMOOTH = 1e-3  # variance below which a tile has no structure to tell a gain from
_TRIM = 2.5  # robust deviations beyond which a pixel is no matter of light


def relit(rebuilt: Image, picture: Image) -> Image:
    """The reconstruction under the picture's light; both colours x height x width, same range."""
    gain, bias = fitted(rebuilt.mean(axis=0), picture.mean(axis=0))
    size = (rebuilt.shape[2], rebuilt.shape[1])
    spread_gain, spread_bias = (
        cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in (gain, bias)
    )
    return np.asarray(rebuilt * spread_gain + spread_bias, np.float32)


def fitted(
    rebuilt: NDArray[np.float32], picture: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gain and bias of each of TILES x TILES tiles, by least squares over the pixels that agree with a first
    fit (once reweighted)."""
    gain, bias = np.ones((TILES, TILES), np.float32), np.zeros((TILES, TILES), np.float32)
    height, width = picture.shape
    rows, columns = (np.linspace(0, side, TILES + 1).astype(int) for side in (height, width))
    for i in range(TILES):
        for j in range(TILES):
            part = (slice(rows[i], rows[i + 1]), slice(columns[j], columns[j + 1]))
            gain[i, j], bias[i, j] = _line(rebuilt[part].ravel(), picture[part].ravel())
    return gain, bias


def _line(x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[float, float]:
    """Gain and bias from x to y; starts at the difference of medians, which a foreign thing hardly moves."""
    apart = np.abs(y - x - np.median(y - x))
    agree = apart <= _TRIM * 1.4826 * np.median(apart) + 1e-6
    for _ in range(2):
        inner_x, inner_y = x[agree], y[agree]
        mean_x, mean_y = float(inner_x.mean()), float(inner_y.mean())
        variance = float(inner_x.var())
        covariance = float(((inner_x - mean_x) * (inner_y - mean_y)).mean())
        gain = float(np.clip((covariance + _SMOOTH) / (variance + _SMOOTH), *_GAIN))
        bias = mean_y - gain * mean_x
        rest = np.abs(y - gain * x - bias)
        agree = rest <= _TRIM * 1.4826 * np.median(rest) + 1e-6
    return gain, bias
