"""What `skerry simulate` leaves: patrols with truth, and normal flights.

patrol-01.mp4   patrol-01.truth.json   normal-01.mp4
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from edge.errors import FootageError
from train.evaluation.layouts.clips import files
from train.evaluation.layouts.layout import Layout, missing
from train.evaluation.layouts.outside import FrameNumber, Pixels, Record, read_json
from train.evaluation.layouts.spans import interval, joined, without
from train.evaluation.truth import DataSet, Region, Video

_END = ".truth.json"
_NOTE = "Simulated patrols: figures from them are not comparable with figures from real footage."


class _Intruder(Record):
    first_frame: FrameNumber
    last_frame: FrameNumber
    touched: tuple[FrameNumber, FrameNumber]


class _Body(Record):
    frame: FrameNumber
    track: int
    x: Pixels
    y: Pixels
    width: Annotated[Pixels, Field(gt=0)]
    height: Annotated[Pixels, Field(gt=0)]


class _Truth(Record):
    frames: Annotated[FrameNumber, Field(gt=0)]
    intruders: list[_Intruder]
    boxes: list[_Body]


def recognises(root: Path) -> bool:
    return bool(_truths(root))


def read(root: Path) -> DataSet:
    truths = _truths(root)
    if not truths:
        raise missing("simulated", f"patrol-01.mp4 with patrol-01{_END}", root)
    normal = [path for path in files(root, ".mp4") if path.name.startswith("normal-")]
    return DataSet(root.name, "simulated", tuple(_video(path) for path in truths), tuple(normal), _NOTE)


def _truths(root: Path) -> list[Path]:
    return [path for path in files(root, ".json") if path.name.endswith(_END)]


def _video(path: Path) -> Video:
    name = path.name.removesuffix(_END)
    film = path.with_name(f"{name}.mp4")
    if not film.is_file():
        raise FootageError(f"{path} has no video beside it: looked for {film.name}; simulate it again.")
    truth = read_json(path, _Truth)
    shown = joined(interval(i.first_frame, i.last_frame, str(path)) for i in truth.intruders)
    touched = joined(interval(*i.touched, str(path)) for i in truth.intruders)
    regions = tuple(Region(b.frame, b.track, b.x, b.y, b.width, b.height) for b in truth.boxes)
    _check(path, truth, regions)
    return Video(name, film, shown, without(touched, shown), regions, frames=truth.frames)


def _check(path: Path, truth: _Truth, regions: tuple[Region, ...]) -> None:
    last = max([0, *(i.touched[1] for i in truth.intruders), *(region.frame for region in regions)])
    if last >= truth.frames:
        raise FootageError(f"{path} tells of frame {last} of a flight of {truth.frames}; simulate it again.")


LAYOUT = Layout("simulated", "patrol-01.truth.json", recognises, read)
