"""Footage -> pictures to learn from: sampled, shrunk, digested and split by clip.

Frames of one clip resemble each other far more than frames of two flights do, so a clip never lies on both
sides of a split. With fewer than three clips there is no such split: each clip is then cut in time with a
gap between the parts, which is weaker, and the checkpoint says so.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from edge.errors import FootageError, UsageError
from edge.frames import Frame
from edge.pictures import PICTURE_SUFFIXES
from edge.preprocess import InputSpec, to_tensor
from edge.recordings import find_recordings, natural, open_recording, sampled

if TYPE_CHECKING:
    from train.checkpoint import Checkpoint

MIN_FRAMES = 30  # fewer leave no meaningful tenth to validate on
GAP_S = 5.0  # between the parts of a clip that is cut in time
HELD_OUT = 0.1  # of the frames, twice: validation and test

Pixels: TypeAlias = NDArray[np.uint8]  # n x 3 x height x width, RGB
SplitName = Literal["train", "validation", "test"]


class Clip(BaseModel):
    """Sampled frames [start, stop) of one recording; `sha256` is of its files' contents.

    Where clips are learnt from instead of frames, those of one feature file, with its label and its source.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: str
    sha256: str
    start: int
    stop: int
    label: Literal["", "normal", "anomalous"] = ""
    source: str = ""

    @property
    def frames(self) -> int:
        return self.stop - self.start


class Splits(BaseModel):
    """Which clips served for what, and how to read them again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["clips", "blocks", "sources"]  # blocks: clips cut in time, weaker
    fps: float
    folder_fps: float
    data_sha256: str
    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    test: tuple[Clip, ...]

    def frames(self, split: SplitName) -> int:
        return sum(clip.frames for clip in getattr(self, split))


@dataclass(frozen=True, eq=False)
class Footage:
    """What training sees. The test clips are listed in `splits`, their pictures are not kept."""

    splits: Splits
    train: Pixels
    validation: Pixels


@dataclass(frozen=True)
class Sampling:
    fps: float = 2.0
    folder_fps: float = 10.0  # at which a folder of pictures was taken

    def __post_init__(self) -> None:
        for option, value in (("--fps", self.fps), ("--folder-fps", self.folder_fps)):
            if not 0 < value <= 1000:
                raise UsageError(f"{option} {value} must be above 0 and at most 1000")


@contextmanager
def open_sampled(path: Path, sampling: Sampling) -> Iterator[Iterator[Frame]]:
    """The native frames of one recording at the sampling rate."""
    with open_recording(path, folder_fps=sampling.folder_fps) as frames:
        yield sampled(frames, sampling.fps)


def read_footage(
    paths: Sequence[Path],
    sampling: Sampling,
    seed: int,
    spec: InputSpec,
    on_frame: Callable[[str], None] = lambda _: None,
) -> Footage:
    """Read, shrink and split all recordings under `paths`. Raises UsageError, FootageError."""
    found = [path.absolute() for path in find_recordings(paths)]
    pictures: dict[str, Pixels] = {}
    clips: list[Clip] = []
    for path, name in zip(found, clip_names(found), strict=True):
        pictures[name] = _shrunk(path, name, sampling, spec, on_frame)
        digest = content_digest(path)
        clips.append(Clip(name=name, path=str(path), sha256=digest, start=0, stop=len(pictures[name])))
    splits = split(clips, sampling, seed)
    return Footage(splits, _join(splits.train, pictures), _join(splits.validation, pictures))


def read_split(checkpoint: Checkpoint, name: SplitName) -> Iterator[Frame]:
    """The native frames of one split of a checkpoint's footage, in time order, clip after clip.

    Raises FootageError when the footage has moved or its content changed.
    """
    splits = checkpoint.splits
    sampling = Sampling(splits.fps, splits.folder_fps)
    for clip in getattr(splits, name):
        _must_be_unchanged(clip)
        with open_sampled(Path(clip.path), sampling) as frames:
            yield from itertools.islice(frames, clip.start, clip.stop)


def _must_be_unchanged(clip: Clip) -> None:
    path = Path(clip.path)
    if not path.exists():
        raise FootageError(
            f"the {clip.name} footage of this checkpoint is no longer at {path}; put it back there"
        )
    if content_digest(path) != clip.sha256:
        raise FootageError(
            f"{path} is not the footage this checkpoint was trained with; its content has changed"
        )


def to_pixels(image: NDArray[np.uint8], spec: InputSpec) -> Pixels:
    """3 x height x width; exactly what `to_tensor` gives, before its scale is applied.

    Shrinking yields whole grey levels, so keeping them as bytes loses nothing and takes a quarter of the
    memory.
    """
    whole: Pixels = np.rint(to_tensor(image, spec)[0] / np.float32(spec.scale)).astype(np.uint8)
    return whole


def _shrunk(
    path: Path, name: str, sampling: Sampling, spec: InputSpec, on_frame: Callable[[str], None]
) -> Pixels:
    shrunk: list[Pixels] = []
    try:
        with open_sampled(path, sampling) as frames:
            for frame in frames:
                shrunk.append(to_pixels(frame.image, spec))
                on_frame(name)
        return np.stack(shrunk) if shrunk else np.empty((0, 3, spec.height, spec.width), np.uint8)
    except MemoryError:
        raise UsageError(
            f"memory ran out after {len(shrunk)} frames of {name}; give a lower --fps or fewer clips"
        ) from None


def _join(clips: Iterable[Clip], pictures: dict[str, Pixels]) -> Pixels:
    return np.concatenate([pictures[clip.name][clip.start : clip.stop] for clip in clips])


def clip_names(paths: Sequence[Path]) -> list[str]:
    """Each path's last parts, as few as tell all of them apart."""
    for parts in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise UsageError("the same recording was given twice; name each one once")


