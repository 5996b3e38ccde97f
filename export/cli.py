"""`skerry export`: a checkpoint becomes a bundle, if its variants agree with PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from edge.bundle import ModelBundle, Parity, Scoring
from edge.errors import UsageError
from edge.frames import Frame
from edge.recordings import find_recordings
from edge.runtimes import OnnxRuntime
from export import bundling
from export.disturb import DISTURBANCES
from export.families import FAMILIES, Family, flying
from export.held_out import HeldOut
from export.parity import Reference, Tolerance, check, measure, reference
from export.variants import Make, parse_variants
from train.checkpoint import Checkpoint, load_checkpoint
from train.footage import Sampling, open_sampled, read_split


def export(
    checkpoint: Annotated[Path, typer.Argument(help="What `skerry train` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    variants: Annotated[
        str | None, typer.Option(help="Which models to make, with commas; all that there are, if not given.")
    ] = None,
    footage: Annotated[
        list[Path] | None,
        typer.Option(help="Normal footage to check on, in place of the checkpoint's validation clips."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Held-out frames to check on; 200, or 40 for a scout."),
    ] = None,
    max_drift: Annotated[
        float, typer.Option(min=0, help="Largest relative change of any frame's score.")
    ] = Tolerance.max_drift,
    min_rank_correlation: Annotated[
        float, typer.Option(min=-1, max=1, help="Least rank correlation of the scores with PyTorch's.")
    ] = Tolerance.rank_correlation,
    allow_drift: Annotated[
        bool, typer.Option("--allow-drift", help="Keep variants beyond the tolerance; the bundle says so.")
    ] = False,
    motion: Annotated[
        bool | None,
        typer.Option(
            "--motion/--no-motion",
            help="Also watch what moves otherwise than the camera, by optical flow; unless told, a scout "
            "does and a CAE does not.",
            show_default=False,
        ),
    ] = None,
    latent: Annotated[
        bool, typer.Option("--latent", help="A scout: also watch how unusual its features are at each place.")
    ] = False,
    relight: Annotated[
        bool, typer.Option("--relight", help="A CAE: leave out of its error what a change of light explains.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the bundle that is at --out.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the bundle; the folder's, if not given.")] = None,
) -> None:
    """Turn a checkpoint into a bundle of ONNX models, each checked against PyTorch.

    The check uses frames that the model was not trained on, as they are and disturbed by light, shadow,
    noise, compression, shift and foreign objects. A model beyond the tolerance ends it with exit code 3, and
    nothing is written.
    """
    title = _name(name, out)
    bundling.must_be_writable(out, force)
    trained = load_checkpoint(checkpoint)
    family = FAMILIES[trained.kind]
    makers = _makers(family, variants)
    if latent and trained.kind != "scout":
        raise UsageError("--latent: only a scout has features to watch; leave it out")
    if relight and trained.kind != "cae":
        raise UsageError("--relight: only an autoencoder's error can be relit; leave it out")
    scoring = Scoring.for_kind(family.bundle, motion, latent, relight)
    tolerance = Tolerance(max_drift, min_rank_correlation)
    status = Console(stderr=True)
    with status.status("reading held-out frames"):
        pictures = _held_out(trained, family, footage or (), frames)
    network = flying(trained.build())
    with status.status("asking PyTorch"):
        truth = reference(pictures, network)
    with status.status("converting"):
        models = {variant: make(network, trained.input) for variant, make in makers.items()}
    with status.status("comparing"):
        parity = _measure(models, pictures, truth, tolerance)
    console = Console()
    console.print(_table(parity, models, pictures, truth))
    if not allow_drift:
        check(parity, tolerance)
    gate = bundling.Gate(
        undisturbed=pictures.undisturbed,
        shows=pictures.shows,
        footage="given with --footage" if footage else "the checkpoint's validation split",
        disturbances=tuple(DISTURBANCES),
        threshold=truth.threshold,
        tolerance=tolerance,
    )
    evidence = bundling.Evidence(bundling.file_digest(checkpoint), gate, parity)
    _say_next(bundling.write(out, trained, title, models, evidence, scoring), console)


def _name(given: str | None, out: Path) -> str:
    name = out.absolute().name[: bundling.MAX_NAME] if given is None else given
    if not 0 < len(name) <= bundling.MAX_NAME:
        raise UsageError(f"--name has {len(name)} characters: 1 to {bundling.MAX_NAME} are possible")
    return name


def _makers(family: Family, words: str | None) -> dict[str, Make]:
    names = family.variants if words is None else parse_variants(words, family.variants)
    return {name: family.variants[name] for name in names}


def _held_out(checkpoint: Checkpoint, family: Family, footage: Sequence[Path], wanted: int | None) -> HeldOut:
    frames = _sampled(checkpoint, footage) if footage else read_split(checkpoint, "validation")
    found = family.held_out(frames, wanted or family.frames, checkpoint.input)
    if not found.undisturbed:
        raise UsageError(
            "the checkpoint has no validation frames to check on: name normal footage with --footage"
        )
    return found


def _sampled(checkpoint: Checkpoint, footage: Sequence[Path]) -> Iterator[Frame]:
    sampling = Sampling(checkpoint.splits.fps, checkpoint.splits.folder_fps)
    for path in find_recordings(footage):
        with open_sampled(path, sampling) as frames:
            yield from frames


def _measure(
    models: Mapping[str, bytes], pictures: HeldOut, truth: Reference, tolerance: Tolerance
) -> dict[str, Parity]:
    parity = {}
    for variant, data in models.items():
        with OnnxRuntime(data, f"the {variant} model") as runtime:
            parity[variant] = measure(pictures, truth, runtime, variant, tolerance)
    return parity


def _table(
    parity: Mapping[str, Parity], models: Mapping[str, bytes], pictures: HeldOut, truth: Reference
) -> Table:
    table = Table(
        title=f"Against PyTorch: {pictures.undisturbed} held-out {pictures.shows}, as they are and disturbed "
        f"in {len(DISTURBANCES)} ways",
        caption=f"alarms at a provisional threshold of {truth.threshold:.4g}, above every undisturbed one",
        title_justify="left",
        caption_justify="left",
    )
    rows = {variant: _row(found, len(models[variant])) for variant, found in parity.items()}
    table.add_column("variant")
    for column in next(iter(rows.values())):
        table.add_column(column, justify="right")
    for variant, row in rows.items():
        table.add_row(variant, *row.values())
    return table


def _row(found: Parity, size: int) -> dict[str, str]:
    features = {} if found.feature_drift is None else {"features": f"{found.feature_drift:.4%}"}
    return {
        "MB": f"{size / 1e6:.1f}",
        "drift max": f"{found.max_drift:.4%}",
        "mean": f"{found.mean_drift:.4%}",
        **features,
        "rank corr.": f"{found.rank_correlation:.6f}",
        "alarms + / -": f"{found.alarms_gained} / {found.alarms_lost}",
        "gate": "[green]passed" if found.within_tolerance else "[red]beyond",
    }


def _say_next(bundle: ModelBundle, console: Console) -> None:
    console.print(f"bundle {bundle.folder}, digest {bundle.digest[:12]}", highlight=False)
    console.print(
        f"next, on normal footage it was not trained on: skerry calibrate {bundle.folder} --normal FOOTAGE",
        highlight=False,
        soft_wrap=True,
    )
