"""UCF-Crime's frame AUC from features that somebody else made: to stand beside 75.41 (C3D) and 77.92 (I3D).

    python benchmarks/ucf_crime.py FEATURES --train Anomaly_Train.txt
                                   --annotation Temporal_Anomaly_Annotation_for_Testing_Videos.txt
                                   [--lengths FILE] [--recipe faithful] [--json FILE]

FEATURES holds, anywhere below it, a file for each video, named after it (Abuse028_x264.npy, perhaps with _i3d
or _c3d behind): .npy of snippets x width, with an axis of crops or without, a snippet for each 16 frames; or
.txt of 32 segments x 4096. The training list is the set's own: a path in each line, normal where it says so.

What is true of a frame is rebuilt for each video from the annotation and the video's own number of snippets,
never read from the arrays that circulate. With --lengths, lines of a video's name and its frames, the number
of snippets is checked against it, the last score goes on to the last frame, and segments can be used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.mil_scores import Trained, offline, streaming, trained
from edge.errors import FootageError, SkerryError, UsageError
from edge.progress import progress
from train.bag_files import listed, load, one_extractor
from train.bags import SEGMENTS, Bag, Bools, Floats, check_classes, spread
from train.evaluation.frames import micro_auc
from train.evaluation.layouts.ucf_crime import annotations_of
from train.evaluation.truth import Interval, Video
from train.feature_files import find_features, read_features
from train.mil_recipes import mil_recipe

SNIPPET = 16  # frames
PUBLISHED = {"C3D": 75.41, "I3D": 77.92}
_NAMED = 3  # missing videos that a sentence names


@dataclass(frozen=True, eq=False)
class Tested:
    """A test video: a truth and a score for each frame; `streaming` None where its features are segments."""

    name: str
    truth: Bools
    offline: Floats
    streaming: Floats | None

    def __post_init__(self) -> None:
        scores = [self.offline, *(() if self.streaming is None else (self.streaming,))]
        if any(len(one) != len(self.truth) for one in scores):
            raise ValueError(f"{self.name}: scores and truth differ in length")


def main(
    features: Annotated[Path, typer.Argument(help="Folder of features.", metavar="FEATURES")],
    annotation: Annotated[Path, typer.Option(help="Temporal_Anomaly_Annotation*.txt of the test videos.")],
    train: Annotated[Path, typer.Option(help="List of the training videos.")],
    lengths: Annotated[Path | None, typer.Option(help="Lines of a video's name and its frames.")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Test what is there of the test videos.")
    ] = False,
    recipe: Annotated[str, typer.Option(help="As for skerry train mil.")] = "faithful",
    epochs: Annotated[int | None, typer.Option(help="Of 100 steps; else the recipe's own.")] = None,
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Train on UCF-Crime's lists, test against its annotation: one frame AUC."""
    console = Console()
    try:
        wanted = mil_recipe(recipe, epochs=epochs, seed=seed)
        told = _annotated(annotation)
        files = _chosen(features, told, partial)
        frames = {} if lengths is None else read_lengths(lengths)
        loaded = load(listed(train, features))
        bags = [each.bag for each in loaded]
        check_classes(bags, f"those of {train}")
        with progress("training") as tell:
            steps = iter(range(1, wanted.epochs * wanted.STEPS + 1))
            head = trained(wanted, bags, one_extractor(loaded, None), lambda: tell(next(steps)))
        with progress("testing") as tell:
            tested = []
            for done, (name, path) in enumerate(files.items(), 1):
                tested.append(tested_video(head, name, path, told[name], frames.get(name)))
                tell(done, len(files))
        found = summary(tested, len(told))
    except SkerryError as error:
        console.print(f"ucf_crime: {error}", style="red", markup=False)
        raise typer.Exit(error.exit_code) from None
    for line in sentences(found):
        console.print(line, highlight=False)
    if json_file is not None:
        json_file.write_text(json.dumps({"recipe": wanted.model_dump(), **found}, indent=1) + "\n")


