from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from edge.errors import FootageError, UsageError
from tests.labelled import array, frames, mask, masks, stacked, text, ucsd_published
from train.evaluation.readers import LAYOUTS, read_data_set
from train.evaluation.truth import Video

few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def test_every_layout_is_known_by_its_name() -> None:
    wanted = "avenue coco drone-anomaly intervals shanghaitech simulated subway ucf-crime ucsd yolo"
    assert sorted(LAYOUTS) == wanted.split()


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_folder_in_another_layout_is_one_sentence(tmp_path: Path, layout: str) -> None:
    text(tmp_path / "readme.md", "nothing")
    assert not LAYOUTS[layout].recognises(tmp_path)
    with pytest.raises(FootageError, match=rf"not in the layout {layout}: looked for .*; it holds 1 \.md\.$"):
        read_data_set(tmp_path, layout)


def test_an_unknown_folder_says_what_every_layout_looks_for(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    with pytest.raises(FootageError, match=r"it holds clips/") as error:
        read_data_set(tmp_path)
    assert all(name in str(error.value) for name in LAYOUTS)


def test_a_mistyped_layout_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean avenue"):
        read_data_set(tmp_path, "avenu")


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FootageError, match="is no folder"):
        read_data_set(tmp_path / "gone")


def test_two_fitting_layouts_ask_for_one(tmp_path: Path) -> None:
    root = ucsd_published(tmp_path)
    text(root / "intervals.csv", "video,first_frame,last_frame\n")
    with pytest.raises(FootageError, match="could be intervals and ucsd"):
        read_data_set(root)
    assert read_data_set(root, "ucsd").layout == "ucsd"


def test_labels_for_another_length_never_pass() -> None:
    with pytest.raises(FootageError, match="truth is for 6 frames"):
        Video("v", Path("v"), (), frames=6).labels(7)


def survives(root: Path, layout: str) -> None:
    """Any outcome but a foreign exception."""
    with contextlib.suppress(FootageError):
        for video in read_data_set(root, layout).videos:
            video.labels(6)


def ucsd_root(root: Path) -> Path:
    ucsd_published(root)
    return root / "Test" / "UCSDped2.m"


def tidied_root(root: Path) -> Path:
    frames(root / "testing" / "frames" / "01")
    return text(root / "frame_labels.json", json.dumps({"intervals": {"01": [[3, 4]]}}))


def mask_root(root: Path) -> Path:
    tidied_root(root)
    return masks(root / "testing" / "masks" / "01", {2: [(1, 1, 4, 4)]}) / "000.png"


def avenue_root(root: Path) -> Path:
    frames(root / "testing_videos" / "01")
    cells = np.empty((1, 6), object)
    cells[0] = [mask([(1, 1, 4, 4)])] * 6
    (root / "testing_label_mask").mkdir()
    path = root / "testing_label_mask" / "1_label.mat"
    savemat(path, {"volLabel": cells})
    return path


def labels_root(root: Path) -> Path:
    frames(root / "testing" / "frames" / "01_0014")
    return array(root / "testing" / "test_frame_mask" / "01_0014.npy", [0, 0, 1, 1, 0, 0])


def pixels_root(root: Path) -> Path:
    labels_root(root)
    return array(root / "testing" / "test_pixel_mask" / "01_0014.npy", stacked({2: [(1, 1, 4, 4)]}))


def intervals_root(root: Path) -> Path:
    frames(root / "a")
    return text(root / "intervals.csv", "video,first_frame,last_frame\na,1,2\n")


def subway_root(root: Path) -> Path:
    frames(root / "a")
    return text(root / "a.txt", "1 2\n3 4 ignored\n")


def ucf_root(root: Path) -> Path:
    frames(root / "Abuse028_x264")
    return text(root / "Temporal_Anomaly_Annotation.txt", "Abuse028_x264.mp4 Abuse 2 3 -1 -1\n")


def coco_root(root: Path) -> Path:
    frames(root / "images" / "a")
    found = {
        "images": [{"id": 1, "file_name": "a/000.jpg"}],
        "annotations": [{"image_id": 1, "bbox": [1, 1, 2, 2]}],
    }
    return text(root / "annotations.json", json.dumps(found))


def yolo_root(root: Path) -> Path:
    frames(root / "images" / "a")
    return text(root / "labels" / "a" / "001.txt", "0 0.5 0.5 0.2 0.2\n")


