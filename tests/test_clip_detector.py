from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import ModelBundle
from edge.clip_detector import ClipStream
from edge.clips import ClipMaker, raw_features, smoothed, windows
from edge.detector import open_detector, open_runtime
from edge.errors import BundleError
from edge.frames import Frame
from edge.observer import Stopwatch
from edge.pipeline import Detector
from edge.preprocess import InputSpec
from edge.runtimes import OnnxRuntime, Tensor
from tests.clips import FOLDER, SMALL, calibrated, clip_bundle, clip_spec, extractor_spec, pictures, stream


def detector(bundle: ModelBundle) -> Detector:
    return open_detector(bundle, open_runtime(bundle, "fp32"))


def scores(bundle: ModelBundle, frames: Sequence[Frame]) -> list[float]:
    flying = detector(bundle)
    return [flying.inspect(frame).score for frame in frames]


def counted(bundle: ModelBundle) -> tuple[ClipStream, list[tuple[int, ...]]]:
    """A stream, and the shape of everything that its extractor is asked."""
    asked: list[tuple[int, ...]] = []
    runtime = open_runtime(bundle, "fp32")

    class Counting:
        input_shape = runtime.input_shape

        def __call__(self, tensor: Tensor) -> Tensor:
            asked.append(tensor.shape)
            return runtime(tensor)

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None: ...

    watched = ClipStream(bundle, Counting())
    asked.clear()  # it was asked once whether it fits
    return watched, asked


def watch_all(watched: ClipStream, frames: Sequence[Frame]) -> list[float | None]:
    return [watched.observe(frame, Stopwatch()) for frame in frames]


@pytest.mark.parametrize("sees", ["frame", "clip"])
def test_the_score_is_the_median_until_a_clip_is_complete_and_held_between_clips(
    tmp_path: Path, sees: str
) -> None:
    spec = clip_spec(extractor_spec("frame" if sees == "frame" else "clip"))
    found = scores(calibrated(clip_bundle(tmp_path / "b", spec), median=-7.0), stream(pictures("." * 12)))
    assert found[:3] == [-7.0] * 3
    assert -1 < found[3] < 1
    assert [found[n] == found[n + 1] for n in range(3, 11)] == [True, False] * 4


@pytest.mark.parametrize("sees", ["frame", "clip"])
@pytest.mark.parametrize("changes", [{}, {"average": 2, "smooth_s": 1.5}, {"normalise": "none"}])
def test_a_stream_is_scored_as_training_makes_and_sees_its_clips(
    tmp_path: Path, sees: str, changes: dict[str, object]
) -> None:
    spec = clip_spec(extractor_spec("frame" if sees == "frame" else "clip", level=True), **changes)
    bundle = clip_bundle(tmp_path / "b", spec)
    shown = pictures("...XX...X..X.......XXXX")
    with open_runtime(bundle, "fp32") as runtime, OnnxRuntime(bundle.read(spec.head), "head") as head:
        raw = np.stack(list(raw_features(shown, ClipMaker(spec.extractor, SMALL, runtime))))
        whole = smoothed([float(head(row[None])[0]) for row in windows(raw, spec)], spec)
        flown = watch_all(ClipStream(bundle, runtime), stream(shown))[3::2]
    assert np.allclose(whole, np.array(flown, float), atol=1e-5)


def test_something_red_raises_the_score_and_its_end_lowers_it(tmp_path: Path) -> None:
    found = scores(calibrated(clip_bundle(tmp_path / "b")), stream(pictures("." * 12 + "X" * 12 + "." * 12)))
    assert max(found[:12]) < 1 < 10 < found[23]
    assert found[-1] < 1


@pytest.mark.parametrize("faster", [2, 2.5, 7.3])
def test_of_a_faster_stream_only_pictures_at_the_models_own_rate_are_looked_at(
    tmp_path: Path, faster: float
) -> None:
    watched, asked = counted(clip_bundle(tmp_path / "b"))
    found = watch_all(watched, stream(pictures("." * round(20 * faster)), fps=4 * faster))
    assert len(asked) == 20
    assert sum(a != b for a, b in pairwise(found)) == 9  # clips in five seconds


def test_nothing_is_computed_twice(tmp_path: Path) -> None:
    watched, asked = counted(clip_bundle(tmp_path / "a"))
    watch_all(watched, stream(pictures("." * 13)))
    assert asked == [(1, 3, 32, 32)] * 13
    watched, asked = counted(clip_bundle(tmp_path / "b", clip_spec(extractor_spec("clip"))))
    watch_all(watched, stream(pictures("." * 13)))
    assert asked == [(1, 3, 4, 32, 32)] * 5


def test_pictures_between_two_clips_are_not_looked_at(tmp_path: Path) -> None:
    watched, asked = counted(clip_bundle(tmp_path / "b", clip_spec(extractor_spec(stride=10))))
    found = watch_all(watched, stream(pictures("." * 34)))
    assert len(asked) == 16
    assert sum(a != b for a, b in pairwise(found)) == 4


def test_a_gap_begins_anew_and_a_missed_picture_does_not(tmp_path: Path) -> None:
    shown = stream(pictures("." * 40))
    watched, asked = counted(clip_bundle(tmp_path / "b"))
    with_gap = watch_all(watched, [*shown[:12], *shown[20:]])
    assert None not in with_gap[3:12]
    assert with_gap[12:15] == [None] * 3
    assert with_gap[15] is not None
    watched, asked = counted(clip_bundle(tmp_path / "c"))
    with_hole = watch_all(watched, [*shown[:12], *shown[13:]])
    assert None not in with_hole[3:]
    assert len(asked) == 39
    changes = [n for n in range(3, 39) if with_hole[n] != with_hole[n - 1]]
    assert changes == [3, 5, 7, 9, 11, *range(12, 39, 2)]  # the clips keep their times