def _annotated(path: Path) -> dict[str, tuple[Interval, ...]]:
    try:
        return annotations_of(path.read_text("utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"the annotation {path} cannot be read: {reason}") from None


def _chosen(folder: Path, told: Mapping[str, object], partial: bool) -> dict[str, Path]:
    """Features of the annotated videos. Raises UsageError where some are missing, unless that is allowed."""
    there: dict[str, Path] = {}
    for path in find_features([folder]):
        for name in (path.stem, path.stem.removesuffix("_i3d"), path.stem.removesuffix("_c3d")):
            there.setdefault(name, path)
    missing = [name for name in told if name not in there]
    if len(missing) == len(told) or (missing and not partial):
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise UsageError(
            f"{len(missing)} of the {len(told)} annotated videos have no features below {folder}: "
            f"{', '.join(missing[:_NAMED])}{more}; add them, or test the others with --partial"
        )
    return {name: there[name] for name in told if name in there}


def read_lengths(path: Path) -> dict[str, int]:
    """Video's name without suffix -> frames. Raises UsageError."""
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
        found = {Path(name).stem: int(count) for name, count in rows}
    except (OSError, ValueError):
        raise UsageError(f"{path} must hold a video's name and its number of frames in each line") from None
    if any(count < 1 for count in found.values()):
        raise UsageError(f"{path} holds a video of no frames")
    return found


def tested_video(
    head: Trained, name: str, path: Path, spans: tuple[Interval, ...], frames: int | None
) -> Tested:
    """Raises UsageError where features, length and annotation do not belong together."""
    bag = Bag(name, read_features(path).features, bool(spans), (name,))
    if path.suffix.lower() == ".txt" and bag.clips == SEGMENTS:
        return _of_segments(head, bag, path, spans, frames)
    count = _frames_of(bag, path, frames)
    scores = (_per_frame(of(head, bag), count) for of in (offline, streaming))
    return Tested(name, _truth(bag, path, spans, count), *scores)


def _of_segments(
    head: Trained, bag: Bag, path: Path, spans: tuple[Interval, ...], frames: int | None
) -> Tested:
    if frames is None:
        raise UsageError(
            f"{path} holds {SEGMENTS} segments, which do not tell how long {bag.name} is; give --lengths"
        )
    clips = max(1, frames // SNIPPET)
    scores = _per_frame(spread(offline(head, bag), clips), frames)
    return Tested(bag.name, _truth(bag, path, spans, frames), scores, None)


def _frames_of(bag: Bag, path: Path, frames: int | None) -> int:
    """What the snippets cover, or the whole video where its length is told. Some extractors leave the last
    snippet out, or fill it up."""
    if frames is None:
        return bag.clips * SNIPPET
    whole = frames // SNIPPET
    if abs(bag.clips - whole) > 1:
        raise UsageError(
            f"{path} has {bag.clips} snippets, but {bag.name} has {frames} frames, which make {whole}; "
            "they do not belong together"
        )
    return frames


def _per_frame(scores: Floats, frames: int) -> Floats:
    """A snippet's score for each of its frames, the last one's to the end."""
    return scores[np.minimum(np.arange(frames) // SNIPPET, len(scores) - 1)]


def _truth(bag: Bag, path: Path, spans: tuple[Interval, ...], frames: int) -> Bools:
    try:
        return Video(bag.name, path, spans, open_end=True).labels(frames)
    except FootageError as error:
        raise UsageError(str(error)) from None


def summary(tested: Sequence[Tested], annotated: int) -> dict[str, object]:
    truth = np.concatenate([one.truth for one in tested])
    flown = [one for one in tested if one.streaming is not None]
    return {
        "videos": len(tested),
        "annotated": annotated,
        "frames": len(truth),
        "abnormal_frames": int(truth.sum()),
        "frame_auc": micro_auc(np.concatenate([one.offline for one in tested]), truth),
        "frame_auc_streaming": _streaming_auc(flown) if len(flown) == len(tested) else None,
        "published": PUBLISHED,
    }


def _streaming_auc(tested: Sequence[Tested]) -> float | None:
    scores = [one.streaming for one in tested if one.streaming is not None]
    return micro_auc(np.concatenate(scores), np.concatenate([one.truth for one in tested]))


def sentences(found: Mapping[str, object]) -> list[str]:
    """For a person."""
    which = "all" if found["videos"] == found["annotated"] else f"only {found['videos']} of the"
    auc, flown = found["frame_auc"], found["frame_auc_streaming"]
    return [
        f"{which} {found['annotated']} annotated videos, {found['frames']} frames, "
        f"{found['abnormal_frames']} abnormal, truth rebuilt per video",
        f"frame AUC {_percent(auc)} (published: {', '.join(f'{k} {v}' for k, v in PUBLISHED.items())})",
        f"as a stream, without looking ahead: {_percent(flown)}",
    ]


def _percent(value: object) -> str:
    return f"{100 * value:.2f}" if isinstance(value, float) else "-"


if __name__ == "__main__":
    typer.run(main)
