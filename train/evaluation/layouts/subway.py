"""One long recording and a list of when something happens, as for the Subway entrance and exit.

    entrance.avi (or a folder of frames)   entrance.txt   normal/ (optional)

Each line of the text holds a first and a last native frame, from 0, both included; a third word `ignored`
leaves the frames out: those that were learned from, say. `#` begins a remark.
"""

from __future__ import annotations

import re
from pathlib import Path

from edge.errors import FootageError
from train.evaluation.layouts.clips import clips, files, frame_count, normals
from train.evaluation.layouts.layout import STATIC, Layout, missing
from train.evaluation.layouts.outside import read_text
from train.evaluation.layouts.spans import interval, joined, without
from train.evaluation.truth import DataSet, Interval, Video

_LINE = re.compile(r"([0-9]{1,8})[\s,;]+([0-9]{1,8})(?:[\s,;]+(ignored))?")


def recognises(root: Path) -> bool:
    return len(_tables(root)) == 1 and len(_recordings(root)) == 1 and not (root / "labels").is_dir()


def read(root: Path) -> DataSet:
    tables, recordings = _tables(root), _recordings(root)
    if len(tables) != 1 or len(recordings) != 1:
        raise missing("subway", "one recording and one .txt file with pairs of frames", root)
    abnormal, ignored = intervals_of(read_text(tables[0]), tables[0])
    clip = recordings[0]
    video = Video(clip.stem, clip, abnormal, without(ignored, abnormal), frames=frame_count(clip))
    note = f"One long recording, intervals of {tables[0].name}. {STATIC}"
    return DataSet(root.name, "subway", (video,), normals(root / "normal"), note)


def _tables(root: Path) -> list[Path]:
    return [path for path in files(root, ".txt") if not path.name.startswith("Temporal_Anomaly")]


def _recordings(root: Path) -> list[Path]:
    return [clip for clip in clips(root) if clip.name != "normal"]


def intervals_of(text: str, path: Path) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """Abnormal and ignored intervals. Raises FootageError, also where there is none."""
    found: dict[str, list[Interval]] = {"": [], "ignored": []}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].strip()
        pair = _LINE.fullmatch(words)
        if pair:
            found[pair[3] or ""].append(interval(int(pair[1]), int(pair[2]), f"{path}, line {number}"))
        elif words:
            raise FootageError(f"{path}, line {number}: {words[:40]!r} is no pair of frames such as 120 180.")
    if not found[""]:
        raise FootageError(f"{path} tells of no interval; write a first and a last frame on each line.")
    return joined(found[""]), joined(found["ignored"])


LAYOUT = Layout("subway", "one recording beside one .txt", recognises, read)
