"""Features without any network: how many pixels change by how much, and how unevenly over the picture.

What an extractor is worth that was trained on nothing, beside one with weights from elsewhere.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from edge.clips import ExtractorSpec
from edge.preprocess import InputSpec
from train.features import Extractor

NAME = "motion histograms"
PICTURE = InputSpec(height=120, width=160, scale=1.0)
_EDGES = (0, 4, 8, 16, 32, 64, 256)  # grey levels of change
_BLOCKS = (8, 8)
_RANKS = (0, 1, 2, 4, 8, 16, 32, 63)  # of the blocks, most changed first
WIDTH = 2 * (len(_EDGES) - 1 + len(_RANKS))


def motion_extractor(frames: int, stride: int, fps: float) -> Extractor:
    digest = hashlib.sha256(f"{NAME} 1".encode()).hexdigest()
    spec = ExtractorSpec(
        sees="clip", frames=frames, stride=stride, fps=fps, pooling="mean", width=WIDTH, sha256=digest
    )
    return Extractor(NAME, spec, PICTURE, histograms, b"")


def histograms(clip: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 x 3 x frames x 120 x 160 -> 1 x width: mean over the clip, then spread, of each number."""
    grey = clip[0].mean(axis=0)
    change = np.abs(np.diff(grey, axis=0))
    counts = np.stack([np.histogram(one, _EDGES)[0] / one.size for one in change])
    rows, columns = (size // count for size, count in zip(grey.shape[1:], _BLOCKS, strict=True))
    blocks = change.reshape(len(change), _BLOCKS[0], rows, _BLOCKS[1], columns).mean(axis=(2, 4))
    ranked = -np.sort(-blocks.reshape(len(change), -1), axis=1)[:, _RANKS]
    numbers = np.concatenate([counts, ranked / 255], axis=1)
    return np.asarray(np.concatenate([numbers.mean(axis=0), numbers.std(axis=0)])[None], np.float32)
