import math
from collections.abc import Mapping

from export.layers import Layer
from export.search import InFloat, Judge, cheapest_in_float

LAYERS = tuple(
    Layer(name, "Conv", cost) for name, cost in (("a", 10.0), ("b", 40.0), ("c", 30.0), ("d", 20.0))
)


def independent(errors: Mapping[str, float]) -> Judge:
    """Squared errors of all layers that are not in float add up."""
    return lambda left: math.hypot(*(error for name, error in errors.items() if name not in left))


def test_where_all_layers_together_pass_none_is_left_in_float() -> None:
    judge = independent(dict.fromkeys("abcd", 0.4))
    found = cheapest_in_float(LAYERS, judge, judge)
    assert found is not None
    assert (found.in_float, found.saved) == (frozenset(), 1.0)


def test_the_layer_that_drifts_most_for_what_it_saves_is_left_in_float() -> None:
    judge = independent({"a": 3.0, "b": 0.5, "c": 0.5, "d": 0.5})
    found = cheapest_in_float(LAYERS, judge, judge)
    assert found is not None
    assert (found.in_float, found.saved) == (frozenset("a"), 0.9)


def test_a_dear_layer_is_worth_more_error_than_a_cheap_one() -> None:
    judge = independent({"a": 0.8, "b": 0.8, "c": 2.0, "d": 2.0})
    found = cheapest_in_float(LAYERS, judge, judge)
    assert found is not None
    assert found.in_float == frozenset("acd")


def test_what_the_gate_does_not_confirm_is_put_back() -> None:
    """Errors that reinforce each other: the guess takes too much."""
    alone = independent(dict.fromkeys("abcd", 0.45))
    together: Judge = lambda left: 0.45 * (4 - len(left))  # noqa: E731
    found = cheapest_in_float(LAYERS, alone, together)
    assert found is not None
    assert found.in_float == frozenset("ad")


def test_what_the_glance_judged_too_hard_gets_another_look() -> None:
    harsh, kind = independent(dict.fromkeys("abcd", 0.9)), independent(dict.fromkeys("abcd", 0.6))
    found = cheapest_in_float(LAYERS, harsh, kind)
    assert found is not None
    assert found.in_float == frozenset("ad")


def test_where_no_layer_passes_nothing_is_found() -> None:
    judge = independent(dict.fromkeys("abcd", 5.0))
    assert cheapest_in_float(LAYERS, judge, judge) is None


def test_what_is_found_has_passed_the_gate_as_it_is() -> None:
    asked: list[tuple[InFloat, float]] = []
    errors = independent({"a": 0.9, "b": 0.3, "c": 0.7, "d": 0.1})

    def judge(left: InFloat) -> float:
        asked.append((left, errors(left)))
        return asked[-1][1]

    found = cheapest_in_float(LAYERS, errors, judge)
    assert found is not None
    assert dict(asked)[found.in_float] <= 1
