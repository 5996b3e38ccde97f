"""Whether a lamp that is switched raises a score: quiet clips, each shown twice with the change between.

    python benchmarks/lamps.py FIGHT_SURV --extractor mobilenet_v2_features.onnx --features CACHE

A sixth of the source videos is held out: a head (`small`, four epochs) learns from the others' clips, each a
video of its own. The threshold is the largest logit of the same streams without a change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.fight_bags import sources
from benchmarks.fights import ground
from benchmarks.mil_scores import Trained, told, trained
from edge.bundle import Manifest, ModelBundle, Scoring, write_bundle
from edge.clip_detector import ClipStream, clip_of
from edge.clock import SystemClock
from edge.errors import SkerryError
from edge.frames import Frame, Picture
from edge.light import LightGuard
from edge.observer import Stopwatch
from edge.progress import progress
from edge.recordings import open_recording, sampled
from edge.runtimes import OnnxRuntime
from export.extractors import Asked, open_extractor
from export.heads import head_onnx
from export.held_out import shrunk
from train.bags import Bag, folds
from train.evaluation.frames import micro_auc
from train.features import Extractor
from train.mil_recipes import mil_recipe

HELD_OUT = 6  # parts of the sources, of which one
STEADY = (1.0, 1.0)
CHANGES = {  # what pixels are multiplied by, before and after
    "lamp off (0.35)": (1.0, 0.35),
    "on again": (0.35, 1.0),
    "exposure 1.5": (1.0, 1.5),
    "nearly dark (0.15)": (1.0, 0.15),
}
FORMS = {"newly over": "{:.0f}", "video AUC": "{:.3f}"}


class Blind(LightGuard):
    def stepped(self, image: Picture) -> bool:
        return False


class Unguarded(ClipStream):
    """As in flight, but for the guard."""

    def _restart(self, stream_s: float | None = None) -> None:
        super()._restart(stream_s)
        self._guard = Blind()


def main(
    folder: Annotated[
        Path, typer.Argument(help="The set: fight/, noFight/, videos.txt.", metavar="FIGHT_SURV")
    ],
    extractor: Annotated[Path, typer.Option(help="ONNX of what makes features of pictures.")],
    features: Annotated[Path, typer.Option(help="Folder in which features are kept.")],
    streams: Annotated[int, typer.Option(min=1, help="Quiet clips to switch lamps over.")] = 10,
    epochs: Annotated[int, typer.Option(min=1, help="Of 100 steps.")] = 4,
    seed: Annotated[int, typer.Option(help="Of parts and training.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure.")] = None,
) -> None:
    """The rise of each stream's largest logit by changes of light, with and without guard and levelling."""
    console = Console(width=150)
    recipe = mil_recipe("small", epochs=epochs, seed=seed)
    found: dict[str, dict[str, float]] = {}
    try:
        known = sources(folder / "videos.txt")
        for level in (False, True):
            made = open_extractor(extractor, asked=Asked(level=level))
            out = features / (extractor.stem + ("-levelled" if level else ""))
            clips = [clip for clip in ground(folder, made, out, known).clips if clip.clips]
            held, *others = folds(clips, HELD_OUT, seed)
            learnt = trained(recipe, [clip for part in others for clip in part], made.spec)
            names = [clip.name for clip in held if not clip.anomalous][:streams]
            shown = [list(pictures(folder / "noFight" / f"{name}.mp4", made)) for name in names]
            auc = {"video AUC": video_auc(learnt, held)}
            with TemporaryDirectory() as temporary:
                bundle = flown(learnt, made, Path(temporary) / "bundle")
                for name, kind in (("nothing", Unguarded), ("guard", ClipStream)):
                    row = f"{name}, levelled" if level else name
                    found[row] = {**rises(row, bundle, shown, kind), **auc}
    except SkerryError as error:
        console.print(f"lamps: {error}", style="red", markup=False)
        raise typer.Exit(error.exit_code) from None
    console.print(table(found))
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=1) + "\n")


def flown(learnt: Trained, extractor: Extractor, folder: Path) -> ModelBundle:
    """What `skerry export` would make of the head, unchecked."""
    manifest = Manifest(
        name="lamps",
        kind="clip",
        created=SystemClock().utc(),
        input=extractor.picture,
        scoring=Scoring(persistence=1),
        clip=learnt.spec,
        variants={"fp32": "model.fp32.onnx"},
        files={},
    )
    head = head_onnx(learnt.head, learnt.spec)
    return write_bundle(folder, manifest, {"model.fp32.onnx": extractor.model, "head.fp32.onnx": head})


def pictures(path: Path, extractor: Extractor) -> Iterator[Picture]:
    """At the extractor's rate and size."""
    with open_recording(path) as recording:
        for frame in sampled(recording, extractor.spec.fps):
            yield shrunk(frame.image, extractor.picture)


def switched(shown: Sequence[Picture], gains: tuple[float, float]) -> list[Picture]:
    """Twice over, so that a clip is complete before the change and after it."""
    return [
        np.clip(one.astype(np.float32) * gain, 0, 255).astype(np.uint8) for gain in gains for one in shown
    ]


def peak(bundle: ModelBundle, shown: Sequence[Picture], kind: type[ClipStream] = ClipStream) -> float:
    """The largest logit of a flight that sees these."""
    fps, clock = clip_of(bundle).extractor.fps, SystemClock()
    with OnnxRuntime(bundle.model("fp32"), "extractor") as runtime:
        flight = kind(bundle, runtime)
        scores = [
            flight.observe(Frame(one, n, n / fps, round(n / fps * 1e9), clock.utc()), Stopwatch())
            for n, one in enumerate(shown)
        ]
    return max(score for score in scores if score is not None)


def rises(
    name: str, bundle: ModelBundle, shown: Sequence[Sequence[Picture]], kind: type[ClipStream]
) -> dict[str, float]:
    """By how much each change raises the peaks on average, and how many it lifts over the highest."""
    peaks: dict[str, list[float]] = {}
    with progress(name) as tell:
        for number, (change, gains) in enumerate({"steady": STEADY, **CHANGES}.items()):
            peaks[change] = [peak(bundle, switched(one, gains), kind) for one in shown]
            tell(number + 1, 1 + len(CHANGES))
    steady = np.array(peaks.pop("steady"))
    return {
        **{change: float((np.array(found) - steady).mean()) for change, found in peaks.items()},
        "newly over": sum(score > float(steady.max()) for found in peaks.values() for score in found),
        "threshold": float(steady.max()),
        "median": float(np.median(steady)),
    }


def video_auc(learnt: Trained, held: Sequence[Bag]) -> float:
    highest = np.array([told(learnt, clip).streaming.max() for clip in held])
    found = micro_auc(highest, np.array([clip.anomalous for clip in held]))
    assert found is not None, "a part of the sources holds both classes"
    return found


def table(found: dict[str, dict[str, float]]) -> Table:
    headings = list(next(iter(found.values())))
    made = Table("", *headings, box=None, pad_edge=False)
    for name, figures in found.items():
        made.add_row(name, *(FORMS.get(heading, "{:+.2f}").format(figures[heading]) for heading in headings))
    return made


if __name__ == "__main__":
    typer.run(main)
