"""What calibration leaves in the bundle beside the threshold: a scale per branch, and the latent density.

Places may excuse, never accuse: where normal footage shows much evidence, more is needed there; a place where
it shows little is held to what is usual in the whole picture, because little footage cannot prove a place
quiet. On UCSD Ped2 a plain z-score per place loses to no statistics at all.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.arrays import arrays_in
from edge.errors import BundleError
from edge.latent import Latent
from edge.localize import Map, Scale

_HABIT = 0.9  # quantile over frames: what is habitual at a place, and not what once passed through it
_USUAL = 0.9  # a place is held to at least this quantile of all places
_NOTHING = 1e-6  # the smallest scale, in units of the evidence
_UNREACHED = 1e30
_UNREADABLE = "the calibration file of the bundle cannot be read; calibrate the bundle again"


@dataclass(frozen=True, slots=True, eq=False)
class Yardsticks:
    """`scales`: one per branch of the scoring; `latent` where a branch needs it."""

    scales: tuple[Scale, ...]
    latent: Latent | None = None

    def heats(self, maps: Sequence[Map | None]) -> tuple[Map | None, ...]:
        pairs = zip(self.scales, maps, strict=True)
        return tuple(None if evidence is None else scale.heat(evidence) for scale, evidence in pairs)

    def to_bytes(self) -> bytes:
        arrays: dict[str, NDArray[np.float32]] = {}
        for number, scale in enumerate(self.scales):
            arrays[f"typical_{number}"] = np.float32(scale.typical).reshape(1)
            arrays[f"high_{number}"] = scale.high
        if self.latent is not None:
            arrays["latent_mean"], arrays["latent_white"] = self.latent.mean, self.latent.white
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, branches: int) -> Yardsticks:
        """Raises BundleError unless there is a sound scale for each branch."""
        arrays = _arrays(data)
        try:
            scales = tuple(
                Scale(float(arrays[f"typical_{n}"][0]), arrays[f"high_{n}"]) for n in range(branches)
            )
        except (KeyError, IndexError):
            raise _unfit() from None
        if any(s.high.ndim != 2 or not s.high.size or (s.high <= s.typical).any() for s in scales):
            raise _unfit()
        return cls(scales, _latent(arrays))


def _arrays(data: bytes) -> dict[str, NDArray[np.float32]]:
    found = arrays_in(data, _UNREADABLE)
    try:
        arrays = {name: np.asarray(array, np.float32) for name, array in found.items()}
    except (ValueError, TypeError):
        raise BundleError(_UNREADABLE) from None
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise _unfit()
    return arrays


def _latent(arrays: dict[str, NDArray[np.float32]]) -> Latent | None:
    if "latent_mean" not in arrays:
        return None
    mean, white = arrays["latent_mean"], arrays.get("latent_white")
    if white is None or mean.ndim != 3 or not mean.size or white.shape != (len(mean), len(mean)):
        raise _unfit()
    return Latent(mean, white)


def _unfit() -> BundleError:
    return BundleError("the calibration does not fit the bundle's scoring; calibrate the bundle again")


def scale_of(cells: Sequence[NDArray[np.float32]], typical: float) -> Scale:
    """From the largest evidence per place of every frame of normal footage (n of rows x columns)."""
    stacked = np.stack(cells)
    high = np.quantile(stacked, _HABIT, axis=0).astype(np.float32)
    wide = np.asarray(cv2.dilate(high, np.ones((3, 3), np.uint8)), np.float32).reshape(high.shape)
    floor = max(float(np.quantile(wide, _USUAL)), typical + _NOTHING)
    return Scale(typical, np.maximum(wide, np.float32(floor)))


def stretched(scale: Scale, heat: float) -> Scale:
    """The scale on which what was `heat` is 1."""
    factor = np.float32(max(heat, _NOTHING))
    high = np.asarray(scale.typical + (scale.high - scale.typical) * factor, np.float32)
    return Scale(scale.typical, np.maximum(high, np.float32(_above(scale.typical))))


def mute() -> Scale:
    """Of a branch that showed nothing on normal footage: what it may show in flight accuses nobody."""
    return Scale(0.0, np.full((1, 1), _UNREACHED, np.float32))


def _above(typical: float) -> float:
    """The smallest float32 over it: a scale of no length at all would be refused when it is loaded."""
    return float(np.nextafter(np.float32(typical), np.float32(np.inf)))
