"""The extractor that a head was trained with, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edge.clips import ExtractorSpec
from export.extractor_graph import ExtractorError, noted, parsed
from export.extractors import PIXELS, Asked, open_extractor
from train.bag_files import UNKNOWN
from train.features import Extractor


def matching_extractor(
    source: Path | str | None, weights: Path | None, trained: ExtractorSpec, size: int | None = None
) -> Extractor:
    """With the clips of training. What a file needs to be told of its pixels is found out by the digest.

    Raises ExtractorError for any other extractor.
    """
    if trained.sha256 == UNKNOWN:
        raise ExtractorError(
            "the features that the head was trained on do not say by which extractor they were made; make "
            "them with `skerry features` and train it again"
        )
    asked = Asked(frames=trained.frames if trained.sees == "clip" else None)
    asked = asked if size is None else replace(asked, size=size)
    first = open_extractor(source, weights, asked)
    for found in _forms(first, source, weights, asked):
        if found.spec.sha256 == trained.sha256:
            return replace(found, spec=trained)
    raise ExtractorError(
        f"the extractor {weights or source} ({first.spec.sha256[:12]}) is not the one that the head was "
        f"trained with ({trained.sha256[:12]}): give extractor.onnx, which lies beside its features"
    )


def _forms(
    first: Extractor, source: Path | str | None, weights: Path | None, asked: Asked
) -> Iterator[Extractor]:
    """What a file may have become, depending on what was said of its pixels."""
    yield first
    if weights is None and _says_nothing(Path(source or "")):
        yield from (open_extractor(source, None, replace(asked, pixels=pixels)) for pixels in PIXELS)


def _says_nothing(path: Path) -> bool:
    """Of its pixels: a graph that was never opened here."""
    data = path.read_bytes() if path.is_file() else b""
    return data[:2] != b"PK" and bool(data) and noted(parsed(data, path.name)) is None
