from __future__ import annotations

import numpy as np
import pytest

from tests.scored_videos import box, scored
from train.evaluation.regions import RegionFigures, find, iou
from train.evaluation.scored import Scored
from train.evaluation.truth import Region

ONE = np.ones(1)


def region(frame: int, track: int, x: float = 0, width: float = 10, height: float = 10) -> Region:
    return Region(frame, track, x, 0, width, height)


def figures(*videos: Scored) -> RegionFigures:
    return RegionFigures([find(video) for video in videos])


def test_iou_is_the_shared_over_the_joint_area() -> None:
    assert iou(box(0, 0, 10, 10, 1), region(0, 1, x=5)) == pytest.approx(50 / 150)
    assert iou(box(0, 0, 10, 10, 1), region(0, 1, x=10)) == 0  # they touch
    assert iou(box(0, 0, 0, 0, 1), region(0, 1, width=0)) == 0


def two_in_four_frames(*tracks: int) -> Scored:
    """Peaks 9: false, 8 and 7: the first region twice, 6: the second, 5: false."""
    return scored(
        [0.0] * 4,
        (0, 1),
        regions=[region(0, tracks[0]), region(1, tracks[1])],
        boxes=[
            (box(50, 0, 9, 9, 9.0), box(0, 0, 10, 10, 8.0), box(1, 0, 10, 10, 7.0)),
            (box(0, 0, 10, 10, 6.0),),
            (),
            (box(0, 0, 10, 10, 5.0),),
        ],
    )


def test_rbdc_by_hand() -> None:
    """(false per frame, found): (1/4, 0) (1/4, 1/2) (1/4, 1/2) (1/4, 1) (1/2, 1), then flat: 1 x 3/4."""
    assert figures(two_in_four_frames(1, 2)).rbdc(ONE) == pytest.approx(0.75)


def test_a_second_box_on_a_found_region_is_neither_right_nor_wrong() -> None:
    once = scored([0.0], (0, 0), regions=[region(0, 1)], boxes=[(box(0, 0, 10, 10, 8.0),)])
    twice = scored(
        [0.0], (0, 0), regions=[region(0, 1)], boxes=[(box(0, 0, 10, 10, 8.0), box(0, 0, 9, 9, 7.0))]
    )
    assert figures(once).rbdc(ONE) == figures(twice).rbdc(ONE) == 1


def test_a_region_is_found_by_its_hottest_box() -> None:
    """The false box comes between the two that match: half a false box per frame, after the first."""
    boxes = (box(0, 0, 10, 10, 8.0), box(50, 0, 5, 5, 7.0), box(0, 0, 9, 9, 6.0))
    video = scored([0.0, 0.0], (0, 0), regions=[region(0, 1)], boxes=[boxes, ()])
    assert figures(video).rbdc(ONE) == 1


def test_the_curve_ends_at_one_false_box_a_frame() -> None:
    """Two false boxes above the right one, in one frame: by then the rate is 2 already."""
    far = [box(50, 0, 5, 5, 9.0), box(60, 0, 5, 5, 8.0), box(0, 0, 10, 10, 7.0)]
    assert figures(scored([0.0], (0, 0), regions=[region(0, 1)], boxes=[tuple(far)])).rbdc(ONE) == 0


def test_an_overlap_of_a_tenth_matches_and_less_does_not() -> None:
    for height, found in ((1, 1), (0.99, 0)):
        video = scored(
            [0.0], (0, 0), regions=[region(0, 1, height=height)], boxes=[(box(0, 0, 10, 10, 8.0),)]
        )
        assert figures(video).rbdc(ONE) == found


def test_tbdc_counts_tracks() -> None:
    assert figures(two_in_four_frames(1, 1)).tbdc(ONE) == pytest.approx(0.75)
    half = scored(
        [0.0] * 2, (0, 1), regions=[region(0, 1), region(1, 2)], boxes=[(box(0, 0, 10, 10, 8.0),), ()]
    )
    assert figures(half).tbdc(ONE) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("length", "found", "share"), [(10, 1, 1), (20, 1, 0), (20, 2, 1), (30, 3, 1), (31, 3, 0)]
)
def test_a_track_counts_from_a_tenth_of_its_regions_on(length: int, found: int, share: float) -> None:
    video = scored(
        [0.0] * length,
        (0, length - 1),
        regions=[region(n, 7) for n in range(length)],
        boxes=[(box(0, 0, 10, 10, 5.0),) if n < found else () for n in range(length)],
    )
    assert figures(video).tbdc(ONE) == share
    assert figures(video).rbdc(ONE) == pytest.approx(found / length)


def test_tracks_of_two_videos_are_two_tracks() -> None:
    found = scored([0.0], (0, 0), regions=[region(0, 1)], boxes=[(box(0, 0, 10, 10, 5.0),)])
    missed = scored([0.0], (0, 0), regions=[region(0, 1)])
    both = figures(found, missed)
    assert both.tbdc(np.array([1.0, 1.0])) == pytest.approx(0.5)
    assert both.tbdc(np.array([2.0, 1.0])) == pytest.approx(2 / 3)


def test_box_hits_ask_for_any_overlap_on_abnormal_frames_that_have_regions() -> None:
    graze = box(9, 9, 100, 100, 1.0)
    video = scored(
        [0.0] * 5,
        (0, 3),
        regions=[region(0, 1), region(1, 1), region(4, 1)],  # none on 2 and 3; 4 is normal
        boxes=[(graze,), (box(10, 0, 5, 5, 1.0),), (graze,), (), ()],
    )
    assert figures(video).box_hits(ONE) == pytest.approx(0.5)


def test_frames_that_do_not_count_have_neither_boxes_nor_regions() -> None:
    video = scored(
        [0.0] * 2,
        (0, 1),
        ignored=((1, 1),),
        regions=[region(0, 1), region(1, 2)],
        boxes=[(box(0, 0, 10, 10, 5.0),), (box(50, 0, 10, 10, 9.0),)],
    )
    whole = figures(video)
    assert whole.rbdc(ONE) == whole.tbdc(ONE) == whole.box_hits(ONE) == 1


def test_boxes_of_a_normal_video_are_false_though_it_has_no_regions() -> None:
    found = scored([0.0], (0, 0), regions=[region(0, 1)], boxes=[(box(0, 0, 10, 10, 5.0),)])
    normal = scored([0.0], boxes=[(box(0, 0, 10, 10, 9.0),)])
    assert figures(found, normal).rbdc(np.ones(2)) == pytest.approx(0.5)


def test_where_the_truth_tells_no_places_there_is_no_figure() -> None:
    nowhere = figures(scored([0.0], (0, 0), boxes=[(box(0, 0, 10, 10, 5.0),)]))
    assert nowhere.rbdc(ONE) is nowhere.tbdc(ONE) is nowhere.box_hits(ONE) is None
