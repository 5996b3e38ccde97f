"""Features on disk: what training learns from is what flight sees, and each recording is looked at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Manifest, ModelBundle, Scoring, load_bundle, write_bundle
from edge.clip_detector import ClipStream
from edge.clips import ClipSpec, smoothed, windows
from edge.errors import FootageError
from edge.frames import Frame
from edge.observer import Stopwatch
from edge.recordings import open_recording
from edge.runtimes import OnnxRuntime
from export.extractors import Asked, open_extractor
from tests.builders import NOON, folder_of
from tests.clips import FOLDER, pictures
from train.feature_files import FeatureError, read_features
from train.features import Extractor, Job, Outcome, ahead, do, extract_all, key_of, plan

FPS = 4.0


def extractor_of(sees: str = "frame", **asked: object) -> Extractor:
    name = "patches.onnx" if sees == "frame" else "patches3d.onnx"
    given = {"fps": FPS, "frames": 4, "stride": 2, "pixels": "0..1", **asked}
    if sees == "frame":
        given = {"pooling": "mean", **given}
    return open_extractor(FOLDER / name, asked=Asked(**given))  # type: ignore[arg-type]


def done(path: Path, out: Path, extractor: Extractor, folder_fps: float = FPS) -> Outcome:
    return do(Job(path, path.stem, out), extractor, folder_fps, lambda: None)


def flying(path: Path, extractor: Extractor) -> ModelBundle:
    """A bundle around the extractor and a head that says how much redder than green two features are."""
    spec = ClipSpec(extractor=extractor.spec, history=2, normalise="none", smooth_s=1.0)
    manifest = Manifest(
        name="red",
        kind="clip",
        created=NOON,
        input=extractor.picture,
        clip=spec,
        scoring=Scoring(persistence=1),
        variants={"fp32": "model.fp32.onnx"},
        files={},
    )
    files = {"model.fp32.onnx": extractor.model, spec.head: (FOLDER / "red.onnx").read_bytes()}
    write_bundle(path, manifest, files)
    return load_bundle(path)


def scores_in_flight(bundle: ModelBundle, frames: list[Frame]) -> list[float]:
    """Each new score, as it came."""
    clips = ClipStream(bundle, OnnxRuntime(bundle.read("model.fp32.onnx"), "extractor"))
    held = [clips.observe(frame, Stopwatch()) for frame in frames]
    known = [score for score in held if score is not None]
    return [score for n, score in enumerate(known) if n == 0 or score != known[n - 1]]


@pytest.mark.parametrize("sees", ["frame", "clip"])
@pytest.mark.parametrize(("folder_fps", "stride"), [(4.0, 2), (12.0, 2), (12.0, 5), (4.0, 4)])
def test_features_of_training_are_features_of_flight_to_the_bit(
    tmp_path: Path, sees: str, folder_fps: float, stride: int
) -> None:
    """The scores of a flight are those that the features on disk give, so the features are the same."""
    extractor = extractor_of(sees, stride=stride)
    flight = folder_of(tmp_path / "flight", pictures("...X..X.....X....X..X..X....X...", seed=3))
    assert done(flight, tmp_path / "flight.npz", extractor, folder_fps).state == "made"
    video = read_features(tmp_path / "flight.npz")
    bundle = flying(tmp_path / "bundle", extractor)
    assert bundle.manifest.clip is not None
    head = OnnxRuntime((FOLDER / "red.onnx").read_bytes(), "head")
    logits = [float(head(window[None])[0]) for window in windows(video.features, bundle.manifest.clip)]
    with open_recording(flight, folder_fps=folder_fps) as recording:
        seen = scores_in_flight(bundle, list(recording))
    assert len(video.features) >= 2
    assert seen == smoothed(logits, bundle.manifest.clip).tolist()


def test_each_clip_says_when_its_last_picture_was_taken(tmp_path: Path) -> None:
    flight = folder_of(tmp_path / "flight", pictures("." * 12))
    done(flight, tmp_path / "a.npz", extractor_of())
    ends = read_features(tmp_path / "a.npz").ends_s
    assert ends is not None
    assert ends.tolist() == [0.75, 1.25, 1.75, 2.25, 2.75]


def test_a_recording_is_looked_at_once(tmp_path: Path) -> None:
    looks: list[int] = []
    extractor = extractor_of()

    def counted(tensor: np.ndarray) -> np.ndarray:
        looks.append(1)
        return extractor.extract(tensor)

    flight, out = folder_of(tmp_path / "flight", pictures("." * 12)), tmp_path / "a.npz"
    watched = replace(extractor, extract=counted)
    assert (done(flight, out, watched).state, len(looks)) == ("made", 12)  # no picture twice
    assert (done(flight, out, watched).state, len(looks)) == ("kept", 12)


@pytest.mark.parametrize(
    "changed",
    [
        {"fps": 2.0},
        {"stride": 3},
        {"frames": 3},
        {"level": True},
        {"pooling": "mean-change"},
        {"pixels": "0..255"},
    ],
)
def test_whatever_changes_features_changes_their_key(tmp_path: Path, changed: dict[str, object]) -> None:
    flight = folder_of(tmp_path / "flight", pictures("." * 4))
    assert key_of(flight, extractor_of(), FPS) == key_of(flight, extractor_of(), FPS)
    assert key_of(flight, extractor_of(**changed), FPS) != key_of(flight, extractor_of(), FPS)


def test_the_rate_of_a_folder_and_its_content_change_its_key_and_its_place_does_not(tmp_path: Path) -> None:
    flight = folder_of(tmp_path / "flight", pictures("." * 4))
    key = key_of(flight, extractor_of(), FPS)
    assert key_of(flight, extractor_of(), 5.0) != key
    moved = flight.rename(tmp_path / "elsewhere")
    assert key_of(moved, extractor_of(), FPS) == key
    (moved / "00003.png").unlink()
    assert key_of(moved, extractor_of(), FPS) != key


def test_a_window_longer_than_the_recording_is_one_sentence_and_no_file(tmp_path: Path) -> None:
    flight = folder_of(tmp_path / "flight", pictures("..."))
    outcome = done(flight, tmp_path / "a.npz", extractor_of())
    assert outcome.state == "failed"
    assert outcome.says == (
        f"{flight} gives 3 pictures at 4 fps, and one clip needs 4: give fewer --frames or a higher --fps"
    )
    assert not (tmp_path / "a.npz").exists()


def test_what_cannot_be_kept_stops_everything(tmp_path: Path) -> None:
    flight = folder_of(tmp_path / "flight", pictures("." * 6))
    (tmp_path / "file").touch()
    with pytest.raises(FeatureError, match=r"file cannot be made: File exists|Not a directory"):
        done(flight, tmp_path / "file" / "a.npz", extractor_of())


def test_several_recordings_at_once_give_what_they_give_alone(tmp_path: Path) -> None:
    for number in range(6):
        folder_of(tmp_path / "in" / f"f{number}", pictures("..X." * 3, seed=20 * number))
    jobs, _ = plan([tmp_path / "in"], tmp_path / "many")
    outcomes = list(extract_all(jobs, extractor_of(), FPS, workers=4))
    assert {outcome.state for outcome in outcomes} == {"made"}
    for job in jobs:
        done(job.recording, tmp_path / "one.npz", extractor_of())
        assert np.array_equal(read_features(job.out).features, read_features(tmp_path / "one.npz").features)
        (tmp_path / "one.npz").unlink()


def test_whoever_closes_early_stops_the_work_and_leaves_no_thread(tmp_path: Path) -> None:
    for number in range(8):
        folder_of(tmp_path / "in" / f"f{number}", pictures("." * 20, seed=20 * number))
    jobs, _ = plan([tmp_path / "in"], tmp_path / "out")
    before = threading.active_count()
    running = extract_all(jobs, extractor_of(), FPS, workers=2)
    assert next(running).state == "made"
    running.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    whole = list((tmp_path / "out").rglob("*"))
    assert 1 <= len(whole) < 8
    assert all(len(read_features(path).features) == 9 for path in whole)


def test_out_mirrors_the_folders_below_what_recordings_share_or_below_the_base(tmp_path: Path) -> None:
    for name in ("a/one", "a/two", "b/one"):
        folder_of(tmp_path / "in" / name, pictures("."))
    out = tmp_path / "out"

    def names(*paths: Path, base: Path | None = None) -> list[str]:
        return [job.out.relative_to(out).as_posix() for job in plan(paths, out, base)[0]]

    home = tmp_path / "in"
    assert names(home) == ["a/one.npz", "a/two.npz", "b/one.npz"]
    assert names(home / "a") == ["one.npz", "two.npz"]
    assert names(home / "a", base=home) == ["a/one.npz", "a/two.npz"]
    assert names(home / "a", base=home / "b") == ["one.npz", "two.npz"]  # it lies elsewhere
    assert names(home / "a", home / "a" / "one") == ["one.npz", "two.npz"]


def test_two_videos_that_differ_by_their_suffix_alone_get_two_files(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.avi"):
        (tmp_path / name).touch()
    jobs, _ = plan([tmp_path], tmp_path / "out")
    assert sorted(job.out.name for job in jobs) == ["a.avi.npz", "a.mp4.npz"]


def test_paths_that_hold_nothing_are_told_and_the_others_done(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", pictures("."))
    jobs, says = plan([tmp_path / "none", tmp_path / "in"], tmp_path / "out")
    assert len(jobs) == 1
    assert len(says) == 1
    assert "none does not exist" in says[0]
    with pytest.raises(FootageError, match="does not exist"):
        plan([tmp_path / "none"], tmp_path / "out")


def test_what_is_made_ahead_comes_in_order_and_an_error_at_its_place() -> None:
    assert list(ahead(iter(range(20)), depth=3)) == list(range(20))

    def broken() -> Iterator[int]:
        yield from range(3)
        raise FootageError("cut short")

    items = ahead(broken(), depth=5)
    assert [next(items), next(items), next(items)] == [0, 1, 2]
    with pytest.raises(FootageError, match="cut short"):
        next(items)
