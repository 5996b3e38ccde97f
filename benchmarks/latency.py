"""How long one picture takes: the CAE in PyTorch eager, in ONNX Runtime as trained, and as int8-cpu.

    python benchmarks/latency.py [--checkpoint C] [--bundle B] [--paced] [--json out.json]

All candidates share one process, one thread and the same pictures, and take turns in short blocks, so that
what else the machine does hits all of them. Ratios are formed within a block and reported with their spread:
they carry over to other machines and days far better than milliseconds do. Without arguments the network has
random weights, which changes no timing.

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
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from edge.bundle import load_bundle
from edge.errors import SkerryError
from edge.preprocess import InputSpec
from edge.runtimes import OnnxRuntime, Tensor
from export.parity import Model, eager
from export.variants import VARIANTS
from train.cae import CAE, CaeConfig
from train.checkpoint import load_checkpoint

PEER = "eager"
WARM_UP = 5  # calls before each timed block; other candidates have been through the caches
SWEEP_BYTES = 64 << 20  # more than the last cache of anything small
GAP_S = 0.1  # long enough for the processor to go to sleep; a frame comes every 0.5 s in flight

Blocks: TypeAlias = dict[str, list[list[float]]]  # milliseconds, per candidate, block and call


@dataclass(frozen=True)
class Row:
    """Milliseconds over all calls; ratio of the peer's median to ours, over blocks."""

    median_ms: float
    p99_ms: float
    best_block_ms: float
    ratio: float
    ratio_quartiles: tuple[float, float]


def main(
    bundle: Annotated[Path | None, typer.Option(help="Take the ONNX models from here.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Take the weights from here.")] = None,
    blocks: Annotated[int, typer.Option(min=4, help="Turns of each candidate.")] = 20,
    calls: Annotated[int, typer.Option(min=1, help="Timed calls in a turn.")] = 40,
    paced: Annotated[bool, typer.Option("--paced", help="Also with idle gaps and swept caches.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write figures and facts.")] = None,
) -> None:
    """Time one picture through the CAE, side by side."""
    torch.set_num_threads(1)
    console = Console()
    before = os.getloadavg()
    try:
        models = candidates(bundle, checkpoint)
    except SkerryError as error:
        console.print(f"latency: {error}", style="red")
        raise typer.Exit(error.exit_code) from None
    with status(console):
        results = {"hot": rows(hot(models, blocks, calls))}
        if paced:
            results["paced"] = rows(cold(models, blocks))
    about = facts(before) | {
        "weights": str(checkpoint or "random"),
        "models": str(bundle or "made here"),
        "blocks": blocks,
        "calls": calls,
    }
    for condition, found in results.items():
        console.print(table(condition, found))
    console.print(f"{about['cpu']}, 1 thread, load {before[0]:.2f} before", highlight=False)
    if json_file is not None:
        written = {name: {who: asdict(row) for who, row in found.items()} for name, found in results.items()}
        write_json(json_file, {"about": about, "results": written}, console)


def candidates(bundle: Path | None, checkpoint: Path | None) -> dict[str, Model]:
    """Everything that takes part, the peer first. Raises SkerryError."""
    spec = InputSpec()
    network = CAE(CaeConfig()).eval()
    if checkpoint is not None:
        trained = load_checkpoint(checkpoint)
        network, spec = trained.build(), trained.input
    if bundle is not None:
        loaded = load_bundle(bundle)
        onnx = {name: loaded.model(name) for name in loaded.manifest.variants}
    else:
        onnx = {name: make(network, spec) for name, make in VARIANTS.items()}
    runtimes = {f"onnx {name}": OnnxRuntime(data, name) for name, data in onnx.items()}
    return {PEER: eager(network), **runtimes}


def hot(models: Mapping[str, Model], blocks: int, calls: int) -> Blocks:
    """Back to back, in turns whose order rotates."""
    pictures = _pictures(8)
    times: Blocks = {name: [] for name in models}
    for turn in _turns(list(models), blocks):
        for name in turn:
            for number in range(WARM_UP):
                models[name](pictures[number % len(pictures)])
            timed = [_timed(models[name], pictures[number % len(pictures)]) for number in range(calls)]
            times[name].append(timed)
    return times


def cold(models: Mapping[str, Model], blocks: int) -> Blocks:
    """One call at a time, after an idle gap and with nothing of ours left in the caches."""
    pictures = _pictures(8)
    sweep = np.zeros(SWEEP_BYTES, np.uint8)
    times: Blocks = {name: [] for name in models}
    for number, turn in enumerate(_turns(list(models), blocks)):
        for name in turn:
            time.sleep(GAP_S)
            sweep += 1
            times[name].append([_timed(models[name], pictures[number % len(pictures)])])
    return times


def write_json(path: Path, content: Mapping[str, Any], console: Console) -> None:
    try:
        path.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        console.print(f"latency: --json {path} cannot be written: {error.strerror}", style="red")
        raise typer.Exit(2) from None


def _turns(names: Sequence[str], blocks: int) -> Iterator[Sequence[str]]:
    for block in range(blocks):
        first = block % len(names)
        yield [*names[first:], *names[:first]]


def _timed(model: Model, picture: Tensor) -> float:
    start = time.perf_counter_ns()
    model(picture)
    return (time.perf_counter_ns() - start) / 1e6


def _pictures(count: int) -> list[Tensor]:
    return list(np.random.default_rng(0).random((count, 1, 3, 124, 124), np.float32))


def rows(times: Blocks) -> dict[str, Row]:
    medians = {name: [statistics.median(block) for block in blocks] for name, blocks in times.items()}
    return {name: _row(blocks, medians[name], medians[PEER]) for name, blocks in times.items()}


def _row(blocks: list[list[float]], medians: list[float], peer: list[float]) -> Row:
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


def table(condition: str, found: Mapping[str, Row]) -> Table:
    drawn = Table(
        title=f"One picture through the CAE, {condition}: PyTorch eager and ONNX Runtime",
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
        **{name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy")},
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
