from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import FootageError, UsageError
from edge.preprocess import InputSpec, to_tensor
from train.checkpoint import Checkpoint
from train.fit import batches, fit
from train.footage import (
    Clip,
    Footage,
    Sampling,
    clip_names,
    content_digest,
    read_footage,
    read_split,
    split,
    split_blocks,
    to_pixels,
)
from train.recipes import Recipe

SPEC = InputSpec()
EVERY = Sampling(fps=10, folder_fps=10)


def clip(name: str, frames: int) -> Clip:
    return Clip(name=name, path=f"/{name}", sha256=name, start=0, stop=frames)


@pytest.fixture
def film(tmp_path: Path) -> Callable[[str, int], Path]:
    """Write a folder of so many small pictures, all different."""

    def write(name: str, frames: int) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        chance = np.random.default_rng(sum(name.encode()))
        for number in range(frames):
            picture = chance.integers(0, 256, (31, 40, 3), np.uint8)
            assert cv2.imwrite(str(folder / f"{number:03}.png"), picture)
        return folder

    return write


def read(*paths: Path, sampling: Sampling = EVERY, seed: int = 0) -> Footage:
    return read_footage(paths, sampling, seed, SPEC)


lengths = st.lists(st.integers(0, 400), min_size=1, max_size=12).filter(lambda counts: sum(counts) >= 30)


@given(lengths, st.integers(0, 1000))
def test_no_frame_is_in_two_splits_and_none_of_them_is_empty(counts: list[int], seed: int) -> None:
    clips = [clip(f"c{number}", frames) for number, frames in enumerate(counts)]
    splits = split(clips, EVERY, seed)
    parts = [splits.train, splits.validation, splits.test]
    assert all(sum(one.frames for one in part) > 0 for part in parts)
    used = [(one.name, index) for part in parts for one in part for index in range(one.start, one.stop)]
    assert len(used) == len(set(used))
    if splits.rule == "clips":
        assert len(used) == sum(counts)
        names = [one.name for part in parts for one in part]
        assert len(names) == len(set(names))


def test_with_many_clips_a_tenth_of_the_frames_validates_and_a_tenth_tests() -> None:
    splits = split([clip(f"c{number}", 100 + number) for number in range(20)], EVERY, seed=3)
    assert splits.rule == "clips"
    total = sum(splits.frames(name) for name in ("train", "validation", "test"))
    assert abs(splits.frames("validation") / total - 0.1) < 0.03
    assert abs(splits.frames("test") / total - 0.1) < 0.03


def test_the_longest_clip_trains_whatever_the_seed() -> None:
    clips = [clip("short", 20), clip("long", 300), clip("other", 25)]
    assert all(split(clips, EVERY, seed).train == (clips[1],) for seed in range(20))


def test_the_seed_decides_the_split() -> None:
    clips = [clip(f"c{number}", 50) for number in range(10)]
    assert split(clips, EVERY, 1) == split(clips, EVERY, 1)
    assert len({split(clips, EVERY, seed).test for seed in range(10)}) > 1


def test_one_clip_is_cut_in_time_with_gaps_of_five_seconds() -> None:
    splits = split([clip("flight", 1000)], Sampling(fps=2), seed=0)
    assert splits.rule == "blocks"
    (train,), (validation,), (test,) = splits.train, splits.validation, splits.test
    assert validation.start - train.stop == test.start - validation.stop == 10
    assert (validation.frames, test.frames, test.stop) == (100, 100, 1000)


def test_of_two_clips_one_trains_on_what_the_other_holds_out() -> None:
    train, validation, test = split_blocks([clip("there", 100), clip("again", 100)], fps=2)
    trained = {index for part in train for index in range(part.start, part.stop)}
    assert trained == set(range(100))
    assert {part.name for part in validation} == {part.name for part in test} == {"there", "again"}