def simulated_root(root: Path) -> Path:
    (root / "patrol-01.mp4").write_bytes(b"")
    body = {"frame": 2, "track": 1, "x": 1, "y": 1, "width": 2, "height": 2}
    intruder = {"first_frame": 2, "last_frame": 3, "touched": [1, 4]}
    truth = {"frames": 6, "intruders": [intruder], "boxes": [body]}
    return text(root / "patrol-01.truth.json", json.dumps(truth))


OUTSIDE: list[tuple[str, Callable[[Path], Path]]] = [
    ("ucsd", ucsd_root),
    ("ucsd", tidied_root),
    ("ucsd", mask_root),
    ("avenue", avenue_root),
    ("shanghaitech", labels_root),
    ("shanghaitech", pixels_root),
    ("intervals", intervals_root),
    ("subway", subway_root),
    ("ucf-crime", ucf_root),
    ("coco", coco_root),
    ("yolo", yolo_root),
    ("simulated", simulated_root),
]


@pytest.mark.parametrize(("layout", "make"), OUTSIDE)
def test_the_makers_below_make_what_is_read(
    tmp_path: Path, layout: str, make: Callable[[Path], Path]
) -> None:
    make(tmp_path)
    data = read_data_set(tmp_path)
    assert data.layout == layout
    assert data.videos[0].labels(6).any()


@pytest.mark.parametrize(("layout", "make"), OUTSIDE)
def test_any_bytes_for_a_label_file_raise_footage_errors_only(
    tmp_path: Path, layout: str, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)

    @few
    @given(st.binary(max_size=200))
    def hostile(content: bytes) -> None:
        path.write_bytes(content)
        survives(tmp_path, layout)

    hostile()


@pytest.mark.parametrize(("layout", "make"), OUTSIDE)
def test_a_damaged_label_file_raises_footage_errors_only(
    tmp_path: Path, layout: str, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    whole = path.read_bytes()

    @few
    @given(st.integers(0, len(whole) - 1), st.binary(max_size=8), st.integers(0, 8))
    def damaged(at: int, put: bytes, cut: int) -> None:
        path.write_bytes(whole[:at] + put + whole[at + cut :])
        survives(tmp_path, layout)

    damaged()


@few
@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=8))
def test_any_json_raises_footage_errors_only(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    root = tmp_path_factory.mktemp("set")
    text(root / "annotations.json", json.dumps({"images": content, "annotations": content}))
    text(root / "patrol-01.truth.json", json.dumps({"frames": 6, "intruders": content, "boxes": content}))
    (root / "patrol-01.mp4").write_bytes(b"")
    text(root / "frame_labels.json", json.dumps({"intervals": content}))
    for layout in ("coco", "simulated", "ucsd"):
        survives(root, layout)


@pytest.mark.parametrize("shape", ["(-1,)", "(6, -1)", "(99999999999,)", "(0,)", "()", "(2.5,)", "None"])
def test_an_array_that_lies_about_its_shape_is_refused(tmp_path: Path, shape: str) -> None:
    path = labels_root(tmp_path)
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(118) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(6))
    with pytest.raises(FootageError, match=r"01_0014\.npy"):
        read_data_set(tmp_path)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    path = tidied_root(tmp_path)
    path.write_text('{"intervals":' + "[" * 100_000)
    with pytest.raises(FootageError, match=r"frame_labels\.json"):
        read_data_set(tmp_path)


@pytest.mark.data
@pytest.mark.slow
def test_ped2_has_its_published_counts_and_its_masks_agree(data: Path) -> None:
    ped2 = read_data_set(data / "ucsd_ped2")
    counts = [video.frames or 0 for video in ped2.videos]
    labels = [video.labels(count) for video, count in zip(ped2.videos, counts, strict=True)]
    assert (len(ped2.videos), sum(counts), len(ped2.normal)) == (12, 2010, 16)
    assert sum(int(truth.sum()) for truth in labels) == 1648
    for video, truth in zip(ped2.videos, labels, strict=True):
        assert video.regions is not None
        assert {region.frame for region in video.regions} == set(np.flatnonzero(truth).tolist())
    first = ped2.videos[0]
    assert first.mask is not None
    assert [first.mask(frame) is not None for frame in (0, 59, 60, 179)] == [False, False, True, True]
