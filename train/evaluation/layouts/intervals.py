"""A person's own footage: recordings, and a table of when something was wrong.

    intervals.csv   flight1.mp4   flight2/0001.jpg   normal/flight0.mp4

The table has the columns video, first_frame, last_frame: native frames from 0, both included. A recording
without a row is normal throughout and is looked at; what lies in `normal` is learned from.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from edge.errors import FootageError, nearest
from edge.recordings import find_recordings
from train.evaluation.layouts.clips import frame_count, normals
from train.evaluation.layouts.layout import Layout, missing
from train.evaluation.layouts.outside import read_text
from train.evaluation.layouts.spans import interval, joined
from train.evaluation.truth import DataSet, Interval, Video

TABLE = "intervals.csv"
COLUMNS = ("video", "first_frame", "last_frame")


def recognises(root: Path) -> bool:
    return (root / TABLE).is_file()


def read(root: Path) -> DataSet:
    table = root / TABLE
    if not table.is_file():
        raise missing("intervals", f"{TABLE} beside the recordings", root)
    recordings = [p for p in find_recordings([root]) if p.relative_to(root).parts[:1] != ("normal",)]
    if not recordings:
        raise missing("intervals", f"recordings outside {root / 'normal'} to evaluate on", root)
    names = _names(root, recordings)
    told: dict[Path, list[Interval]] = {path: [] for path in recordings}
    for name, span in rows_of(read_text(table), table):
        told[_named(name, names, table)] += span
    videos = (_video(root, path, spans) for path, spans in told.items())
    return DataSet(root.name, "intervals", tuple(videos), normals(root / "normal"), f"Intervals of {TABLE}.")


def _video(root: Path, path: Path, spans: list[Interval]) -> Video:
    return Video(_name(root, path), path, joined(spans), frames=frame_count(path))


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else root.name


def _names(root: Path, recordings: list[Path]) -> dict[str, Path | None]:
    """Every way to name a recording: its path, its file name, its name without suffix. None: ambiguous."""
    names: dict[str, Path | None] = {}
    for path in recordings:
        for name in {path.name, path.stem if path.is_file() else path.name}:
            names[name] = None if name in names else path
    return names | {_name(root, path): path for path in recordings}


def _named(name: str, names: dict[str, Path | None], table: Path) -> Path:
    if name not in names:
        raise FootageError(f"{table} names {name!r}, which is not there{nearest(name, names)}.")
    path = names[name]
    if path is None:
        raise FootageError(f"{table} names {name!r}, which several recordings are called; give its path.")
    return path


def rows_of(text: str, table: Path) -> Iterator[tuple[str, list[Interval]]]:
    """A video's name and its interval, or none where the frames are left empty. Raises FootageError."""
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise FootageError(f"{table} is no table ({error}); save it again as CSV.") from error
    if lacking := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
        raise FootageError(
            f"{table} lacks the column {lacking[0]}: its first line must be {','.join(COLUMNS)} "
            "(frames from 0, both included)."
        )
    for line, row in enumerate(rows, 2):
        video, first, last = ((row[column] or "").strip() for column in COLUMNS)
        yield video, _span(first, last, f"{table}, row {line}")


def _span(first: str, last: str, place: str) -> list[Interval]:
    if not first and not last:
        return []
    if not all(re.fullmatch("[0-9]{1,9}", word) for word in (first, last)):
        raise FootageError(f"{place}: {first[:20]!r} to {last[:20]!r} are no frame numbers; count from 0.")
    return [interval(int(first), int(last), place)]


LAYOUT = Layout("intervals", TABLE, recognises, read)
