"""A bundle of an evidence model from calibration to boxes: pairs, tiles, latent density and motion."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Branch, ModelBundle, Scoring, load_bundle, write_bundle
from edge.calibrate import calibrate
from edge.detector import open_detector, open_runtime
from edge.errors import BundleError
from edge.frames import Picture
from edge.pipeline import Finding
from edge.runtimes import Tensor
from edge.survey import Plan, affordable_view
from edge.tiles import Tiling
from edge.yardsticks import Yardsticks
from tests.builders import TILE, bundle_at, evidence_bundle_at, flying_bundle, folder_of, frame, scene
from tests.test_observer import TILED, Recording

pytestmark = pytest.mark.slow

SIZE, HALF = (480, 640), (240, 320)
EVERY = (
    Branch(source="head", window=3),
    Branch(source="latent", window=9),
    Branch(source="motion", window=31),
)
SPOT = (520, 400, 28, 28)  # x, y, width, height: in the last of four tiles
CALM = scene(0)


def picture(seed: int, intruder: bool = False, shade: float = 0.0) -> Picture:
    """A calm gradient with sensor noise, larger than a tile; the intruder is a still, bright square."""
    random = np.random.default_rng(seed)
    found = np.linspace(60, 120, SIZE[0])[:, None, None] + shade + random.normal(0, 3, (*SIZE, 3))
    if intruder:
        x, y, width, height = SPOT
        found[y : y + height, x : x + width] = (40, 80, 250)
    return np.asarray(np.clip(found, 0, 255), np.uint8)


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 s at 2 fps."""
    return folder_of(tmp_path_factory.mktemp("evidence") / "normal", [picture(n) for n in range(72)])


def plan(*footage: Path, view: tuple[int, int] | None = SIZE) -> Plan:
    return Plan(footage, rate=60, folder_fps=2.0, block_s=5.0, view=view)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, normal: Path) -> ModelBundle:
    made = evidence_bundle_at(
        tmp_path_factory.mktemp("evidence") / "b", Scoring(branches=EVERY, memory_s=0.3)
    )
    return calibrate(made, plan(normal))


def flown(bundle: ModelBundle, pictures: list[Picture]) -> list[Finding]:
    with open_runtime(bundle, "fp32") as runtime:
        detector = open_detector(bundle, runtime)
        return [detector.inspect(frame(image, n)) for n, image in enumerate(pictures)]


