"""The report of an evaluation: what it shows, what its curves hold, and a page that trusts no name."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import UsageError
from edge.frames import Picture
from edge.incidents import Evidence
from edge.pipeline import Finding
from tests.builders import INTRUDER, SIZE
from tests.filming import film
from tests.labelled_scenes import video_in
from tests.scored_videos import box, scored
from train.evaluation.figures import pooled, pr_svg, roc_svg, runs, timeline_svg
from train.evaluation.judge import judge
from train.evaluation.page import EventRow, Exhibit, Report, Timeline, page
from train.evaluation.report import ReportFolder, event_rows, is_evaluation, json_of, write_report
from train.evaluation.results import Evaluation, Figure
from train.evaluation.rows import about, groups, plain, shown, shown_rate
from train.evaluation.run import score_video
from train.evaluation.scenes import Scene, heat_scale, pictures, worst_false_alarms, worst_misses
from train.evaluation.scored import Scored
from train.evaluation.truth import Region, Video

pytestmark = pytest.mark.slow

INFINITE = float("-inf")


def evaluation_of(*videos: Scored, threshold: float | None = 5.0, **more: object) -> Evaluation:
    known: dict[str, object] = {
        "bundle": "blur",
        "bundle_digest": "0" * 64,
        "data_set": "scenes",
        "layout": "by hand",
        "note": "",
        "fps": 2.0,
        "variant": "fp32",
        "false_alarms_per_hour_wanted": 1.0,
        "judgement": judge(videos, threshold, resamples=20),
        "software": "0",
        "seconds": 1.0,
    }
    return Evaluation(**{**known, **more})  # type: ignore[arg-type]


def filmed(folder: Path, plan: str = "..XX.") -> Scored:
    """Looked at by a method that gives 9 for each frame, and half a picture's heat."""
    heat = np.zeros((24, 32), np.float32)
    heat[:, 16:] = 9
    finding = Finding(9.0, heat, (box(200, 100, 24, 24, 9.0),))
    return score_video(video_in(folder, plan), lambda _: finding, Evidence(1), 2.0)


def test_a_detector_that_could_not_judge_everything_is_said_to(tmp_path: Path) -> None:
    video = video_in(tmp_path / "v", "..XX.")
    one = score_video(video, lambda _: Finding(9.0, judged=0.25), Evidence(1), 2.0)
    assert "; 25.0% of what they show could be judged" in dict(about(evaluation_of(one)))["looked at"]
    assert "could be judged" not in dict(about(evaluation_of(filmed(tmp_path / "w"))))["looked at"]


# Which frames are shown


def test_misses_are_the_lowest_abnormal_frames_and_not_neighbours() -> None:
    one = scored([9, 3, 1, 2, 9, 4, 0], (1, 5))
    assert [scene.frame for scene in worst_misses([one], 5.0, 8)] == [2, 5]
    assert [scene.frame for scene in worst_misses([one], 5.0, 1)] == [2]


def test_a_frame_still_without_evidence_is_no_miss_to_show() -> None:
    assert worst_misses([scored([INFINITE, 9, 9], (0, 1))], 5.0, 8) == []


def test_false_alarms_are_the_highest_frames_away_from_events() -> None:
    first = scored([6, 0, 0, 9, 9, 9, 0, 0, 0, 7], (4, 4), name="first")
    second = scored([0, 8, 0], name="second")
    shown_frames = [(s.scored.video.name, s.frame) for s in worst_false_alarms([first, second], 5.0, 8)]
    assert shown_frames == [("second", 1), ("first", 9), ("first", 0)]


def test_frames_left_out_are_neither_misses_nor_false_alarms() -> None:
    one = scored([9, 0, 0, 0, 0, 0, 1], (6, 6), ignored=((0, 0), (6, 6)))
    assert worst_misses([one], 5.0, 8) == []
    assert worst_false_alarms([one], 5.0, 8) == []


# Pictures


def greens(picture: Picture) -> int:
    blue, green, red = (picture[:, :, colour].astype(int) for colour in range(3))
    return int(((green > blue + 60) & (green > red + 60)).sum())


