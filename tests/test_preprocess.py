from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from edge.preprocess import InputSpec, pair_to_tensor, to_tensor


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


@pytest.mark.parametrize("change", [{"height": 0}, {"resize": "cubic"}, {"frames": 3}, {"tiling": "off"}])
def test_an_input_that_this_version_cannot_make_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        InputSpec.model_validate(change)


def test_a_pair_is_six_planes_the_picture_now_first() -> None:
    now, earlier = np.zeros((16, 24, 3), np.uint8), np.zeros((16, 24, 3), np.uint8)
    now[..., 0], earlier[..., 2] = 255, 255  # blue, red
    tensor = pair_to_tensor(now, earlier, InputSpec(frames=2))
    assert (tensor.shape, tensor.dtype) == ((1, 6, 16, 24), np.float32)
    np.testing.assert_allclose(tensor[0, :, 3, 3], [0, 0, 1, 1, 0, 0], atol=1e-6)


def test_without_an_earlier_picture_the_pair_is_the_same_twice() -> None:
    now = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    tensor = pair_to_tensor(now, None, InputSpec(frames=2))
    np.testing.assert_array_equal(tensor[0, :3], tensor[0, 3:])
    np.testing.assert_allclose(tensor[0, :3], to_tensor(now, InputSpec(height=8, width=8))[0], atol=1e-6)
