"""How long one picture takes: a model in PyTorch eager, in what else a user would pick, and in our forms.

    python benchmarks/latency.py [--kind scout] [--checkpoint C] [--bundle B] [--paced] [--json out.json]

All candidates share one process and the same pictures, and take turns in short blocks, so that
what else the machine does hits all of them. Ratios are formed within a block and reported with their spread:
they carry over to other machines and days far better than milliseconds do. Without a bundle the variants for
a processor are made here in their usual mixture, and no gate is asked: a figure to quote comes from
`--bundle`, which holds what passed. Without a checkpoint PyTorch has random weights, which changes no timing.

The others are ONNX Runtime and OpenVINO on the fp32 file, with their defaults, which take every core, and
OpenVINO held to one thread like all the rest (`benchmarks/latency_peers.py`).

A model that sees tiles is timed on one tile, and then on whole 1080p frames at their own size as in flight:
paired with an earlier one, cut, asked tile by tile and joined.

`--paced` times what a drone sees instead of a hot loop: before each call the caches are swept and the
processor idles.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast

import cv2
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.latency_peers import left_out, peers
from edge.bundle import Kind, Parity, Scoring, load_bundle
from edge.errors import SkerryError
from edge.frames import Frame
from edge.observer import Observer, Stopwatch
from edge.preprocess import InputSpec
from edge.runtimes import OnnxRuntime, Runtime, Tensor
from edge.tiles import Tiling
from export.families import FAMILIES, flying
from export.gate import FOR_A_GPU
from export.held_out import Model
from export.makers import Job
from export.parity import eager
from train.cae import CAE, CaeConfig
from train.checkpoint import load_checkpoint
from train.scout import Scout, ScoutConfig

PEER = "eager"
WARM_UP = 5  # calls before each timed block; other candidates have been through the caches
SWEEP_BYTES = 64 << 20  # more than the last cache of anything small
GAP_S = 0.1  # long enough for the processor to go to sleep; a frame comes every 0.5 s in flight

FRAME = (1080, 1920)
PAN = 6  # pixels that the camera moves from frame to frame, so that pairing has its work to do

_PACKAGES = ("torch", "onnx", "onnxruntime", "openvino", "numpy")

KindName: TypeAlias = Literal["cae", "scout"]
Blocks: TypeAlias = dict[str, list[list[float]]]  # milliseconds, per candidate, block and call


@dataclass(frozen=True)
class Row:
    """Milliseconds over all calls; ratio of the peer's median to ours, over blocks."""

    median_ms: float
    p99_ms: float
    best_block_ms: float
    ratio: float
    ratio_quartiles: tuple[float, float]


@dataclass(frozen=True)
class Field:
    """What takes part, the peer first, and what it is shown."""

    kind: str
    spec: InputSpec
    models: Mapping[str, Model]


def main(
    kind: Annotated[KindName, typer.Option(help="Which model, if neither file says it.")] = "cae",
    bundle: Annotated[Path | None, typer.Option(help="Take the ONNX models from here.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Take the weights from here.")] = None,
    blocks: Annotated[int, typer.Option(min=4, help="Turns of each candidate.")] = 20,
    calls: Annotated[int, typer.Option(min=1, help="Timed calls in a turn.")] = 40,
    paced: Annotated[bool, typer.Option("--paced", help="Also with idle gaps and swept caches.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write figures and facts.")] = None,
) -> None:
    """Time one picture through a model, side by side."""
    torch.set_num_threads(1)
    console = Console()
    before = os.getloadavg()
    try:
        field = candidates(kind, bundle, checkpoint)
    except SkerryError as error:
        console.print(f"latency: {error}", style="red")
        raise typer.Exit(error.exit_code) from None
    with status(console):
        results = measured(field, blocks, calls, paced)
    about = facts(before) | {
        "kind": field.kind,
        "weights": str(checkpoint or "random"),
        "models": str(bundle or "made here"),
        "blocks": blocks,
        "calls": calls,
    }
    for condition, found in results.items():
        console.print(table(field, condition, found))
    for sentence in left_out():
        console.print(sentence, highlight=False)
    console.print(f"{about['cpu']}, 1 thread, load {before[0]:.2f} before", highlight=False)
    if json_file is not None:
        written = {name: {who: asdict(row) for who, row in found.items()} for name, found in results.items()}
        write_json(json_file, {"about": about, "results": written}, console)


