"""What people use without us: methods that see footage through the same harness as a bundle.

Each looks at one frame after another, causally. `fit` learns from normal footage where the method can, and
`begin` forgets the video before. Scores and heat are in the method's own unit; boxes are drawn from `level`
up, which `benchmarks/detection.py` sets on normal footage.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frames import Frame, Picture
from edge.localize import boxes
from edge.pipeline import Finding

Map: TypeAlias = NDArray[np.float32]  # height x width
Look: TypeAlias = tuple[float, Map]  # score and heat

LAG_S = 0.2  # between the two pictures that are compared: two frames at 10 fps
STALE_S = 1.5


class Peer(ABC):
    """One method. `parameters`: numbers learned or downloaded."""

    learns = True  # from normal footage; False spares reading it
    parameters = 0
    level = math.inf  # heat from which a pixel belongs to a box
    whole = True  # the last frame could be judged: a video's first cannot, by what compares two

    def fit(self, frames: Iterable[Frame]) -> None:  # noqa: B027 - some have nothing to learn
        """Normal footage, recording after recording."""

    def begin(self) -> None:  # noqa: B027 - some remember nothing
        """Another video comes: forget the last."""

    @abstractmethod
    def look(self, frame: Frame) -> Look: ...

    def inspect(self, frame: Frame) -> Finding:
        score, heat = self.look(frame)
        found = boxes(heat, self.level, frame.width, frame.height)
        return Finding(score, heat, found, whole=self.whole)


class Lagged:
    """The youngest picture that is at least LAG_S older than the one now, else the oldest there is."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, NDArray[Any]]] = deque()

    def __call__(self, picture: NDArray[Any], stream_s: float) -> tuple[NDArray[Any], float] | None:
        """The earlier picture and its age in seconds; None for a video's first."""
        past = self._past
        if past and not 0 < stream_s - past[-1][0] <= STALE_S:
            past.clear()
        while len(past) > 1 and stream_s - past[1][0] >= LAG_S - 1e-3:
            past.popleft()
        earlier = (past[0][1], stream_s - past[0][0]) if past else None
        past.append((stream_s, picture))
        return earlier


class Thinned:
    """Every k-th of a stream of unknown length, so that at most `most` and at least half as many are kept."""

    def __init__(self, most: int) -> None:
        self._most, self._step, self._seen = most, 1, 0
        self.kept: list[NDArray[Any]] = []

    def add(self, item: NDArray[Any]) -> None:
        if self._seen % self._step == 0:
            self.kept.append(item)
        self._seen += 1
        if len(self.kept) > self._most:
            self.kept, self._step = self.kept[::2], 2 * self._step


