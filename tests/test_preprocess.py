from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from edge.preprocess import InputSpec, to_tensor


def test_a_picture_becomes_rgb_planes_between_0_and_1() -> None:
    blue = np.zeros((240, 320, 3), np.uint8)
    blue[..., 0] = 255
    tensor = to_tensor(blue, InputSpec())
    assert tensor.shape == (1, 3, 124, 124)
    assert tensor.dtype == np.float32
    assert tensor.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(tensor[0, :, 60, 60], [0, 0, 1])


def test_shrinking_averages_every_source_pixel() -> None:
    checks = np.indices((248, 248)).sum(axis=0) % 2 * 200
    picture = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    np.testing.assert_allclose(to_tensor(picture, InputSpec()), 100 / 255, atol=1e-6)


def test_mean_and_deviation_are_applied_per_colour() -> None:
    grey = np.full((124, 124, 3), 51, np.uint8)
    spec = InputSpec(mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    np.testing.assert_allclose(to_tensor(grey, spec)[0, :, 0, 0], [0.2, 0.0, -0.05], atol=1e-6)


@pytest.mark.parametrize("change", [{"height": 0}, {"resize": "cubic"}, {"frames": 2}, {"tiling": "auto"}])
def test_an_input_that_this_version_cannot_make_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        InputSpec.model_validate(change)
