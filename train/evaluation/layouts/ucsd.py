"""UCSD Pedestrian Ped1 and Ped2, as published or tidied.

    Train/Train001/001.tif   Test/Test001/001.tif   Test/Test001_gt/001.bmp   Test/UCSDped2.m
    training/frames/01/000.jpg   testing/frames/01/000.jpg   testing/masks/01/000.png   frame_labels.json

Both give intervals from 1, both ends included. Ped1 was published with masks for ten test clips only.
"""

from __future__ import annotations

import re
from pathlib import Path

from edge.errors import FootageError
from train.evaluation.layouts.clips import clips, files, first_of, folders, frame_count, pictures
from train.evaluation.layouts.layout import STATIC, Layout, missing
from train.evaluation.layouts.masks import PictureMasks, check_masks, mask_regions
from train.evaluation.layouts.outside import Record, read_json, read_text
from train.evaluation.layouts.spans import interval, joined
from train.evaluation.truth import DataSet, Interval, Video

FPS = 10.0
_ENTRY = re.compile(r"TestVideoFile\s*\{[^}\n]*\}\s*\.\s*gt_frame\s*=\s*\[([^\]]*)\]")
_RANGE = re.compile(r"([0-9]{1,8})(?:\s*:\s*([0-9]{1,8}))?")
_CLIPS = {36: "Ped1", 12: "Ped2"}  # test clips as published


class _FrameLabels(Record):
    intervals: dict[str, list[tuple[int, int]]]


def recognises(root: Path) -> bool:
    return bool(_published_tests(root)) or (root / "frame_labels.json").is_file() or bool(_parts(root))


def read(root: Path) -> DataSet:
    if parts := _parts(root):
        raise FootageError(f"{root} holds {len(parts)} data sets; name one of them, such as {parts[0]}.")
    if (root / "frame_labels.json").is_file():
        return _tidied(root)
    if _published_tests(root):
        return _published(root)
    raise missing(
        "ucsd", "Test/Test001/*.tif with Test/UCSDped2.m, or testing/frames with frame_labels.json", root
    )


def _parts(root: Path) -> list[Path]:
    """The sets inside the archive's top folder."""
    return [path for path in folders(root) if re.fullmatch("UCSDped[12]", path.name)]


def _published_tests(root: Path) -> list[Path]:
    return [path for path in clips(root / "Test") if re.fullmatch(r"Test[0-9]{3}", path.name)]


def _published(root: Path) -> DataSet:
    tests = _published_tests(root)
    tables = files(root / "Test", ".m")
    if len(tables) != 1:
        raise missing("ucsd", "one .m file with the intervals (UCSDped1.m or UCSDped2.m)", root / "Test")
    intervals = intervals_of(read_text(tables[0]), tables[0])
    if len(intervals) != len(tests):
        raise FootageError(
            f"{tables[0]} tells of {len(intervals)} test clips, {root / 'Test'} holds {len(tests)}; "
            "copy the test clips again."
        )
    videos = tuple(
        _video(test, pictures(test.with_name(f"{test.name}_gt")), spans)
        for test, spans in zip(tests, intervals, strict=True)
    )
    return DataSet(root.name, "ucsd", videos, tuple(clips(root / "Train")), _note(videos))


def intervals_of(text: str, path: Path) -> list[tuple[Interval, ...]]:
    """MATLAB's `TestVideoFile{end+1}.gt_frame = [5:90, 140:200];`, one per test clip, as intervals from 0."""
    code = re.sub(r"%[^\n]*", "", text)
    return [_spans(entry, path) for entry in _ENTRY.findall(code)]


def _spans(entry: str, path: Path) -> tuple[Interval, ...]:
    if _RANGE.sub("", entry).strip(" ,;\t\r\n."):
        raise FootageError(f"{path}: [{entry[:40]}] is no list of frame ranges such as [61:180].")
    pairs = ((int(first), int(last or first)) for first, last in _RANGE.findall(entry))
    return joined(interval(first - 1, last - 1, str(path)) for first, last in pairs)


def _tidied(root: Path) -> DataSet:
    labels = root / "frame_labels.json"
    told = read_json(labels, _FrameLabels).intervals
    tests = clips(root / "testing" / "frames")
    if not tests or {test.name for test in tests} != set(told):
        raise FootageError(
            f"{labels} names {len(told)} test clips, {root / 'testing' / 'frames'} holds {len(tests)}, "
            "and they must be the same; copy the set again."
        )
    videos = tuple(_video(test, _masks_of(test), _from_one(told[test.name], labels)) for test in tests)
    train = first_of(root, "training/frames")
    return DataSet(root.name, "ucsd", videos, tuple(clips(train)) if train else (), _note(videos))


def _note(videos: tuple[Video, ...]) -> str:
    which = _CLIPS.get(len(videos), "neither Ped1 nor Ped2 as published")
    masked = sum(video.mask is not None for video in videos)
    return (
        f"UCSD Pedestrian, {len(videos)} test clips ({which}), official frame intervals, "
        f"masks for {masked}. {STATIC}"
    )


def _masks_of(test: Path) -> list[Path]:
    return pictures(test.parent.with_name("masks") / test.name)


def _from_one(pairs: list[tuple[int, int]], path: Path) -> tuple[Interval, ...]:
    return joined(interval(first - 1, last - 1, str(path)) for first, last in pairs)


def _video(clip: Path, masks: list[Path], abnormal: tuple[Interval, ...]) -> Video:
    count = frame_count(clip)
    if not masks:
        return Video(clip.name, clip, abnormal, frames=count, folder_fps=FPS)
    mask = PictureMasks(tuple(masks))
    check_masks(mask, clip)
    return Video(clip.name, clip, abnormal, (), mask_regions(mask), mask, count, FPS)


LAYOUT = Layout("ucsd", "Test/Test001 or frame_labels.json", recognises, read)