def grey(image: Picture) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def averaged(values: NDArray[Any], side: int) -> Map:
    """Mean over side x side around each place."""
    whole = np.asarray(values, np.float32)
    return np.asarray(cv2.blur(whole, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)


def reduced(image: Picture, long_side: int) -> Picture:
    """At most `long_side` wide or high."""
    height, width = image.shape[:2]
    factor = min(1.0, long_side / max(height, width))
    if factor == 1.0:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


class FrameDifference(Peer):
    """Largest 15 x 15 mean of the change of brightness at 160 x 120."""

    learns = False
    SIZE, WINDOW = (160, 120), 15

    def __init__(self) -> None:
        self._lagged = Lagged()

    def begin(self) -> None:
        self._lagged = Lagged()

    def look(self, frame: Frame) -> Look:
        small = cv2.resize(grey(frame.image), self.SIZE, interpolation=cv2.INTER_AREA)
        earlier = self._lagged(small, frame.stream_s)
        self.whole = earlier is not None
        if earlier is None:
            return 0.0, np.zeros(small.shape, np.float32)
        heat = averaged(cv2.absdiff(small, earlier[0]), self.WINDOW)
        return float(heat.max()), heat


class OpticalFlow(Peer):
    """Largest 21 x 21 mean of DIS flow's length, pixels in LAG_S, at full resolution."""

    learns = False
    WINDOW, STRIDE = 21, 2  # the heat is that smooth: every second pixel tells it all

    def __init__(self) -> None:
        self._lagged = Lagged()
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def begin(self) -> None:
        self._lagged = Lagged()

    def look(self, frame: Frame) -> Look:
        now = grey(frame.image)
        earlier = self._lagged(now, frame.stream_s)
        self.whole = earlier is not None
        if earlier is None:
            return 0.0, np.zeros(now[:: self.STRIDE, :: self.STRIDE].shape, np.float32)
        flow = self._dis.calc(earlier[0], now, None) * np.float32(LAG_S / earlier[1])
        heat = averaged(cv2.magnitude(flow[..., 0], flow[..., 1]), self.WINDOW)
        return float(heat.max()), heat[:: self.STRIDE, :: self.STRIDE]


class PcaReconstruction(Peer):
    """What 150 principal components of the whole thumbnail cannot rebuild."""

    SIDE, COMPONENTS, MOST, WINDOW = 124, 150, 800, 9

    def __init__(self, *, peak: bool) -> None:
        """`peak`: score by the largest 9 x 9 mean of the squared error, else by the mean of the picture."""
        self._peak = peak
        self._mean = np.zeros(3 * self.SIDE**2, np.float32)
        self._axes = np.zeros((0, 3 * self.SIDE**2), np.float32)

    def fit(self, frames: Iterable[Frame]) -> None:
        seen = Thinned(self.MOST)
        for frame in frames:
            seen.add(self._thumbnail(frame.image))
        pixels = np.stack(seen.kept).astype(np.float32) / 255
        self._mean = pixels.mean(axis=0)
        self._axes = principal_axes(np.asarray(pixels - self._mean, np.float32), self.COMPONENTS)
        self.parameters = self._axes.size + self._mean.size

    def _thumbnail(self, image: Picture) -> NDArray[np.uint8]:
        small = cv2.resize(image, (self.SIDE, self.SIDE), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8).ravel()

    def look(self, frame: Frame) -> Look:
        centred = self._thumbnail(frame.image).astype(np.float32) / 255 - self._mean
        rest = centred - (self._axes @ centred) @ self._axes
        error = np.square(rest).reshape(self.SIDE, self.SIDE, 3).mean(axis=2)
        heat = averaged(error, self.WINDOW)
        return float(heat.max() if self._peak else error.mean()), heat


def principal_axes(centred: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """n x d -> at most `count` orthonormal rows of length d, by way of the n x n products."""
    values, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    order = np.argsort(values)[::-1][:count]
    order = order[values[order] > 1e-9 * max(values.max(), 1e-12)]
    axes = vectors[:, order].T @ centred / np.sqrt(values[order])[:, None]
    return np.asarray(axes, np.float32)


class Rx(Peer):
    """Reed-Xiaoli: Mahalanobis distance of colours, from the picture's own or from the surroundings' mean."""

    learns = False
    LONG_SIDE, SMOOTH = 640, 5
    INNER, OUTER = 15, 61  # pixels: what is tested, and what it is compared with
    _NOISE = 4.0  # grey levels squared; the colours of a grey picture have no spread of their own

    def __init__(self, *, local: bool) -> None:
        self._local = local

    def look(self, frame: Frame) -> Look:
        colours = reduced(frame.image, self.LONG_SIDE).astype(np.float32)
        off = colours - (self._around(colours) if self._local else colours.mean(axis=(0, 1)))
        flat = off.reshape(-1, 3)
        covariance = flat.T @ flat / len(flat) + self._NOISE * np.eye(3, dtype=np.float32)
        inverse = np.linalg.inv(covariance).astype(np.float32)
        distance = np.einsum("ij,ij->i", flat @ inverse, flat).reshape(off.shape[:2])
        heat = averaged(distance, self.SMOOTH)
        return float(heat.max()), heat

    def _around(self, colours: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean of the ring between the two windows."""
        inner, outer = self.INNER**2, self.OUTER**2
        ring = averaged(colours, self.OUTER) * outer - averaged(colours, self.INNER) * inner
        return np.asarray(ring / np.float32(outer - inner), np.float32)


class Subtraction(Peer):
    """OpenCV's background subtraction with its defaults, shown normal footage before each video."""

    LONG_SIDE, PRIMING = 640, 120
    _FOREGROUND = 255  # shadows are 127

    def __init__(self, make: Callable[[], Any], *, blob: bool) -> None:
        """`blob`: score by the largest connected foreground, else by all of it; a share of the picture."""
        self._make, self._blob = make, blob
        self._subtractor = make()
        self._priming: Sequence[Picture] = ()

    def fit(self, frames: Iterable[Frame]) -> None:
        seen = Thinned(self.PRIMING)
        for frame in frames:
            seen.add(reduced(frame.image, self.LONG_SIDE))
        self._priming = seen.kept

    def begin(self) -> None:
        self._subtractor = self._make()
        for picture in self._priming:
            self._subtractor.apply(picture)

    def look(self, frame: Frame) -> Look:
        mask = self._subtractor.apply(reduced(frame.image, self.LONG_SIDE))
        foreground = (mask == self._FOREGROUND).astype(np.uint8)
        clean = cv2.morphologyEx(foreground, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        heat = blob_shares(np.asarray(clean, np.uint8))
        return float(heat.max() if self._blob else clean.mean()), heat


def blob_shares(mask: NDArray[np.uint8]) -> Map:
    """Every pixel of a connected region gets the share of the picture that the region takes."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    shares = stats[:, cv2.CC_STAT_AREA].astype(np.float32) / np.float32(mask.size)
    shares[0] = 0
    return np.asarray(shares[labels], np.float32)


def _mog2() -> Any:
    return cv2.createBackgroundSubtractorMOG2()


def _knn() -> Any:
    return cv2.createBackgroundSubtractorKNN()


PEERS: Mapping[str, Callable[[], Peer]] = {
    "frame-difference": FrameDifference,
    "dis-flow": OpticalFlow,
    "pca-mean": lambda: PcaReconstruction(peak=False),
    "pca-window": lambda: PcaReconstruction(peak=True),
    "rx-global": lambda: Rx(local=False),
    "rx-local": lambda: Rx(local=True),
    "mog2-share": lambda: Subtraction(_mog2, blob=False),
    "mog2-blob": lambda: Subtraction(_mog2, blob=True),
    "knn-share": lambda: Subtraction(_knn, blob=False),
    "knn-blob": lambda: Subtraction(_knn, blob=True),
}
