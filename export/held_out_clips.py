"""Clips of normal footage that a clip model is held against, as they are and disturbed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.clip_gate import Clip, feature_of, told
from edge.clips import ClipSpec, Extract, ExtractorSpec
from edge.errors import UsageError
from edge.frames import Picture
from edge.preprocess import InputSpec
from edge.recordings import find_recordings, open_recording, sampled
from edge.runtimes import Tensor
from export.disturb import DISTURBANCES, Disturbance, noise
from export.held_out import FEW, Answers, Model, evenly, shrunk
from train.checkpoint import Checkpoint
from train.feature_files import read_features
from train.footage import SplitName


@dataclass(frozen=True, eq=False)
class Clips:
    """Pictures of the model's size, clip by clip. The score is the logit, by `head`, of a stream that begins
    with the clip; the vector is the extractor's own, which is what the variants are of."""

    clips: tuple[Clip, ...]
    spec: ClipSpec
    picture: InputSpec
    head: Extract
    seed: int = 0
    shows: str = "clips"

    @property
    def undisturbed(self) -> int:
        return len(self.clips)

    def shown(self) -> Iterator[Clip]:
        """Made anew each time, as kept they would fill the memory; the undisturbed first."""
        yield from self.clips
        for kind, disturb in enumerate(DISTURBANCES.values(), 1):
            for number, clip in enumerate(self.clips):
                yield disturbed(clip, disturb, (self.seed, kind, number))

    def tensors(self) -> Iterator[Tensor]:
        """What the extractor is asked: pictures one by one, or whole clips."""
        asked: list[Tensor] = []

        def note(tensor: Tensor) -> Tensor:
            asked.append(tensor)
            return np.zeros((1, self.spec.extractor.width), np.float32)

        for clip in self.shown():
            feature_of(clip, self.spec, self.picture, note)
            yield from asked
            asked.clear()

    def ask(self, model: Model) -> Answers:
        said = told(self.shown(), self.spec, self.picture, model, self.head)
        return Answers(said.logits, vectors=said.features)

    def few(self) -> Clips:
        return replace(self, clips=self.clips[::FEW])

    def read_by(self, head: Extract) -> Clips:
        return replace(self, head=head)


def disturbed(clip: Clip, disturb: Disturbance, seed: tuple[int, ...]) -> Clip:
    """All pictures in the same way, as weather and cameras do; but grain differs from picture to picture."""
    if disturb is noise:
        return [noise(picture, np.random.default_rng((*seed, at))) for at, picture in enumerate(clip)]
    return [disturb(picture, np.random.default_rng(seed)) for picture in clip]


def clips_of(
    recordings: Iterable[Path], wanted: int, spec: ExtractorSpec, picture: InputSpec, folder_fps: float
) -> tuple[Clip, ...]:
    """At most so many clips, none overlapping another, evenly spread over all recordings."""
    found = (clip for path in recordings for clip in _clips_in(path, spec, picture, folder_fps))
    return tuple(evenly(found, wanted))


def _clips_in(
    path: Path, spec: ExtractorSpec, picture: InputSpec, folder_fps: float
) -> Iterator[Sequence[Picture]]:
    held: list[Picture] = []
    with open_recording(path, folder_fps=folder_fps) as recording:
        for frame in sampled(recording, spec.fps):
            held.append(shrunk(frame.image, picture))
            if len(held) == spec.frames:
                yield held
                held = []


def normal_recordings(checkpoint: Checkpoint, part: SplitName, footage: Sequence[Path]) -> list[Path]:
    """What was given, else the recordings behind the normal bags of a split, where they still are.

    Raises UsageError where there are none.
    """
    if footage:
        return find_recordings(footage)
    normal = [clip for clip in getattr(checkpoint.splits, part) if clip.label == "normal"]
    found = [path for clip in normal if (path := _behind(Path(clip.path))) is not None]
    if not found:
        raise UsageError(
            "the normal recordings behind the features of the checkpoint are not to be found: name normal "
            "footage with --footage"
        )
    return found


def _behind(features: Path) -> Path | None:
    """The recording that features were made of."""
    if not features.is_file():
        return None
    named = read_features(features).recording
    return Path(named) if named and Path(named).exists() else None
