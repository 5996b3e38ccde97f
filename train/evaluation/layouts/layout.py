"""What a layout is, and the sentences when a folder does not have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.errors import FootageError
from train.evaluation.layouts.clips import files, folders
from train.evaluation.truth import DataSet

STATIC = "The camera stands still: figures from this set say nothing about a patrol."
"""For every set of a fixed camera: what moves there is the anomaly, what moves on a patrol is everything."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`recognises` looks at names only and never raises; `read` raises FootageError."""

    name: str
    marks: str  # what tells it apart, in a few words
    recognises: Callable[[Path], bool]
    read: Callable[[Path], DataSet]


def missing(layout: str, wanted: str, folder: Path) -> FootageError:
    """One sentence: what was looked for, and what lies there instead."""
    return FootageError(f"{folder} is not in the layout {layout}: looked for {wanted}; {lying_in(folder)}.")


def lying_in(folder: Path) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    kinds = Counter(path.suffix.lower() or "no suffix" for path in files(folder))
    names = [f"{path.name}/" for path in folders(folder)]
    held = [*names[:4], *(["..."] if len(names) > 4 else [])]
    held += [f"{count} {kind}" for kind, count in kinds.most_common(4)]
    return f"it holds {', '.join(held) or 'nothing'}"
