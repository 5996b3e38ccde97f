"""Footage -> windows of it at its own size, each through time: what the scout learns from.

All frames of an hour at 1080p would not fit into any memory, so of each a few windows are kept, as many as
the budget allows, each cut from the picture now and from those of its past (`train.pasts`).
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frames import Picture
from edge.recordings import Sampler, find_recordings, open_recording
from edge.tiles import extended
from train.footage import Clip, Sampling, Splits, clip_names, content_digest, open_sampled, split
from train.pasts import RECALLED, Histories, Pasts, Recollections

SIDE = 160  # pixels of a window
BUDGET = 1_000_000_000  # bytes of all windows that train
LEAST, MOST = 3, 8  # windows of a frame that any are cut from; finding out what moved is what takes time
VALIDATION = 256  # windows at most
_TILE = (384, 512)  # larger pictures may be shrunk in flight, where time is short
_SHRUNK = 0.25  # of the windows of such pictures show them shrunk
_SMALLEST = 0.4  # of their size
_HARD = 0.4  # of all crops come from hard windows, where there are any

Windowed = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Windows:
    """`pictures`: n x DEPTH or RECALLED x SIDE x SIDE x 3 RGB; `there`: n x as many, False if now is.

    `hard`: those that a half trained scout was wrong about, drawn more often than their number says.
    """

    pictures: Windowed
    there: NDArray[np.bool_]
    hard: Windows | None = None

    @property
    def of_route(self) -> bool:
        """The second picture is of another flight."""
        return int(self.pictures.shape[1]) == RECALLED

    def __len__(self) -> int:
        return len(self.pictures)

    def drawn(self, random: np.random.Generator) -> tuple[Windowed, NDArray[np.bool_]]:
        """One window through time, and what of it is there."""
        among = self
        if self.hard is not None and len(self.hard) and random.random() < _HARD:
            among = self.hard
        place = int(random.integers(len(among)))
        return among.pictures[place], among.there[place]

    def harder(self, found: Windows) -> Windows:
        """With these as hard ones too."""
        hard = self.hard
        if hard is not None:
            pictures = np.concatenate([hard.pictures, found.pictures])
            found = Windows(pictures, np.concatenate([hard.there, found.there]))
        return replace(self, hard=found)


@dataclass(frozen=True, eq=False)
class WindowFootage:
    """What the training of a scout sees. Of the test clips only the number of frames is known."""

    splits: Splits
    train: Windows
    validation: Windows
    pasts: Pasts = field(default_factory=Histories)


def read_windows(
    paths: Sequence[Path],
    sampling: Sampling,
    seed: int,
    on_frame: Callable[[str], None] = lambda _: None,
    budget: int = BUDGET,
    beside: Literal["earlier", "route"] = "earlier",
) -> WindowFootage:
    """Count and split all recordings under `paths`, then cut windows. Raises UsageError, FootageError."""
    found = [path.absolute() for path in find_recordings(paths)]
    clips = [
        Clip(name=name, path=str(path), sha256=content_digest(path), start=0, stop=count(path, sampling))
        for path, name in zip(found, clip_names(found), strict=True)
    ]
    splits = split(clips, sampling, seed)
    pasts = Histories() if beside == "earlier" else Recollections(splits.train, sampling, on_frame)
    most = max(1, budget // (pasts.depth * SIDE * SIDE * 3))
    return WindowFootage(
        splits,
        gather(splits.train, sampling, most, seed, on_frame, pasts),
        gather(splits.validation, sampling, min(most, VALIDATION), seed, on_frame, pasts),
        pasts,
    )


def count(path: Path, sampling: Sampling) -> int:
    """How many frames sampling picks; no picture is converted for it."""
    sampler, picked = Sampler(sampling.fps), 0

    def counted(stream_s: float) -> bool:
        nonlocal picked
        picked += sampler.wants(stream_s)
        return False

    with open_recording(path, folder_fps=sampling.folder_fps) as recording:
        deque(recording.frames(counted), maxlen=0)
    return picked


def gather(
    clips: Sequence[Clip],
    sampling: Sampling,
    most: int,
    seed: int,
    on_frame: Callable[[str], None],
    pasts: Pasts,
) -> Windows:
    """At most `most` windows, spread evenly over the clips' frames."""
    frames = sum(clip.frames for clip in clips)
    total = min(most, MOST * frames)
    shares = shared(total, frames)
    pictures = np.empty((total, pasts.depth, SIDE, SIDE, 3), np.uint8)
    there = np.zeros((total, pasts.depth), np.bool_)
    done = 0
    for clip in clips:
        history = pasts.of(clip)
        with open_sampled(Path(clip.path), sampling) as stream:
            for frame in itertools.islice(stream, clip.start, clip.stop):
                wanted = next(shares)
                random = np.random.default_rng((seed, done))
                stack = history.stack(frame.image, frame.stream_s, random if wanted else None)
                for place in range(done, done + wanted):
                    pictures[place], there[place] = cut(stack, random), [one is not None for one in stack]
                done += wanted
                on_frame(clip.name)
    return Windows(pictures[:done], there[:done])


def shared(windows: int, frames: int) -> Iterator[int]:
    """How many windows each frame gives: LEAST or more, or none."""
    givers = min(frames, max(1, windows // LEAST))
    given = 0
    for number in range(frames):
        giver = (number + 1) * givers // frames  # how many have given, this frame with them
        yield giver * windows // givers - given
        given = giver * windows // givers


def cut(stack: Sequence[Picture | None], random: np.random.Generator) -> Windowed:
    """The same window of each picture, n x SIDE x SIDE x 3 RGB. Small pictures go on as they end,
    as in flight, and are never enlarged; of large ones some windows are shrunk, as flight may have to."""
    now = stack[0]
    assert now is not None
    height, width = now.shape[:2]
    side = _reach(height, width, random)
    top, left = (int(random.integers(max(0, length - side) + 1)) for length in (height, width))
    return window_at(stack, (top, left), side)


def window_at(stack: Sequence[Picture | None], corner: tuple[int, int], side: int = SIDE) -> Windowed:
    """The window whose top left corner lies there and that spans `side` pixels, n x SIDE x SIDE x 3."""
    now, (top, left) = stack[0], corner
    assert now is not None
    window = np.empty((len(stack), SIDE, SIDE, 3), np.uint8)
    for place, picture in zip(window, stack, strict=True):
        part = (now if picture is None else picture)[top : top + side, left : left + side]
        below, beside = side - part.shape[0], side - part.shape[1]
        if below or beside:
            part = extended(np.asarray(part, np.uint8), below, beside)
        if side != SIDE:
            part = np.asarray(cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
        place[:] = part[:, :, ::-1]
    return window


def _reach(height: int, width: int, random: np.random.Generator) -> int:
    """Pixels of the picture that a window spans."""
    if (height <= _TILE[0] and width <= _TILE[1]) or random.random() >= _SHRUNK:
        return SIDE
    factor = float(np.exp(random.uniform(np.log(_SMALLEST), 0)))
    return max(SIDE, min(round(SIDE / factor), height, width))