def test_too_few_frames_say_how_many_there_are_and_how_many_are_needed() -> None:
    with pytest.raises(UsageError, match="29 frames at 2 fps are too few to train on, 30 are needed;"):
        split([clip("a", 9), clip("b", 10), clip("c", 10)], Sampling(), 0)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused_by_name(fps: float) -> None:
    with pytest.raises(UsageError, match="--fps"):
        Sampling(fps=fps)


def test_bytes_in_memory_give_exactly_the_tensor_that_flies() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (241, 363, 3), np.uint8)
    pixels = to_pixels(picture, SPEC)[None]
    (learned,) = batches(pixels, 20, SPEC, torch.device("cpu"))
    assert pixels.dtype == np.uint8
    assert np.array_equal(learned.numpy(), to_tensor(picture, SPEC))


def test_a_folder_of_clips_is_split_by_clip(film: Callable[[str, int], Path], tmp_path: Path) -> None:
    for name in "abcd":
        film(f"flights/{name}", 15)
    footage = read(tmp_path / "flights")
    assert footage.splits.rule == "clips"
    assert footage.train.shape == (30, 3, 124, 124)
    assert footage.validation.shape == (15, 3, 124, 124)
    assert footage.splits.frames("test") == 15


def test_a_folder_is_sampled_at_the_rate_asked_for(film: Callable[[str, int], Path]) -> None:
    splits = read(film("flight", 200), sampling=Sampling(fps=2, folder_fps=10)).splits
    assert splits.test[0].stop == 40


def test_a_video_is_read_like_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "flight.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(60):
            picture = np.full((48, 64, 3), 4 * number, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        file.mux(stream.encode())
    footage = read(path)
    assert footage.splits.test[0].stop == 60
    assert footage.train[0].mean() < footage.train[-1].mean() < footage.validation.mean()


def test_the_digest_follows_content_order_and_rate_but_not_the_place(
    film: Callable[[str, int], Path], tmp_path: Path
) -> None:
    folder = film("flight", 40)
    before = read(folder).splits.data_sha256
    assert read(folder, sampling=Sampling(fps=10, folder_fps=12)).splits.data_sha256 != before
    assert read(folder, sampling=Sampling(fps=10.0, folder_fps=10.0)).splits.data_sha256 == before
    moved = folder.rename(tmp_path / "elsewhere")
    assert read(moved).splits.data_sha256 == before
    first, second = moved / "000.png", moved / "001.png"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert read(moved).splits.data_sha256 != before


def test_what_is_no_picture_does_not_count_in_a_folder(film: Callable[[str, int], Path]) -> None:
    folder = film("flight", 3)
    before = content_digest(folder)
    (folder / "notes.txt").write_text("calm sea")
    (folder / "._000.png").write_bytes(b"left by a Mac")
    assert content_digest(folder) == before


def test_clips_are_named_by_as_little_as_tells_them_apart() -> None:
    assert clip_names([Path("/a/one.mp4"), Path("/b/two.mp4")]) == ["one.mp4", "two.mp4"]
    assert clip_names([Path("/a/flight.mp4"), Path("/b/flight.mp4")]) == ["a/flight.mp4", "b/flight.mp4"]


def trained(footage: Footage) -> Checkpoint:
    return next(fit(Recipe(epochs=1), footage, SPEC, torch.device("cpu")))


def test_held_out_frames_can_be_read_again_in_full_size(film: Callable[[str, int], Path]) -> None:
    footage = read(film("a", 40), film("b", 35))
    frames = list(read_split(trained(footage), "validation"))
    assert frames[0].image.shape == (31, 40, 3)
    again = np.stack([to_pixels(frame.image, SPEC) for frame in frames])
    assert np.array_equal(again, footage.validation)


def test_footage_that_moved_or_changed_is_not_read_as_held_out(film: Callable[[str, int], Path]) -> None:
    folder = film("flight", 40)
    checkpoint = trained(read(folder))
    (folder / "039.png").write_bytes((folder / "000.png").read_bytes())
    with pytest.raises(FootageError, match="its content has changed"):
        next(read_split(checkpoint, "test"))
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(FootageError, match=r"no longer at .*flight; put it back there"):
        next(read_split(checkpoint, "test"))
