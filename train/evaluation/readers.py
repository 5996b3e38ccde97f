"""Reads labelled footage in any layout known here."""

from __future__ import annotations

from pathlib import Path

from edge.errors import FootageError, UsageError, nearest
from train.evaluation.layouts import (
    avenue,
    coco,
    drone_anomaly,
    intervals,
    shanghaitech,
    simulated,
    subway,
    ucf_crime,
    ucsd,
    yolo,
)
from train.evaluation.layouts.layout import Layout, lying_in
from train.evaluation.truth import DataSet

_ALL = (simulated, intervals, ucsd, avenue, shanghaitech, drone_anomaly, ucf_crime, coco, yolo, subway)
LAYOUTS: dict[str, Layout] = {module.LAYOUT.name: module.LAYOUT for module in _ALL}
AUTO = "auto"


def read_data_set(path: Path, layout: str = AUTO) -> DataSet:
    """The labelled videos under a folder, in natural order, with paths that exist.

    `layout` is a name of LAYOUTS, or "auto" to tell by the folder's contents. Raises FootageError for a
    folder that is not in the layout or whose labels cannot be read, UsageError for an unknown layout.
    """
    if layout != AUTO and layout not in LAYOUTS:
        known = ", ".join((AUTO, *LAYOUTS))
        raise UsageError(f"There is no layout {layout!r}{nearest(layout, LAYOUTS)}; known are {known}.")
    if not path.is_dir():
        raise FootageError(f"{path} is no folder; name the folder that holds the labelled footage.")
    chosen = LAYOUTS[layout] if layout != AUTO else _recognised(path)
    return chosen.read(path)


def _recognised(path: Path) -> Layout:
    fitting = [layout for layout in LAYOUTS.values() if layout.recognises(path)]
    if not fitting:
        marks = "; ".join(f"{layout.name}: {layout.marks}" for layout in LAYOUTS.values())
        raise FootageError(
            f"{path} is in no known layout: {lying_in(path)}; looked for {marks}. "
            "Recordings of your own need an intervals.csv beside them."
        )
    if len(fitting) > 1:
        names = " and ".join(layout.name for layout in fitting)
        raise FootageError(f"{path} could be {names}; say which with the layout's name.")
    return fitting[0]
