"""Which videos are bags, and of which class: folders of features, or a list with labels.

A line of a list is a path, and a label unless the path says `Normal` (as UCF-Crime's lists do):

    Abuse/Abuse001_x264.mp4
    Training_Normal_Videos_Anomaly/Normal_Videos003_x264.mp4
    patrol/monday.npz normal
    patrol/tuesday.npz anomalous quay        (a third word: the source, where several videos share one)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.clips import ExtractorSpec
from edge.errors import UsageError
from train.bags import Bag, Part, check_classes, check_widths, split
from train.feature_files import FEATURE_SUFFIXES, FeatureVideo, find_features, read_features
from train.footage import Clip, Splits, content_digest

_LABELS = {"normal": False, "0": False, "anomalous": True, "abnormal": True, "1": True}
UNKNOWN = "0" * 64  # digest of an extractor that nobody named
Read = Callable[[Path], FeatureVideo]


@dataclass(frozen=True)
class Entry:
    """One video named: where its features are, its label, its source."""

    path: Path
    anomalous: bool
    source: str


@dataclass(frozen=True, eq=False)
class Loaded:
    bag: Bag
    entry: Entry
    video: FeatureVideo


def entries_in(paths: Iterable[Path], anomalous: bool) -> list[Entry]:
    """Feature files in folders; each is a source of its own."""
    return [Entry(path, anomalous, str(path.absolute())) for path in find_features(paths)]


def each_once(entries: Sequence[Entry]) -> list[Entry]:
    """Raises UsageError where one file is given twice: no video is of both classes, or counts double."""
    seen: dict[Path, Entry] = {}
    for entry in entries:
        first = seen.setdefault(entry.path.resolve(), entry)
        if first is not entry:
            both = "as normal and as anomalous" if first.anomalous is not entry.anomalous else "twice"
            raise UsageError(f"{entry.path} is given {both}; name each video once")
    return list(entries)


def listed(table: Path, below: Path | None) -> list[Entry]:
    """What a list names, looked for below `below` or beside the list. Raises UsageError."""
    root = below or table.absolute().parent
    if not root.is_dir():
        raise UsageError(f"{root}, where the features of {table} should be, is no folder")
    there = _by_stem(root)
    lines = lines_of(table)
    found = [_found(words[0], root, there, f"{table}, line {number}") for number, words in lines]
    _none_missing(table, root, [words[0] for (_, words), path in zip(lines, found, strict=True) if not path])
    return [
        _entry(words, path, f"{table}, line {number}")
        for (number, words), path in zip(lines, found, strict=True)
        if path is not None
    ]


def listed_recordings(table: Path, below: Path | None) -> tuple[Path, list[Path]]:
    """(the folder that a list's paths are below, the recordings that it names). Raises UsageError."""
    root = below or table.absolute().parent
    names = [words[0] for _, words in lines_of(table)]
    missing = [name for name in names if not _there(root / name)]
    if missing:
        raise UsageError(
            f"{table} names recordings that are not below {root}: {_some(missing)}; "
            "name the folder that they are below by --videos"
        )
    return root, [root / name for name in names]


def lines_of(table: Path) -> list[tuple[int, list[str]]]:
    """The words of each line that has any, and its number. Raises UsageError."""
    try:
        lines = table.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"the list {table} cannot be read: {reason}") from None
    named = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    if not named:
        raise UsageError(f"the list {table} names no video; write a path and a label on each line")
    return named


def _entry(words: Sequence[str], path: Path, place: str) -> Entry:
    if len(words) > 3 or (len(words) > 1 and words[1].lower() not in _LABELS):
        raise UsageError(f"{place}: after the path comes normal or anomalous, then perhaps its source")
    anomalous = _LABELS[words[1].lower()] if len(words) > 1 else "normal" not in words[0].lower()
    return Entry(path, anomalous, words[2] if len(words) > 2 else str(path.absolute()))


def _by_stem(root: Path) -> Mapping[str, list[Path]]:
    """Features below a folder by the name of their video, with and without what extractors append."""
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in FEATURE_SUFFIXES and path.is_file():
            for stem in {path.stem, path.stem.removesuffix("_i3d"), path.stem.removesuffix("_c3d")}:
                found.setdefault(stem, []).append(path)
    return found


