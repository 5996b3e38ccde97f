"""A picture -> raw evidence maps: what calibration and flight share, and what needs no calibration."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Scoring
from edge.frames import Frame, Picture
from edge.latent import Features, Latent
from edge.localize import Map, error_map, shape_of, windowed
from edge.pairs import Pair, Pairs
from edge.preprocess import InputSpec, pair_to_tensor, to_tensor
from edge.runtimes import Runtime
from edge.tiles import Size, Tiling, viewed

if TYPE_CHECKING:
    from edge.places import Recalled, Walk

_NEAR_EDGE = 17  # pixels across: within half of it of the unknown nothing is judged
HEAD = 4  # channels of an evidence model that hold the head's logits, 2 x 2 to a cell


class Stopwatch:
    """Nanoseconds between laps, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, int] = {}
        self._last = time.perf_counter_ns()

    def lap(self, name: str) -> None:
        now = time.perf_counter_ns()
        self.laps[name] = self.laps.get(name, 0) + now - self._last
        self._last = now


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """What one frame shows, before anything is known of what is normal; None for what this model lacks.

    `judged`: share of the picture that the model could hold against something.
    """

    error: Map | None = None
    head: Map | None = None
    features: Features | None = None
    speed: Map | None = None
    judged: float = 1.0

    def maps(self, scoring: Scoring, latent: Latent | None) -> list[Map | None]:
        """One windowed map per branch; None where a branch has no evidence of this frame."""
        sources: dict[str, Map | None] = {"error": self.error, "head": self.head, "motion": self.speed}
        if latent is not None and self.features is not None:
            sources["latent"] = latent.distance(self.features)
        found = [(sources.get(branch.source), branch) for branch in scoring.branches]
        return [None if map_ is None else windowed(map_, of.window, of.power) for map_, of in found]


class Observer:
    """Frames of one recording or flight, in time order. `view`: the size at which tiled models look;
    `walk`: along the route, for models that see the same place on another flight."""

    def __init__(
        self, runtime: Runtime, spec: InputSpec, scoring: Scoring, view: Size, walk: Walk | None = None
    ) -> None:
        self._runtime, self._spec = runtime, spec
        self._relight = scoring.relight
        moving = any(branch.source == "motion" for branch in scoring.branches)
        before = spec.frames == 2 and spec.beside == "earlier"
        self._paired = before or moving
        self._walk = walk
        latent = any(branch.source == "latent" for branch in scoring.branches)
        self._channels = slice(None) if latent else slice(HEAD)  # features nobody asks for are not joined
        self._pairs = Pairs(register=before)
        self._tiling = Tiling(view, (spec.height, spec.width))

    def look(self, frame: Frame, watch: Stopwatch) -> Raw:
        """Everything the model and the motion say of the frame."""
        picture = frame.image if self._spec.tiling == "none" else viewed(frame.image, self._tiling.view)
        watch.lap("preprocess")
        recalled: Recalled | None = None
        pair = self._pairs.pair(picture, frame.stream_s) if self._paired else Pair(picture)
        if self._paired:
            watch.lap("motion")
        if self._walk is not None:
            recalled = self._walk.recall(picture)
            pair = replace(pair, earlier=None if recalled is None else recalled.picture)
            watch.lap("recall")
        if self._spec.tiling == "none":
            return Raw(error=self._rebuilt(picture, watch), speed=pair.speed)
        evidence = self._evidence(pair, watch)
        features = evidence[HEAD:] if len(evidence) > HEAD else None
        head = probability(evidence[:HEAD])
        if self._walk is None:
            return Raw(head=_unlit(head, pair.light), features=features, speed=pair.speed)
        sure = judged(None if recalled is None else recalled.known, shape_of(head))
        return Raw(head=head * sure, features=features, speed=pair.speed, judged=float(sure.mean()))

    def skip(self, frame: Frame) -> None:
        """Keep a frame for pairing with later ones without looking at it."""
        if self._paired:
            tiled = self._spec.tiling != "none"
            picture = viewed(frame.image, self._tiling.view) if tiled else frame.image
            self._pairs.remember(picture, frame.stream_s)

    def _rebuilt(self, picture: Picture, watch: Stopwatch) -> Map:
        tensor = to_tensor(picture, self._spec)
        watch.lap("preprocess")
        output = self._runtime(tensor)
        watch.lap("infer")
        return error_map(tensor, output, relight=self._relight)

    def _evidence(self, pair: Pair, watch: Stopwatch) -> Features:
        """The head's channels, then the features, of the whole view."""
        outputs = []
        before = self._tiling.cut(pair.now if pair.earlier is None else pair.earlier)
        for now, earlier in zip(self._tiling.cut(pair.now), before, strict=True):
            tensor = pair_to_tensor(now, earlier, self._spec)
            watch.lap("preprocess")
            outputs.append(self._runtime(tensor)[0, self._channels])
            watch.lap("infer")
        return self._tiling.join(outputs)


def _unlit(head: Map, light: Map | None) -> Map:
    """What the head says, and nothing where light is passing: what the edges of a shadow and of the picture
    enclose looks like a thing that does not belong."""
    if light is None:
        return head
    return np.asarray(head * (1 - cv2.resize(light, head.shape[::-1])), np.float32)


def judged(known: NDArray[np.bool_] | None, shape: tuple[int, int]) -> Map:
    """1 where a model of a route can tell, 0 where no other flight was, or its edge is near: what looks
    strange there may be a landmark. `shape`: of the map."""
    if known is None:
        return np.zeros(shape, np.float32)
    sure = cv2.erode(known.astype(np.uint8), np.ones((_NEAR_EDGE,) * 2, np.uint8))
    return np.asarray(cv2.resize(sure, shape[::-1], interpolation=cv2.INTER_NEAREST), np.float32)


def probability(unshuffled: NDArray[np.float32]) -> Map:
    """4 x h x w logits -> 2h x 2w probabilities."""
    _, height, width = unshuffled.shape
    logits = unshuffled.reshape(2, 2, height, width).transpose(2, 0, 3, 1).reshape(2 * height, 2 * width)
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


class Memory:
    """Maps that fade: what stays in one place for a few frames stands out from what flickers."""

    def __init__(self, time_constant_s: float) -> None:
        self._constant = time_constant_s
        self._kept: dict[int, Map] = {}
        self._last_s = -math.inf

    def __call__(self, maps: Sequence[Map | None], stream_s: float) -> list[Map | None]:
        passed, self._last_s = stream_s - self._last_s, stream_s
        keep = math.exp(-passed / self._constant) if self._constant > 0 and passed > 0 else 0.0
        return [self._faded(number, new, keep) for number, new in enumerate(maps)]

    def _faded(self, number: int, new: Map | None, keep: float) -> Map | None:
        old = self._kept.pop(number, None)
        if new is None:
            return None
        same = old is not None and old.shape == new.shape and keep > 0
        mixed = np.asarray(keep * old + (1 - keep) * new, np.float32) if old is not None and same else new
        self._kept[number] = mixed
        return mixed
