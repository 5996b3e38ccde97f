from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Calibration, ModelBundle
from edge.events import Box
from edge.frames import Frame
from edge.incidents import Incidents
from edge.pipeline import Finding
from edge.thresholds import threshold_for
from edge.together import LEVELS, Share, Together, Voice, half_of
from tests.builders import bundle_at
from tests.clips import calibrated, clip_bundle, pictures, stream

BOX = Box(x=1, y=2, width=3, height=4, peak=1.0, area=12)


@dataclass
class Scripted:
    """A detector that answers by the stream's time, and remembers when it was asked."""

    answer: Callable[[float], float]
    name: str = "infer"
    judged: float = 1.0
    asked: list[float] = field(default_factory=list)

    def inspect(self, frame: Frame) -> Finding:
        self.asked.append(frame.stream_s)
        score = self.answer(frame.stream_s)
        heat = np.full((2, 2), frame.stream_s, np.float32)
        return Finding(score, heat, (BOX,) if score > 4 else (), {self.name: 1}, judged=self.judged)


def calibration_with(maxima: Sequence[float], tmp_path: Path, rate: float = 6.0) -> Calibration:
    level = threshold_for(maxima, rate, 10.0).value
    bundle = calibrated(
        clip_bundle(tmp_path / "c"),
        level,
        float(np.median(maxima)),
        block_maxima=tuple(maxima),
        false_alarms_per_hour=rate,
    )
    return bundle.calibration()


def voices(tmp_path: Path, places: Scripted, clips: Scripted, persistence: int = 1) -> tuple[Voice, Voice]:
    """Both with the median 0; their thresholds for half of the rate are a little over 1."""
    still = calibrated(bundle_at(tmp_path / "still"), fps=2.0)
    scoring = still.manifest.scoring.model_copy(update={"persistence": persistence})
    still = ModelBundle(still.folder, still.manifest.model_copy(update={"scoring": scoring}), still.digest)
    return Voice(still, places), Voice(calibrated(clip_bundle(tmp_path / "clip")), clips)


def quiet(_: float) -> float:
    return 0.0


def frames(seconds: float, fps: float = 8.0) -> list[Frame]:
    return stream(pictures("." * round(seconds * fps)), fps=fps)


def test_each_is_held_to_half_of_the_false_alarms(tmp_path: Path) -> None:
    maxima = [float(value) for value in np.random.default_rng(0).normal(size=2000)]
    found = calibration_with(maxima, tmp_path)
    share = half_of(found)
    assert share.refused == ""
    assert share.threshold == threshold_for(maxima, 3.0, 10.0).value > found.threshold
    over = (np.array(maxima) >= share.threshold).mean() * 360
    assert 1.5 < over < 4.5  # in an hour of blocks


def test_where_the_footage_supports_no_half_the_whole_rate_stays_and_is_said(tmp_path: Path) -> None:
    maxima = [float(value) for value in np.random.default_rng(0).normal(size=15)]
    found = calibration_with(maxima, tmp_path, rate=6.0)
    share = half_of(found)
    assert share.threshold == found.threshold
    assert "support no fewer than" in share.refused


def test_on_the_scale_0_is_ordinary_and_1_the_threshold() -> None:
    share = Share(median=-3.0, threshold=5.0)
    assert [share.on_scale(score) for score in (-3.0, 5.0, 13.0, -11.0)] == [0, 1, 2, -1]
    assert math.isfinite(Share(2.0, 2.0).on_scale(2.5))


def test_each_looks_at_its_own_rate(tmp_path: Path) -> None:
    places, clips = Scripted(quiet), Scripted(quiet)
    both = Together(*voices(tmp_path, places, clips), fps=2.0)
    for frame in frames(5):
        both.inspect(frame)
    assert places.asked == [n / 2 for n in range(10)]
    assert clips.asked == [n / 8 for n in range(40)]


