"""Recorded footage: what there is under a path, and its frames. Used by training, export and flight."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from edge.clock import Clock, SystemClock
from edge.errors import FootageError, UsageError
from edge.frames import Frame
from edge.leeway import EXACT, Leeway
from edge.pictures import PICTURE_SUFFIXES, read_picture
from edge.videos import VideoRecording, Wants

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".flv"),
    *(".wmv", ".3gp", ".ogv", ".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg", ".y4m"),
)
DEPTH = 2  # levels below a named folder: data set / split / clip
FOLDER_FPS = 10.0


@runtime_checkable
class Recording(Protocol):
    """Footage opened for one pass: a context manager that iterates over its frames."""

    fps: float

    @property
    def stated_frames(self) -> int:
        """About how many there are; 0 where the file does not say."""
        ...

    def frames(self, wants: Wants) -> Iterator[Frame]:
        """Only the frames for which `wants(stream_s)`; the others cost no conversion."""
        ...

    def close(self) -> None: ...
    def __iter__(self) -> Iterator[Frame]: ...
    def __enter__(self) -> Recording: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def natural(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which frame2 comes before frame10."""
    runs = re.findall(r"[0-9]+|[^0-9]+", str(path))
    return tuple((0, int(run), run) if run[0] in "0123456789" else (1, 0, run) for run in runs)


