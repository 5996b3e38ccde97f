"""A cell array of matrices out of a MATLAB 5 file, which is what MATLAB saves with -v6 and -v7.

Only what labels need, within bounds: SciPy's reader takes the whole process down on some damaged files. The
format is described in MathWorks' "MAT-File Format"; numbers below are its codes.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import FootageError
from train.evaluation.layouts.outside import FRAMES, read_bytes

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_CELL = 1  # class of an array; 6 to 15 are numbers
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_SIDES = 8  # more dimensions than labels have
_UNPACKED = 2**30  # bytes that one compressed variable may become: twice the largest of Avenue's


@dataclass(frozen=True, slots=True)
class _Array:
    kind: int  # the class
    sides: tuple[int, ...]
    name: bytes
    parts: Iterator[tuple[int, memoryview]]


def read_cells(path: Path, name: str) -> list[NDArray[Any]]:
    """The matrices in a variable that is a cell array, in MATLAB's order. Raises FootageError."""
    content = read_bytes(path)
    if content.startswith(b"MATLAB 7.3") or content[124:126] in (b"\x00\x02", b"\x02\x00"):
        raise FootageError(f"{path} is a MATLAB file of version 7.3 (HDF5); save it again with -v7.")
    try:
        cells = _cells(content, name.encode())
    except (ValueError, struct.error, zlib.error) as error:
        raise FootageError(f"{path} is no readable MATLAB 5 file; copy it again.") from error
    if not cells:
        raise FootageError(f"{path} holds no cell array {name}; is it the right file?")
    return cells


def _cells(content: bytes, name: bytes) -> list[NDArray[Any]]:
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise ValueError("no MATLAB header")
    for kind, body in _elements(memoryview(content)[_HEADER:], order):
        array = _variable(kind, body, order)
        if array.kind == _CELL and array.name == name:
            matrices = [_matrix(_variable(inside, part, order), order) for inside, part in array.parts]
            if len(matrices) != math.prod(array.sides):
                raise ValueError("cells are missing")
            return matrices
    return []


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Code and bytes of one element after another; up to four bytes hide inside the tag."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(order + "II", data, at)
        begin = at + 8
        if kind >> 16:
            kind, size, begin = kind & 0xFFFF, kind >> 16, at + 4
        if begin + size > len(data):
            raise ValueError("cut short")
        yield kind, data[begin : begin + size]
        at = begin + size if kind == _COMPRESSED else at + 8 + _padded(size if begin == at + 8 else 0)


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _variable(kind: int, body: memoryview, order: str) -> _Array:
    if kind == _COMPRESSED:
        unpacked = zlib.decompressobj().decompress(body, _UNPACKED)
        kind, body = next(_elements(memoryview(unpacked), order), (0, body))
    if kind != _MATRIX:
        raise ValueError("no array")
    parts = _elements(body, order)
    flags, sides, name = (_part(parts) for _ in range(3))
    (word,) = struct.unpack_from(order + "I", flags)
    count = min(len(sides) // 4, _SIDES)
    return _Array(word & 0xFF, struct.unpack_from(f"{order}{count}i", sides), bytes(name), parts)


def _part(parts: Iterator[tuple[int, memoryview]]) -> memoryview:
    return next(parts, (0, memoryview(b"")))[1]


def _matrix(array: _Array, order: str) -> NDArray[Any]:
    kind, body = next(array.parts, (0, memoryview(b"")))
    if kind not in _NUMBERS or len(array.sides) != 2 or not all(0 < side < FRAMES for side in array.sides):
        raise ValueError("no matrix of numbers")
    return np.frombuffer(body, order + _NUMBERS[kind]).reshape(array.sides, order="F")
