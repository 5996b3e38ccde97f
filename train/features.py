"""Recordings -> features on disk, each made once: what `skerry features` does.

A recording goes the way that a flight's frames go: taken at the extractor's rate, through `edge.clips`, one
picture at a time; so what training learns from is what flight will see, bit for bit. Several recordings are
at work at once, and each is decoded ahead of the extractor.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from edge.clips import ClipMaker, Extract, ExtractorSpec, Feature
from edge.errors import FootageError
from edge.frames import Frame
from edge.preprocess import InputSpec
from edge.recordings import FOLDER_FPS, Recording, Sampler, find_recordings, open_recording
from train.feature_files import FeatureError, FeatureVideo, read_features, write_features
from train.footage import content_digest

Item = TypeVar("Item")
OnPicture = Callable[[], None]

AHEAD = 4  # pictures decoded before they are needed; 6 MB each at 1080p
_LAYOUT = "1"  # of what is made; raise it when the same footage would give other features
_GAP_PICTURES, _GAP_CLIP = 3, 0.25  # as in flight: after a longer gap than either, clips begin anew


@dataclass(frozen=True, eq=False)
class Extractor:
    """What makes features. `model`: the ONNX of it that flies, one picture or clip at a time; its digest is
    in `spec`. `picture`: how it wants its pixels."""

    name: str
    spec: ExtractorSpec
    picture: InputSpec
    extract: Extract
    model: bytes


@dataclass(frozen=True)
class Job:
    """One recording and where its features go; `name`: below which folder it was found, without suffix."""

    recording: Path
    name: str
    out: Path


@dataclass(frozen=True)
class Outcome:
    """`says`: one sentence about a failure, or a warning; else empty."""

    job: Job
    state: Literal["made", "kept", "failed"]
    clips: int = 0
    pictures: int = 0
    says: str = ""


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked
    """The run was interrupted while this recording was at work."""


def plan(paths: Sequence[Path], out: Path, base: Path | None = None) -> tuple[list[Job], list[str]]:
    """(what to do, a sentence for each path that holds nothing). OUT mirrors the folders below `base`, or
    below what the recordings share where one of them lies elsewhere. Raises FootageError where nothing is
    left to do."""
    found: dict[Path, None] = {}
    missing = []
    for path in paths:
        try:
            found.update(dict.fromkeys(recording.absolute() for recording in find_recordings([path])))
        except FootageError as error:
            missing.append(str(error))
    if not found:
        raise FootageError(missing[0] if missing else "No footage was named; give video files or folders.")
    return _jobs(list(found), out, base and base.absolute()), missing


def _jobs(recordings: Sequence[Path], out: Path, base: Path | None) -> list[Job]:
    shared = base
    if shared is None or any(shared not in recording.parents for recording in recordings):
        shared = Path(os.path.commonpath([recording.parent for recording in recordings]))
    plain = [_plain_name(recording).relative_to(shared).as_posix() for recording in recordings]
    full = [recording.relative_to(shared).as_posix() for recording in recordings]
    names = [short if plain.count(short) == 1 else whole for short, whole in zip(plain, full, strict=True)]
    return [
        Job(recording, name, out / f"{name}.npz") for recording, name in zip(recordings, names, strict=True)
    ]


def _plain_name(recording: Path) -> Path:
    return recording if recording.is_dir() else recording.with_suffix("")


def key_of(recording: Path, extractor: Extractor, folder_fps: float) -> str:
    """Of everything that the features depend on: content, extractor, clips. How the extractor wants its
    pixels is written into it and so part of its digest."""
    parts = [_LAYOUT, content_digest(recording), extractor.spec.model_dump_json()]
    if recording.is_dir():
        parts.append(repr(float(folder_fps)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def extract_all(
    jobs: Iterable[Job],
    extractor: Extractor,
    folder_fps: float = FOLDER_FPS,
    workers: int = 1,
    on_picture: Callable[[Job], None] = lambda _: None,
) -> Iterator[Outcome]:
    """As they are done. A recording that cannot be used does not stop the others; a disk that is full does.

    Whoever closes this early stops the work within one picture.
    """
    stop = threading.Event()

    def one(job: Job) -> Outcome:
        def told() -> None:
            if stop.is_set():
                raise Stopped
            on_picture(job)

        return do(job, extractor, folder_fps, told)

    with ThreadPoolExecutor(workers, "features") as pool:
        futures = [pool.submit(one, job) for job in jobs]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def do(job: Job, extractor: Extractor, folder_fps: float, on_picture: OnPicture) -> Outcome:
    """One recording, unless its features are there already. Raises FeatureError where they cannot be kept."""
    try:
        key = key_of(job.recording, extractor, folder_fps)
        kept = _kept(job.out, key)
        if kept is not None:
            return Outcome(job, "kept", len(kept.features), kept.frames or 0)
        video, says = _extracted(job, extractor, folder_fps, key, on_picture)
    except FootageError as error:
        return Outcome(job, "failed", says=str(error))
    try:
        job.out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FeatureError(f"{job.out.parent} cannot be made: {error.strerror}") from None
    write_features(job.out, video)
    return Outcome(job, "made", len(video.features), video.frames or 0, says)


def _kept(out: Path, key: str) -> FeatureVideo | None:
    if not out.exists():
        return None
    try:
        video = read_features(out)
    except FeatureError:
        return None  # damaged: made anew
    return video if video.key == key else None


def _extracted(
    job: Job, extractor: Extractor, folder_fps: float, key: str, on_picture: OnPicture
) -> tuple[FeatureVideo, str]:
    spec = extractor.spec
    with open_recording(job.recording, folder_fps=folder_fps) as recording:
        stream = Stream(recording, extractor)
        found = []
        for feature in stream.features():
            on_picture()
            found.extend(feature)
        if not found:
            raise FootageError(_too_short(job.recording, stream.pictures, spec))
        features = np.stack([feature for feature, _ in found])
        if not np.isfinite(features).all():
            raise FootageError(f"{job.recording}: the extractor {extractor.name} gives NaN or infinity on it")
        ends_s = np.array([end_s for _, end_s in found])
        where = str(job.recording.absolute())
        video = FeatureVideo(
            job.name, features, spec, spec.fps, stream.pictures, key=key, ends_s=ends_s, recording=where
        )
        return video, _slow(job.recording, recording.fps, spec)


def _too_short(path: Path, pictures: int, spec: ExtractorSpec) -> str:
    return (
        f"{path} gives {pictures} pictures at {spec.fps:g} fps, and one clip needs {spec.frames}: "
        "give fewer --frames or a higher --fps"
    )


def _slow(path: Path, fps: float, spec: ExtractorSpec) -> str:
    if fps >= 0.95 * spec.fps:
        return ""
    return f"{path} has {fps:g} frames a second, less than the {spec.fps:g} asked for: some stand in twice"


class Stream:
    """One recording -> its features and the moments at which their clips end, as a flight would see them.

    `pictures`: so far, at the extractor's rate, those that stood in for missing ones included.
    """

    def __init__(self, recording: Recording, extractor: Extractor) -> None:
        self._recording = recording
        self._spec = extractor.spec
        self._maker = ClipMaker(extractor.spec, extractor.picture, extractor.extract)
        self._sampler = Sampler(extractor.spec.fps)
        self._missed: dict[float, int] = {}
        self._last_s: float | None = None
        self.pictures = 0

    def features(self) -> Iterator[list[tuple[Feature, float]]]:
        """For every picture, the clips that it completes: none or one, or more after missing pictures."""
        for frame in ahead(self._recording.frames(self._wants)):
            yield [(feature, frame.stream_s) for feature in self._of(frame)]

    def _wants(self, stream_s: float) -> bool:
        """Asked while decoding, ahead of the rest: how many pictures were missed is kept for later."""
        due_s = self._sampler.next_s
        wanted = self._sampler.wants(stream_s)
        if wanted and due_s > -np.inf:
            missed = round((self._sampler.next_s - due_s) / self._sampler.period_s) - 1
            self._missed[stream_s] = max(0, missed)
        return wanted

    def _of(self, frame: Frame) -> Iterator[Feature]:
        missed = self._missed.pop(frame.stream_s, 0)
        last_s, self._last_s = self._last_s, frame.stream_s
        longest_s = max(_GAP_PICTURES, _GAP_CLIP * self._spec.frames) / self._spec.fps
        if last_s is not None and not 0 <= frame.stream_s - last_s <= longest_s:
            self._maker.restart()
            missed = 0
        self.pictures += missed + 1
        for _ in range(missed):
            yield from _if_any(self._maker.repeat())
        yield from _if_any(self._maker.add(frame.image))


def _if_any(feature: Feature | None) -> Iterator[Feature]:
    if feature is not None:
        yield feature


def ahead(items: Iterator[Item], depth: int = AHEAD) -> Iterator[Item]:
    """The same, made by another thread a few items before they are asked for."""
    end = object()
    with ThreadPoolExecutor(1, "decoder") as decoder:
        waiting: deque[Future[object]] = deque(decoder.submit(next, items, end) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(decoder.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            decoder.shutdown(cancel_futures=True)
