from __future__ import annotations

import onnx

from tests.make_blur import BLUR, blur_model
from tests.make_evidence import EVIDENCE, evidence_model


def test_the_kept_model_is_the_one_that_the_script_makes() -> None:
    assert onnx.load_from_string(blur_model()) == onnx.load(BLUR)


def test_the_kept_network_of_evidence_is_the_one_that_the_script_makes() -> None:
    assert onnx.load_from_string(evidence_model()) == onnx.load(EVIDENCE)