def measured(field: Field, blocks: int, calls: int, paced: bool) -> dict[str, dict[str, Row]]:
    """By condition and candidate."""
    pictures = _pictures(8, field.spec)
    results = {"one picture, hot": rows(hot(field.models, pictures, blocks, calls))}
    if paced:
        results["one picture, paced"] = rows(cold(field.models, pictures, blocks))
    if field.spec.tiling == "auto":
        tiles = len(Tiling(FRAME, (field.spec.height, field.spec.width)).places)
        results[f"a 1080p frame, {tiles} tiles"] = rows(whole(field, blocks))
    return results


def candidates(kind: str, bundle: Path | None, checkpoint: Path | None) -> Field:
    """Raises SkerryError."""
    loaded = None if bundle is None else load_bundle(bundle)
    if loaded is not None:
        kind = _checkpoint_kind(loaded.manifest.kind)
    network, spec = _untrained(kind)
    if checkpoint is not None:
        trained = load_checkpoint(checkpoint)
        kind, network, spec = trained.kind, flying(trained.build()), trained.input
    if loaded is not None:
        here = [name for name in loaded.manifest.variants if name not in FOR_A_GPU]
        onnx, spec = {name: loaded.model(name) for name in here}, loaded.manifest.input
    else:
        onnx = _untested(kind, network, spec)
    runtimes = {f"onnx {name}": OnnxRuntime(data, name) for name, data in onnx.items()}
    return Field(kind, spec, {PEER: eager(network), **dict(peers(onnx["fp32"])), **runtimes})


def _untested(kind: str, network: torch.nn.Module, spec: InputSpec) -> dict[str, bytes]:
    """Every variant for a processor in its usual mixture, as if the gate let it pass: for timing alone."""
    passed = Parity(
        frames=0,
        max_drift=0,
        mean_drift=0,
        rank_correlation=1,
        alarms_gained=0,
        alarms_lost=0,
        within_tolerance=True,
    )
    job = Job(
        network=network,
        spec=spec,
        normal=lambda: _pictures(2, spec),
        judge=lambda _: passed,
        strain=lambda _: 0.0,
        glance=lambda _: 0.0,
    )
    variants = FAMILIES[kind].variants
    return {name: make(job).data for name, make in variants.items() if name not in FOR_A_GPU}


def _checkpoint_kind(bundle: Kind) -> str:
    return next(kind for kind, family in FAMILIES.items() if family.bundle == bundle)


def _untrained(kind: str) -> tuple[torch.nn.Module, InputSpec]:
    if kind == "scout":
        network = flying(Scout(ScoutConfig()).eval())
        return network, InputSpec(frames=2, height=384, width=512, tiling="auto")
    return CAE(CaeConfig()).eval(), InputSpec()


def hot(models: Mapping[str, Model], pictures: Sequence[Tensor], blocks: int, calls: int) -> Blocks:
    """Back to back, in turns whose order rotates."""
    times: Blocks = {name: [] for name in models}
    for turn in turns(list(models), blocks):
        for name in turn:
            for number in range(WARM_UP):
                models[name](pictures[number % len(pictures)])
            spent = [timed(models[name], pictures[number % len(pictures)]) for number in range(calls)]
            times[name].append(spent)
    return times


def cold(models: Mapping[str, Model], pictures: Sequence[Tensor], blocks: int) -> Blocks:
    """One call at a time, after an idle gap and with nothing of ours left in the caches."""
    sweep = np.zeros(SWEEP_BYTES, np.uint8)
    times: Blocks = {name: [] for name in models}
    for number, turn in enumerate(turns(list(models), blocks)):
        for name in turn:
            time.sleep(GAP_S)
            sweep += 1
            times[name].append([timed(models[name], pictures[number % len(pictures)])])
    return times


