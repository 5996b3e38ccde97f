"""`skerry export`: a checkpoint becomes a bundle of the variants that agree with PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edge.bundle import ModelBundle, Scoring, load_bundle
from edge.errors import UsageError
from edge.frames import Frame
from edge.recordings import find_recordings
from export import bundling
from export.clip_export import Wanted, export_clips
from export.families import FAMILIES, flying
from export.gate import Gate, levels_of
from export.held_out import HeldOut
from export.making import Order, keep, make
from export.parity import Tolerance
from export.tables import gate_table
from export.variants import parse_variants
from train.checkpoint import Checkpoint, load_checkpoint
from train.footage import Sampling, SplitName, open_sampled, read_split

Trained = Annotated[Path, typer.Argument(help="What `skerry train` wrote.")]
Out = Annotated[Path, typer.Option(help="Folder of the bundle.")]
Variants = Annotated[
    str | None,
    typer.Option(help="Which models to make, with commas; those that pass the gate, if not given."),
]
Footage = Annotated[
    list[Path] | None,
    typer.Option(help="Normal footage to check on, in place of the checkpoint's validation clips."),
]
Frames = Annotated[
    int | None,
    typer.Option(
        min=1, max=10_000, help="Held-out frames to check on; 200, 40 for a scout, 4 or 12 clips for a head."
    ),
]
MaxDrift = Annotated[
    float | None,
    typer.Option(
        min=0, help="Largest relative change of any frame's score, 0.005; of a clip's, in their spread, 0.5."
    ),
]
RankCorrelation = Annotated[
    float | None,
    typer.Option(
        min=-1, max=1, help="Least rank correlation of the scores with PyTorch's: 0.999; clips 0.99."
    ),
]
AllowDrift = Annotated[
    bool, typer.Option("--allow-drift", help="Keep variants beyond the tolerance; the bundle says so.")
]
InFloat = Annotated[
    str | None,
    typer.Option(help="Layers that the static integers leave in float: first, last or names, with commas."),
]
Search = Annotated[
    bool,
    typer.Option("--search", help="Find the cheapest set of layers to leave in float that passes the gate."),
]
Calibrated = Annotated[
    Path | None,
    typer.Option(help="A calibrated bundle of this model: count alarms gained and lost at its threshold."),
]
Motion = Annotated[
    bool | None,
    typer.Option(
        "--motion/--no-motion",
        help="Also watch what moves otherwise than the camera, by optical flow; unless told, a scout "
        "of pairs does, a scout of a route and a CAE do not.",
        show_default=False,
    ),
]
Latent = Annotated[
    bool, typer.Option("--latent", help="A scout: also watch how unusual its features are at each place.")
]
Relight = Annotated[
    bool, typer.Option("--relight", help="A CAE: leave out of its error what a change of light explains.")
]
ExtractorFile = Annotated[
    Path | None, typer.Option(help="A head for clips: the extractor that it was trained with.")
]
Weights = Annotated[Path | None, typer.Option(help="A head for clips of S3D: the network's weights.")]
Size = Annotated[
    int | None, typer.Option(min=32, max=2048, help="As it was given to `skerry features`, if it was.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the bundle that is at --out.")]
Name = Annotated[str | None, typer.Option(help="Name of the bundle; the folder's, if not given.")]


def export(
    checkpoint: Trained,
    out: Out,
    variants: Variants = None,
    footage: Footage = None,
    frames: Frames = None,
    extractor: ExtractorFile = None,
    weights: Weights = None,
    size: Size = None,
    max_drift: MaxDrift = None,
    min_rank_correlation: RankCorrelation = None,
    allow_drift: AllowDrift = False,
    in_float: InFloat = None,
    search: Search = False,
    calibrated: Calibrated = None,
    motion: Motion = None,
    latent: Latent = False,
    relight: Relight = False,
    force: Force = False,
    name: Name = None,
) -> None:
    """Turn a checkpoint into a bundle of ONNX models, each checked against PyTorch.

    A head for clips (`skerry train mil`) needs the extractor that it was trained with, by --extractor or
    --weights: both together become a clip bundle.

    The check uses frames that the model was not trained on, as they are and disturbed by light, shadow,
    noise, compression, shift and foreign objects. A model beyond the tolerance is left out; where it was
    asked for by name, or is the fp32 one, that ends it with exit code 3 and nothing is written.
    """
    title = _name(name, out)
    bundling.must_be_writable(out, force)
    trained = load_checkpoint(checkpoint)
    if trained.kind == "mil":
        unfit = {"--motion": motion, "--latent": latent, "--relight": relight, "--search": search}
        _refuse(unfit, "a head for clips")
        layers, given = None if in_float is None else _words(in_float), tuple(footage or ())
        wanted = Wanted(
            *(checkpoint, out, title, extractor, weights, size, variants, layers, given, frames),
            *(max_drift, min_rank_correlation, allow_drift, calibrated),
        )
        console = Console()
        _say_next(export_clips(trained, wanted, console), console)
        return
    _refuse({"--extractor": extractor, "--weights": weights, "--size": size}, f"a {trained.kind}")
    scoring = _scoring(trained, motion, latent, relight)
    order = _order(trained, variants, in_float, search)
    console, status = Console(), Console(stderr=True)
    tolerance = _tolerance(max_drift, min_rank_correlation)
    gate = _gate(trained, footage or (), frames, tolerance, calibrated, status)
    with status.status("converting and comparing"):
        models, parity = make(trained, order, gate, lambda: _normal(trained, footage or ()))
    console.print(gate_table(parity, models, gate))
    kept = models if allow_drift else keep(models, parity, order, gate.tolerance, console)
    evidence = bundling.Evidence(
        bundling.file_digest(checkpoint), bundling.gate_record(gate, bool(footage), calibrated), parity
    )
    data = {variant: made.data for variant, made in kept.items()}
    _say_next(bundling.write(out, trained, title, data, evidence, scoring), console)


def _refuse(given: Mapping[str, object], kind: str) -> None:
    for option, value in given.items():
        if value:
            raise UsageError(f"{option} is not for {kind}; leave it out")


def _tolerance(max_drift: float | None, rank_correlation: float | None) -> Tolerance:
    usual = Tolerance()
    return Tolerance(
        usual.max_drift if max_drift is None else max_drift,
        usual.rank_correlation if rank_correlation is None else rank_correlation,
    )


def _gate(
    trained: Checkpoint,
    footage: Sequence[Path],
    frames: int | None,
    tolerance: Tolerance,
    calibrated: Path | None,
    status: Console,
) -> Gate:
    levels = None if calibrated is None else levels_of(load_bundle(calibrated))
    with status.status("reading held-out frames"):
        pictures = _held_out(trained, footage, frames)
    with status.status("asking PyTorch"):
        return Gate.on(pictures, flying(trained.build()), tolerance, levels)


def _name(given: str | None, out: Path) -> str:
    name = out.absolute().name[: bundling.MAX_NAME] if given is None else given
    if not 0 < len(name) <= bundling.MAX_NAME:
        raise UsageError(f"--name has {len(name)} characters: 1 to {bundling.MAX_NAME} are possible")
    return name


def _scoring(trained: Checkpoint, motion: bool | None, latent: bool, relight: bool) -> Scoring:
    if latent and trained.kind != "scout":
        raise UsageError("--latent: only a scout has features to watch; leave it out")
    if relight and trained.kind != "cae":
        raise UsageError("--relight: only an autoencoder's error can be relit; leave it out")
    return Scoring.for_kind(FAMILIES[trained.kind].bundle, motion, latent, relight, trained.input.beside)


def _order(trained: Checkpoint, variants: str | None, in_float: str | None, search: bool) -> Order:
    family = FAMILIES[trained.kind]
    names = family.usual if variants is None else parse_variants(variants, family.variants)
    if in_float is None:
        return Order(names, variants is not None, None, search)
    if search:
        raise UsageError("--in-float and --search exclude each other: name the layers, or have them found")
    return Order(names, variants is not None, _words(in_float), search)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _held_out(checkpoint: Checkpoint, footage: Sequence[Path], wanted: int | None) -> HeldOut:
    family = FAMILIES[checkpoint.kind]
    found = family.held_out(
        _frames(checkpoint, footage, "validation"), wanted or family.frames, checkpoint.input
    )
    if not found.undisturbed:
        raise UsageError(
            "the checkpoint has no validation frames to check on: name normal footage with --footage"
        )
    return found


def _normal(checkpoint: Checkpoint, footage: Sequence[Path]) -> HeldOut:
    """What integers are calibrated on: frames that were trained on, so that the gate sees others; of footage
    given, the same."""
    family = FAMILIES[checkpoint.kind]
    return family.held_out(_frames(checkpoint, footage, "train"), family.normal, checkpoint.input)


def _frames(checkpoint: Checkpoint, footage: Sequence[Path], split: SplitName) -> Iterator[Frame]:
    return _sampled(checkpoint, footage) if footage else read_split(checkpoint, split)


def _sampled(checkpoint: Checkpoint, footage: Sequence[Path]) -> Iterator[Frame]:
    sampling = Sampling(checkpoint.splits.fps, checkpoint.splits.folder_fps)
    for path in find_recordings(footage):
        with open_sampled(path, sampling) as frames:
            yield from frames


def _say_next(bundle: ModelBundle, console: Console) -> None:
    console.print(f"bundle {bundle.folder}, digest {bundle.digest[:12]}", highlight=False)
    console.print(
        f"next, on normal footage it was not trained on: skerry calibrate {bundle.folder} --normal FOOTAGE",
        highlight=False,
        soft_wrap=True,
    )
