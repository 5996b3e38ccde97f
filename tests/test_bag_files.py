"""Lists of labelled videos, as the field writes them and as hostile hands do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.errors import UsageError
from tests.bagging import SPEC, WIDTH, folders, raw, video
from train.bag_files import (
    UNKNOWN,
    Entry,
    again,
    each_once,
    entries_in,
    listed,
    listed_recordings,
    load,
    one_extractor,
    split_up,
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("Abuse/Abuse001_x264", "Normal/Normal_Videos003_x264", "patrol/monday"):
        video(tmp_path / f"{name}.npz", raw(0, True, 3))
    return tmp_path


def table(home: Path, text: str) -> Path:
    (home / "list.txt").write_text(text)
    return home / "list.txt"


def named(entries: list[Entry], home: Path) -> list[tuple[str, bool]]:
    return [(entry.path.relative_to(home).as_posix(), entry.anomalous) for entry in entries]


def test_a_path_that_says_normal_is_and_any_other_without_a_label_is_anomalous(home: Path) -> None:
    text = "Abuse/Abuse001_x264.mp4\n\nNormal/Normal_Videos003_x264.mp4\n"
    assert named(listed(table(home, text), None), home) == [
        ("Abuse/Abuse001_x264.npz", True),
        ("Normal/Normal_Videos003_x264.npz", False),
    ]


@pytest.mark.parametrize(
    ("word", "anomalous"),
    [("normal", False), ("0", False), ("anomalous", True), ("Abnormal", True), ("1", True)],
)
def test_a_label_outweighs_what_the_path_says(home: Path, word: str, anomalous: bool) -> None:
    for path in ("Abuse/Abuse001_x264.npz", "Normal/Normal_Videos003_x264.npz"):
        assert listed(table(home, f"{path} {word}"), None)[0].anomalous is anomalous


def test_a_third_word_is_the_source_and_without_one_each_file_is_its_own(home: Path) -> None:
    entries = listed(table(home, "patrol/monday.npz normal quay\nAbuse/Abuse001_x264.npz 1\n"), None)
    assert [entry.source for entry in entries] == ["quay", str(home / "Abuse" / "Abuse001_x264.npz")]


def test_features_are_found_by_the_name_of_their_video_wherever_they_lie(home: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    np.save(flat / "Abuse001_x264_i3d.npy", raw(0, True, 3))
    np.savetxt(flat / "Normal_Videos003_x264.txt", raw(1, False, 3))
    text = "Abuse/Abuse001_x264.mp4\nNormal/Normal_Videos003_x264.mp4\n"
    entries = listed(table(home, text), flat)
    assert [entry.path.name for entry in entries] == ["Abuse001_x264_i3d.npy", "Normal_Videos003_x264.txt"]
    assert [each.video.width for each in load(entries)] == [WIDTH, WIDTH]


def test_of_two_videos_of_one_name_the_folder_decides_or_a_sentence_asks(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        video(tmp_path / "features" / folder / "001.npz", raw(0, True, 3))
    features = tmp_path / "features"
    found = listed(table(tmp_path, "videos/b/001.mp4 normal"), features)
    assert named(found, features) == [("b/001.npz", False)]
    with pytest.raises(UsageError, match=r"list.txt, line 1: c/001.mp4 may be .*001.npz or .*001.npz; name"):
        listed(table(tmp_path, "c/001.mp4 normal"), features)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "names no video; write a path and a label on each line"),
        ("a.mp4\nb.mp4\nc.mp4\nd.mp4\ne.mp4", r"not below .*: a.mp4, b.mp4, c.mp4 and 2 more; make them by"),
        (
            "patrol/monday.npz calm",
            "list.txt, line 1: after the path comes normal or anomalous, then perhaps",
        ),
        ("\npatrol/monday.npz normal quay west", "list.txt, line 2: after the path comes"),
    ],
)
def test_a_wrong_list_is_one_sentence(home: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        listed(table(home, text), None)
    assert "\n" not in str(caught.value)


def test_a_list_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.txt cannot be read: No such file"):
        listed(tmp_path / "none.txt", None)
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"list.txt cannot be read: it is no text"):
        listed(tmp_path / "list.txt", None)


WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40) | st.sampled_from(
    ["/", ".", "..", "\0", "a" * 300, "patrol/monday.npz", "normal", "~", "patrol/", "//", "*.npz"]
)


@given(st.lists(st.lists(WORDS, max_size=4).map(" ".join), max_size=5).map("\n".join))
@example("/")
@example("a\0b normal")
@example("a" * 5000)
@settings(max_examples=200, deadline=None)
def test_hostile_lists_end_in_entries_or_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    home = tmp_path_factory.getbasetemp() / "hostile"
    if not home.exists():
        video(home / "patrol" / "monday.npz", raw(0, True, 3))
    (home / "list.txt").write_text(text, "utf-8")
    for read in (listed, listed_recordings):
        try:
            assert read(home / "list.txt", None)
        except UsageError as error:
            assert str(error)  # noqa: PT017 - either is right


def test_recordings_of_a_list_are_found_below_their_folder(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    base, found = listed_recordings(table(tmp_path, "a.mp4 normal quay\n"), tmp_path / "videos")
    assert (base, found) == (tmp_path / "videos", [tmp_path / "videos" / "a.mp4"])
    with pytest.raises(UsageError, match=r"names recordings that are not below .*: a.mp4; name the folder"):
        listed_recordings(tmp_path / "list.txt", None)


def test_no_video_is_of_both_classes(home: Path) -> None:
    one = entries_in([home / "patrol"], anomalous=False)
    assert each_once(one) == one
    with pytest.raises(UsageError, match=r"monday.npz is given as normal and as anomalous; name each video"):
        each_once([*one, *entries_in([home], anomalous=True)])
    with pytest.raises(UsageError, match=r"monday.npz is given twice; name each video once"):
        each_once([*one, *entries_in([home / "patrol"], anomalous=False)])


def test_features_must_be_of_one_extractor_and_say_so_where_they_can(tmp_path: Path) -> None:
    normal, anomalous = folders(tmp_path, 2)
    entries = [*entries_in([normal], False), *entries_in([anomalous], True)]
    assert one_extractor(load(entries), None) == SPEC
    np.save(tmp_path / "foreign.npy", raw(5, False, 3))
    foreign = load(entries_in([tmp_path / "foreign.npy"], False))
    assert one_extractor(foreign, None).sha256 == UNKNOWN
    assert one_extractor([*load(entries), *foreign], None) == SPEC
    video(tmp_path / "other.npz", raw(6, False, 3), SPEC.model_copy(update={"stride": 3}))
    with pytest.raises(
        UsageError, match=r"v00.npz and .*other.npz were made by different extractors or clips"
    ):
        one_extractor(load([*entries, *entries_in([tmp_path / "other.npz"], False)]), None)


def test_a_checkpoint_finds_its_bags_again_or_says_which_is_gone(tmp_path: Path) -> None:
    normal, anomalous = folders(tmp_path, 6)
    loaded = load([*entries_in([normal], False), *entries_in([anomalous], True)])
    splits, parts = split_up(loaded, SPEC, seed=0)
    assert splits.rule == "sources"
    assert splits.fps == SPEC.fps / SPEC.stride
    for name, clips in (("train", splits.train), ("validation", splits.validation), ("test", splits.test)):
        found = list(again(clips))
        assert [each.bag.name for each in found] == [bag.name for bag in parts[name]]  # type: ignore[index]
        assert [each.bag.anomalous for each in found] == [bag.anomalous for bag in parts[name]]  # type: ignore[index]
    gone = Path(splits.test[0].path)
    gone.write_bytes(gone.read_bytes() + b"\0")
    with pytest.raises(UsageError, match="which the head was trained beside, is gone or changed"):
        list(again(splits.test))


def test_the_digest_of_the_data_knows_labels_and_content(tmp_path: Path) -> None:
    def digest(*paths: Path) -> str:
        normal, anomalous = paths
        loaded = load([*entries_in([normal], False), *entries_in([anomalous], True)])
        return split_up(loaded, SPEC, seed=0)[0].data_sha256

    normal, anomalous = folders(tmp_path, 2)
    before = digest(normal, anomalous)
    assert digest(normal, anomalous) == before
    assert digest(anomalous, normal) != before
    video(normal / "v00.npz", raw(50, False))
    assert digest(normal, anomalous) != before