def test_time_that_goes_back_begins_anew(tmp_path: Path) -> None:
    shown = stream(pictures("." * 12), start_s=100.0)
    watched, _ = counted(clip_bundle(tmp_path / "b"))
    assert watch_all(watched, shown)[-1] is not None
    assert watch_all(watched, stream(pictures("." * 3))) == [None] * 3


def test_a_flight_after_a_gap_knows_nothing_of_what_was_before(tmp_path: Path) -> None:
    bundle = clip_bundle(tmp_path / "b", clip_spec(smooth_s=5.0))
    watched, _ = counted(bundle)
    watch_all(watched, stream(pictures("X" * 20)))
    after = watch_all(watched, stream(pictures("." * 8, seed=50), start_s=60.0))
    fresh, _ = counted(bundle)
    assert after == watch_all(fresh, stream(pictures("." * 8, seed=50)))


def test_a_stream_slower_than_the_model_keeps_its_time(tmp_path: Path) -> None:
    watched, asked = counted(clip_bundle(tmp_path / "b"))
    found = watch_all(watched, stream(pictures("." * 10), fps=2.0))
    assert len(asked) == 10
    assert None not in found[2:]


class Odd:
    """An extractor that answers with something else."""

    def __init__(self, answer: Tensor) -> None:
        self.answer = answer
        self.input_shape = (1, 3, 32, 32)

    def __call__(self, tensor: Tensor) -> Tensor:
        return self.answer

    def __enter__(self) -> Odd:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (np.zeros((1, 47), np.float32), "gives 1x47, its manifest says 1x48; export it again"),
        (np.zeros((1, 48, 1, 1), np.float32), "gives 1x48x1x1"),
        (np.zeros(48, np.float32), "gives 48,"),
        (np.full((1, 48), np.nan, np.float32), "gives NaN or infinity"),
    ],
)
def test_an_extractor_whose_features_do_not_fit_is_one_sentence(
    tmp_path: Path, answer: Tensor, sentence: str
) -> None:
    with pytest.raises(BundleError, match=sentence):
        ClipStream(clip_bundle(tmp_path / "b"), Odd(answer))


@pytest.mark.parametrize(
    ("spec", "head", "sentence"),
    [
        (clip_spec(history=3), "red.onnx", "takes 1x2x48, the manifest says 1x3x48"),
        (clip_spec(), "change.onnx", "takes 1x1x96, the manifest says 1x2x48"),
        (clip_spec(extractor_spec(pooling="mean-change", width=96)), "red.onnx", "says 1x2x96"),
        (clip_spec(extractor_spec(width=50)), "red.onnx", "gives 1x48, its manifest says 1x50"),
        (clip_spec(), "patches.onnx", "takes 1x3x32x32"),
    ],
)
def test_a_head_that_does_not_fit_is_one_sentence(
    tmp_path: Path, spec: object, head: str, sentence: str
) -> None:
    bundle = clip_bundle(tmp_path / "b", spec, head=head)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match=sentence), open_runtime(bundle, "fp32") as runtime:
        ClipStream(bundle, runtime)


def test_a_head_that_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    bundle = clip_bundle(tmp_path / "b", head="../make_clips.py")
    with pytest.raises(BundleError, match=r"head\.fp32\.onnx is not a model"):
        detector(calibrated(bundle))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"clip": None}, "does not say how its clips are made"),
        ({"kind": "frame"}, "holds a frame model"),
        ({"input": InputSpec(height=32, width=32, frames=2)}, "whole single pictures"),
        ({"input": InputSpec(height=32, width=32, tiling="auto")}, "whole single pictures"),
    ],
)
def test_a_manifest_that_is_not_of_clips_is_one_sentence(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    bundle = calibrated(clip_bundle(tmp_path / "b", **changes))  # type: ignore[arg-type]
    with pytest.raises(BundleError, match=sentence), OnnxRuntime(bundle.model("fp32"), "patches") as runtime:
        open_detector(bundle, runtime)


@pytest.mark.parametrize("sees", ["frame", "clip"])
def test_a_model_of_another_input_than_the_manifest_says_is_refused(tmp_path: Path, sees: str) -> None:
    frame = sees == "frame"
    spec = clip_spec(extractor_spec("frame" if frame else "clip"))
    bundle = clip_bundle(tmp_path / "b", spec, extractor="patches3d.onnx" if frame else "patches.onnx")
    with pytest.raises(BundleError, match=r"the fp32 model of .* takes 1x3x.*; export it again"):
        open_runtime(bundle, "fp32")


def test_an_uncalibrated_clip_bundle_does_not_fly(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="has no threshold yet"):
        detector(clip_bundle(tmp_path / "b"))


def test_the_files_of_these_tests_are_there() -> None:
    assert {path.name for path in FOLDER.glob("*.onnx")} >= {"patches.onnx", "patches3d.onnx", "red.onnx"}


def test_stages_are_timed_under_the_names_of_the_other_models(tmp_path: Path) -> None:
    flying = detector(calibrated(clip_bundle(tmp_path / "b")))
    laps = [set(flying.inspect(frame).stages_ns) for frame in stream(pictures("...."))]
    assert laps == [{"preprocess", "infer"}] * 3 + [{"preprocess", "infer", "score"}]


def test_an_extractor_other_than_the_heads_own_is_refused(tmp_path: Path) -> None:
    other = clip_spec(extractor_spec().model_copy(update={"sha256": "0" * 64}))
    bundle = clip_bundle(tmp_path / "b", other)
    with (
        pytest.raises(BundleError, match=r"\(0{12}\); export it again with that"),
        open_runtime(bundle, "fp32") as it,
    ):
        ClipStream(bundle, it)
