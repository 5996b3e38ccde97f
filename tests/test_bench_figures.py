"""The figures of a bench: quantiles, what is written and read again."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edge.bench_figures import Board, Quantiles, Times, read_report, write_text
from edge.bench_show import counts, edges, show, svg
from edge.errors import UsageError
from edge.jetson import Reading
from tests.benching import report, run


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_quantiles_are_in_order_and_end_at_the_largest(values: list[float]) -> None:
    found = Quantiles.of(values)
    assert found.p50 <= found.p90 <= found.p95 <= found.p99 <= found.max == max(values)
    assert found.count == len(values)


def test_a_frame_is_the_sum_of_what_is_done_to_every_frame() -> None:
    times = Times()
    times.add({"decode": 1_000_000, "infer": 2_000_000, "snapshot": 50_000_000, "alert": 9_000_000})
    times.add({"decode": 3_000_000, "infer": 4_000_000, "snapshot": 50_000_000, "alert": 8_000_000})
    assert times.frames() == [3.0, 7.0]
    assert list(times.quantiles()) == ["decode", "infer", "snapshot", "frame", "alert"]
    assert times.percentiles()["frame"]["max"] == 7.0
    times.add({"decode": 1_000_000, "recall": 20_000_000, "infer": 2_000_000})
    assert times.frames()[-1] == 23.0


def test_the_board_is_summed_up_over_the_run() -> None:
    board = Board.of([Reading(rails_mw={"VDD_IN": 4000.0}), Reading(rails_mw={"VDD_IN": 6000.0}), Reading()])
    assert board.rails_mw["VDD_IN"].model_dump() == {"least": 4000.0, "mean": 5000.0, "most": 6000.0}
    assert board.clocks_mhz == {}


def test_cpu_is_told_per_minute_and_as_part_of_one_core() -> None:
    assert (run().cpu_s_per_minute, run().cpu_percent) == (3.0, 5.0)


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, written = tmp_path / "a.json", report(run(), run("fp32", pace="max", gpu_mb=12.0), machine="here")
    write_text(path, written.model_dump_json())
    assert read_report(path) == written


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"milliseconds": {}}', '{"format": 2}', "\x00"])
def test_what_is_no_report_is_refused_in_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="not the JSON of a bench of this version") as refusal:
        read_report(path)
    assert "\n" not in str(refusal.value)


def test_a_report_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_report(tmp_path / "none.json")
    with pytest.raises(UsageError, match="cannot be written"):
        write_text(tmp_path / "no" / "a.json", "")


def test_every_alert_falls_into_one_bin() -> None:
    bounds = edges([run(), run(scale=3.0)])
    assert sum(counts(run().alerts_ms, bounds)) == 4
    assert counts([10.0, 50.0, 50.0], [10.0, 20.0, 50.0]) == [1, 2]


def test_alerts_that_all_take_the_same_are_drawn(tmp_path: Path) -> None:
    same = report(run(alerts_ms=(7.0, 7.0)))
    assert sum(counts(same.runs[0].alerts_ms, edges(same.runs))) == 2
    assert "nan" not in svg(same)


def test_a_person_sees_stages_costs_distribution_and_what_was_left_out() -> None:
    console = Console(record=True, width=120, file=StringIO())
    board = Board.of([Reading(rails_mw={"VDD_IN": 4400.0})])
    seen = report(run(board=board), run(pace="max"), nvpmodel="2 (15W)")
    show(seen.model_copy(update={"left_out": {"publish": "no broker"}}), console)
    told = console.export_text()
    for word in ("capture to alert", "s/min", "share of the frames", "VDD_IN 4400 (4400-4400)"):
        assert word in told
    assert "left out: publish (no broker)" in told
    assert "nvpmodel: 2 (15W)" in told


def test_the_picture_has_a_line_for_every_run_and_no_foreign_markup() -> None:
    drawn = svg(report(run("<b>"), run("fp32")))
    assert drawn.count('fill="none"') == 2
    assert "&lt;b&gt;, 2 fps" in drawn
    assert "<b>" not in drawn
