from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from edge.errors import FootageError
from tests.labelled import SIZE, array, frames, mask, masks, short_film, stacked, text, ucsd_published
from train.evaluation.layouts.masks import linked
from train.evaluation.layouts.matlab import read_cells
from train.evaluation.readers import read_data_set

SPOTS = {2: [(1, 1, 4, 4)], 3: [(2, 1, 4, 4), (20, 10, 3, 3)]}


def avenue(root: Path, spots: dict[int, list[tuple[int, int, int, int]]] = SPOTS) -> Path:
    short_film(root / "testing_videos" / "01.avi")
    short_film(root / "training_videos" / "01.avi")
    cells = np.empty((1, 6), object)
    for frame in range(6):
        cells[0, frame] = mask(spots.get(frame, ())) // 255
    (root / "testing_label_mask").mkdir()
    savemat(root / "testing_label_mask" / "1_label.mat", {"other": 1.0, "volLabel": cells})
    return root


def shanghaitech(root: Path) -> Path:
    frames(root / "training" / "frames" / "01_001")
    frames(root / "testing" / "frames" / "01_0014")
    array(root / "testing" / "test_frame_mask" / "01_0014.npy", np.array([0, 0, 1, 1, 0, 0], np.int8))
    array(root / "testing" / "test_pixel_mask" / "01_0014.npy", stacked(SPOTS))
    return root


def tidied(root: Path) -> Path:
    frames(root / "training" / "frames" / "01")
    frames(root / "testing" / "frames" / "01")
    masks(root / "testing" / "masks" / "01", SPOTS)
    text(root / "frame_labels.json", json.dumps({"intervals": {"01": [[3, 4]]}}))
    return root


def test_ucsd_as_published_counts_frames_from_one(tmp_path: Path) -> None:
    data = read_data_set(ucsd_published(tmp_path))
    first, second = data.videos
    assert data.layout == "ucsd"
    assert first.abnormal == ((2, 3),)
    assert second.abnormal == ((0, 1), (4, 4))
    assert (first.frames, first.folder_fps) == (6, 10)
    assert [path.name for path in data.normal] == ["Train001"]


def test_ucsd_clips_without_masks_tell_no_places(tmp_path: Path) -> None:
    first, second = read_data_set(ucsd_published(tmp_path)).videos
    assert first.regions is not None
    assert {(r.frame, r.track, r.x) for r in first.regions} == {(2, 1, 1), (3, 1, 2)}
    assert (second.regions, second.mask) == (None, None)


def test_files_that_macos_leaves_are_no_frames(tmp_path: Path) -> None:
    root = ucsd_published(tmp_path)
    (root / "Test" / "Test001" / "._000.tif").write_bytes(b"mac")
    (root / "Test" / "Test001_gt" / "._000.bmp").write_bytes(b"mac")
    assert read_data_set(root).videos[0].frames == 6


def test_ucsd_table_for_other_clips_is_refused(tmp_path: Path) -> None:
    root = ucsd_published(tmp_path)
    frames(root / "Test" / "Test003")
    with pytest.raises(FootageError, match=r"tells of 2 test clips, .* holds 3"):
        read_data_set(root)


@pytest.mark.parametrize("entry", ["[a:b]", "[0:3]", "[4:2]"])
def test_ucsd_table_with_nonsense_is_refused(tmp_path: Path, entry: str) -> None:
    root = ucsd_published(tmp_path)
    text(root / "Test" / "UCSDped2.m", f"TestVideoFile{{end+1}}.gt_frame = {entry};\n" * 2)
    with pytest.raises(FootageError, match=r"UCSDped2\.m"):
        read_data_set(root)


def test_the_archive_of_both_sets_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "UCSDped1").mkdir()
    (tmp_path / "UCSDped2").mkdir()
    with pytest.raises(FootageError, match="name one of them"):
        read_data_set(tmp_path)


def test_ucsd_tidied_agrees_with_its_masks(tmp_path: Path) -> None:
    (video,) = read_data_set(tidied(tmp_path)).videos
    assert video.mask is not None
    shown = [video.mask(frame) is not None for frame in range(6)]
    assert shown == video.labels(6).tolist()


