"""Limits that pass or fail, and ratios with an earlier bench."""

from __future__ import annotations

import pytest

from edge.bench_budget import check_paces, compare, differences, judge, parse_budget
from edge.errors import UsageError
from tests.benching import report, run


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        ("p99=40ms", True),
        ("p99=39.9ms", False),
        ("p50=10ms", True),
        ("max=49ms", False),
        ("infer.p95=3ms", True),
        ("infer.p95=2.9ms", False),
        ("cpu=5%", True),
        ("cpu=4.9%", False),
        ("resident=130MB", True),
        ("resident=129MB", False),
        ("skipped=0", True),
    ],
)
def test_a_limit_is_kept_up_to_its_very_value(budget: str, kept: bool) -> None:
    assert [verdict.kept for verdict in judge(report(), parse_budget(budget))] == [kept]


def test_each_limit_is_told_with_what_was_found() -> None:
    verdicts = judge(report(), parse_budget("p99=50ms, cpu=2%"))
    assert [str(verdict) for verdict in verdicts] == [
        "budget kept: alert.p99 40ms of 50ms, int8-cpu, 2 fps",
        "budget OVER: cpu 5% of 2%, int8-cpu, 2 fps",
    ]


def test_only_what_would_fly_is_held_to_the_budget() -> None:
    slow = run("fp32", scale=1000.0)
    assert all(verdict.kept for verdict in judge(report(run(), slow), parse_budget("p99=50ms")))
    assert not all(verdict.kept for verdict in judge(report(slow, run()), parse_budget("p99=50ms")))


def test_latency_is_judged_at_every_pace_and_the_processor_only_where_it_rests() -> None:
    both = report(run(), run(pace="max", cpu_s=60.0, scale=20.0))
    verdicts = judge(both, parse_budget("cpu=5%,p99=50ms"))
    assert [(verdict.limit.figure, verdict.kept) for verdict in verdicts] == [
        ("cpu", True),
        ("p99", True),
        ("p99", False),
    ]


def test_a_limit_on_the_processor_needs_a_pace() -> None:
    limits = parse_budget("cpu=5%")
    check_paces(limits, ["2", "max"])
    with pytest.raises(UsageError, match="give --fps 2"):
        check_paces(limits, ["max"])


@pytest.mark.parametrize(
    "budget",
    [
        "",
        "p99",
        "p99=50",
        "p98=50ms",
        "p99=50s",
        "cpu=5",
        "cpu=5ms",
        "infer.cpu=5%",
        "p99=-1ms",
        "p99=50ms,",
        "skipped=1%",
    ],
)
def test_a_budget_that_means_nothing_is_refused_in_one_sentence(budget: str) -> None:
    with pytest.raises(UsageError, match="means nothing"):
        parse_budget(budget)


def test_a_stage_that_was_not_measured_is_no_pass() -> None:
    with pytest.raises(UsageError, match=r"publish.p99: there is no such stage, only infer, alert"):
        judge(report(), parse_budget("publish.p99=5ms"))


def test_the_ratio_is_now_divided_by_then_for_the_same_model_at_the_same_pace() -> None:
    now = report(run(scale=10.0), run("fp32", scale=40.0, cpu_s=6.0))
    then = report(run("fp32", scale=20.0), run(pace="max", scale=1.0))
    ratios = {one.what: one.ratio for one in compare(now, then)}
    assert {one.run for one in compare(now, then)} == {"fp32, 2 fps"}
    assert ratios["alert p50"] == ratios["infer p99"] == ratios["cpu s/frame"] == pytest.approx(2.0)
    assert ratios["resident MB"] == 1.0


def test_benches_with_nothing_in_common_are_not_compared() -> None:
    with pytest.raises(UsageError, match="the earlier bench measured fp32, 2 fps"):
        compare(report(run("int8-cpu")), report(run("fp32")))


def test_conditions_that_differ_are_named() -> None:
    here, there = report(processor="A", cores="2", load="1"), report(processor="B", cores="2", load="9")
    assert differences(here, there) == ("processor: A, then B",)