def test_the_larger_counts_and_says_whose_it_is(tmp_path: Path) -> None:
    places = Scripted(lambda s: 5.0 if 1 <= s < 2 else 0.0)
    clips = Scripted(lambda s: 9.0 if 3 <= s < 4 else 0.1)
    both = Together(*voices(tmp_path, places, clips), fps=2.0)
    found = {frame.stream_s: both.inspect(frame) for frame in frames(5)}
    assert {s: f.raised_by for s, f in found.items() if f.score >= 1} == {
        **{1 + n / 8: "reconstruction" for n in range(8)},
        **{3 + n / 8: "clip" for n in range(8)},
    }


def test_a_clip_that_raises_shows_the_places_of_the_last_look(tmp_path: Path) -> None:
    places = Scripted(lambda s: 5.0 if s == 1.5 else 0.0)
    clips = Scripted(lambda s: 9.0 if s > 1.6 else 0.0)
    both = Together(*voices(tmp_path, places, clips, persistence=2), fps=2.0)
    found = {frame.stream_s: both.inspect(frame) for frame in frames(3)}
    raised = found[1.625]
    assert raised.raised_by == "clip"
    assert raised.boxes == (BOX,)
    assert raised.heat is not None
    assert raised.heat.max() == 1.5
    assert found[2.0].boxes == ()


def test_what_could_not_be_judged_is_what_the_one_that_knows_places_could_not(tmp_path: Path) -> None:
    places, clips = Scripted(quiet, judged=0.3), Scripted(quiet)
    together = Together(*voices(tmp_path, places, clips), fps=2.0)
    assert [together.inspect(one).judged for one in frames(1)] == [0.3] * 8


def test_a_single_strange_look_raises_nothing_where_two_must_agree(tmp_path: Path) -> None:
    places = Scripted(lambda s: 9.0 if s in (1.0, 3.0, 3.5) else 0.0)
    both = Together(*voices(tmp_path, places, Scripted(quiet), persistence=2), fps=2.0)
    scores = {frame.stream_s: both.inspect(frame).score for frame in frames(5)}
    assert max(score for s, score in scores.items() if s < 3.5) < 1
    assert scores[1.0] > 0.99  # it would keep an incident alive, as with one bundle alone
    assert scores[3.5] > 1


def test_what_one_alone_would_raise_together_they_raise_at_the_same_look(tmp_path: Path) -> None:
    """Incidents of the fused score begin where one of the two begins."""
    random = np.random.default_rng(1)
    noise = {n / 8: float(value) for n, value in enumerate(random.normal(0, 0.6, 400))}
    places, clips = Scripted(lambda s: noise[s]), Scripted(lambda s: noise[s] * 0.9)
    still, clip = voices(tmp_path, places, clips, persistence=2)
    both = Together(still, clip, fps=2.0)
    fused = Incidents(LEVELS, persistence=1, cool_down_s=0.5, update_s=1e9)
    begun = []
    for frame in frames(50):
        step = fused.observe(frame.stream_s, both.inspect(frame).score)
        if step is not None and step.phase.value == "begin":
            begun.append(frame.stream_s)
    alone = [s for s in noise if noise[s] * 0.9 >= clip.share.threshold]
    pairs = [n / 2 for n in range(1, 100)]
    alone += [s for s in pairs if min(noise[s], noise[s - 0.5]) >= still.share.threshold]
    assert begun
    assert set(begun) <= set(alone)
    assert min(alone) == begun[0]


def test_stages_of_both_are_told_apart(tmp_path: Path) -> None:
    both = Together(*voices(tmp_path, Scripted(quiet), Scripted(quiet)), fps=2.0)
    stages = [set(both.inspect(frame).stages_ns) for frame in frames(0.5)]
    assert stages == [{"infer", "clip.infer"}, *[{"clip.infer"}] * 3]


@pytest.mark.parametrize("fps", [1.0, 2.0, 3.0])
def test_a_source_faster_than_both_costs_neither_more(tmp_path: Path, fps: float) -> None:
    places, clips = Scripted(quiet), Scripted(quiet)
    both = Together(*voices(tmp_path, places, clips), fps=fps)
    for frame in frames(6, fps=30.0):
        both.inspect(frame)
    assert len(places.asked) == 6 * fps
