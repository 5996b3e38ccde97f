from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from edge.errors import FootageError
from tests.scored_videos import scored
from train.evaluation.pixels import PixelFigures, by_heat, count_pixels
from train.evaluation.scored import Scored

ONE = np.ones(1)


def picture(heat: Sequence[Sequence[float]], mask: Sequence[Sequence[int]]) -> Scored:
    """One abnormal frame; the heat may be smaller than the mask."""
    truth = np.array(mask, bool)
    return scored([1.0], (0, 0), heat=[heat], mask=lambda _: truth, size=truth.shape)


def figures(*videos: Scored) -> PixelFigures:
    return PixelFigures([count_pixels(video) for video in videos])


def test_pixel_auroc_is_the_share_of_pixel_pairs_in_order() -> None:
    """Abnormal 0.9 and 0.2 against normal 0.1 and 0.3: three pairs of four."""
    assert figures(picture([[0.9, 0.1], [0.2, 0.3]], [[1, 0], [1, 0]])).auroc(ONE) == pytest.approx(0.75)


def test_heat_is_brought_to_the_size_of_the_mask_by_straight_lines() -> None:
    """0 and 1 become 0, 0.25, 0.75, 1; by the nearest it would be 2.5 pairs of 3."""
    assert figures(picture([[0.0, 1.0]], [[0, 0, 1, 0]])).auroc(ONE) == pytest.approx(2 / 3)


halves = st.floats(width=16, allow_nan=False)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.lists(st.lists(halves, min_size=4, max_size=4), min_size=1, max_size=4), st.integers(1, 2**16 - 2))
def test_histograms_order_pixels_exactly_as_a_list_of_all_of_them(
    heats: list[list[float]], bits: int
) -> None:
    masks = [np.array([[bits >> 4 * n + k & 1 for k in range(4)]], bool) for n in range(len(heats))]
    video = scored(
        [1.0] * len(heats), (0, len(heats) - 1), heat=[[h] for h in heats], mask=lambda n: masks[n]
    )
    truth = np.concatenate(masks).ravel()
    values = np.unique(np.array(heats, np.float16).astype(np.float64).ravel(), return_inverse=True)[1]
    found = figures(video).auroc(ONE)
    if truth.all() or not truth.any():
        assert found is None
    else:
        assert found == pytest.approx(roc_auc_score(truth, values))


def test_every_float16_has_its_place_and_both_zeros_have_one() -> None:
    codes = np.arange(1 << 16, dtype=np.uint16)
    ordered = by_heat(codes.astype(np.int64)).astype(np.uint16).view(np.float16)
    numbers = ordered[~np.isnan(ordered)].astype(np.float64)
    assert np.all(np.diff(numbers) >= 0)
    assert by_heat(np.eye(1 << 16, 1, -0x8000)[:, 0])[0x8000] == 1  # -0 where 0 is


def test_pro_is_the_mean_over_components_not_over_pixels() -> None:
    """A of two pixels, B of one, ten normal pixels. From the hottest: A n A n B n n n ...

    Covered: 0.25 up to 0.1 of the normal pixels, 0.5 up to 0.2, 1 up to 0.3.
    """
    heat = [[14.0, 12.0, 13.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0]]
    mask = [[1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]]
    assert figures(picture(heat, mask)).au_pro(ONE) == pytest.approx((0.25 + 0.5 + 1) / 3)


def test_pixels_that_touch_at_corners_are_one_component() -> None:
    """The hot one of two is half a component: of two components it would be one half in either case,
    but beside a third, cold, lone pixel it makes a quarter instead of a third."""
    heat = [[9.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]]
    mask = [[1, 0, 0, 0], [0, 1, 0, 1]]
    assert figures(picture(heat, mask)).au_pro(ONE) == pytest.approx(0.25)


def test_frames_that_do_not_count_are_not_looked_at() -> None:
    masks = [np.array([[1, 0, 0, 0]], bool), np.array([[0, 0, 0, 1]], bool)]
    heat = [[[4.0, 1.0, 2.0, 3.0]], [[9.0, 9.0, 9.0, 0.0]]]
    video = scored([1.0, 1.0], (0, 1), ignored=((1, 1),), heat=heat, mask=lambda n: masks[n])
    assert figures(video).auroc(ONE) == 1


def test_a_normal_video_adds_normal_pixels_and_a_video_without_masks_adds_none() -> None:
    marked = picture([[4.0, 1.0, 2.0, 3.0]], [[1, 0, 0, 0]])
    normal = scored([1.0], heat=[[[9.0, 9.0, 9.0]]], size=(1, 3))
    unmarked = scored([1.0], (0, 0), heat=[[[9.0, 9.0, 9.0]]], size=(1, 3))
    assert figures(marked, normal).auroc(np.ones(2)) == pytest.approx(0.5)
    assert figures(marked, unmarked).auroc(np.ones(2)) == 1


def test_without_heat_or_masks_there_is_no_figure() -> None:
    without_heat = scored([1.0], (0, 0), mask=lambda _: np.ones((1, 4), bool))
    assert figures(without_heat).auroc(ONE) is None
    assert figures(without_heat).au_pro(ONE) is None
    assert figures(scored([1.0], heat=[[[1.0]]])).au_pro(ONE) is None


def test_a_mask_of_another_size_than_its_picture_is_refused() -> None:
    video = scored([1.0], (0, 0), heat=[[[1.0]]], mask=lambda _: np.ones((2, 4), bool))
    with pytest.raises(FootageError, match="video: the mask of frame 0 is 4 x 2, the picture 4 x 1"):
        count_pixels(video)
