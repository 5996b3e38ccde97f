"""The losses of bags, against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.mil_losses import (
    SMOOTH,
    SPARSE,
    bag_cross_entropy,
    hinge,
    prototype_contrast,
    ranking,
    smoothness,
    sparsity,
    top_mean,
)

ALL_THERE = torch.ones(1, 4, dtype=torch.bool)


def bag(*scores: float) -> torch.Tensor:
    return torch.tensor([scores])


@pytest.mark.parametrize("pairing", ["all", "one-to-one"])
@pytest.mark.parametrize(
    ("anomalous", "normal", "loss"), [(0.9, 0.1, 0.2), (0.2, 0.8, 1.6), (1.0, 0.0, 0.0), (0.4, 0.4, 1.0)]
)
def test_the_hinge_of_one_pair_is_what_the_formula_says(
    pairing: str, anomalous: float, normal: float, loss: float
) -> None:
    low = min(anomalous, normal, 0.0)
    found = hinge(bag(low, anomalous, low), bag(normal, low, low), pairing)  # type: ignore[arg-type]
    assert found.item() == pytest.approx(loss)


@pytest.mark.parametrize("pairing", ["all", "one-to-one"])
def test_raising_a_normal_bags_highest_score_costs_and_an_anomalous_ones_pays(pairing: str) -> None:
    """The published report lost the plus before the normal bag's score."""
    anomalous, normal = bag(0.3, 0.6).requires_grad_(), bag(0.5, 0.2).requires_grad_()
    hinge(anomalous, normal, pairing).backward()  # type: ignore[arg-type]
    assert anomalous.grad is not None
    assert normal.grad is not None
    assert anomalous.grad.tolist() == [[0, -1]]
    assert normal.grad.tolist() == [[1, 0]]


def test_an_inactive_hinge_teaches_nothing() -> None:
    anomalous, normal = bag(2.0, 0.0).requires_grad_(), bag(0.5, 0.2).requires_grad_()
    hinge(anomalous, normal, "all").backward()
    assert normal.grad is not None
    assert normal.grad.abs().sum() == 0


def test_the_two_pairings_differ_as_the_code_and_the_paper_do() -> None:
    anomalous, normal = torch.tensor([[0.9], [0.2]]), torch.tensor([[0.1], [0.8]])
    assert hinge(anomalous, normal, "one-to-one").item() == pytest.approx((0.2 + 1.6) / 2)
    assert hinge(anomalous, normal, "all").item() == pytest.approx((0.2 + 0.9 + 0.9 + 1.6) / 4)


def test_smoothness_sums_the_squared_steps_inside_each_bag_and_is_a_mean_over_bags() -> None:
    assert smoothness(bag(0.0, 0.5, 0.2)).item() == pytest.approx(0.25 + 0.09)
    assert smoothness(torch.tensor([[0.0, 1.0], [0.0, 0.0]])).item() == pytest.approx(0.5)


def test_no_term_crosses_the_border_of_a_bag() -> None:
    """Two constant bags, one at 0 and one at 1: laid end to end there would be one step of 1."""
    assert smoothness(torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])).item() == 0
    apart = ranking(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.zeros(2, 2), "all", smooth=1.0, sparse=0.0)
    assert apart.item() == pytest.approx(hinge(torch.tensor([[0.0], [1.0]]), torch.zeros(2, 1), "all").item())


def test_a_bag_of_32_has_31_steps() -> None:
    zigzag = torch.arange(32).remainder(2).float()[None]
    assert smoothness(zigzag).item() == 31


def test_the_step_from_the_last_score_into_the_filling_is_none() -> None:
    scores, valid = bag(0.2, 0.7, 0.0, 0.0), torch.tensor([[True, True, False, False]])
    assert smoothness(scores, valid).item() == pytest.approx(0.25)


def test_sparsity_is_the_sum_over_the_bag() -> None:
    assert sparsity(torch.tensor([[0.5, 0.25], [0.25, 0.0]])).item() == pytest.approx(0.5)


def test_the_published_loss_adds_both_of_the_anomalous_bags_alone() -> None:
    anomalous, normal = bag(0.9, 0.1, 0.4), bag(0.1, 0.0, 0.1)
    even, sparse = 0.64 + 0.09, 1.4
    found = ranking(anomalous, normal, "one-to-one").item()
    assert found == pytest.approx(0.2 + SMOOTH * even + SPARSE * sparse, abs=1e-7)
    assert (SMOOTH, SPARSE) == (8e-5, 8e-5)


def test_the_top_mean_takes_one_and_another_for_each_sixteenth() -> None:
    values = torch.arange(33).float()[None]
    assert top_mean(values, torch.ones(1, 33, dtype=torch.bool)).item() == pytest.approx((32 + 31 + 30) / 3)
    assert top_mean(bag(1.0, 5.0, 3.0, 9.0), torch.tensor([[True, True, True, False]])).item() == 5.0
    assert top_mean(bag(1.0, 5.0, 3.0, 9.0), ALL_THERE, share=2).item() == pytest.approx(17 / 3)


@given(st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=20), st.integers(0, 8))
def test_filling_changes_no_top_mean(values: list[float], filling: int) -> None:
    plain = torch.tensor([values])
    filled = torch.cat([plain, torch.full((1, filling), 99.0)], 1)
    valid = torch.arange(filled.shape[1])[None] < len(values)
    whole = torch.ones_like(plain, dtype=torch.bool)
    assert top_mean(filled, valid).item() == pytest.approx(top_mean(plain, whole).item(), abs=1e-6)


def test_cross_entropy_of_bags_is_that_of_their_highest_logit() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])  # sigmoid 0.75
    valid = torch.ones(2, 2, dtype=torch.bool)
    found = bag_cross_entropy(logits, valid, torch.tensor([True, False])).item()
    assert found == pytest.approx((-math.log(0.75) - math.log(0.25)) / 2, abs=1e-6)


def test_only_the_highest_place_of_a_bag_teaches_the_prototypes() -> None:
    likeness = torch.zeros(2, 3, 2, requires_grad=True)
    logits = torch.tensor([[0.0, 2.0, 9.0], [3.0, 1.0, 0.0]])
    valid = torch.tensor([[True, True, False], [True, True, True]])
    loss = prototype_contrast(likeness, logits, valid, torch.tensor([True, False]))
    assert loss.item() == pytest.approx(math.log(1 + math.e))  # no likeness either way: the margin of 1
    loss.backward()
    assert likeness.grad is not None
    places = [tuple(place) for place in likeness.grad.abs().sum(-1).nonzero().tolist()]
    assert places == [(0, 1), (1, 0)]
    assert likeness.grad[0, 1, 1] < 0 < likeness.grad[0, 1, 0]  # anomalous: more foreign, less usual
    assert likeness.grad[1, 0, 0] < 0 < likeness.grad[1, 0, 1]
