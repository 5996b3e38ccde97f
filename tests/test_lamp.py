"""A lamp is switched off over real clips in which nothing happens: no alarm may come of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge import clip_detector
from edge.bundle import Manifest, ModelBundle, Scoring, write_bundle
from edge.clip_detector import ClipStream
from edge.frames import Picture
from edge.observer import Stopwatch
from edge.recordings import open_recording, sampled
from edge.runtimes import OnnxRuntime
from export.extractors import open_extractor
from export.heads import head_onnx
from export.held_out import shrunk
from tests.builders import NOON
from tests.clips import stream
from tests.conftest import footage as named_footage
from train.bag_files import Entry, load, split_up
from train.features import Extractor, extract_all, plan
from train.mil_fit import BagSet, fit_mil
from train.mil_recipes import mil_recipe

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(900)]

TRAINED, CALIBRATED, LIT = 40, 16, 8  # clips: of each class, and normal ones of sources never trained on
LAMPS = {"off": (1.0, 0.35), "on": (0.35, 1.0), "nearly dark": (1.0, 0.15)}


@pytest.fixture(scope="module")
def footage() -> Path:
    folder = named_footage()
    assert folder is not None, "a test that asks for it must be marked `data`"
    return folder


@pytest.fixture(scope="module")
def extractor(footage: Path) -> Extractor:
    return open_extractor(footage / "weights" / "mobilenet_v2_features.onnx")


@pytest.fixture(scope="module")
def held_out(footage: Path) -> list[Path]:
    """Normal clips of some sources, which are then not trained on."""
    normal = sorted((footage / "fight_surv" / "noFight").glob("*.mp4"))
    sources = _sources(footage)
    kept = sorted({sources.get(path.stem, path.stem) for path in normal})[::2]
    return [path for path in normal if sources.get(path.stem, path.stem) in kept][: CALIBRATED + LIT]


@cache
def _sources(footage: Path) -> dict[str, str]:
    """Clip -> the video that it was cut from."""
    found, source = {}, ""
    for line in (footage / "fight_surv" / "videos.txt").read_text().splitlines():
        named = re.match(r"(?:no)?fi\d+", line)
        if named:
            found[named[0]] = source
        elif line.strip():
            source = line.strip()
    return found


@pytest.fixture(scope="module")
def bundle(
    footage: Path, extractor: Extractor, held_out: Sequence[Path], tmp_path_factory: pytest.TempPathFactory
) -> ModelBundle:
    """A head trained in a moment on fights and quiet clips of other sources."""
    folder, sources = tmp_path_factory.mktemp("lamp"), _sources(footage)
    strange = {sources.get(path.stem, path.stem) for path in held_out}
    entries = []
    for kind, anomalous in (("noFight", False), ("fight", True)):
        every = sorted((footage / "fight_surv" / kind).glob("*.mp4"))
        ours = [path for path in every if sources.get(path.stem, path.stem) not in strange][:TRAINED]
        jobs, _ = plan(ours, folder / kind)
        assert {one.state for one in extract_all(jobs, extractor)} <= {"made", "failed"}
        entries += [
            Entry(job.out, anomalous, sources.get(job.out.stem, job.out.stem))
            for job in jobs
            if job.out.exists()
        ]
    splits, parts = split_up(load(entries), extractor.spec, 0)
    recipe = mil_recipe("small", epochs=1, batch=10)
    bags = BagSet(splits, parts["train"], parts["validation"], extractor.spec)
    *_, trained = fit_mil(recipe, bags, torch.device("cpu"))
    manifest = Manifest(
        name="lamp", kind="clip", created=NOON, input=extractor.picture, scoring=Scoring(persistence=1),
        clip=trained.clip, variants={"fp32": "model.fp32.onnx"}, files={},
    )  # fmt: skip
    head = head_onnx(trained.head(), trained.clip)
    return write_bundle(folder / "b", manifest, {"model.fp32.onnx": extractor.model, "head.fp32.onnx": head})


@pytest.fixture(scope="module")
def streams(held_out: Sequence[Path], extractor: Extractor) -> list[list[Picture]]:
    """Each twice over, so that a clip is complete before and after the middle."""
    return [list(_pictures(path, extractor)) for path in held_out]


def _pictures(path: Path, extractor: Extractor) -> Iterator[Picture]:
    with open_recording(path) as recording:
        for frame in sampled(recording, extractor.spec.fps):
            yield shrunk(frame.image, extractor.picture)


def lit(pictures: Sequence[Picture], gain: float) -> list[Picture]:
    return [np.clip(one.astype(np.float32) * gain, 0, 255).astype(np.uint8) for one in pictures]


def peak(bundle: ModelBundle, pictures: Sequence[Picture]) -> float:
    with OnnxRuntime(bundle.model("fp32"), "extractor") as runtime:
        watched = ClipStream(bundle, runtime)
        frames = stream(pictures, fps=8.0)
        seen = [score for one in frames if (score := watched.observe(one, Stopwatch())) is not None]
    return max(seen)


class Blind:
    """No guard."""

    def stepped(self, image: Picture) -> bool:
        return False


def test_a_lamp_that_is_switched_raises_no_score_over_a_threshold_of_normal_clips(
    bundle: ModelBundle, streams: Sequence[Sequence[Picture]], monkeypatch: pytest.MonkeyPatch
) -> None:
    threshold = max(peak(bundle, [*one, *one]) for one in streams[:CALIBRATED])
    others = streams[CALIBRATED:]
    steady = np.array([peak(bundle, [*one, *one]) for one in others])

    def peaks() -> dict[str, NDArray[np.float64]]:
        return {
            name: np.array([peak(bundle, [*lit(one, before), *lit(one, after)]) for one in others])
            for name, (before, after) in LAMPS.items()
        }

    guarded = peaks()
    monkeypatch.setattr(clip_detector, "LightGuard", Blind)
    blind = peaks()
    for name, found in guarded.items():
        assert not ((found >= threshold) & (steady < threshold)).any(), f"the lamp went {name}"
        assert (found - steady).mean() < (blind[name] - steady).mean(), "the guard is of no use"