def test_a_view_larger_than_a_tile_is_recorded_and_flown(bundle: ModelBundle) -> None:
    calibration = load_bundle(bundle.folder).calibration()
    assert calibration.view == SIZE
    assert len(Tiling(calibration.view, TILE).places) == 4
    (found,) = flown(bundle, [picture(900)])
    assert found.heat is not None
    assert found.heat.shape == (SIZE[0] // 4, SIZE[1] // 4)
    assert {"preprocess", "motion", "infer", "score", "localize"} == set(found.stages_ns)


def test_normal_frames_pass_and_a_still_intruder_is_found_where_it_lies(bundle: ModelBundle) -> None:
    plan = "......XXXX...."
    findings = flown(bundle, [picture(900 + n, letter == "X") for n, letter in enumerate(plan)])
    threshold = bundle.calibration().threshold
    assert max(min(a.score, b.score) for a, b in pairwise(findings[:6])) < threshold  # two in a row
    for found in findings[6:10]:
        assert found.score > 3 * threshold
        box = found.boxes[0]
        assert box.x <= 534 <= box.x + box.width
        assert box.y <= 414 <= box.y + box.height
        assert box.width * box.height < 110 * 110  # 9 cells of 8 pixels are averaged


def test_the_head_finds_it_alone_and_so_does_the_latent_density(tmp_path: Path, normal: Path) -> None:
    """It differs from its surroundings in grey and in colour: either branch has to see it by itself."""
    for branch in EVERY[:2]:
        source = branch.source
        made = evidence_bundle_at(tmp_path / source, Scoring(branches=(branch,), persistence=1))
        bundle = calibrate(made, plan(normal, view=HALF))
        calm, strange = flown(bundle, [picture(900), picture(901, intruder=True)])
        threshold = bundle.calibration().threshold
        assert calm.score < 1.5 * threshold < 3 * threshold < strange.score, source
        assert strange.boxes[0].x <= 534 <= strange.boxes[0].x + strange.boxes[0].width


def test_a_single_recording_is_scored_half_by_half(tmp_path: Path) -> None:
    """The light changes half way: to the density of the other half, all of a half is strange."""
    one = folder_of(tmp_path / "one", [picture(n, shade=25.0 * (n >= 36)) for n in range(72)])
    mixed = folder_of(tmp_path / "mixed", [picture(n, shade=25.0 * (n % 2)) for n in range(72)])
    latent = Scoring(branches=(Branch(source="latent", window=9),))

    def height(footage: Path) -> float:
        made = calibrate(evidence_bundle_at(tmp_path / f"b-{footage.name}", latent), plan(footage, view=HALF))
        data = made.read(made.calibration().statistics)
        return float(Yardsticks.from_bytes(data, 1).scales[0].high.max())

    assert height(one) > 3 * height(mixed)


def test_two_recordings_judge_each_other(tmp_path: Path, normal: Path) -> None:
    halves = [
        folder_of(tmp_path / name, [picture(seed + n) for n in range(36)])
        for name, seed in (("a", 0), ("b", 500))
    ]
    calibration = calibrate(evidence_bundle_at(tmp_path / "bundle"), plan(*halves, view=HALF)).calibration()
    assert (calibration.frames, len(calibration.block_maxima)) == (72, 8)


def test_a_calibration_without_its_latent_density_is_refused(bundle: ModelBundle, tmp_path: Path) -> None:
    name = bundle.calibration().statistics
    known = Yardsticks.from_bytes(bundle.read(name), 3)
    files = {"model.fp32.onnx": bundle.model("fp32"), name: Yardsticks(known.scales).to_bytes()}
    lacking = write_bundle(tmp_path / "b", bundle.manifest, files)
    with (
        open_runtime(lacking, "fp32") as runtime,
        pytest.raises(BundleError, match="lacks its latent density; calibrate it again"),
    ):
        open_detector(lacking, runtime)


def test_a_branch_may_lack_evidence_in_some_frames(tmp_path: Path) -> None:
    """Cuts from one scene to another, after which nobody can tell the camera's motion."""
    random = np.random.default_rng(0)
    scenes = [random.integers(0, 256, (*SIZE, 3), np.uint8) for _ in range(2)]
    pictures = [scenes[n // 9 % 2] for n in range(72)]
    made = evidence_bundle_at(tmp_path / "b")
    bundle = calibrate(made, plan(folder_of(tmp_path / "cuts", pictures), view=HALF))
    found = flown(bundle, pictures[:20])
    assert all(np.isfinite(one.score) for one in found)
    assert max(one.score for one in found) < 2 * bundle.calibration().threshold


def test_a_branch_that_never_had_evidence_accuses_nobody(tmp_path: Path) -> None:
    """A calibration in which no motion of the camera could ever be told says nothing of motion in flight."""
    random = np.random.default_rng(0)
    wild = [random.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(72)]
    motion = Scoring(branches=(Branch(source="error", window=5), Branch(source="motion", window=5)))
    bundle = calibrate(bundle_at(tmp_path / "b", motion), plan(folder_of(tmp_path / "wild", wild)))
    moving = [np.roll(CALM + np.uint8(5) * (n % 2), 9 * n, axis=1) for n in range(6)]
    assert max(found.score for found in flown(bundle, moving)) < bundle.calibration().threshold


class Slow(Recording):
    """Each tile takes so many seconds of a clock that this runtime moves by itself."""

    def __init__(self, seconds: float, pass_time: Callable[[float], None]) -> None:
        super().__init__()
        self._seconds, self._pass = seconds, pass_time

    def __call__(self, tensor: Tensor) -> Tensor:
        self._pass(self._seconds)
        return super().__call__(tensor)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(("seconds", "tiles"), [(0.001, 15), (0.03, 8), (0.1, 2), (0.25, 1), (9.0, 1)])
def test_a_slower_machine_looks_at_a_smaller_view(clock: list[float], seconds: float, tiles: int) -> None:
    def pass_time(taken: float) -> None:
        clock[0] += taken

    view = affordable_view(Slow(seconds, pass_time), TILED, (1080, 1920), 0.25)
    assert len(Tiling(view, TILE).places) <= tiles
    assert len(Tiling(view, TILE).places) * seconds <= 0.25 or tiles == 1
    assert (view == (1080, 1920)) == (seconds == 0.001)


def test_without_a_view_given_calibration_takes_what_the_time_allows(tmp_path: Path, normal: Path) -> None:
    view = calibrate(evidence_bundle_at(tmp_path / "b"), plan(normal, view=None)).calibration().view
    assert view[0] <= SIZE[0]
    assert view[1] / view[0] == pytest.approx(4 / 3, rel=0.02)


def test_a_thumbnail_s_view_is_the_size_of_its_input(tmp_path: Path) -> None:
    normal = folder_of(tmp_path / "n", [CALM if n % 2 else scene(n) for n in range(140)])
    assert flying_bundle(tmp_path / "b", normal).calibration().view == (124, 124)
