"""Videos as bags of clips: what training sees of them, and the way back from segments to clips and frames.

raw features, clips x width -> 32 segments, each the mean of its clips, then of length 1   (as published)
                            -> a stream: running means of a few clips, as flight sees them  (our own)
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.clips import ExtractorSpec, Features, clip_starts, normalised
from edge.errors import UsageError

SEGMENTS = 32
HELD_OUT_PARTS = 10  # one to validate on, one never to look at
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Spans = NDArray[np.int64]  # n x 2, first and behind the last
Part = Literal["train", "validation", "test"]


@dataclass(frozen=True, eq=False)
class Bag:
    """One video: raw features (clips x width), one label, and, where it is known, the truth of each clip.

    `sources`: the recordings that it is made of; two bags that share one never lie in different splits.
    """

    name: str
    features: Features
    anomalous: bool
    sources: tuple[str, ...]
    truth: Bools | None = None

    def __post_init__(self) -> None:
        if self.truth is not None and len(self.truth) != len(self.features):
            raise ValueError(f"{self.name}: {len(self.features)} clips, truth of {len(self.truth)}")

    @property
    def clips(self) -> int:
        return len(self.features)


# Segments


def segment_spans(clips: int, segments: int = SEGMENTS) -> Spans:
    """Which clips each segment holds: edges at round(linspace(1, clips, segments + 1)).

    With fewer clips than segments some hold none by this rule: they get the clip at which they begin, so a
    short video's clips stand several times. The last segment takes in the last clip, which the published
    code leaves out. Halves are rounded up, as there. As many clips as segments are those segments: features
    that were published already cut stay as they are.
    """
    if clips < 1:
        raise UsageError("a bag needs one clip at least; this video is shorter than one")
    if clips == segments:
        return np.stack([np.arange(clips), np.arange(1, clips + 1)], axis=1).astype(np.int64)
    edges = np.floor(np.linspace(1, clips, segments + 1) + 0.5).astype(np.int64) - 1
    first, behind = edges[:-1], np.append(edges[1:-1], clips)
    return np.stack([first, np.maximum(behind, first + 1)], axis=1)


def segmented(features: Features, rule: Literal["l2", "none"] = "l2", segments: int = SEGMENTS) -> Features:
    """clips x width, raw -> segments x width: the mean inside each segment, and then its length to 1."""
    means = [features[first:behind].mean(axis=0) for first, behind in segment_spans(len(features), segments)]
    return normalised(np.stack(means), rule)


def spread(scores: Floats, clips: int) -> Floats:
    """A score per segment -> one per clip; of several segments that copy one clip, the highest."""
    spans = segment_spans(clips, len(scores))
    per_clip = np.full(clips, -np.inf)
    for (first, behind), score in zip(spans, scores, strict=True):
        per_clip[first:behind] = np.maximum(per_clip[first:behind], score)
    return per_clip


def segment_truth(truth: Bools, segments: int = SEGMENTS) -> Bools:
    """A segment is anomalous if at least half of its clips are."""
    return np.array([truth[a:b].mean() >= 0.5 for a, b in segment_spans(len(truth), segments)], bool)


# Streams


def stream(features: Features, average: int, longest: int, rule: Literal["l2", "none"] = "l2") -> Features:
    """Running means of `average` clips, as flight has them; a bag longer than `longest` in even steps.

    A step of several clips is averaged over all of them, so that no clip is skipped.
    """
    step = -(-len(features) // longest)
    means = running_mean(features, max(average, step))[step - 1 :: step]
    return normalised(means if len(means) else features.mean(axis=0, keepdims=True), rule)


def running_mean(features: Features, average: int) -> Features:
    """The mean of each clip and the `average` - 1 before it, of as many as there are at the begin."""
    total = np.cumsum(features, axis=0, dtype=np.float64)
    behind = np.concatenate([np.zeros((min(average, len(total)), total.shape[1])), total[:-average]])
    count = np.minimum(np.arange(1, len(total) + 1), average)[:, None]
    return np.asarray((total - behind) / count, np.float32)


# Frames


def clip_truth(frames: Bools, spec: ExtractorSpec) -> Bools:
    """Truth per frame, at the extractor's rate -> per clip: anomalous if at least half of its frames are."""
    starts = clip_starts(len(frames), spec)
    return np.array([frames[start : start + spec.frames].mean() >= 0.5 for start in starts], bool)


