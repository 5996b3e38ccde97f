from __future__ import annotations

from pathlib import Path

import pytest

from edge.bundle import ModelBundle
from edge.detector import open_runtime
from edge.drift import compare
from edge.errors import BundleError, UsageError
from edge.footage_scores import causal_scores, flight_maxima
from tests.builders import bundle_at, flying_bundle, folder_of, patrol_pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    folder = tmp_path_factory.mktemp("scores")
    return flying_bundle(folder / "b", folder_of(folder / "normal", patrol_pictures("." * 140, seed=0)))


def test_scores_meet_the_threshold_where_the_intruder_stays(bundle: ModelBundle, tmp_path: Path) -> None:
    patrol = folder_of(tmp_path / "patrol", patrol_pictures("....X..XXX.."))
    with open_runtime(bundle, "fp32") as runtime:
        found = causal_scores(bundle, runtime, patrol, folder_fps=2)
    assert [seconds for seconds, _ in found] == [n / 2 for n in range(12)]
    threshold = bundle.calibration().threshold
    assert [n for n, (_, score) in enumerate(found) if score >= threshold] == [8, 9]  # two in a row


def test_every_flight_has_blocks_of_its_own_and_begins_anew(bundle: ModelBundle, tmp_path: Path) -> None:
    flights = [
        folder_of(tmp_path / name, patrol_pictures(plan))
        for name, plan in (("a", "." * 59 + "X"), ("b", "X" + "." * 30))
    ]
    seen: list[tuple[int, int]] = []
    maxima = flight_maxima(bundle, flights, 2, progress=lambda *done: seen.append(done))
    assert len(maxima) == 3 + 1 + 1  # the last 5 s are half a block, which counts
    assert max(maxima) < bundle.calibration().threshold  # X and X are not in a row
    assert seen == [(n, 91) for n in range(1, 92)]


def test_a_flight_like_the_calibration_has_not_drifted_and_a_strange_one_has(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    known = bundle.calibration()

    def recalibrate(name: str, plan: str) -> bool:
        flight = folder_of(tmp_path / name, patrol_pictures(plan, seed=7000))
        maxima = flight_maxima(bundle, [flight], 2)
        drift = compare(
            known.block_maxima, maxima, known.false_alarms_per_hour, known.block_s, known.threshold
        )
        return drift.recalibrate

    assert not recalibrate("same", "." * 120)
    assert recalibrate("other", ".XX" * 40)


def test_without_a_calibration_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="skerry calibrate"):
        flight_maxima(bundle_at(tmp_path / "b"), [tmp_path])


def test_a_flight_too_short_to_tell_says_how_much_is_needed(bundle: ModelBundle, tmp_path: Path) -> None:
    known = bundle.calibration()
    maxima = flight_maxima(bundle, [folder_of(tmp_path / "f", patrol_pictures("." * 30))], 2)
    with pytest.raises(UsageError, match=r"fills 1 blocks of 10 s; .* give 60 s or more"):
        compare(known.block_maxima, maxima, 20, known.block_s, known.threshold)