def _found(name: str, root: Path, there: Mapping[str, Sequence[Path]], place: str) -> Path | None:
    """The file named, else the features of the video that is named. Raises UsageError where that is open."""
    direct = root / name
    if direct.suffix.lower() in FEATURE_SUFFIXES and _there(direct):
        return direct
    beside = [direct.with_name(f"{direct.stem}{suffix}") for suffix in FEATURE_SUFFIXES if direct.name]
    exact = next((path for path in beside if _there(path)), None)
    candidates = there.get(Path(name).stem, [])
    near = [path for path in candidates if path.parent.name == Path(name).parent.name]
    if exact is None and len(candidates) > 1 and len(near) != 1:
        raise UsageError(f"{place}: {name} may be {candidates[0]} or {candidates[1]}; name the file itself")
    return exact or next(iter(near if len(near) == 1 else candidates), None)


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or one that no file can have
        return False


def _none_missing(table: Path, root: Path, missing: Sequence[str]) -> None:
    if missing:
        raise UsageError(
            f"{table} names videos whose features are not below {root}: {_some(missing)}; "
            "make them by `skerry features`, or name their folder by --features"
        )


def _some(missing: Sequence[str]) -> str:
    return ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")


def load(entries: Sequence[Entry], on_video: Callable[[str], None] = lambda _: None) -> list[Loaded]:
    """Read them all. Raises UsageError (FeatureError) for the first that cannot be used."""
    loaded = []
    for entry in entries:
        video = read_features(entry.path)
        on_video(video.name)
        loaded.append(Loaded(Bag(video.name, video.features, entry.anomalous, (entry.source,)), entry, video))
    return loaded


def one_extractor(loaded: Sequence[Loaded], given: ExtractorSpec | None) -> ExtractorSpec:
    """By which all features were made; `given` for files that do not say. Raises UsageError."""
    width = check_widths([each.bag for each in loaded])
    said: dict[ExtractorSpec, Loaded] = {}
    for each in loaded:
        if each.video.extractor is not None:
            said.setdefault(each.video.extractor, each)
    if len(said) > 1:
        first, other, *_ = said.values()
        raise UsageError(
            f"{first.entry.path} and {other.entry.path} were made by different extractors or clips; "
            "make all of them by one"
        )
    if said:
        return next(iter(said))
    return given or ExtractorSpec(sees="clip", frames=16, stride=16, fps=30, width=width, sha256=UNKNOWN)


def split_up(
    loaded: Sequence[Loaded], extractor: ExtractorSpec, seed: int
) -> tuple[Splits, dict[Part, list[Bag]]]:
    """By source, and what the checkpoint keeps of it. Raises UsageError where a class is absent."""
    bags = [each.bag for each in loaded]
    check_classes(bags, "these videos")
    parts = split(bags, seed)
    entries = {id(each.bag): each.entry for each in loaded}
    clips = {name: tuple(_clip(bag, entries[id(bag)]) for bag in part) for name, part in parts.items()}
    digests = sorted(f"{clip.sha256} {clip.label}" for part in clips.values() for clip in part)
    splits = Splits(
        rule="sources",
        fps=extractor.fps / extractor.stride,
        folder_fps=extractor.fps,
        data_sha256=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        train=clips["train"],
        validation=clips["validation"],
        test=clips["test"],
    )
    return splits, parts


def _clip(bag: Bag, entry: Entry) -> Clip:
    return Clip(
        name=bag.name,
        path=str(entry.path.absolute()),
        sha256=content_digest(entry.path),
        start=0,
        stop=bag.clips,
        label="anomalous" if bag.anomalous else "normal",
        source=entry.source,
    )


def again(clips: Iterable[Clip]) -> Iterator[Loaded]:
    """The bags that a checkpoint names. Raises UsageError where one is gone or is another."""
    for clip in clips:
        path = Path(clip.path)
        if not path.is_file() or content_digest(path) != clip.sha256:
            raise UsageError(f"{path}, which the head was trained beside, is gone or changed")
        yield from load([Entry(path, clip.label == "anomalous", clip.source)])