def decoded(data: bytes | None) -> Picture:
    assert data is not None
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_a_picture_shows_the_right_frame_with_its_truth_and_boxes(tmp_path: Path) -> None:
    one = filmed(tmp_path / "v", "..XX.")
    found = {
        scene.frame: decoded(data)
        for scene, data, _ in pictures([Scene(one, 3), Scene(one, 0)], heat_scale([one]))
    }
    assert found[3].shape == (2 * SIZE[0], 2 * SIZE[1], 3)
    x, y, width, height = INTRUDER
    middle = found[3][2 * y + height, 2 * x + width]
    assert middle[2] > 200 > middle[0]  # the intruder is red
    assert greens(found[3]) > 50
    assert greens(found[0]) == 0


def test_places_are_outlined_as_rectangles_where_there_is_no_mask(tmp_path: Path) -> None:
    one = score_video(video_in(tmp_path / "v", "..XX.", mask=None), lambda _: Finding(1.0), Evidence(1), 2.0)
    ((_, data, heat),) = pictures([Scene(one, 2)], heat_scale([one]))
    assert greens(decoded(data)) > 50
    assert heat is None


def test_the_line_around_a_tiny_object_does_not_hide_it(tmp_path: Path) -> None:
    x, y = INTRUDER[:2]
    tiny = video_in(tmp_path / "v", "X", mask=None, regions=(Region(0, 1, x + 10.0, y + 10.0, 2.0, 2.0),))
    one = score_video(tiny, lambda _: Finding(1.0), Evidence(1), 2.0)
    ((_, data, _),) = pictures([Scene(one, 0)], heat_scale([one]))
    picture = decoded(data)
    inside = picture[2 * y + 20 : 2 * y + 24, 2 * x + 20 : 2 * x + 24]
    assert inside[..., 2].min() > 200 > inside[..., 1].max()  # red as it was
    assert greens(picture) > 50


def test_heat_is_laid_over_the_place_it_belongs_to(tmp_path: Path) -> None:
    one = filmed(tmp_path / "v")
    ((_, _, data),) = pictures([Scene(one, 4)], heat_scale([one]))
    picture = decoded(data).astype(int)
    colourful = picture.max(axis=2) - picture.min(axis=2)
    cold, hot = colourful[:, : SIZE[1] - 40].mean(), colourful[:, SIZE[1] + 40 :].mean()
    assert hot > cold + 50