def test_ucsd_tidied_with_another_clip_is_refused(tmp_path: Path) -> None:
    root = tidied(tmp_path)
    frames(root / "testing" / "frames" / "02")
    with pytest.raises(FootageError, match="must be the same"):
        read_data_set(root)


def test_a_mask_too_few_is_refused(tmp_path: Path) -> None:
    root = tidied(tmp_path)
    (root / "testing" / "masks" / "01" / "005.png").unlink()
    with pytest.raises(FootageError, match="6 frames and 5 masks"):
        read_data_set(root)


def test_masks_of_another_size_are_refused(tmp_path: Path) -> None:
    root = shanghaitech(tmp_path)
    array(root / "testing" / "test_pixel_mask" / "01_0014.npy", np.zeros((6, 12, 16), np.uint8))
    with pytest.raises(FootageError, match="16x12"):
        read_data_set(root)


def test_a_static_camera_is_said_to_be_one(tmp_path: Path) -> None:
    makers = {"a": avenue, "s": shanghaitech, "u": ucsd_published}
    for name, make in makers.items():
        (tmp_path / name).mkdir()
        assert "nothing about a patrol" in read_data_set(make(tmp_path / name)).note


def test_avenue_reads_cells_of_masks(tmp_path: Path) -> None:
    data = read_data_set(avenue(tmp_path))
    (video,) = data.videos
    assert (data.layout, video.path.name, video.frames) == ("avenue", "01.avi", 6)
    assert video.abnormal == ((2, 3),)
    assert video.mask is not None
    assert video.mask(1) is None
    found = video.mask(3)
    assert found is not None
    assert found.shape == (SIZE[1], SIZE[0])
    assert np.array_equal(found, mask(SPOTS[3]) > 0)
    assert [path.name for path in data.normal] == ["01.avi"]


def test_avenue_says_which_subset(tmp_path: Path) -> None:
    assert "Avenue17" in read_data_set(avenue(tmp_path)).note


def test_avenue_in_matlab_7_3_is_one_sentence(tmp_path: Path) -> None:
    root = avenue(tmp_path)
    header = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
    (root / "testing_label_mask" / "1_label.mat").write_bytes(header + bytes(400))
    with pytest.raises(FootageError, match=r"version 7\.3 \(HDF5\); save it again with -v7"):
        read_data_set(root)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "?", "f8", "i4", ">i2"])
def test_cells_are_what_scipy_wrote(tmp_path: Path, packed: bool, kind: str) -> None:
    rng = np.random.default_rng(1)
    cells = np.empty((1, 3), object)
    cells[0] = [rng.integers(0, 3, (5, 1 + n)).astype(kind) for n in range(3)]
    savemat(tmp_path / "a.mat", {"first": cells[0][0], "label": cells}, do_compression=packed)
    found = read_cells(tmp_path / "a.mat", "label")
    assert all(np.array_equal(a, b) for a, b in zip(found, cells[0], strict=True))


