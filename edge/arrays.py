"""Arrays in the bytes of an .npz file, read as hostile input."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError

# What numpy and zipfile raise for bytes that are no archive of arrays, or a damaged one.
_UNREADABLE = (
    *(ValueError, LookupError, OSError, EOFError, SyntaxError, TypeError, AttributeError, ArithmeticError),
    *(MemoryError, RuntimeError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def arrays_in(data: bytes, damaged: str) -> dict[str, NDArray[Any]]:
    """By name; nothing is unpickled. Raises BundleError with the sentence `damaged`."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _UNREADABLE:
        raise BundleError(damaged) from None