def test_frames_of_a_video_file_are_found_again_by_their_native_number(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", seconds=1)
    seen: dict[int, Picture] = {}

    def method(frame: object) -> Finding:
        seen[frame.index] = frame.image  # type: ignore[attr-defined]
        return Finding(1.0)

    one = score_video(Video("film", path, ((0, 3),)), method, Evidence(1), 10.0)
    for scene, data, _ in pictures([Scene(one, 7), Scene(one, 2)], heat_scale([one])):
        again = cv2.resize(decoded(data), (64, 48), interpolation=cv2.INTER_AREA)
        differences = {number: np.abs(again.astype(int) - image).mean() for number, image in seen.items()}
        assert min(differences, key=differences.__getitem__) == scene.frame


# Curves


@pytest.mark.parametrize("draw", [roc_svg, pr_svg])
@pytest.mark.parametrize("threshold", [None, -1.0, 3.0, 99.0])
def test_a_curve_is_an_svg_wherever_the_threshold_is(
    draw: Callable[[list[Scored], float | None], bytes], threshold: float | None
) -> None:
    svg = draw([scored([INFINITE, 1, 5, 4, 0], (2, 3))], threshold)
    assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_a_frame_without_evidence_ranks_below_all_others() -> None:
    truth, scores = pooled([scored([INFINITE, -3, 5], (2, 2), ignored=((1, 1),)), scored([-7])])
    assert truth.tolist() == [False, True, False]
    assert scores.tolist() == [-8, 5, -7]


def test_the_same_timeline_is_the_same_file_and_holds_no_name() -> None:
    one = scored([INFINITE, 1, 5, 4, 0], (2, 3), name="$x^{y", ignored=((4, 4),))
    assert timeline_svg(one, 3.0) == timeline_svg(one, 3.0)
    assert b"$x^{y" not in timeline_svg(one, 3.0)


def test_a_long_timeline_stays_small_and_keeps_its_one_alarm() -> None:
    scores = [0.0] * 100_000
    scores[70_001] = 50.0
    svg = timeline_svg(scored(scores), 3.0)
    assert len(svg) < 100_000
    assert b">40<" in svg  # the axis reaches it
    assert b">40<" not in timeline_svg(scored([0.0] * 100_000), 3.0)


def test_runs_are_first_and_last_places() -> None:
    assert list(runs(np.array([True, True, False, True]))) == [(0, 1), (3, 3)]
    assert list(runs(np.array([False]))) == []


# Words


def test_a_figure_is_shown_with_its_interval() -> None:
    assert shown(Figure(value=0.934, low=0.901, high=0.949)) == "0.93 (0.90-0.95)"
    assert shown(Figure(value=0.5)) == "0.50"
    assert shown(Figure(value=None)) == "-"
    assert shown_rate(Figure(value=495.4, low=133.2, high=1384.6)) == "495 (133-1385)"


def test_strict_and_legacy_figures_stand_in_columns_of_their_own() -> None:
    found = judge([scored([5, 1, 2], (0, 0), raw=[0, 1, 2]), scored([3, 4, 0], (1, 1), raw=[0, 9, 1])], 5.0)
    rows = {row.label: row for group in groups(found) for row in group.rows}
    auc = rows["AUC, all frames (micro)"]
    assert auc.strict == shown(found.strict.auc_micro, 3)
    assert auc.legacy == shown(found.legacy.auc_micro, 3)
    assert auc.strict != auc.legacy
    assert {row.label for row in rows.values() if row.legacy != "-"} == {
        "AUC, all frames (micro)",
        "AUC, mean of 2 videos (macro)",
    }


def test_events_are_listed_with_their_delay_or_as_missed() -> None:
    one = scored([0, 0, 6, 0, 0, 0, 0, 1, 1, 0], (1, 3), (7, 8))
    assert list(event_rows(one, 5.0)) == [
        EventRow("video", 1.0, 3.0, True, 1.0),
        EventRow("video", 7.0, 8.0, False, None),
    ]
    assert [row.detected for row in event_rows(one, None)] == [None, None]


# The page


class Reader(HTMLParser):
    """Tags, and every address that a browser would follow."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.attributes: set[str] = set()
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@cache
def an_evaluation() -> Evaluation:
    return evaluation_of(scored([0, 6, 0, 0, 0, 0, 9], (1, 2)))


def report_named(name: str) -> Report:
    names = dict.fromkeys(("bundle", "data_set", "layout", "note", "variant"), name)
    return Report(
        evaluation=an_evaluation().model_copy(update=names),
        roc="pictures/roc.svg",
        pr="pictures/pr.svg",
        events=(EventRow(name, 1.0, 2.0, True, 0.5), EventRow(name, 1.0, 2.0, False, None)),
        misses=(Exhibit(name, 2, 2.0, 0.0, "pictures/miss-01.jpg", None),),
        false_alarms=(Exhibit(name, 6, 6.0, 9.0, "pictures/false-01.jpg", "pictures/false-01-heat.jpg"),),
        timelines=(Timeline(name, "pictures/video-001.svg"),),
    )


@settings(deadline=None)
@given(st.text().map(lambda name: name + "<b onclick=x>\"'&amp;<script src=//evil>"))
def test_no_name_becomes_a_tag_an_attribute_or_an_address(name: str) -> None:
    hostile, harmless = Reader(page(report_named(name))), Reader(page(report_named("v")))
    assert hostile.tags == harmless.tags
    assert hostile.addresses == harmless.addresses
    assert hostile.attributes == harmless.attributes
    assert plain(name) in "".join(hostile.words)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(categories=["Cc", "Cf", "Cs", "Lu"])))
def test_no_name_hides_signs_that_rearrange_the_page_or_break_its_coding(name: str) -> None:
    report = report_named("v")
    odd = Report(
        **{**{f: getattr(report, f) for f in report.__slots__}, "timelines": (Timeline(name, "p.svg"),)}
    )
    written = page(odd).encode().decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", written)


def test_the_page_refers_to_nothing_outside_its_folder_and_runs_nothing() -> None:
    document = page(report_named("v"))
    reader = Reader(document)
    assert "script" not in reader.tags
    assert [
        a for a in reader.addresses if not re.fullmatch(r"#[a-z]+|pictures/[a-z0-9.-]+|evaluation\.json", a)
    ] == []
    assert not re.search(r"https?:|url\(|@import|//[a-z]", document)
    anchors = {address[1:] for address in reader.addresses if address.startswith("#")}
    assert anchors <= set(re.findall(r'id="([a-z]+)"', document))


def test_the_four_figures_of_the_top_come_first() -> None:
    words = page(report_named("v"))
    places = [
        words.index(label)
        for label in ("Strict AUC", "Events found", "False alarms per hour", "Median delay")
    ]
    assert places == sorted(places)
    assert places[-1] < words.index("All figures</h2>")


def test_too_little_footage_to_check_the_rate_is_said() -> None:
    assert "too little to tell" in page(report_named("v"))
    calm = scored([0] * 20_000 + [9], (20_000, 20_000))
    quiet = Report(evaluation_of(calm), "r.svg", "p.svg", (), (), (), ())
    assert "too little to tell" not in page(quiet)
    assert "No abnormal frames that raised no alarm." in page(quiet)


# The folder


def test_the_folder_holds_everything_that_its_page_refers_to(tmp_path: Path) -> None:
    one = filmed(tmp_path / "<v & co>", "......XX......")
    folder = ReportFolder(tmp_path / "report")
    folder.check(force=False)
    told: list[int] = []
    index = write_report(folder, evaluation_of(one), [one], 4, lambda: told.append(1))
    addresses = [a for a in Reader(index.read_text()).addresses if not a.startswith("#")]
    assert [a for a in addresses if not (index.parent / a).is_file()] == []
    inside = {f"pictures/{path.name}" for path in (tmp_path / "report" / "pictures").iterdir()}
    assert inside == {a for a in addresses if a.startswith("pictures/")}
    assert {"pictures/false-01.jpg", "pictures/false-01-heat.jpg", "pictures/roc.svg"} <= inside
    assert len(told) == len([name for name in inside if "false-" in name]) / 2 + 1
    assert is_evaluation(tmp_path / "report" / "evaluation.json")


def test_a_bundle_without_threshold_gets_a_report_without_alarms(tmp_path: Path) -> None:
    one = filmed(tmp_path / "v")
    folder = ReportFolder(tmp_path / "report")
    folder.check(force=False)
    words = write_report(folder, evaluation_of(one, threshold=None), [one], 4).read_text()
    assert "Strict AUC" in words


def test_an_earlier_report_is_replaced_with_all_its_pictures(tmp_path: Path) -> None:
    one = filmed(tmp_path / "v", "......XX......")
    folder = ReportFolder(tmp_path / "report")
    for worst in (4, 0):
        folder.check(force=False)
        write_report(folder, evaluation_of(one), [one], worst)
    assert not list((tmp_path / "report" / "pictures").glob("false-*"))


def test_a_folder_with_other_things_is_refused_and_left_alone_when_forced(tmp_path: Path) -> None:
    mine = tmp_path / "holiday.jpg"
    mine.write_bytes(b"x")
    with pytest.raises(UsageError, match=r"holds other things already; .* --force"):
        ReportFolder(tmp_path).check(force=False)
    assert list(tmp_path.iterdir()) == [mine]
    ReportFolder(tmp_path).check(force=True)
    ReportFolder(tmp_path).clear()
    assert mine.read_bytes() == b"x"


def test_a_report_that_was_cut_off_is_ours(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path / "report")
    folder.check(force=False)
    folder.picture("roc.svg", b"x")
    folder.check(force=False)


def test_a_folder_of_pictures_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match="holds other things"):
        ReportFolder(tmp_path).check(force=False)


def test_a_file_as_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        ReportFolder(tmp_path / "x").check(force=True)
    with pytest.raises(UsageError, match="cannot be written"):
        ReportFolder(tmp_path / "x" / "y").check(force=True)


def test_the_json_reads_back_as_the_evaluation(tmp_path: Path) -> None:
    evaluation = evaluation_of(scored([0, 9, 1], (1, 1)))
    assert Evaluation.model_validate_json(json_of(evaluation)) == evaluation
