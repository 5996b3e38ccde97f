from __future__ import annotations

import onnx

from tests.make_blur import BLUR, blur_model


def test_the_kept_model_is_the_one_that_the_script_makes() -> None:
    assert onnx.load_from_string(blur_model()) == onnx.load(BLUR)