def test_cells_in_another_byte_order_are_read(tmp_path: Path) -> None:
    """Built by hand from the format's description: SciPy writes the machine's order only."""

    def element(kind: int, body: bytes) -> bytes:
        return struct.pack(">II", kind, len(body)) + body.ljust(-(-len(body) // 8) * 8, b"\0")

    def array(kind: int, sides: tuple[int, int], name: bytes, body: bytes) -> bytes:
        head = element(6, struct.pack(">II", kind, 0)) + element(5, struct.pack(">2i", *sides))
        return element(14, head + element(1, name) + body)

    cell = array(10, (2, 1), b"", element(3, struct.pack(">2h", 1, 300)))
    header = b"by hand".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    (tmp_path / "a.mat").write_bytes(header + array(1, (1, 1), b"label", cell))
    (found,) = read_cells(tmp_path / "a.mat", "label")
    assert found.tolist() == [[1], [300]]


def test_avenue_without_the_cells_is_refused(tmp_path: Path) -> None:
    root = avenue(tmp_path)
    savemat(root / "testing_label_mask" / "1_label.mat", {"other": np.zeros(3)})
    with pytest.raises(FootageError, match="no cell array volLabel"):
        read_data_set(root)


def test_avenue_video_without_labels_is_refused(tmp_path: Path) -> None:
    root = avenue(tmp_path)
    short_film(root / "testing_videos" / "02.avi")
    with pytest.raises(FootageError, match=r"02\.avi has no labels"):
        read_data_set(root)


def test_shanghaitech_reads_frames_and_pixels(tmp_path: Path) -> None:
    data = read_data_set(shanghaitech(tmp_path))
    (video,) = data.videos
    assert (data.layout, video.name, video.abnormal) == ("shanghaitech", "01_0014", ((2, 3),))
    assert video.regions is not None
    assert len(video.regions) == 3
    assert video.mask is not None
    assert np.array_equal(video.mask(2), mask(SPOTS[2]) > 0)
    assert "split" in data.note


def test_shanghaitech_without_pixels_tells_no_places(tmp_path: Path) -> None:
    root = shanghaitech(tmp_path)
    (root / "testing" / "test_pixel_mask" / "01_0014.npy").unlink()
    (root / "testing" / "test_pixel_mask").rmdir()
    assert read_data_set(root).videos[0].regions is None


def test_labels_of_another_length_are_refused(tmp_path: Path) -> None:
    root = shanghaitech(tmp_path)
    array(root / "testing" / "test_frame_mask" / "01_0014.npy", [0, 1, 1])
    with pytest.raises(FootageError, match=r"6 frames, .* labels 3"):
        read_data_set(root)


def test_labels_of_another_scene_are_never_taken(tmp_path: Path) -> None:
    root = shanghaitech(tmp_path)
    frames(root / "testing" / "frames" / "02_0014")
    with pytest.raises(FootageError, match=r"02_0014 has no labels: looked for 02_0014\.npy"):
        read_data_set(root)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    root = shanghaitech(tmp_path)
    array(root / "testing" / "test_frame_mask" / "01_0014.npy", np.array([0, None], object))
    with pytest.raises(FootageError, match="pickled"):
        read_data_set(root)


@pytest.mark.parametrize("place", ["Highway/sequence1", "Highway", "."])
def test_drone_anomaly_reads_the_set_a_scene_or_a_sequence(tmp_path: Path, place: str) -> None:
    sequence = tmp_path / "Highway" / "sequence1"
    frames(sequence / "train" / "01")
    frames(sequence / "test" / "02")
    array(sequence / "test" / "02.npy", [0, 0, 0, 1, 1, 1])
    data = read_data_set(tmp_path / place)
    (video,) = data.videos
    assert (data.layout, video.abnormal, video.folder_fps) == ("drone-anomaly", ((3, 5),), 30)
    assert data.normal == (tmp_path / place / sequence.relative_to(tmp_path / place) / "train" / "01",)


def test_drone_anomaly_reads_the_tree_with_frames_and_test_frame_mask(tmp_path: Path) -> None:
    frames(tmp_path / "Highway" / "train" / "frames" / "01")
    frames(tmp_path / "Highway" / "test" / "frames" / "01")
    array(tmp_path / "Highway" / "test" / "test_frame_mask" / "01.npy", [[1], [0], [0], [0], [0], [0]])
    data = read_data_set(tmp_path)
    assert [(v.name, v.abnormal) for v in data.videos] == [("Highway/01", ((0, 0),))]
    assert len(data.normal) == 1


def test_tracks_follow_overlap_and_end_with_a_gap() -> None:
    regions = linked(
        [
            (0, [(0, 0, 10, 10), (50, 50, 10, 10)]),
            (1, [(52, 50, 10, 10), (1, 0, 10, 10)]),
            (3, [(1, 0, 10, 10)]),
        ]
    )
    assert [(r.frame, r.track) for r in regions] == [(0, 1), (0, 2), (1, 2), (1, 1), (3, 3)]


def test_two_boxes_never_share_a_track() -> None:
    regions = linked([(0, [(0, 0, 20, 10)]), (1, [(0, 0, 9, 10), (9, 0, 11, 10)])])
    assert [(r.x, r.track) for r in regions] == [(0, 1), (0, 2), (9, 1)]
