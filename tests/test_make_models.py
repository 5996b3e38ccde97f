from __future__ import annotations

import onnx

from tests.make_blur import BLUR, blur_model
from tests.make_clips import FOLDER
from tests.make_clips import models as clip_models
from tests.make_evidence import EVIDENCE, evidence_model


def test_the_kept_model_is_the_one_that_the_script_makes() -> None:
    assert onnx.load_from_string(blur_model()) == onnx.load(BLUR)


def test_the_kept_network_of_evidence_is_the_one_that_the_script_makes() -> None:
    assert onnx.load_from_string(evidence_model()) == onnx.load(EVIDENCE)


def test_the_kept_models_of_clips_are_those_that_the_script_makes() -> None:
    for name, data in clip_models().items():
        assert onnx.load_from_string(data) == onnx.load(FOLDER / name), name
