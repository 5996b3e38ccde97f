"""Ped2's clips as bags: what labels of whole videos teach on a camera that stands still.

    python benchmarks/ped2_bags.py UCSD_PED2 --extractor mobilenet_v2_features.onnx --features CACHE

The twelve test clips are anomalous videos, the sixteen training clips normal ones; four parts by clip are
tested in turn. Most test clips are abnormal for most of their time and everything is one camera: a second
check that the path learns, no figure to hold against methods that see no anomaly while they learn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.contest import spread
from benchmarks.mil_scores import Trained, offline, streaming, trained
from edge.clips import ExtractorSpec
from edge.errors import SkerryError, UsageError
from edge.progress import progress
from export.extractors import Asked, open_extractor
from train.bags import Bag, Bools, Floats, clip_truth, folds, frame_scores
from train.evaluation.frames import micro_auc
from train.evaluation.readers import read_data_set
from train.evaluation.truth import DataSet
from train.feature_files import read_features
from train.features import Extractor, extract_all, plan
from train.mil_recipes import mil_recipe

FPS = 10.0  # the set's own: one picture of the extractor for each frame
PARTS = 4


@dataclass(frozen=True, eq=False)
class Clip:
    """A bag and the truth of its frames."""

    bag: Bag
    frames: Bools


def main(
    folder: Annotated[Path, typer.Argument(help="Ped2 as skerry evaluate reads it.", metavar="UCSD_PED2")],
    extractor: Annotated[Path, typer.Option(help="ONNX of what makes features of pictures.")],
    features: Annotated[Path, typer.Option(help="Folder in which features are kept.")],
    recipes: Annotated[str, typer.Option(help="Names, with commas between.")] = "discriminant,faithful",
    epochs: Annotated[int | None, typer.Option(help="Of 100 steps; else the recipe's own.")] = None,
    seed: Annotated[int, typer.Option(help="Of parts and training.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure.")] = None,
) -> None:
    """Frame AUC on parts of Ped2 that a head did not learn from."""
    console = Console(width=120)
    try:
        asked = Asked(fps=FPS, frames=8, stride=2, pooling="mean-change")
        clips, spec = read_clips(read_data_set(folder), open_extractor(extractor, asked=asked), features)
        found = {}
        for name in recipes.split(","):
            with progress(name) as tell:
                found[name] = [
                    (tell(part, PARTS), tested(name, clips, part, spec, epochs, seed))[1]
                    for part in range(PARTS)
                ]
    except SkerryError as error:
        console.print(f"ped2_bags: {error}", style="red", markup=False)
        raise typer.Exit(error.exit_code) from None
    console.print(table(found))
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=1) + "\n")


def read_clips(data: DataSet, extractor: Extractor, out: Path) -> tuple[list[Clip], ExtractorSpec]:
    """Raises UsageError where a recording has no features."""
    spans = {video.path.absolute(): video for video in data.videos}
    jobs, _ = plan([*spans, *data.normal], out / f"{data.name}-{FPS:g}fps")
    found = []
    with progress(f"features of {extractor.name}") as tell:
        for done, outcome in enumerate(extract_all(jobs, extractor, FPS), 1):
            tell(done, len(jobs))
            if outcome.state == "failed":
                raise UsageError(outcome.says)
    for job in jobs:
        features = read_features(job.out)
        video, count = spans.get(job.recording), features.frames or 0
        truth = np.zeros(count, bool) if video is None else video.labels(count)
        clips = clip_truth(truth, extractor.spec)
        found.append(Clip(Bag(job.name, features.features, video is not None, (job.name,), clips), truth))
    return found, extractor.spec


def tested(
    name: str, clips: Sequence[Clip], part: int, spec: ExtractorSpec, epochs: int | None, seed: int
) -> dict[str, float | None]:
    """Figures of one part, whose clips were not learnt from."""
    parts = folds([clip.bag for clip in clips], PARTS, seed)
    rest = [bag for place, bags in enumerate(parts) if place != part for bag in bags]
    recipe = mil_recipe(name, seed=seed, epochs=None if name == "discriminant" else epochs)
    head = trained(recipe, rest, spec)
    names = {bag.name for bag in parts[part]}
    held = [clip for clip in clips if clip.bag.name in names]
    inside = [clip for clip in held if clip.bag.anomalous]
    return {
        "frame AUC, offline": _auc(head, held, causal=False),
        "frame AUC, streaming": _auc(head, held, causal=True),
        "of abnormal clips alone, streaming": _auc(head, inside, causal=True),
    }


def _auc(head: Trained, clips: Sequence[Clip], causal: bool) -> float | None:
    of = streaming if causal else offline
    scores: list[Floats] = [
        frame_scores(of(head, clip.bag), head.spec.extractor, len(clip.frames), causal=causal)
        for clip in clips
    ]
    return micro_auc(np.concatenate(scores), np.concatenate([clip.frames for clip in clips]))


def table(found: dict[str, list[dict[str, float | None]]]) -> Table:
    columns = list(next(iter(found.values()))[0])
    made = Table("", *columns, box=None, pad_edge=False)
    for name, parts in found.items():
        both = [spread(part[column] for part in parts) for column in columns]
        made.add_row(name, *("-" if one is None else f"{one[0]:.3f} ± {one[1]:.3f}" for one in both))
    return made


if __name__ == "__main__":
    typer.run(main)
