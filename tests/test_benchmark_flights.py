"""What benchmarks fly by hand keeps flight's own rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import calibration_check, stress
from benchmarks.weather import Clean
from edge.detector import open_runtime
from edge.incidents import Evidence
from edge.pipeline import Finding
from tests.builders import flying_bundle, folder_of, scene
from train.evaluation.truth import Video


@pytest.mark.parametrize("whole", [True, False])
def test_in_a_benchmark_too_only_a_frame_with_all_its_evidence_vetoes_the_next(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = flying_bundle(tmp_path / "b", folder_of(tmp_path / "normal", [scene(n) for n in range(140)]))
    footage = folder_of(tmp_path / "two", [scene(0), scene(1)])

    def scripted(*_: object) -> tuple[Callable[[object], Finding], Evidence]:
        findings = iter([Finding(0.0, whole=whole), Finding(1e9)])
        return lambda _: next(findings), Evidence(2)

    for module in (calibration_check, stress):
        monkeypatch.setattr(module, "fresh", scripted)
    with open_runtime(bundle, "fp32") as runtime:
        flight = calibration_check.fly(bundle, runtime, footage, 2.0)
        seen = stress.scored_in(
            bundle, runtime, Video("two", footage, (), folder_fps=2.0), Clean(np.random.default_rng())
        )
    assert flight.alarms == flight.over == (0 if whole else 1)
    assert seen.causal[1] == (0 if whole else 1e9)
