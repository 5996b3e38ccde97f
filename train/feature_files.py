"""Features of a video on disk: our own `.npz`, and the layouts in which the field passes them on.

    .npz   ours: clips x width, with how they were made (`skerry features` writes it)
    .npy   snippets x width, crops x snippets x width, or snippets x crops x width
    .txt   a row of numbers for each segment (32 x 4096 of C3D)

Nothing read here can carry code, and whatever is wrong with a file is said in one sentence.
"""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edge.clips import ExtractorSpec
from edge.errors import UsageError

FEATURE_SUFFIXES = (".npz", ".npy", ".txt")
CROPS = (1, 5, 10)  # into how many crops the field cuts a picture
_MAX_BYTES = 2_000_000_000
_MAX_WIDTH = 65_536
_PARTS = (
    "features",
    "fps",
    "frames",
    "extractor",
    "source",
    "key",
    "ends_s",
    "recording",
)  # of our own files

# What NumPy and zipfile raise on damaged or hostile files.
_DAMAGE = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, EOFError, MemoryError),
    *(RuntimeError, SyntaxError, RecursionError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


class FeatureError(UsageError):
    """A feature file that cannot be used; the text says why in one sentence."""


@dataclass(frozen=True, eq=False)
class FeatureVideo:
    """One video's raw features, clips x width float32 in order, finite; neither averaged nor normalised.

    `extractor`, `fps` and `frames` (pictures at the extractor's rate) are None where a file of others does
    not say. `crops`: over how many crops of the picture the file's features were averaged here. `key`: what
    they were made from and how (see `train.features`). `ends_s`: when, on the video's own timeline, the last
    picture of each clip was taken. `recording`: where the video was then; empty where the file does not say.
    """

    name: str
    features: NDArray[np.float32]
    extractor: ExtractorSpec | None = None
    fps: float | None = None
    frames: int | None = None
    crops: int = 1
    key: str = ""
    ends_s: NDArray[np.float64] | None = None
    recording: str = ""

    @property
    def width(self) -> int:
        return int(self.features.shape[1])


def find_features(paths: Iterable[Path]) -> list[Path]:
    """Feature files named, and those in folders named and below them, sorted and each once.

    Raises FeatureError where a path is missing or holds none.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _files_at(path):
            found.setdefault(file.absolute(), file)
    return sorted(found.values())


def _files_at(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise FeatureError(f"{path} does not exist; name a feature file or a folder of them")
    inside = [
        file for file in path.rglob("*") if file.suffix.lower() in FEATURE_SUFFIXES and _is_shown(file, path)
    ]
    if not inside:
        raise FeatureError(
            f"{path} holds no features ({', '.join(FEATURE_SUFFIXES)}); "
            f"`skerry features VIDEOS --out {path}` makes them"
        )
    yield from inside


def _is_shown(file: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in file.relative_to(folder).parts)


def read_features(path: Path) -> FeatureVideo:
    """Whatever layout it is in. Raises FeatureError."""
    readers = {".npz": _read_npz, ".npy": _read_npy, ".txt": _read_txt}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FeatureError(f"{path} is no feature file: they end in {', '.join(FEATURE_SUFFIXES)}")
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise FeatureError(f"{path} is larger than {_MAX_BYTES / 1e9:g} GB; split it by video")
        return reader(path)
    except OSError as error:
        raise FeatureError(f"{path} cannot be read: {error.strerror or error}") from None


def write_features(path: Path, video: FeatureVideo) -> None:
    """Our own layout, whole or not at all. Raises FeatureError."""
    parts: dict[str, Any] = {
        "features": np.ascontiguousarray(video.features, np.float32),
        "fps": np.float64(np.nan if video.fps is None else video.fps),
        "frames": np.int64(-1 if video.frames is None else video.frames),
        "extractor": np.str_("" if video.extractor is None else video.extractor.model_dump_json()),
        "source": np.str_(video.name),
        "key": np.str_(video.key),
        "recording": np.str_(video.recording),
    }
    if video.ends_s is not None:
        parts["ends_s"] = np.ascontiguousarray(video.ends_s, np.float64)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **parts)
        partial.replace(path)
    except OSError as error:
        raise FeatureError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _read_npz(path: Path) -> FeatureVideo:
    parts = _parts(path)
    if "features" not in parts:
        raise FeatureError(f"{path} has no array named features; make it again with `skerry features`")
    try:
        fps, frames = float(parts.get("fps", np.nan)), int(parts.get("frames", -1))
        written = str(parts.get("extractor", ""))
        spec = ExtractorSpec.model_validate_json(written) if written else None
        ends_s = np.asarray(parts["ends_s"], np.float64) if "ends_s" in parts else None
    except (ValidationError, *_DAMAGE):
        raise FeatureError(
            f"{path} does not say how its features were made; make it again with `skerry features`"
        ) from None
    features = _matrix(parts["features"], path)
    if spec is not None and features.shape[1] != spec.width:
        raise FeatureError(f"{path} holds features {features.shape[1]} wide but says {spec.width}")
    if ends_s is not None and ends_s.shape != features.shape[:1]:
        raise FeatureError(f"{path} has {len(features)} features but {ends_s.size} times of them")
    return FeatureVideo(
        name=str(parts.get("source", "")) or path.stem,
        features=features,
        extractor=spec,
        fps=fps if 0 < fps < np.inf else None,
        frames=frames if frames > 0 else None,
        key=str(parts.get("key", "")),
        ends_s=ends_s,
        recording=str(parts.get("recording", "")),
    )


def _parts(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_BYTES:
                raise FeatureError(f"{path} unpacks to more than {_MAX_BYTES / 1e9:g} GB; split it by video")
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in _PARTS if name in archive}
    except _DAMAGE:
        raise FeatureError(f"{path} is no .npz file of features, or it is damaged") from None


def _read_npy(path: Path) -> FeatureVideo:
    try:
        # Mapped: a header that claims more than there is fails before anything is allocated.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE:
        raise FeatureError(f"{path} is no .npy file of numbers, or it is damaged or empty") from None
    array = np.asarray(mapped)
    crops = 1
    if array.ndim == 3:
        axis = _crop_axis(array.shape, path)
        crops = array.shape[axis]
        _must_be_numbers(array, path)
        array = array.mean(axis=axis, dtype=np.float64)
    return FeatureVideo(path.stem, _matrix(array, path), crops=crops)


def _crop_axis(shape: tuple[int, ...], path: Path) -> int:
    """Crops first, as most write it, unless only the second axis can be that of crops."""
    if shape[0] in CROPS:
        return 0
    if shape[1] in CROPS:
        return 1
    raise FeatureError(
        f"{path} is {_by(shape)}: neither its first nor its second axis is one of "
        f"{', '.join(map(str, CROPS))} crops; store it as snippets x width"
    )


def _read_txt(path: Path) -> FeatureVideo:
    try:
        rows = [line.split() for line in path.read_text("ascii").splitlines() if line.strip()]
        array = np.array(rows, dtype=np.float32)
    except _DAMAGE:
        raise FeatureError(
            f"{path} is no table of numbers: each line must hold one segment's feature, all of one length"
        ) from None
    return FeatureVideo(path.stem, _matrix(array, path))


def _matrix(array: NDArray[Any], path: Path) -> NDArray[np.float32]:
    _must_be_numbers(array, path)
    if array.ndim != 2:
        raise FeatureError(f"{path} is {_by(array.shape)}; features are snippets x width")
    if 0 in array.shape:
        raise FeatureError(f"{path} holds no features at all; is its video shorter than one clip?")
    if array.shape[1] > _MAX_WIDTH:
        raise FeatureError(f"{path} has features {array.shape[1]} wide; at most {_MAX_WIDTH} are read")
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(matrix).all():
        row = int(np.argmin(np.isfinite(matrix).all(axis=1)))
        raise FeatureError(f"{path} has NaN or infinite features, first in row {row}; extract them again")
    return matrix


def _must_be_numbers(array: NDArray[Any], path: Path) -> None:
    if array.dtype.kind not in "fiu":
        raise FeatureError(f"{path} holds {array.dtype} instead of real numbers")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
