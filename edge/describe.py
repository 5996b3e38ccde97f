"""A bundle as tables a person reads."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from edge.bundle import Branch, ModelBundle, Parity, Scoring
from edge.clips import ClipSpec
from edge.openvino_runtime import MARK
from edge.preprocess import InputSpec
from edge.tiles import Tiling

_ON_FRAMES = "Against PyTorch on held-out frames: relative change of scores, hot places in common"
_ON_CLIPS = "On held-out clips: changes of logits in their spread, features by cosine"
SMALLEST_PX = 12  # of the view: what the tiled model was trained to see


def describe(bundle: ModelBundle, console: Console) -> None:
    """What the bundle is, whether it may fly, and how faithful its variants are."""
    table = Table(title=f"{bundle.folder}: every digest is right", show_header=False, title_justify="left")
    for what, value in _facts(bundle):
        table.add_row(what, value)
    console.print(table)
    if bundle.manifest.parity:
        console.print(_parity(bundle))
    if bundle.manifest.calibration is None:
        console.print(
            f"Not calibrated: `skerry calibrate {bundle.folder} --normal FOOTAGE` before it can fly.",
            style="yellow",
        )
    elif outdated := bundle.outdated():
        console.print(f"Calibrate again: {outdated}.", style="yellow", markup=False)


def _facts(bundle: ModelBundle) -> Iterator[tuple[str, str]]:
    manifest = bundle.manifest
    spec, scoring = manifest.input, manifest.scoring
    yield "name", f"{manifest.name} ({manifest.kind}), made {manifest.created:%Y-%m-%d %H:%M} UTC"
    yield "digest", bundle.digest
    if manifest.clip is None:
        yield "input", _input(spec)
        yield "score", f"largest of {', '.join(_branch(b) for b in scoring.branches)}; {_in_time(scoring)}"
    else:
        yield from _clip(manifest.clip, spec)
        size = (bundle.folder / manifest.clip.head).stat().st_size / 1e6
        yield "head", f"{manifest.clip.head}, {size:.1f} MB"
    for variant, name in sorted(manifest.variants.items()):
        size = (bundle.folder / name).stat().st_size / 1e6
        yield f"model {variant}", f"{name}, {size:.1f} MB"
    if manifest.calibration:
        yield from _calibration(bundle)
    for key, value in manifest.provenance.items():
        yield key, str(value)


def _input(spec: InputSpec) -> str:
    pictures = "two pictures" if spec.frames == 2 else "one picture"
    if spec.tiling == "none":
        return f"{pictures} of {spec.width} x {spec.height} {spec.colour}, resized by {spec.resize}"
    beside = ", the second of the same place on another flight" if spec.beside == "route" else ""
    return f"{pictures} in {spec.colour}{beside}, in tiles of {spec.width} x {spec.height}"


def _clip(spec: ClipSpec, picture: InputSpec) -> Iterator[tuple[str, str]]:
    """How a stream becomes a score."""
    made = spec.extractor
    yield (
        "input",
        f"clips of {made.frames} pictures of {picture.width} x {picture.height} {picture.colour} at "
        f"{made.fps:g} a second, a clip each {spec.period_s:g} s"
        + (", at one brightness" if made.level else ""),
    )
    each = "one clip" if made.sees == "clip" else f"each picture, pooled by {made.pooling}"
    averaged = f", mean of {spec.average}" if spec.average > 1 else ""
    length = ", to length 1" if spec.normalise == "l2" else ""
    yield "feature", f"{made.width} numbers of {each}{averaged}{length}; extractor {made.sha256[:12]}"
    sees_s = (made.frames + (spec.average + spec.history - 2) * made.stride) / made.fps
    smooth = f", smoothed over {spec.smooth_s:g} s" if spec.smooth_s else ""
    yield "score", f"a head's logit of the last {sees_s:g} s{smooth}; it says when, not where"


def _branch(branch: Branch) -> str:
    where = "whole picture" if branch.window is None else f"{branch.window} px"
    power = f", power {branch.power}" if branch.power > 1 else ""
    return f"{branch.source} ({where}{power})"


def _in_time(scoring: Scoring) -> str:
    fading = f", fading in {scoring.memory_s:g} s" if scoring.memory_s else ""
    return f"{scoring.persistence} frames in a row{fading}"


def _calibration(bundle: ModelBundle) -> Iterator[tuple[str, str]]:
    found = bundle.calibration()
    yield "threshold", f"{found.threshold:.4g}; an incident ends below {found.release:.4g}"
    yield (
        "calibrated for",
        f"{found.false_alarms_per_hour:g} false alarms per hour at {found.fps:g} fps, {found.variant}",
    )
    yield (
        "calibrated from",
        f"{found.footage_s:.0f} s of footage, {len(found.block_maxima)} blocks of {found.block_s:g} s; "
        f"{found.method}; it supports no fewer than {found.smallest_rate:.3g} false alarms per hour",
    )
    yield (
        "to expect",
        f"{found.expected[0]:.2g} to {found.expected[1]:.2g} per hour (90 %), where flights are like it",
    )
    if found.route is not None:
        size = (bundle.folder / found.route).stat().st_size / 1e6
        shared = "" if found.judged is None else f"; {found.judged:.0%} of each was seen by another one"
        yield "route", f"{found.route}, {size:.1f} MB of places that normal flights saw{shared}"
    yield "looks at", f"{found.view[1]} x {found.view[0]} pixels{_seen(bundle)}"


def _seen(bundle: ModelBundle) -> str:
    """What that means on the ground, where it is more than a thumbnail."""
    spec, view = bundle.manifest.input, bundle.calibration().view
    if spec.tiling == "none":
        return ", the whole picture shrunk to a thumbnail"
    tiles = len(Tiling(view, (spec.height, spec.width)).places)
    share = SMALLEST_PX / view[1]
    return (
        f" in {tiles} {'tile' if tiles == 1 else 'tiles'}; things of {SMALLEST_PX} px and more, which is "
        f"{100 * share:.2f} m where the picture spans 100 m"
    )


def _parity(bundle: ModelBundle) -> Table:
    clips = bundle.manifest.kind == "clip"
    table = Table(
        box=SIMPLE_HEAD,
        title=_ON_CLIPS if clips else _ON_FRAMES,
        caption=_small_print(bundle),
        title_justify="left",
        caption_justify="left",
    )
    seen, last = ("clips", "cosine") if clips else ("frames", "heat")
    for column in ("variant", seen, "drift", "mean", "rank corr.", "alarms", last, "gate"):
        table.add_column(column, justify="right", no_wrap=True)
    for variant, parity in sorted(bundle.manifest.parity.items()):
        table.add_row(variant, *_figures(parity), _passed(bundle, variant))
    return table


def _small_print(bundle: ModelBundle) -> str:
    gate = bundle.manifest.provenance.get("gate")
    rule = gate.get("threshold_rule") if isinstance(gate, dict) else None
    mixtures = [f"{name}: {found.mixture}" for name, found in bundle.manifest.parity.items() if found.mixture]
    return "\n".join([*mixtures, *([f"alarms at {rule}"] if rule else [])])


def _figures(parity: Parity) -> tuple[str, ...]:
    last = "" if parity.heat_iou is None else f"{parity.heat_iou:.3f}"
    return (
        str(parity.frames),
        f"{parity.max_drift:.3%}",
        f"{parity.mean_drift:.3%}",
        f"{parity.rank_correlation:.6f}",
        f"+{parity.alarms_gained} -{parity.alarms_lost}",
        last if parity.feature_cosine is None else f"{parity.feature_cosine:.5f}",
    )


def _passed(bundle: ModelBundle, variant: str) -> str:
    if bundle.manifest.parity[variant].within_tolerance:
        return "passed"
    return "DRIFT ALLOWED" if variant.removesuffix(MARK) in bundle.manifest.variants else "left out"
