"""Boxes in COCO's JSON: every annotation is an anomaly, each folder of pictures a recording.

    annotations.json (or annotations/*.json)   images/flight1/0001.jpg   normal/ (optional)

A file name is looked for below images/ and below the set itself. Pictures that the JSON does not list are
left out of every figure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from edge.errors import FootageError
from edge.recordings import find_recordings, natural
from train.evaluation.layouts.boxed import Tracked, boxed, folder_size, inside
from train.evaluation.layouts.clips import files, first_of, normals, pictures
from train.evaluation.layouts.layout import Layout, missing
from train.evaluation.layouts.outside import Pixels, Record, read_json
from train.evaluation.truth import DataSet, Video

_Id = int | str
_Side = Annotated[Pixels, Field(gt=0)]


class _Image(Record):
    id: _Id
    file_name: str
    video_id: _Id | None = None
    width: int | None = None
    height: int | None = None


class _Annotation(Record):
    image_id: _Id
    bbox: tuple[Pixels, Pixels, _Side, _Side]
    track_id: int | None = None


class _Coco(Record):
    images: Annotated[list[_Image], Field(min_length=1)]
    annotations: list[_Annotation]


def recognises(root: Path) -> bool:
    return bool(_tables(root))


def read(root: Path) -> DataSet:
    tables = _tables(root)
    if len(tables) != 1:
        raise missing("coco", "one annotations.json, at the top or in annotations/", root)
    coco = read_json(tables[0], _Coco)
    placed = _placed(root, coco, tables[0])
    _check_videos(coco, placed, tables[0])
    videos = tuple(_videos(root, coco, placed, tables[0]))
    note = f"COCO boxes of {tables[0].name}: every annotation counts as an anomaly, whatever its category."
    return DataSet(root.name, "coco", videos, normals(root / "normal"), note)


def _tables(root: Path) -> list[Path]:
    named = [p for p in files(root, ".json") if "annotations" in p.name or "coco" in p.name]
    return named + files(root / "annotations", ".json")


def _placed(root: Path, coco: _Coco, table: Path) -> dict[_Id, Path]:
    """Image -> its picture, among those that are there: names from outside open nothing else."""
    there = _pictures_below(root)
    placed: dict[_Id, Path] = {}
    for image in coco.images:
        name = image.file_name.replace("\\", "/").removeprefix("./")
        if name not in there:
            raise FootageError(
                f"{table} lists {image.file_name[:80]!r}, which is not there; copy the set again."
            )
        placed[image.id] = there[name]
    if len(set(placed.values())) != len(coco.images):
        raise FootageError(f"{table} lists a picture or an id twice; list each once.")
    return placed


def _pictures_below(root: Path) -> dict[str, Path]:
    """By path below images/ and below the root."""
    images = first_of(root, "images") or root
    found: dict[str, Path] = {}
    for folder in find_recordings([images]):
        for path in pictures(folder):
            found[path.relative_to(root).as_posix()] = found[path.relative_to(images).as_posix()] = path
    return found


def _check_videos(coco: _Coco, placed: dict[_Id, Path], table: Path) -> None:
    """Where the JSON tells videos apart, each must have a folder of its own: a recording is a folder."""
    told: dict[Path, set[_Id | None]] = defaultdict(set)
    for image in coco.images:
        told[placed[image.id].parent].add(image.video_id)
    if mixed := [folder for folder, ids in told.items() if len(ids) > 1]:
        raise FootageError(f"{table} puts several videos in {mixed[0]}; give each video a folder of its own.")


def _videos(root: Path, coco: _Coco, placed: dict[_Id, Path], table: Path) -> Iterator[Video]:
    told: dict[Path, dict[str, list[Tracked]]] = defaultdict(dict)
    for path in placed.values():
        told[path.parent][path.name] = []
    sizes = {folder: _checked_size(folder, coco, placed, table) for folder in told}
    for found in coco.annotations:
        if found.image_id not in placed:
            raise FootageError(
                f"{table} annotates image {found.image_id!r}, which it does not list; export it again."
            )
        path = placed[found.image_id]
        box = inside(found.bbox, sizes[path.parent], f"{table}, image {found.image_id}")
        told[path.parent][path.name].append((box, found.track_id))
    images = first_of(root, "images") or root
    for folder in sorted(told, key=natural):
        name = folder.relative_to(images).as_posix() if folder != images else root.name
        yield boxed(name, folder, told[folder])


def _checked_size(folder: Path, coco: _Coco, placed: dict[_Id, Path], table: Path) -> tuple[int, int]:
    """The folder's frame size, which must be the one that the boxes were drawn in."""
    size = folder_size(folder)
    for image in coco.images:
        if placed[image.id].parent == folder and (image.height or size[0], image.width or size[1]) != size:
            raise FootageError(
                f"{table} was made for {image.width}x{image.height} pixels, {folder} has "
                f"{size[1]}x{size[0]}; take pictures of the size that was annotated."
            )
    return size


LAYOUT = Layout("coco", "annotations/*.json or annotations.json", recognises, read)