def find_recordings(paths: Iterable[Path]) -> list[Path]:
    """Video files, and folders that hold frames, in natural order and each once.

    A path may be a video, a folder of frames, or a folder of either down to two levels below.
    Raises FootageError when a path is missing or holds nothing, saying what was looked for.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for recording in _recordings_at(path):
            found.setdefault(recording.resolve(), recording)
    if not found:
        raise FootageError("No footage was named; give video files or folders of frames.")
    return sorted(found.values(), key=natural)


def _recordings_at(path: Path) -> list[Path]:
    if _exists(path) and path.is_file():
        if path.suffix.lower() in PICTURE_SUFFIXES:
            raise FootageError(f"{path} is a single picture; name the folder that holds the frames.")
        return [path]
    if not _exists(path):
        raise FootageError(f"{path} does not exist; name a video file or a folder of frames.")
    below = list(_footage_below(path, DEPTH))
    if not below:
        raise FootageError(_nothing_in(path))
    return below


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder on the way that may not be entered
        return False


def _footage_below(folder: Path, depth: int) -> Iterator[Path]:
    inside = _listed(folder)
    if any(_is_picture(path) for path in inside):
        yield folder
    yield from (path for path in inside if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if depth:
        for path in inside:
            if path.is_dir():
                yield from _footage_below(path, depth - 1)


def _listed(folder: Path) -> list[Path]:
    """What lies in a folder, without hidden files (macOS leaves `._frame.jpg` beside each frame)."""
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise FootageError(f"Folder {folder} cannot be read: {error.strerror}.") from error


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def _nothing_in(folder: Path) -> str:
    kinds = Counter(path.suffix.lower() or "no suffix" for path in _listed(folder) if path.is_file())
    files = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
    folders = sum(path.is_dir() for path in _listed(folder))
    return (
        f"{folder} holds no footage: looked for videos (.mp4, .mkv, .avi, ...) and pictures "
        f"({', '.join(PICTURE_SUFFIXES)}) down to {DEPTH} levels below; it holds "
        f"{files or 'no files'} and {folders} folders."
    )


def _no_pictures_in(folder: Path) -> str:
    clips = sorted(_footage_below(folder, DEPTH), key=natural)
    if not clips:
        return _nothing_in(folder)
    return f"{folder} is no recording itself but holds {len(clips)}; name one of them, such as {clips[0]}."


def open_recording(
    path: Path,
    *,
    folder_fps: float = FOLDER_FPS,
    clock: Clock | None = None,
    leeway: Leeway = EXACT,
) -> Recording:
    """A video file or a folder of frames. `folder_fps` gives a folder its timeline.

    Raises FootageError, here or while iterating, for anything that cannot be read.
    """
    clock = clock or SystemClock()
    if not _exists(path):
        raise FootageError(f"{path} does not exist; name a video file or a folder of frames.")
    if path.is_dir():
        return FolderRecording(path, folder_fps, clock)
    return VideoRecording(path, clock, leeway)


class FolderRecording:
    """A folder of frames in natural order; frame i is at i / fps seconds."""

    def __init__(self, folder: Path, fps: float, clock: Clock) -> None:
        self.path = folder
        self.fps = _positive(fps, "A folder's frames per second")
        self._clock = clock
        self._pictures = sorted((path for path in _listed(folder) if _is_picture(path)), key=natural)
        if not self._pictures:
            raise FootageError(_no_pictures_in(folder))

    def __enter__(self) -> FolderRecording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held open between pictures."""

    @property
    def stated_frames(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames(lambda _: True)

    def frames(self, wants: Wants) -> Iterator[Frame]:
        first: tuple[Path, Frame] | None = None
        for index, path in enumerate(self._pictures):
            if not wants(index / self.fps):
                continue
            image = read_picture(path)
            frame = Frame(image, index, index / self.fps, self._clock.monotonic_ns(), self._clock.utc())
            first = first or (path, frame)
            _same_size(first, (path, frame))
            yield frame


def _same_size(first: tuple[Path, Frame], here: tuple[Path, Frame]) -> None:
    (a, frame_a), (b, frame_b) = first, here
    if frame_a.image.shape != frame_b.image.shape:
        raise FootageError(
            f"Folder {a.parent} mixes sizes: {a.name} is {frame_a.width}x{frame_a.height}, "
            f"{b.name} is {frame_b.width}x{frame_b.height}; keep frames of one size in a folder."
        )


class Sampler:
    """Picks the first frame at or after each instant k / fps, counted from the first frame.

    A frame up to a quarter of a frame period early counts as on time: presentation times are rounded.
    """

    def __init__(self, fps: float) -> None:
        self.period_s = 1 / _positive(fps, "Frames per second")
        self.next_s = -math.inf  # the instant that the next pick answers
        self.last_s = -math.inf  # the last frame asked of, or passed
        self._origin_s = 0.0

    def wants(self, stream_s: float, leeway_s: float = 0.0) -> bool:
        """`leeway_s`: how much before an instant a frame may answer it."""
        early_s = self._tolerance_s(stream_s) + leeway_s
        self.last_s = stream_s
        if stream_s < self.next_s - 1.5 * self.period_s or self.next_s == -math.inf:
            self._origin_s = self.next_s = stream_s  # the first frame, or time restarted: a new grid
        if stream_s < self.next_s - early_s:
            return False
        instants = math.floor((stream_s + early_s - self._origin_s) / self.period_s)
        self.next_s = self._origin_s + (instants + 1) * self.period_s
        return True

    def _tolerance_s(self, stream_s: float) -> float:
        step_s = stream_s - self.last_s
        return min(step_s, self.period_s) / 4 if 0 < step_s < math.inf else 0.0


def sampled(frames: Iterable[Frame], fps: float | None) -> Iterator[Frame]:
    """The first frame at or after each instant k / fps of stream time; every frame for None."""
    if fps is None:
        return iter(frames)
    sampler = Sampler(fps)
    if isinstance(frames, Recording):  # it converts only what is wanted
        return frames.frames(sampler.wants)
    return (frame for frame in frames if sampler.wants(frame.stream_s))


def expected_looks(path: Path, fps: float, folder_fps: float = FOLDER_FPS) -> int:
    """About how many frames will be looked at. Raises FootageError for what cannot be opened."""
    with open_recording(path, folder_fps=folder_fps) as recording:
        return math.ceil(recording.stated_frames * min(1.0, fps / recording.fps))


def _positive(value: float, name: str) -> float:
    if not 0 < value < math.inf:
        raise UsageError(f"{name} must be more than 0, not {value}.")
    return value
