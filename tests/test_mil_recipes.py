"""Named recipes: what is published stands in them, and a wrong difference is one sentence."""

import pytest

from edge.errors import UsageError
from train.mil import build_head, parameters
from train.mil_recipes import MIL_RECIPES, MilRecipe, mil_recipe


def test_the_faithful_recipe_is_the_published_one() -> None:
    plan = mil_recipe("faithful")
    assert (plan.bags, plan.batch, plan.pairing) == ("segments", 30, "all")
    assert (plan.optimiser, plan.lr, plan.schedule) == ("adagrad", 0.01, "constant")
    assert (plan.hinge, plan.smooth, plan.sparse, plan.top, plan.contrast) == (1.0, 8e-5, 8e-5, 0.0, 0.0)
    assert (plan.model.kind, plan.model.hidden, plan.model.dropout) == ("ranking", (512, 32), 0.6)
    assert plan.model.second == "linear"
    assert plan.normalise == "l2"
    assert plan.epochs * plan.STEPS == 20_000
    assert plan.decay == pytest.approx(2 * 0.001 / 30)  # of 0.001 w^2 beside a sum over 30 bags


def test_the_small_recipe_is_small_and_learns_from_streams() -> None:
    plan = mil_recipe("small")
    assert parameters(build_head(plan.model, 1280)) <= 600_000
    assert plan.bags == "streams"
    assert plan.model.kind == "causal"


@pytest.mark.parametrize("name", MIL_RECIPES)
def test_a_recipe_comes_back_from_its_own_json(name: str) -> None:
    plan = mil_recipe(name, seed=3)
    assert MilRecipe.model_validate_json(plan.model_dump_json()) == plan


def test_what_is_not_given_stays() -> None:
    assert mil_recipe("small", epochs=None, lr=None) == mil_recipe("small")
    assert mil_recipe("small", epochs=3).epochs == 3


def test_a_rate_by_cosine_rises_over_a_tenth_and_falls_to_nothing() -> None:
    plan = MilRecipe(schedule="cosine", epochs=10, lr=0.5)
    whole = 10 * MilRecipe.STEPS
    rates = [plan.rate(step) for step in range(whole)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.5)
    assert top == pytest.approx(whole / 10, abs=1)
    assert rates[0] < 0.01
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 1e-5
    assert {MilRecipe(lr=0.5).rate(step) for step in (0, 7, whole)} == {0.5}


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("smal", {}, r"there is no recipe 'smal' \(did you mean small\?\); known: "),
        ("faithful", {"epochs": 0}, "--epochs 0: input should be greater than or equal to 1"),
        ("faithful", {"lr": float("nan")}, "--lr nan: input should be"),
        ("faithful", {"batch": 0}, "--batch 0: input should be"),
        ("faithful", {"pairing": "some"}, "--pairing some: input should be 'all' or 'one-to-one'"),
        ("faithful", {"smooth_s": -1}, "--smooth-s -1: input should be"),
    ],
)
def test_a_wrong_difference_is_one_sentence(name: str, given: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        mil_recipe(name, **given)
    assert "\n" not in str(caught.value)
