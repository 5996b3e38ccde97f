"""A bundle that compares flights, from calibration to boxes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edge.bundle import Branch, Manifest, ModelBundle, Scoring, load_bundle, write_bundle
from edge.calibrate import calibrate
from edge.describe import describe
from edge.detector import open_detector, open_runtime
from edge.errors import BundleError, UsageError
from edge.survey import Plan
from tests.builders import evidence_bundle_at, folder_of, frame
from tests.route import SIZE, flight, strip, view

pytestmark = pytest.mark.slow

LAND = strip()
HEAD = Scoring(branches=(Branch(source="head", window=3),))


def of_route(path: Path) -> ModelBundle:
    made = evidence_bundle_at(path, HEAD)
    spec = made.manifest.input.model_copy(update={"beside": "route"})
    return write_bundle(path, made.manifest.model_copy(update={"input": spec}), {})


def plan(*footage: Path) -> Plan:
    return Plan(footage, rate=90, folder_fps=2.0, block_s=5.0, view=SIZE)


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("route")
    return [folder_of(home / f"flight{seed}", list(flight(LAND, seed))) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, flights: list[Path]) -> ModelBundle:
    return calibrate(of_route(tmp_path_factory.mktemp("route") / "b"), plan(*flights))


def test_the_route_is_in_the_bundle_and_under_its_digest(bundle: ModelBundle) -> None:
    name = load_bundle(bundle.folder).calibration().route
    assert name is not None
    assert name in bundle.manifest.files
    (bundle.folder / name).write_bytes(b"other" + (kept := (bundle.folder / name).read_bytes()))
    with pytest.raises(BundleError, match="was changed"):
        load_bundle(bundle.folder)
    (bundle.folder / name).write_bytes(kept)


def test_it_flies_and_recalls_on_every_frame(bundle: ModelBundle) -> None:
    with open_runtime(bundle, "fp32") as runtime:
        detector = open_detector(bundle, runtime)
        found = [detector.inspect(frame(view(LAND, 300 + 40 * n), n)) for n in range(4)]
    assert all("recall" in finding.stages_ns for finding in found)
    assert all(np.isfinite(finding.score) for finding in found)


def test_one_flight_is_no_route(tmp_path: Path, flights: list[Path]) -> None:
    with pytest.raises(UsageError, match="two recordings of it or more"):
        calibrate(of_route(tmp_path / "b"), plan(flights[0]))


def test_off_its_route_it_says_that_it_could_not_judge(bundle: ModelBundle) -> None:
    with open_runtime(bundle, "fp32") as runtime:
        detector = open_detector(bundle, runtime)
        on = detector.inspect(frame(view(LAND, 500), 0))
        off = detector.inspect(frame(view(strip(seed=9), 500), 1))
    assert on.judged > 0.7
    assert off.judged == 0


def test_flights_of_different_routes_are_refused(tmp_path: Path) -> None:
    apart = [folder_of(tmp_path / f"f{seed}", list(flight(strip(seed), seed))) for seed in (1, 2)]
    with pytest.raises(UsageError, match="flights of one route"):
        calibrate(of_route(tmp_path / "b"), plan(*apart))


def test_a_calibration_without_a_route_is_refused(tmp_path: Path, bundle: ModelBundle) -> None:
    copy = of_route(tmp_path / "b")
    statistics = bundle.calibration().statistics
    assert statistics is not None
    lacking: Manifest = copy.manifest.model_copy(
        update={"calibration": bundle.calibration().model_copy(update={"route": None})}
    )
    broken = write_bundle(tmp_path / "b", lacking, {statistics: bundle.statistics()})
    with open_runtime(broken, "fp32") as runtime, pytest.raises(BundleError, match="lacks its route"):
        open_detector(broken, runtime)


def test_a_new_calibration_takes_the_old_route_away(tmp_path: Path, flights: list[Path]) -> None:
    first = calibrate(of_route(tmp_path / "b"), plan(*flights[:2]))
    second = calibrate(first, plan(*flights[1:]))
    routes = {path.name for path in second.folder.glob("route-*.npz")}
    assert routes == {second.calibration().route}


def test_inspect_says_that_it_compares_flights(bundle: ModelBundle) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    describe(bundle, console)
    text = console.export_text()
    assert "the second of the same place on another flight" in text
    assert "MB of places that normal flights saw; " in text
    assert "% of each was seen by another one" in text
    assert (bundle.calibration().judged or 0) > 0.7
