"""Picture -> tensor: the one definition for training, calibration, export and flight.

Two ways of shrinking shift the CAE's score by 1.2 %, so nothing else in Skerry resizes a picture for a
model. The parameters travel in the bundle's manifest as `InputSpec`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edge.frames import Picture
from edge.shrinking import shrunk


class InputSpec(BaseModel):
    """What the model wants to see. `resize`: `area` averages all source pixels (see `edge.shrinking`).

    `frames`: 2 for a picture and another one that lies on it. `beside`: which one that is, an `earlier`
    picture (see `edge.pairs`) or the same place on another flight of the `route` (see `edge.places`).
    `tiling`: `none` shrinks the picture to height x width; `auto` keeps its own size as far as the time
    between frames allows, and height x width is one tile of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: Literal[1, 2] = 1
    beside: Literal["earlier", "route"] = "earlier"
    height: int = Field(default=124, ge=8, le=4096)
    width: int = Field(default=124, ge=8, le=4096)
    colour: Literal["rgb"] = "rgb"
    scale: float = Field(default=1 / 255, gt=0)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    resize: Literal["area"] = "area"
    tiling: Literal["none", "auto"] = "none"


def to_tensor(image: Picture, spec: InputSpec) -> NDArray[np.float32]:
    """H x W x 3 BGR uint8 -> 1 x 3 x height x width float32, (pixel * scale - mean) / std."""
    small = shrunk(image, spec.height, spec.width)
    rgb = small[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
    rgb *= spec.scale
    if spec.mean != (0.0, 0.0, 0.0) or spec.std != (1.0, 1.0, 1.0):
        rgb -= np.asarray(spec.mean, np.float32)[:, None, None]
        rgb /= np.asarray(spec.std, np.float32)[:, None, None]
    return np.ascontiguousarray(rgb[None])


def pair_to_tensor(now: Picture, earlier: Picture | None, spec: InputSpec) -> NDArray[np.float32]:
    """Two BGR pictures of one size -> 1 x 6 x height x width; without an earlier one, the same twice."""
    shape = (1, 6, *now.shape[:2])
    tensor = np.empty(shape, np.float32)
    np.multiply(now[:, :, ::-1].transpose(2, 0, 1), np.float32(spec.scale), out=tensor[0, :3])
    if earlier is None:
        tensor[0, 3:] = tensor[0, :3]
    else:
        np.multiply(earlier[:, :, ::-1].transpose(2, 0, 1), np.float32(spec.scale), out=tensor[0, 3:])
    return tensor
