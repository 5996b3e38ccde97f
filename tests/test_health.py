from __future__ import annotations

from pathlib import Path

from edge.health import Vitals, quantile, temperatures


def zone(root: Path, number: int, kind: str, value: str) -> None:
    folder = root / f"thermal_zone{number}"
    folder.mkdir()
    (folder / "type").write_text(kind + "\n")
    (folder / "temp").write_text(value + "\n")


def test_quantiles_are_values_that_occurred() -> None:
    values = [float(n) for n in range(100)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.99)) == (50, 99, 7)


def test_draining_reports_the_interval_and_starts_a_new_one() -> None:
    vitals = Vitals()
    for n in range(10):
        vitals.scored(float(n), {"infer": (n + 1) * 1_000_000})
    scores, stages = vitals.drain()
    assert scores == (5.0, 9.0)
    assert (stages["infer"].p50, stages["infer"].p99) == (6.0, 10.0)
    assert vitals.drain() == (None, {})
    assert vitals.frames_scored == 10


def test_temperatures_are_read_by_zone_and_a_broken_zone_is_left_out(tmp_path: Path) -> None:
    zone(tmp_path, 0, "cpu-thermal", "48250")
    zone(tmp_path, 1, "gpu thermal!", "51000")
    zone(tmp_path, 2, "tj", "not a number")
    (tmp_path / "thermal_zone3").mkdir()
    assert temperatures(tmp_path) == {"cpu-thermal": 48.25, "gpu-thermal-": 51.0}


def test_a_machine_without_thermal_zones_reports_none(tmp_path: Path) -> None:
    assert temperatures(tmp_path) == {}
