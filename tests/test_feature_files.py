"""Feature files: what is written comes back, the field's layouts are read, and damage is one sentence."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clips import ExtractorSpec
from train.feature_files import FeatureError, FeatureVideo, find_features, read_features, write_features

SPEC = ExtractorSpec(width=4, sha256="a" * 64)
ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def written(path: Path, **changes: object) -> Path:
    parts = {"features": ROWS, "extractor": np.str_(SPEC.model_dump_json()), **changes}
    np.savez(path, **{name: value for name, value in parts.items() if value is not None})
    return path


def saved(path: Path, array: object) -> Path:
    np.save(path, np.asarray(array))
    return path


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    video = FeatureVideo(
        "fight/fi001", ROWS, SPEC, fps=8.0, frames=32, key="k", ends_s=np.array([1.0, 1.5, 2.25])
    )
    write_features(tmp_path / "a.npz", video)
    again = read_features(tmp_path / "a.npz")
    assert (again.name, again.extractor, again.fps, again.frames, again.crops, again.key) == (
        *("fight/fi001", SPEC, 8.0, 32, 1, "k"),
    )
    assert again.ends_s is not None
    assert again.ends_s.tolist() == [1.0, 1.5, 2.25]
    assert again.features.dtype == np.float32
    assert np.array_equal(again.features, ROWS)
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="cannot be written: No such file"):
        write_features(tmp_path / "none" / "a.npz", FeatureVideo("a", ROWS))


def test_snippets_by_width_are_read_as_they_are(tmp_path: Path) -> None:
    video = read_features(saved(tmp_path / "v.npy", ROWS.astype(np.float16)))
    assert (video.name, video.crops, video.extractor, video.fps) == ("v", 1, None, None)
    assert video.features.dtype == np.float32
    assert np.array_equal(video.features, ROWS)


@pytest.mark.parametrize("axis", [0, 1])
def test_crops_are_averaged_wherever_their_axis_is(tmp_path: Path, axis: int) -> None:
    crops = np.stack([ROWS + i for i in range(10)], axis=axis)
    video = read_features(saved(tmp_path / "v.npy", crops))
    assert video.crops == 10
    assert np.allclose(video.features, ROWS + 4.5)


def test_three_axes_without_one_of_crops_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="7 x 3 x 4: neither"):
        read_features(saved(tmp_path / "v.npy", np.zeros((7, 3, 4))))


def test_a_text_of_segments_is_read(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(32, 4096)).astype(np.float32)
    np.savetxt(tmp_path / "Abuse001_x264.txt", rows, fmt="%.9g")
    assert np.array_equal(read_features(tmp_path / "Abuse001_x264.txt").features, rows)


@pytest.mark.parametrize("text", ["", "1 2\n3\n", "a b\n", "1 2\n\x00\n", "1\u00e92\n"])
def test_a_text_that_is_no_table_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "v.txt").write_text(text, "utf-8")
    with pytest.raises(FeatureError, match=r"no table of numbers|no features|snippets x width") as caught:
        read_features(tmp_path / "v.txt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((0, 4)), "empty|no features"),
        (np.zeros(4), "snippets x width"),
        (np.float32(1), "snippets x width"),
        (np.full((2, 2), np.nan), "NaN or infinite features, first in row 0"),
        (np.full((2, 2), 1e300), "NaN or infinite"),
        (np.array([["a"]]), "instead of real numbers"),
        (np.zeros((10, 2, 2), complex), "instead of real numbers"),
        (np.zeros((1, 70_000), np.uint8), "at most 65536"),
    ],
)
def test_arrays_that_are_no_features_are_refused(tmp_path: Path, array: object, sentence: str) -> None:
    with pytest.raises(FeatureError, match=sentence):
        read_features(saved(tmp_path / "v.npy", array))


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "v.npz", features=np.array([{}], object))
    for name in ("v.npy", "v.npz"):
        with pytest.raises(FeatureError):
            read_features(tmp_path / name)


def test_a_header_that_claims_a_petabyte_allocates_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path / "v.npy", np.zeros((11, 22)))
    path.write_bytes(path.read_bytes().replace(b"(11, 22)", b"(9e9,22)").replace(b"9e9,", b"999999999,"))
    with pytest.raises(FeatureError, match="damaged"):
        read_features(path)


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "v.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("features.npy", "w") as file:
            file.write(b"\x93NUMPY")
        archive.infolist()[0].file_size = 3_000_000_000
    with pytest.raises(FeatureError, match="unpacks to more"):
        read_features(tmp_path / "v.npz")


def test_an_archive_without_features_or_with_other_widths_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="no array named features"):
        read_features(written(tmp_path / "a.npz", features=None))
    with pytest.raises(FeatureError, match="5 wide but says 4"):
        read_features(written(tmp_path / "b.npz", features=np.zeros((2, 5), np.float32)))
    with pytest.raises(FeatureError, match="does not say how"):
        read_features(written(tmp_path / "c.npz", extractor=np.str_("{}")))
    with pytest.raises(FeatureError, match="does not say how"):
        read_features(written(tmp_path / "d.npz", fps=np.str_("many")))
    with pytest.raises(FeatureError, match="3 features but 2 times"):
        read_features(written(tmp_path / "e.npz", ends_s=np.zeros(2)))


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    data = bytearray(whole)
    for place, value in draw(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=8)):
        data[place % len(data)] = value
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


def sentence_or_features(path: Path) -> str | FeatureVideo:
    try:
        return read_features(path)
    except FeatureError as error:
        return str(error)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".txt"])
def test_damaged_files_never_end_in_anything_but_one_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    {".npz": written, ".npy": lambda path: saved(path, ROWS), ".txt": lambda path: np.savetxt(path, ROWS)}[
        suffix
    ](path)

    @given(damaged(path.read_bytes()))
    @settings(max_examples=60, deadline=None)
    def is_understood(data: bytes) -> None:
        path.write_bytes(data)
        answer = sentence_or_features(path)
        assert "\n" not in answer if isinstance(answer, str) else np.isfinite(answer.features).all()

    is_understood()


def test_a_folder_is_searched_and_what_holds_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fight").mkdir()
    (tmp_path / ".cache").mkdir()
    for name in ("fight/a.npy", "fight/b.npz", "fight/c.csv", ".cache/d.npy"):
        (tmp_path / name).touch()
    assert [path.name for path in find_features([tmp_path, tmp_path / "fight" / "a.npy"])] == [
        *("a.npy", "b.npz"),
    ]
    with pytest.raises(FeatureError, match="does not exist"):
        find_features([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FeatureError, match="holds no features"):
        find_features([tmp_path / "empty"])


def test_other_suffixes_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="no feature file"):
        read_features(tmp_path / "a.csv")
    with pytest.raises(FeatureError, match="No such file"):
        read_features(tmp_path / "a.npy")