def content_digest(path: Path) -> str:
    """Of a video, or of a folder's pictures in their order: sha256 over each file's sha256."""
    whole = hashlib.sha256()
    try:
        for file in _pictures(path) if path.is_dir() else [path]:
            whole.update(_file_digest(file))
    except OSError as error:
        raise FootageError(f"{path} cannot be read: {error.strerror}") from None
    return whole.hexdigest()


def _pictures(folder: Path) -> list[Path]:
    named = (entry for entry in folder.iterdir() if entry.suffix.lower() in PICTURE_SUFFIXES)
    return sorted((entry for entry in named if not entry.name.startswith(".")), key=natural)


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.digest()


def split(clips: Sequence[Clip], sampling: Sampling, seed: int) -> Splits:
    """80/10/10 of the frames. Whole clips where there are three, else blocks of time. Raises UsageError."""
    total = sum(clip.frames for clip in clips)
    if total < MIN_FRAMES:
        raise UsageError(
            f"{total} frames at {sampling.fps:g} fps are too few to train on, {MIN_FRAMES} are needed; "
            "give more footage or a higher --fps"
        )
    filled = [clip for clip in clips if clip.frames]
    by_clip = len(filled) >= 3
    train, validation, test = split_clips(filled, seed) if by_clip else split_blocks(filled, sampling.fps)
    return Splits(
        rule="clips" if by_clip else "blocks",
        fps=sampling.fps,
        folder_fps=sampling.folder_fps,
        data_sha256=_data_digest(clips, sampling),
        train=tuple(train),
        validation=tuple(validation),
        test=tuple(test),
    )


def _data_digest(clips: Iterable[Clip], sampling: Sampling) -> str:
    rates = (f"fps={float(sampling.fps)!r}", f"folder_fps={float(sampling.folder_fps)!r}")
    parts = [*(clip.sha256 for clip in clips), *rates]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def split_clips(clips: Sequence[Clip], seed: int) -> tuple[list[Clip], list[Clip], list[Clip]]:
    """(train, validation, test). The longest clip always trains; chance deals the others."""
    longest = max(clips, key=lambda clip: clip.frames)
    rest = [clip for clip in clips if clip is not longest]
    random.Random(seed).shuffle(rest)
    tenth = HELD_OUT * sum(clip.frames for clip in clips)
    test = _take(rest, tenth, leave=1)
    validation = _take(rest, tenth, leave=0)
    train = [clip for clip in clips if clip is longest or clip in rest]
    return train, validation, test


def _take(rest: list[Clip], wanted: float, leave: int) -> list[Clip]:
    """One clip off the end of `rest`, then more while that brings their frames nearer to `wanted`."""
    taken = [rest.pop()]
    have = taken[0].frames
    while len(rest) > leave and abs(have + rest[-1].frames - wanted) < abs(have - wanted):
        taken.append(rest.pop())
        have += taken[-1].frames
    return taken


def split_blocks(clips: Sequence[Clip], fps: float) -> tuple[list[Clip], list[Clip], list[Clip]]:
    """(train, validation, test), each clip cut in time.

    The first clip keeps its beginning for training and the second its end, so that of a route flown twice
    no stretch goes unseen.
    """
    parts: tuple[list[Clip], list[Clip], list[Clip]] = ([], [], [])
    for number, clip in enumerate(clips):
        ranges = _cut(clip.frames, fps)
        for part, (start, stop) in zip(parts, ranges, strict=True):
            if number % 2:
                start, stop = clip.frames - stop, clip.frames - start
            if stop > start:
                part.append(clip.model_copy(update={"start": start, "stop": stop}))
    return parts


def _cut(frames: int, fps: float) -> list[tuple[int, int]]:
    held = round(HELD_OUT * frames)
    gap = max(1, min(round(GAP_S * fps), held // 2))
    test = frames - held
    validation = test - gap - held
    return [(0, validation - gap), (validation, validation + held), (test, frames)]
