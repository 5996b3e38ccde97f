"""Label files that others made: read within bounds, or refused with one sentence."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.errors import FootageError

FRAMES = 10_000_000  # more native frames than any recording has: four days at 30 fps
_BYTES = 512 * 2**20

FrameNumber = Annotated[int, Field(ge=0, lt=FRAMES)]
Pixels = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Parsed = TypeVar("Parsed", bound=BaseModel)


class Record(BaseModel):
    """Part of a JSON file of somebody else's: what is not asked for is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _BYTES:
            raise FootageError(f"{path} has {size} bytes, too many for labels; name the right file.")
        return path.read_bytes()
    except OSError as error:
        raise FootageError(f"{path} cannot be read: {error.strerror}.") from error


def read_text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FootageError(f"{path} is not text in UTF-8; save it again as text.") from error


def read_json(path: Path, model: type[Parsed]) -> Parsed:
    try:
        return model.model_validate_json(read_bytes(path))
    except ValidationError as error:
        raise FootageError(f"{path} does not hold what it should: {_fault(error)}; copy it again.") from error


def _fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])


# What NumPy raises for a damaged header, which it parses as Python.
_ARRAY_FAULTS = (
    *(ValueError, TypeError, LookupError, ArithmeticError, OSError, EOFError, MemoryError, RecursionError),
    *(SyntaxError, TokenError),
)


def read_array(path: Path) -> NDArray[Any]:
    """Numbers of an .npy file, left on disk until touched. No pickles: those would run code."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except _ARRAY_FAULTS as error:
        raise FootageError(
            f"{path} is no readable .npy array of numbers (damaged, cut short or pickled); copy it again."
        ) from error
    if array.dtype.kind not in "biuf":
        raise FootageError(f"{path} holds {array.dtype}, not numbers; save the labels as 0 and 1.")
    return array


def read_labels(path: Path) -> NDArray[np.bool_]:
    """One truth per frame out of an .npy file: everything but 0 is abnormal."""
    array = read_array(path)
    labels = array.reshape(-1) if array.size == max(array.shape, default=0) else array
    if labels.ndim != 1 or not 0 < len(labels) < FRAMES:
        raise FootageError(f"{path} has the shape {array.shape}; labels are one number per frame.")
    return np.asarray(labels != 0, bool)
