"""A stream of frames -> clips -> features -> bags: the one definition for training, calibration and flight.

    frames at `fps` -> clips of `frames`, one every `stride` -> one raw feature each -> mean of the newest
    `average` -> length 1 -> the head looks at the newest `history` of them -> a logit -> smoothed

Nothing is computed twice: a per-frame extractor sees each frame once, a per-clip extractor each clip once;
frames between two clips, where the stride is longer than a clip, are not looked at.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edge.frames import Picture
from edge.light import levelled
from edge.preprocess import InputSpec, to_tensor

Feature = NDArray[np.float32]  # one vector
Features = NDArray[np.float32]  # clips x width
Extract = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_LEAST_LENGTH = 1e-12


class ExtractorSpec(BaseModel):
    """How raw features are made. `sees`: `frame`, one picture at a time (n x 3 x h x w -> n x d), pooled over
    the clip; `clip`, all of a clip's pictures at once (1 x 3 x frames x h x w -> 1 x d).

    `pooling`, of the frames' embeddings: their mean, or that followed by the mean absolute change from one
    frame to the next, which knows of motion (2 d). `fps`: of the frames that go in; `stride`: frames from one
    clip's begin to the next one's. `level`: every picture is brought to one brightness first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sees: Literal["frame", "clip"] = "frame"
    frames: int = Field(default=16, ge=1, le=256)
    stride: int = Field(default=8, ge=1, le=1024)
    fps: float = Field(default=8.0, gt=0, le=60, allow_inf_nan=False)
    pooling: Literal["mean", "mean-change"] = "mean"
    width: int = Field(ge=1, le=65_536)  # of one raw feature
    level: bool = False
    sha256: str = Field(pattern="^[0-9a-f]{64}$")  # of the extractor's fp32 ONNX


class ClipSpec(BaseModel):
    """How a bundle turns raw features into a score. `history`: features that the head sees, the newest and
    those before it; at the start of a stream the first stands in for those that are missing.

    `smooth_s`: time constant of the score's exponential mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    extractor: ExtractorSpec
    average: int = Field(default=1, ge=1, le=256)
    normalise: Literal["l2", "none"] = "l2"
    history: int = Field(default=1, ge=1, le=256)
    smooth_s: float = Field(default=0.0, ge=0, le=600, allow_inf_nan=False)
    head: str = Field(default="head.fp32.onnx", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")

    @property
    def period_s(self) -> float:
        """Seconds between two scores."""
        return self.extractor.stride / self.extractor.fps


def pooled(embeddings: NDArray[np.float32], pooling: Literal["mean", "mean-change"]) -> Feature:
    """frames x d -> d, or 2 d with the mean absolute change; that of a single frame is 0."""
    mean = embeddings.mean(axis=0)
    if pooling == "mean":
        return np.asarray(mean, np.float32)
    change = np.abs(np.diff(embeddings, axis=0)).sum(axis=0) / max(1, len(embeddings) - 1)
    return np.asarray(np.concatenate([mean, change]), np.float32)


def normalised(features: Features, rule: Literal["l2", "none"]) -> Features:
    """Each row to length 1; a row of zeros stays."""
    if rule == "none":
        return np.asarray(features, np.float32)
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    return np.asarray(features / np.maximum(length, _LEAST_LENGTH), np.float32)


class ClipMaker:
    """Pictures of one stream at the extractor's rate, in order -> a raw feature now and then."""

    def __init__(self, spec: ExtractorSpec, picture: InputSpec, extract: Extract) -> None:
        self._spec, self._picture, self._extract = spec, picture, extract
        self._ring: deque[NDArray[np.float32]] = deque(maxlen=spec.frames)
        self._seen = 0

    def restart(self) -> None:
        """Forget the pictures so far: the next clip begins with the next one."""
        self._ring.clear()
        self._seen = 0

    def add(self, image: Picture) -> Feature | None:
        """The feature of the clip that this picture completes, if it does."""
        if self._needed():
            self._keep(image)
        return self._counted()

    def repeat(self) -> Feature | None:
        """As `add`, of a picture that was missed: the last one stands in for it."""
        if self._needed() and self._ring:
            self._ring.append(self._ring[-1])
        return self._counted() if self._ring else None

    def _needed(self) -> bool:
        return self._seen % self._spec.stride < self._spec.frames

    def _counted(self) -> Feature | None:
        self._seen += 1
        if self._seen < self._spec.frames or (self._seen - self._spec.frames) % self._spec.stride:
            return None
        return self._feature()

    def _keep(self, image: Picture) -> None:
        tensor = to_tensor(image, self._picture)  # 1 x 3 x h x w
        if self._spec.level:
            tensor = levelled(tensor, self._picture)
        self._ring.append(self._extract(tensor)[0] if self._spec.sees == "frame" else tensor[0])

    def _feature(self) -> Feature:
        held = np.stack(self._ring)
        if self._spec.sees == "frame":
            return pooled(held, self._spec.pooling)
        return np.asarray(
            self._extract(np.ascontiguousarray(held.transpose(1, 0, 2, 3)[None]))[0], np.float32
        )


def raw_features(images: Iterable[Picture], maker: ClipMaker) -> Iterator[Feature]:
    """Of a whole recording, in order."""
    for image in images:
        feature = maker.add(image)
        if feature is not None:
            yield feature


class Window:
    """Raw features of one stream, in order -> what the head sees: 1 x history x width, oldest first."""

    def __init__(self, spec: ClipSpec) -> None:
        self._spec = spec
        self._raw: deque[Feature] = deque(maxlen=spec.average)
        self._held: deque[Feature] = deque(maxlen=spec.history)

    def add(self, raw: Feature) -> NDArray[np.float32]:
        self._raw.append(raw)
        mean = np.stack(self._raw).mean(axis=0, keepdims=True)
        self._held.append(normalised(mean, self._spec.normalise)[0])
        missing = [self._held[0]] * (self._spec.history - len(self._held))
        return np.stack([*missing, *self._held])[None]


def windows(raw: Features, spec: ClipSpec) -> NDArray[np.float32]:
    """clips x width of one stream -> clips x history x width, as flight would see them one by one."""
    window = Window(spec)
    return np.concatenate([window.add(row) for row in raw])


class Smoother:
    """Logits of one stream, in order, one every `period_s` -> their exponential mean; the first as it is."""

    def __init__(self, spec: ClipSpec) -> None:
        self._keep = math.exp(-spec.period_s / spec.smooth_s) if spec.smooth_s > 0 else 0.0
        self._score: float | None = None

    def add(self, logit: float) -> float:
        old = logit if self._score is None else self._score
        self._score = self._keep * old + (1 - self._keep) * logit
        return self._score


def smoothed(logits: Iterable[float], spec: ClipSpec) -> NDArray[np.float64]:
    """Of a whole stream, as flight would smooth them one by one."""
    smoother = Smoother(spec)
    return np.array([smoother.add(float(logit)) for logit in logits])


def clip_starts(frames: int, spec: ExtractorSpec) -> Sequence[int]:
    """First frame, at the extractor's rate, of each clip of a recording of so many frames."""
    return range(0, frames - spec.frames + 1, spec.stride)