def whole(field: Field, blocks: int) -> Blocks:
    """Whole frames in time order, one a turn, and one before the first to be paired with."""
    scoring = Scoring.for_kind(FAMILIES[field.kind].bundle)
    observers = {
        name: Observer(cast(Runtime, model), field.spec, scoring, FRAME)
        for name, model in field.models.items()
    }
    frames = _flight(blocks + 1)
    first = next(frames)
    for observer in observers.values():
        observer.look(first, Stopwatch())
    times: Blocks = {name: [] for name in observers}
    for turn, frame in zip(turns(list(observers), blocks), frames, strict=True):
        for name in turn:
            watch = Stopwatch()
            observers[name].look(frame, watch)
            watch.lap("join")
            times[name].append([sum(watch.laps.values()) / 1e6])
    return times


def _flight(count: int) -> Iterator[Frame]:
    """A camera that moves steadily over rough ground, at 2 fps."""
    small = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
    ground = cv2.resize(small, (FRAME[1] + PAN * count, FRAME[0]), interpolation=cv2.INTER_CUBIC)
    for index in range(count):
        picture = np.ascontiguousarray(ground[:, PAN * index : PAN * index + FRAME[1]])
        yield Frame(picture, index, index / 2, index * 500_000_000, datetime(2026, 6, 1, tzinfo=timezone.utc))


def write_json(path: Path, content: Mapping[str, Any], console: Console) -> None:
    try:
        path.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        console.print(f"latency: --json {path} cannot be written: {error.strerror}", style="red")
        raise typer.Exit(2) from None


def turns(names: Sequence[str], blocks: int) -> Iterator[Sequence[str]]:
    for block in range(blocks):
        first = block % len(names)
        yield [*names[first:], *names[:first]]


def timed(model: Model, picture: Tensor) -> float:
    start = time.perf_counter_ns()
    model(picture)
    return (time.perf_counter_ns() - start) / 1e6


def _pictures(count: int, spec: InputSpec) -> list[Tensor]:
    shape = (count, 1, 3 * spec.frames, spec.height, spec.width)
    return list(np.random.default_rng(0).random(shape, np.float32))


def rows(times: Blocks) -> dict[str, Row]:
    medians = {name: [statistics.median(block) for block in blocks] for name, blocks in times.items()}
    return {name: row(blocks, medians[name], medians[PEER]) for name, blocks in times.items()}


def row(blocks: list[list[float]], medians: list[float], peer: list[float]) -> Row:
    calls = [call for block in blocks for call in block]
    ratios = [theirs / ours for theirs, ours in zip(peer, medians, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Row(
        median_ms=statistics.median(calls),
        p99_ms=float(np.quantile(calls, 0.99)),
        best_block_ms=min(medians),
        ratio=middle,
        ratio_quartiles=(low, high),
    )


def table(field: Field, condition: str, found: Mapping[str, Row]) -> Table:
    spec = field.spec
    drawn = Table(
        title=f"{field.kind}, pictures of {spec.width} x {spec.height}: {condition}",
        title_justify="left",
    )
    for column in ("", "median ms", "p99", "best block", "ratio", "quartiles"):
        drawn.add_column(column, justify="right" if column else "left")
    for name, row in found.items():
        low, high = row.ratio_quartiles
        figures = (row.median_ms, row.p99_ms, row.best_block_ms, row.ratio)
        drawn.add_row(name, *(f"{figure:.2f}" for figure in figures), f"{low:.2f} - {high:.2f}")
    return drawn


def facts(load_before: tuple[float, float, float]) -> dict[str, Any]:
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "threads": 1,
        "load_before": load_before,
        "load_after": os.getloadavg(),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES if find_spec(name) is not None},
    }


def cpu_model() -> str:
    """As the kernel calls it; ARM kernels often give no name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, platform.processor() or platform.machine())


@contextmanager
def status(console: Console) -> Iterator[None]:
    with console.status("measuring; leave the machine alone"):
        yield


if __name__ == "__main__":
    typer.run(main)
