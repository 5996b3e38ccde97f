import numpy as np
import pytest

from train.evaluation.bootstrap import Bootstrap
from train.evaluation.curves import Weights


def mean_of(*values: float) -> object:
    return lambda weights: float(weights @ np.array(values) / weights.sum())


def test_every_draw_has_as_many_videos_as_there_are() -> None:
    drawn: list[Weights] = []
    Bootstrap(5, 200, seed=0).figure(0.0, lambda weights: drawn.append(weights) or 0.0)
    assert len(drawn) == 200
    assert {weights.sum() for weights in drawn} == {5}
    assert np.mean(drawn) == 1
    assert max(weights.max() for weights in drawn) > 2  # with replacement


def test_the_interval_holds_the_middle_95_per_cent_of_the_draws() -> None:
    """A mean of 100 numbers of variance 1/12 has a standard error of 0.029; 1.96 of them to each side."""
    values = np.linspace(0, 1, 100)
    figure = Bootstrap(100, 4000, seed=1).measured(lambda weights: float(weights @ values / 100))
    assert figure.value == pytest.approx(0.5)
    assert figure.low == pytest.approx(0.5 - 0.0571, abs=0.004)
    assert figure.high == pytest.approx(0.5 + 0.0571, abs=0.004)


def test_two_videos_that_disagree_leave_everything_open() -> None:
    figure = Bootstrap(2, 1000, seed=0).measured(lambda weights: float(weights[1] / 2))
    assert (figure.value, figure.low, figure.high) == (0.5, 0, 1)


def test_the_seed_decides_the_interval() -> None:
    def of(seed: int) -> object:
        values = np.arange(7.0)
        return Bootstrap(7, 50, seed).measured(lambda weights: float(weights @ values))

    assert of(3) == of(3)
    assert of(3) != of(4)


def test_one_video_has_no_interval() -> None:
    figure = Bootstrap(1, 100, seed=0).measured(lambda weights: 0.7)
    assert (figure.value, figure.low, figure.high) == (0.7, None, None)


def test_without_resamples_there_is_no_interval() -> None:
    assert Bootstrap(3, 0, seed=0).measured(lambda weights: 0.7).low is None


def test_a_figure_that_is_not_defined_has_no_interval() -> None:
    assert Bootstrap(3, 100, seed=0).measured(lambda weights: None).low is None


def test_where_too_many_draws_lack_a_class_there_is_no_interval() -> None:
    """A given one of two videos is missing in a quarter of the draws, of eight in a third, of ... always
    about a third; both halves of twelve are missing almost never."""
    lonely = Bootstrap(8, 400, seed=0).figure(1.0, lambda weights: 1.0 if weights[0] else None)
    common = Bootstrap(12, 400, seed=0).figure(1.0, lambda weights: 1.0 if weights[:6].any() else None)
    assert (lonely.low, lonely.high) == (None, None)
    assert (common.low, common.high) == (1.0, 1.0)
