from __future__ import annotations

from pathlib import Path

import pytest

from export.extractor_graph import ExtractorError
from export.matching import matching_extractor
from tests.extractors import opened, other
from train.bag_files import UNKNOWN


def test_the_pixels_that_a_file_was_opened_with_are_found_again_by_the_digest(tmp_path: Path) -> None:
    path, extractor = opened(tmp_path, pixels="imagenet")
    found = matching_extractor(path, None, extractor.spec)
    assert found.spec == extractor.spec
    assert found.picture == extractor.picture
    assert found.model == extractor.model


def test_the_graph_that_flies_is_itself_an_extractor(tmp_path: Path) -> None:
    _, extractor = opened(tmp_path, "clip", stride=3)
    path = tmp_path / "kept.onnx"
    path.write_bytes(extractor.model)
    assert matching_extractor(path, None, extractor.spec).model == extractor.model


@pytest.mark.parametrize("already", [False, True])
def test_an_extractor_other_than_the_heads_own_is_refused_in_one_sentence(
    tmp_path: Path, already: bool
) -> None:
    path, extractor = opened(tmp_path)
    if already:
        path.write_bytes(extractor.model)
    with pytest.raises(
        ExtractorError, match=r"is not the one that the head was trained with \(abababababab\)"
    ):
        matching_extractor(path, None, other(extractor.spec))


def test_features_of_nobody_knows_what_extractor_make_no_bundle(tmp_path: Path) -> None:
    path, extractor = opened(tmp_path)
    unknown = extractor.spec.model_copy(update={"sha256": UNKNOWN})
    with pytest.raises(ExtractorError, match="do not say by which extractor they were made"):
        matching_extractor(path, None, unknown)