def frame_scores(scores: Floats, spec: ExtractorSpec, frames: int, *, causal: bool) -> Floats:
    """A score per clip -> one per frame at the extractor's rate; asserts that the lengths belong together.

    `causal`: each frame has the score of the newest clip that was complete, as in flight, those before the
    first its score. Else that of the clip that begins last before it; the last score goes on to the end.
    """
    starts = clip_starts(frames, spec)
    if len(starts) != len(scores):
        raise UsageError(
            f"{frames} frames make {len(starts)} clips of {spec.frames} every {spec.stride}, there are "
            f"{len(scores)} scores; the features are of another video or were made otherwise"
        )
    delay = spec.frames - 1 if causal else 0
    newest = (np.arange(frames) - delay) // spec.stride
    return scores[np.clip(newest, 0, len(scores) - 1)]


# Bags of bags


def joined(name: str, parts: Sequence[Bag]) -> Bag:
    """One video after another: anomalous where any is; its clips' truth is that of their videos."""
    truth = [part.truth if part.truth is not None else np.full(part.clips, part.anomalous) for part in parts]
    return Bag(
        name=name,
        features=np.concatenate([part.features for part in parts]),
        anomalous=any(part.anomalous for part in parts),
        sources=tuple(sorted({source for part in parts for source in part.sources})),
        truth=np.concatenate(truth),
    )


def groups(bags: Sequence[Bag]) -> list[list[Bag]]:
    """Bags that share a source, directly or through others, in order of their first."""
    found: dict[int, list[Bag]] = {}
    holder: dict[str, int] = {}  # by source, the group that it is in
    for number, bag in enumerate(bags):
        near = sorted({holder[source] for source in bag.sources if source in holder})
        found[number] = [*(one for group in near for one in found.pop(group)), bag]
        holder.update((source, number) for one in found[number] for source in one.sources)
    return list(found.values())


def sources_of(bags: Sequence[Bag]) -> int:
    """How many, counting those that are bound together by a bag as one."""
    return len(groups(bags))


def folds(bags: Sequence[Bag], count: int, seed: int) -> list[list[Bag]]:
    """So many parts of about equal size in both classes; no source is in two of them.

    Raises UsageError where there are fewer sources than parts.
    """
    whole = groups(bags)
    if len(whole) < count:
        raise UsageError(f"the bags come from {len(whole)} sources; {count} parts need as many at least")
    random.Random(seed).shuffle(whole)
    parts: list[list[Bag]] = [[] for _ in range(count)]
    for group in sorted(whole, key=len, reverse=True):
        min(parts, key=lambda part: _crowding(part, group)).extend(group)
    return parts


def _crowding(part: Sequence[Bag], group: Sequence[Bag]) -> tuple[int, int]:
    """How full a part would be with this group, in the class of which it has more; then how full it is."""
    both = [*part, *group]
    anomalous = sum(bag.anomalous for bag in both)
    return max(anomalous, len(both) - anomalous), len(part)


def split(bags: Sequence[Bag], seed: int, parts: int = HELD_OUT_PARTS) -> dict[Part, list[Bag]]:
    """A tenth, by source, to validate on and a tenth that training never looks at; in 5 parts, a fifth each.

    With fewer sources everything is trained on and validated on nothing: the others are then empty.
    Raises UsageError where what is left to train on lacks a class.
    """
    check_classes(bags, "these videos")
    if len(groups(bags)) < parts:
        return {"train": list(bags), "validation": [], "test": []}
    cut = folds(bags, parts, seed)
    train = [bag for part in cut[2:] for bag in part]
    check_classes(train, "what is left to train on")
    return {"train": train, "validation": cut[0], "test": cut[1]}


def check_classes(bags: Sequence[Bag], which: str) -> None:
    """Raises UsageError where one class is absent."""
    for anomalous, name, option in ((True, "anomalous", "--anomalous"), (False, "normal", "--normal")):
        if not any(bag.anomalous is anomalous for bag in bags):
            raise UsageError(
                f"no {name} video among {which}: learning to rank needs both classes; give some by {option}"
            )


def check_widths(bags: Sequence[Bag], width: int | None = None) -> int:
    """The one width of all features. Raises UsageError, naming the first that differs."""
    width = width or bags[0].features.shape[1]
    for bag in bags:
        if bag.features.shape[1] != width:
            raise UsageError(
                f"{bag.name} has features {bag.features.shape[1]} wide, the others {width}; "
                "make all of them by one extractor"
            )
    return width


def without_truth(bag: Bag) -> Bag:
    """What training may know of it."""
    return replace(bag, truth=None)
