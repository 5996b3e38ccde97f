"""UCF-Crime's temporal test annotation; videos may lie anywhere below.

    Temporal_Anomaly_Annotation_for_Testing_Videos.txt   Abuse/Abuse028_x264.mp4   ...

A line holds a video, its class, and pairs of first and last frame from 1, -1 where there is none. Some
intervals run past the end of their video; they are cut there. Truth is rebuilt per video and frame from this
file, never from the arrays of 16-frame snippets that circulate.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edge.errors import FootageError
from edge.recordings import VIDEO_SUFFIXES, natural
from train.evaluation.layouts.clips import files, frame_count, pictures
from train.evaluation.layouts.layout import Layout, missing
from train.evaluation.layouts.outside import read_text
from train.evaluation.layouts.spans import interval, joined
from train.evaluation.truth import DataSet, Interval, Video

FPS = 30.0
_TABLE = re.compile(r"Temporal_Anomaly_Annotation.*\.txt")
_LINE = re.compile(r"(\S+)\s+([A-Za-z]\w*)((?:\s+-?[0-9]{1,8})+)")


def recognises(root: Path) -> bool:
    return bool(_tables(root))


def read(root: Path) -> DataSet:
    tables = _tables(root)
    if len(tables) != 1:
        raise missing("ucf-crime", "one Temporal_Anomaly_Annotation*.txt", root)
    told = annotations_of(read_text(tables[0]), tables[0])
    here = dict(_recordings(root))
    videos = [_video(name, here[name], spans) for name, spans in told.items() if name in here]
    if not videos:
        raise FootageError(
            f"None of the {len(told)} videos of {tables[0]} lies below {root}; put them there."
        )
    normal = [path for name, path in here.items() if name.startswith("Normal_Videos") and name not in told]
    return DataSet(root.name, "ucf-crime", tuple(videos), tuple(normal), _note(len(videos), len(told)))


def _note(found: int, told: int) -> str:
    which = "all" if found == told else f"only {found} of the"
    return f"UCF-Crime, {which} {told} annotated test videos, truth rebuilt per video from the annotation."


def _tables(root: Path) -> list[Path]:
    return [path for path in files(root, ".txt") if _TABLE.fullmatch(path.name)]


def _recordings(root: Path) -> Iterator[tuple[str, Path]]:
    """Every video, and every folder of frames, below the root, by its name."""
    found: list[Path] = []
    for top, _, names in os.walk(root):
        inside = [Path(top) / name for name in names if not name.startswith(".")]
        found += [path for path in inside if path.suffix.lower() in VIDEO_SUFFIXES]
        found += [Path(top)] if pictures(Path(top)) else []
    for path in sorted(found, key=natural):
        yield (path.name if path.is_dir() else path.stem), path


def annotations_of(text: str, path: Path) -> dict[str, tuple[Interval, ...]]:
    """Video's name without suffix -> intervals from 0. Raises FootageError."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    told = dict(_annotation(line, f"{path}, line {number}") for number, line in lines if line)
    if not told:
        raise FootageError(f"{path} annotates no video; copy it again.")
    return told


def _annotation(line: str, place: str) -> tuple[str, tuple[Interval, ...]]:
    parts = _LINE.fullmatch(line)
    numbers = [int(word) for word in parts[3].split()] if parts else []
    if parts is None or len(numbers) % 2:
        raise FootageError(f"{place}: {line[:60]!r} is not a video, its class and pairs of frames.")
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    spans = (interval(max(a - 1, 0), b - 1, place) for a, b in pairs if (a, b) != (-1, -1))
    return PurePosixPath(parts[1]).stem, joined(spans)


def _video(name: str, path: Path, spans: tuple[Interval, ...]) -> Video:
    return Video(name, path, spans, frames=frame_count(path), folder_fps=FPS, open_end=True)


LAYOUT = Layout("ucf-crime", "Temporal_Anomaly_Annotation*.txt", recognises, read)
