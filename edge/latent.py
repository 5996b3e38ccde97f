"""How far a picture's features lie from those of normal footage: a Gaussian with a mean for every place.

Mahalanobis distance under one covariance for the whole picture (PaDiM, Defard et al. 2021, has one for every
place; from a few minutes of footage that is noise). Where the camera moves, all places come to share a mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import UsageError

Features = NDArray[np.float32]  # channels x height x width
PLACES = 48  # at most, along the longer side
_PRIOR = 20  # frames whose worth the mean of the whole picture has against the mean of a place
_FLOOR = 1e-4  # of the largest variance; a direction that never varies must not divide by zero


@dataclass(frozen=True, slots=True, eq=False)
class Latent:
    """`mean`: channels x rows x columns of places; `white`: channels x channels, sqrt of the precision."""

    mean: NDArray[np.float32]
    white: NDArray[np.float32]

    def distance(self, features: Features) -> NDArray[np.float32]:
        """height x width: mean squared deviation over the directions, about 1 where all is normal."""
        channels, height, width = features.shape
        centred = features - spread(self.mean, (height, width))
        turned = self.white @ centred.reshape(channels, -1)
        return np.asarray(np.square(turned).mean(axis=0).reshape(height, width), np.float32)


class LatentSums:
    """What a Latent is fitted from, added up frame by frame."""

    def __init__(self) -> None:
        self.frames = 0
        self._places: NDArray[np.float64] | None = None
        self._products: NDArray[np.float64] | None = None
        self._pixels = 0

    def add(self, features: Features) -> None:
        channels = features.shape[0]
        flat = features.reshape(channels, -1)
        self._take(pooled(features).astype(np.float64), (flat @ flat.T).astype(np.float64))
        self.frames += 1
        self._pixels += flat.shape[1]

    def __add__(self, other: LatentSums) -> LatentSums:
        both = LatentSums()
        for part in (self, other):
            if part._places is not None and part._products is not None:
                both._take(part._places, part._products)
        both.frames, both._pixels = self.frames + other.frames, self._pixels + other._pixels
        return both

    def _take(self, places: NDArray[np.float64], products: NDArray[np.float64]) -> None:
        if self._places is None or self._products is None:
            self._places, self._products = places.copy(), products.copy()
        else:
            self._places += places
            self._products += products

    def fit(self) -> Latent:
        """Raises UsageError where no frame was added."""
        if self._places is None or self._products is None:
            raise UsageError("there is no normal footage to learn from; give more")
        means = self._places / self.frames
        whole = means.mean(axis=(1, 2), keepdims=True)
        trust = self.frames / (self.frames + _PRIOR)
        means = trust * means + (1 - trust) * whole
        flat = means.reshape(len(means), -1)
        covariance = self._products / self._pixels - flat @ flat.T / flat.shape[1]
        values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
        white = (vectors / np.sqrt(np.maximum(values, _FLOOR * values.max() + 1e-12))).T
        return Latent(means.astype(np.float32), white.astype(np.float32))


def pooled(features: Features) -> Features:
    """Means over places, at most PLACES along the longer side."""
    _, height, width = features.shape
    rows, columns = places(height, width)
    shrunk = [cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA) for plane in features]
    return np.asarray(np.stack(shrunk), np.float32)


def places(height: int, width: int) -> tuple[int, int]:
    factor = min(1.0, PLACES / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def spread(cells: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Cells -> every pixel of a map of `size` gets its cell's value; leading axes are kept."""
    rows = np.arange(size[0]) * cells.shape[-2] // size[0]
    columns = np.arange(size[1]) * cells.shape[-1] // size[1]
    return cells[..., rows[:, None], columns[None, :]]
