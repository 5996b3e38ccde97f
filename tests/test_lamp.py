"""A lamp is switched off over real clips in which nothing happens: no alarm may come of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.fight_bags import sources
from benchmarks.lamps import CHANGES, STEADY, Unguarded, flown, peak, pictures, switched
from benchmarks.mil_scores import trained
from edge.bundle import ModelBundle
from edge.clip_detector import ClipStream
from edge.frames import Picture
from export.extractors import open_extractor
from tests.conftest import footage as named_footage
from train.bag_files import Entry, load
from train.features import Extractor, extract_all, plan
from train.mil_recipes import mil_recipe

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(900)]

TRAINED, CALIBRATED, LIT = 40, 16, 8  # clips: of each class, and normal ones of sources never trained on


@pytest.fixture(scope="module")
def fights() -> Path:
    folder = named_footage()
    assert folder is not None, "a test that asks for it must be marked `data`"
    return folder / "fight_surv"


@pytest.fixture(scope="module")
def known(fights: Path) -> dict[str, str]:
    """Clip -> the video that it was cut from."""
    return sources(fights / "videos.txt")


@pytest.fixture(scope="module")
def extractor(fights: Path) -> Extractor:
    return open_extractor(fights.parent / "weights" / "mobilenet_v2_features.onnx")


@pytest.fixture(scope="module")
def held_out(fights: Path, known: dict[str, str]) -> list[Path]:
    """Normal clips of some sources, which are then not trained on."""
    normal = sorted((fights / "noFight").glob("*.mp4"))
    kept = sorted({known[path.stem] for path in normal})[::2]
    return [path for path in normal if known[path.stem] in kept][: CALIBRATED + LIT]


@pytest.fixture(scope="module")
def bundle(
    fights: Path,
    known: dict[str, str],
    extractor: Extractor,
    held_out: Sequence[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> ModelBundle:
    """A head trained in a moment on fights and quiet clips of other sources."""
    folder, strange = tmp_path_factory.mktemp("lamp"), {known[path.stem] for path in held_out}
    entries = []
    for kind in ("noFight", "fight"):
        every = sorted((fights / kind).glob("*.mp4"))
        jobs, _ = plan([path for path in every if known[path.stem] not in strange][:TRAINED], folder / kind)
        assert {one.state for one in extract_all(jobs, extractor)} <= {"made", "failed"}
        entries += [Entry(job.out, kind == "fight", known[job.out.stem]) for job in jobs if job.out.exists()]
    recipe = mil_recipe("small", epochs=1, batch=10)
    learnt = trained(recipe, [one.bag for one in load(entries)], extractor.spec)
    return flown(learnt, extractor, folder / "b")


@pytest.fixture(scope="module")
def streams(held_out: Sequence[Path], extractor: Extractor) -> list[list[Picture]]:
    return [list(pictures(path, extractor)) for path in held_out]


def peaks(
    bundle: ModelBundle,
    shown: Sequence[Sequence[Picture]],
    gains: tuple[float, float],
    kind: type[ClipStream] = ClipStream,
) -> NDArray[np.float64]:
    return np.array([peak(bundle, switched(one, gains), kind) for one in shown])


def test_a_lamp_that_is_switched_raises_no_score_over_a_threshold_of_normal_clips(
    bundle: ModelBundle, streams: Sequence[Sequence[Picture]]
) -> None:
    threshold = peaks(bundle, streams[:CALIBRATED], STEADY).max()
    others = streams[CALIBRATED:]
    steady = peaks(bundle, others, STEADY)
    for name in ("lamp off (0.35)", "on again", "nearly dark (0.15)"):
        found = peaks(bundle, others, CHANGES[name])
        assert not ((found >= threshold) & (steady < threshold)).any(), name
        blind = peaks(bundle, others, CHANGES[name], Unguarded)
        assert (found - steady).mean() < (blind - steady).mean(), f"{name}: the guard is of no use"
