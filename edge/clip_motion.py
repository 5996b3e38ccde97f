"""How a clip moves, in numbers that need no network: what is learnt of them holds at other places too.

Dense optical flow (DIS) from each picture to the next, as it is and beside that of most of the picture, which
a moving camera has; how fast it changes, where it points, how unlike neighbours move; and how much the
brightness changes. All of it as shares of the picture and by rank of blocks, so that places do not matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frames import Picture

Gray = NDArray[np.uint8]
Map = NDArray[np.float32]  # pictures x height x width, perhaps x 2
Row = NDArray[np.float64]

SIZE = 256, 144  # pixels of the flow's own grid, whatever the camera's
_CELLS = 64, 36  # places at which it is kept
_BLOCKS = 6, 8
_SPEEDS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, np.inf)  # pixels from one picture to the next
_CHANGES = (0.0, 4.0, 8.0, 16.0, 32.0, 64.0, np.inf)  # grey levels
_RANKS = (0, 1, 2, 4, 8, 16, 24, 47)  # of the blocks, highest first
_DIRECTIONS = 8
_MOVING = (0.5, 2.0)  # pixels, from which a place's direction counts
_TURNS = (200, 50)  # places, those of most turning or spreading
_FULL = 255.0
WIDTH = 171


class ClipMotion:
    """Pictures of one stream, in order -> the numbers of the newest `frames` of them."""

    def __init__(self, frames: int) -> None:
        self._flows: deque[Map] = deque(maxlen=frames)
        self._changes: deque[Map] = deque(maxlen=frames)
        self._before: Gray | None = None
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def restart(self) -> None:
        self._flows.clear()
        self._changes.clear()
        self._before = None

    def add(self, image: Picture) -> None:
        now = small_grey(image)
        before = now if self._before is None else self._before
        self._before = now
        flow = self._dis.calc(before, now, None)
        self._flows.append(np.asarray(cv2.resize(flow, _CELLS, interpolation=cv2.INTER_AREA), np.float32))
        self._changes.append(np.asarray(cv2.absdiff(before, now), np.float32))

    def repeat(self) -> None:
        """A picture that was missed: nothing moved."""
        if self._flows:
            self._flows.append(np.zeros_like(self._flows[-1]))
            self._changes.append(np.zeros_like(self._changes[-1]))

    def feature(self) -> NDArray[np.float32]:
        """WIDTH numbers. What the first picture differs by is not of this clip and does not count."""
        flows, changes = (list(held)[1:] for held in (self._flows, self._changes))
        if not flows:
            return np.zeros(WIDTH, np.float32)
        return np.concatenate(list(numbers(np.stack(flows), np.stack(changes)))).astype(np.float32)


def small_grey(image: Picture) -> Gray:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, SIZE, interpolation=cv2.INTER_AREA), np.uint8)


def numbers(flows: Map, changes: Map) -> Iterator[Row]:
    """pictures x 36 x 64 x 2 and pictures x 144 x 256, WIDTH numbers in all."""
    most = np.median(flows.reshape(len(flows), -1, 2), axis=1)
    beside = flows - most[:, None, None]
    yield from _change(changes)
    for vectors in (flows, beside):
        yield from _speed(vectors)
    yield from _direction(beside)
    yield from _disorder(beside)


def _change(changes: Map) -> Iterator[Row]:
    each = np.concatenate([_shares(changes, _CHANGES), _ranked(changes) / _FULL], axis=1)
    yield from (each.mean(axis=0), each.std(axis=0))


def _speed(vectors: Map) -> Iterator[Row]:
    """How fast, and how fast that changes: of places, and of their vectors, from one picture to the next."""
    speed = _length(vectors)
    for each in (_shares(speed, _SPEEDS), _ranked(speed)):
        yield from (each.mean(axis=0), each.std(axis=0))
    turned = _length(_steps(vectors))
    yield from (_shares(turned, _SPEEDS).mean(axis=0), _ranked(turned).mean(axis=0))
    yield _shares(np.abs(_steps(speed)), _SPEEDS).mean(axis=0)


def _direction(vectors: Map) -> Iterator[Row]:
    speed, angle = _length(vectors), np.arctan2(vectors[..., 1], vectors[..., 0])
    for least in _MOVING:
        weights = np.where(speed > least, speed, 0)
        yield np.histogram(angle, _DIRECTIONS, (-np.pi, np.pi), weights=weights)[0] / speed.size


def _disorder(vectors: Map) -> Iterator[Row]:
    """Spread within blocks, turning and spreading of the flow, and how far all of it points one way."""
    within = _blocks(vectors).std(axis=(2, 4)).sum(axis=-1)
    yield _by_rank(within).mean(axis=0)
    right, down = np.diff(vectors, axis=2)[:, :-1], np.diff(vectors, axis=1)[:, :, :-1]
    for each in (right[..., 1] - down[..., 0], right[..., 0] + down[..., 1]):
        ordered = -np.sort(-np.abs(each).reshape(len(each), -1), axis=1)
        yield np.array([ordered.mean(), *(ordered[:, :most].mean() for most in _TURNS)])
    together = np.linalg.norm(vectors.sum(axis=(1, 2)), axis=-1)
    yield np.array([(together / (_length(vectors).sum(axis=(1, 2)) + 1e-6)).mean()])


def _shares(each: Map, edges: tuple[float, ...]) -> Row:
    """pictures x height x width -> pictures x bins: how much of the picture lies between two edges."""
    return np.stack([np.histogram(one, edges)[0] / one.size for one in each])


def _ranked(each: Map) -> Row:
    return _by_rank(_blocks(each).mean(axis=(2, 4)))


def _by_rank(blocks: Map) -> Row:
    return np.asarray(-np.sort(-blocks.reshape(len(blocks), -1), axis=1)[:, _RANKS], np.float64)


def _blocks(each: Map) -> Map:
    """pictures x rows x height x columns x width, perhaps x 2."""
    rows, columns = _BLOCKS
    count, height, width = each.shape[:3]
    return each.reshape(count, rows, height // rows, columns, width // columns, *each.shape[3:])


def _steps(each: Map) -> Map:
    """From one picture to the next; of a single one, none."""
    return np.diff(each, axis=0) if len(each) > 1 else np.zeros_like(each)


def _length(vectors: Map) -> Map:
    return np.hypot(vectors[..., 0], vectors[..., 1])
