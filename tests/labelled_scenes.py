"""A small labelled data set of the scenes in tests.builders: folders of pictures and a table of intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.builders import INTRUDER, SIZE, flying_bundle, folder_of, patrol_pictures
from train.evaluation.truth import DataSet, Interval, Mask, Region, Video

PLANS = {
    "one": "......XXXX......",
    "two": "..........XXXXX.",
    "calm": "." * 12,
}  # a letter a picture, 2 a second


def bundle_in(folder: Path) -> Path:
    """Calibrated on 70 s of normal scenes; returns the bundle's folder."""
    normal = folder_of(folder / "normal", patrol_pictures("." * 140, seed=0))
    return flying_bundle(folder / "bundle", normal).folder


def scenes_in(folder: Path, plans: dict[str, str] | None = None) -> Path:
    """A data set of layout `intervals`."""
    rows = ["video,first_frame,last_frame"]
    for number, (name, plan) in enumerate((plans or PLANS).items()):
        folder_of(folder / name, patrol_pictures(plan, seed=2000 + 100 * number))
        if "X" in plan:
            rows.append(f"{name},{plan.index('X')},{plan.rindex('X')}")
    (folder / "intervals.csv").write_text("\n".join(rows) + "\n")
    return folder


def video_in(folder: Path, plan: str = "..XX.", **more: object) -> Video:
    """One folder of pictures with the intruder's place, as a mask and as a region."""
    folder_of(folder, patrol_pictures(plan))
    hot = [place for place, letter in enumerate(plan) if letter == "X"]
    spans: tuple[Interval, ...] = ((hot[0], hot[-1]),) if hot else ()
    known: dict[str, object] = {
        "name": folder.name,
        "path": folder,
        "abnormal": spans,
        "regions": tuple(Region(place, 1, *map(float, INTRUDER)) for place in hot),
        "mask": lambda place: intruder_mask() if place in hot else None,
        "folder_fps": 2.0,
    }
    return Video(**{**known, **more})  # type: ignore[arg-type]


def intruder_mask() -> Mask:
    mask = np.zeros(SIZE, bool)
    x, y, width, height = INTRUDER
    mask[y : y + height, x : x + width] = True
    return mask


def data_set(*videos: Video, name: str = "scenes") -> DataSet:
    return DataSet(name, "by hand", videos)
