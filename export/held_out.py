"""Pictures that a model was not trained on, as they are and disturbed, and what models say of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.frames import Frame, Picture
from edge.localize import Map, cells, error_map, windowed
from edge.observer import HEAD, probability
from edge.pairs import Pair, Pairs
from edge.preprocess import InputSpec, pair_to_tensor, to_tensor
from edge.runtimes import Tensor
from edge.tiles import Tiling
from export.disturb import DISTURBANCES, Disturbance

Scores: TypeAlias = NDArray[np.float64]
Features: TypeAlias = NDArray[np.float32]  # pictures x channels x places
Vectors: TypeAlias = NDArray[np.float32]  # clips x width
Heats: TypeAlias = NDArray[np.float32]  # pictures x rows x columns
Model: TypeAlias = Callable[[Tensor], Tensor]
Taken = TypeVar("Taken")

WINDOW = 3  # pixels of the anomaly map a side, as evidence is scored
FEW = 5  # a fifth is enough to rank layers by
SPARSE = slice(2, None, 5)  # rows and columns of the features compared; all would fill the memory


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of each picture: a score, the evidence at each of its places and, of a scout, some of
    its features. Of a clip: a logit and the feature behind it."""

    scores: Scores
    heats: Heats | None = None
    features: Features | None = None
    vectors: Vectors | None = None


class HeldOut(Protocol):
    """`undisturbed`: how many pictures come as they are, before each disturbance of all of them."""

    @property
    def undisturbed(self) -> int: ...
    @property
    def shows(self) -> str: ...
    def tensors(self) -> Iterator[Tensor]:
        """One after the other, the undisturbed first."""
        ...

    def ask(self, model: Model) -> Answers: ...
    def few(self) -> HeldOut:
        """One in FEW of them, disturbed in the same way."""
        ...


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Pictures of the model's size, BGR. The score is the mean squared error of the whole picture."""

    pictures: tuple[Picture, ...]
    undisturbed: int
    spec: InputSpec
    shows: str = "whole frames"

    def ask(self, model: Model) -> Answers:
        scores, heats = [], []
        for tensor in self.tensors():
            error = error_map(tensor, model(tensor))
            scores.append(error.mean(dtype=np.float64))
            heats.append(cells(windowed(error, WINDOW)))
        return Answers(np.array(scores), np.stack(heats))

    def tensors(self) -> Iterator[Tensor]:
        for picture in self.pictures:
            yield to_tensor(picture, self.spec)

    def few(self) -> Thumbnails:
        kept = [p for n, p in enumerate(self.pictures) if n % self.undisturbed % FEW == 0]
        return replace(self, pictures=tuple(kept), undisturbed=-(-self.undisturbed // FEW))


@dataclass(frozen=True, eq=False)
class Tiles:
    """Pairs of the model's size. The score is the peak of the windowed probability of something foreign.

    Disturbed versions are made anew each time: kept, they would fill the memory.
    """

    pairs: tuple[Pair, ...]
    spec: InputSpec
    seed: int = 0
    shows: str = "tiles of frames"

    @property
    def undisturbed(self) -> int:
        return len(self.pairs)

    def tensors(self) -> Iterator[Tensor]:
        for kind, disturb in enumerate((None, *DISTURBANCES.values())):
            for number, pair in enumerate(self.pairs):
                shown = disturbed(pair, disturb, (self.seed, kind, number)) if disturb else pair
                yield pair_to_tensor(shown.now, shown.earlier, self.spec)

    def few(self) -> Tiles:
        return replace(self, pairs=self.pairs[::FEW])

    def ask(self, model: Model) -> Answers:
        scores, heats, features = [], [], []
        for tensor in self.tensors():
            evidence = model(tensor)[0]
            heat = foreign(evidence[:HEAD])
            scores.append(float(heat.max()))
            heats.append(cells(heat))
            features.append(evidence[HEAD:, SPARSE, SPARSE].reshape(len(evidence) - HEAD, -1))
        return Answers(np.array(scores), np.stack(heats), np.stack(features))


def foreign(logits: Tensor) -> Map:
    """HEAD x h x w -> 2h x 2w: the mean probability of a WINDOW around each place."""
    return windowed(probability(logits), WINDOW)


def thumbnails(frames: Iterable[Frame], wanted: int, spec: InputSpec, seed: int = 0) -> Thumbnails:
    """`wanted` frames spread evenly over the stream, or all if it has fewer, and their disturbed versions.

    They are disturbed after shrinking: the noise of a large picture would average away and test nothing.
    """
    normal = evenly((shrunk(frame.image, spec) for frame in frames), wanted)
    changed = [
        disturb(picture, np.random.default_rng((seed, kind, number)))
        for kind, disturb in enumerate(DISTURBANCES.values())
        for number, picture in enumerate(normal)
    ]
    return Thumbnails((*normal, *changed), len(normal), spec)


def tiles(frames: Iterable[Frame], wanted: int, spec: InputSpec, seed: int = 0) -> Tiles:
    """Of `wanted` frames, spread evenly, the central tile and another, each with the earlier picture."""
    sequence = Pairs()
    random = np.random.default_rng(seed)
    pairs = (sequence.pair(frame.image, frame.stream_s) for frame in frames)
    chosen = evenly((_two_tiles(pair, spec, random) for pair in pairs), wanted)
    return Tiles(tuple(itertools.chain.from_iterable(chosen)), spec, seed)


def _two_tiles(pair: Pair, spec: InputSpec, random: np.random.Generator) -> tuple[Pair, ...]:
    """One where the picture holds no more. Copies: a tile must not keep its whole picture alive."""
    height, width = pair.now.shape[:2]
    tiling = Tiling((height, width), (spec.height, spec.width))
    count = len(tiling.places)
    central = count // 2
    another = (central + int(random.integers(1, max(2, count)))) % count
    now = list(tiling.cut(pair.now))
    earlier = list(tiling.cut(pair.earlier)) if pair.earlier is not None else [None] * count
    return tuple(
        Pair(now[number].copy(), None if (before := earlier[number]) is None else before.copy())
        for number in sorted({central, another})
    )


def disturbed(pair: Pair, disturb: Disturbance, seed: tuple[int, ...]) -> Pair:
    """Both pictures in the same way: what lies on each other goes on doing so."""
    now = disturb(pair.now, np.random.default_rng(seed))
    if pair.earlier is None:
        return Pair(now)
    return Pair(now, disturb(pair.earlier, np.random.default_rng(seed)))


def shrunk(image: Picture, spec: InputSpec) -> Picture:
    """The picture at the model's size; `to_tensor` gives for it exactly what it gives for the original."""
    plain = spec.model_copy(update={"scale": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)})
    rgb = to_tensor(image, plain)[0].astype(np.uint8)  # shrinking gives whole grey levels
    return np.ascontiguousarray(rgb.transpose(1, 2, 0)[:, :, ::-1])


def evenly(stream: Iterable[Taken], wanted: int) -> list[Taken]:
    """At most `wanted` of a stream of unknown length, evenly spread, holding twice as many at most."""
    kept: list[Taken] = []
    every = 1
    for number, one in enumerate(stream):
        if number % every:
            continue
        kept.append(one)
        if len(kept) > 2 * wanted:
            kept, every = kept[::2], every * 2
    if len(kept) <= wanted:
        return kept
    return [kept[round(place)] for place in np.linspace(0, len(kept) - 1, wanted)]
