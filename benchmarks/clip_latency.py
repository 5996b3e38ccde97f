"""How long a clip takes: PyTorch eager, ONNX Runtime and OpenVINO, in float and in the integers that fly.

    python benchmarks/clip_latency.py                                  # S3D, 16 x 224 x 224
    python benchmarks/clip_latency.py --extractor mobilenet_v2.onnx    # a clip of 8 pictures, one by one
    python benchmarks/clip_latency.py --bundle BUNDLE                  # what passed the gate

As in benchmarks/latency.py: one process, one thread, turns in short blocks whose order rotates, ratios formed
within a block. S3D has random weights and its integers ranges of random clips, and no gate is asked: that
changes no timing, and says nothing of fidelity. An extractor of somebody's has no PyTorch: then ratios are to
ONNX Runtime in float. Without --bundle all convolutions are integers; the gate may ask for some in float.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from latency import Blocks, Row, facts, row, status, timed, turns, write_json
from rich.console import Console
from rich.table import Table

from edge.bundle import load_bundle
from edge.clip_detector import clip_of, extractor_shape
from edge.errors import SkerryError, UsageError
from edge.openvino_runtime import OpenVinoRuntime, openvino_here
from edge.runtimes import OnnxRuntime, Tensor
from export.extractors import Asked, open_extractor
from export.gate import FOR_A_GPU
from export.held_out import Model
from export.measured_ranges import Ranges
from export.parity import eager
from export.to_onnx import converted
from train.s3d import S3D

WARM_UP = 1  # calls before each timed block: a clip is long enough to fill the caches by itself
SHAPE = (1, 3, 16, 224, 224)
CALIBRATED_ON = 2


@dataclass(frozen=True)
class Field:
    """What takes part, the peer first. `calls`: of the extractor for one clip."""

    name: str
    shape: tuple[int, ...]
    calls: int
    models: Mapping[str, Model]

    @property
    def peer(self) -> str:
        return next(iter(self.models))


def main(
    extractor: Annotated[Path | None, typer.Option(help="Any ONNX extractor in place of S3D.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="A clip bundle's models instead.")] = None,
    blocks: Annotated[int, typer.Option(min=4, help="Turns of each candidate.")] = 8,
    calls: Annotated[int, typer.Option(min=1, help="Timed clips in a turn.")] = 1,
    side: Annotated[int, typer.Option(min=32, help="S3D: pixels on a side.")] = SHAPE[-1],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write figures and facts.")] = None,
) -> None:
    """Time one clip through an extractor, side by side."""
    torch.set_num_threads(1)
    console, before = Console(), os.getloadavg()
    try:
        field = candidates(extractor, bundle, side)
    except SkerryError as error:
        console.print(f"clip_latency: {error}", style="red")
        raise typer.Exit(error.exit_code) from None
    with status(console):
        found = rows(hot(field, blocks, calls), field.peer)
    about = facts(before) | {"extractor": field.name, "shape": field.shape, "blocks": blocks, "calls": calls}
    console.print(table(field, found))
    console.print(f"{about['cpu']}, 1 thread, load {before[0]:.2f} before", highlight=False)
    if json_file is not None:
        write_json(json_file, {"about": about, "results": {n: asdict(r) for n, r in found.items()}}, console)


def candidates(extractor: Path | None, bundle: Path | None, side: int) -> Field:
    """Raises SkerryError."""
    if extractor is not None and bundle is not None:
        raise UsageError("--extractor and --bundle exclude each other: a bundle has its own")
    if bundle is not None:
        return _of_bundle(bundle)
    if extractor is None:
        return _s3d(side)
    opened = open_extractor(extractor, asked=Asked())
    frames = opened.spec.frames if opened.spec.sees == "frame" else None
    size = (opened.picture.height, opened.picture.width)
    shape = (1, 3, *size) if frames else (1, 3, opened.spec.frames, *size)
    return Field(
        opened.name, shape, frames or 1, _runtimes({"fp32": opened.model, **_integers(opened.model, shape)})
    )


def _of_bundle(folder: Path) -> Field:
    bundle = load_bundle(folder)
    made = clip_of(bundle).extractor
    here = [name for name in ("fp32", "int8-cpu") if name in bundle.manifest.variants]
    assert not set(here) & set(FOR_A_GPU)
    calls = min(made.frames, made.stride) if made.sees == "frame" else 1
    models = _runtimes({name: bundle.model(name) for name in here})
    return Field(bundle.manifest.name, extractor_shape(bundle), calls, models)


def _s3d(side: int) -> Field:
    torch.manual_seed(0)
    network, shape = S3D().eval(), (*SHAPE[:3], side, side)
    data = converted(network, torch.zeros(shape), "features", "clips")
    models = {"fp32": data, **_integers(data, shape)}
    return Field("S3D", shape, 1, {"eager": eager(network), **_runtimes(models)})


def _integers(data: bytes, shape: tuple[int, ...]) -> dict[str, bytes]:
    return {"int8-cpu": Ranges(data, _random(shape, CALIBRATED_ON)).for_processor(())}


def _runtimes(models: Mapping[str, bytes]) -> dict[str, Model]:
    made: dict[str, Model] = {f"onnx {name}": OnnxRuntime(data, name) for name, data in models.items()}
    if openvino_here():
        made |= {f"openvino {name}": OpenVinoRuntime(data, name) for name, data in models.items()}
    return made


def _random(shape: tuple[int, ...], count: int) -> list[Tensor]:
    return list(np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32))


def hot(field: Field, blocks: int, calls: int) -> Blocks:
    """Milliseconds of whole clips, in turns whose order rotates."""
    given = _random(field.shape, 1)[0]
    times: Blocks = {name: [] for name in field.models}
    for turn in turns(list(field.models), blocks):
        for name in turn:
            model = field.models[name]
            for _ in range(WARM_UP * field.calls):
                model(given)
            times[name].append([sum(timed(model, given) for _ in range(field.calls)) for _ in range(calls)])
    return times


def rows(times: Blocks, peer: str) -> dict[str, Row]:
    medians = {name: [statistics.median(block) for block in found] for name, found in times.items()}
    return {name: row(found, medians[name], medians[peer]) for name, found in times.items()}


def table(field: Field, found: Mapping[str, Row]) -> Table:
    size = " x ".join(map(str, field.shape[2:]))
    pictures = f"{field.calls} pictures of {size}" if field.calls > 1 else size
    title = f"{field.name}, a clip of {pictures}; ratios to {field.peer}"
    drawn = Table(title=title, title_justify="left")
    for column in ("", "median ms", "p99", "best block", "ratio", "quartiles"):
        drawn.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, one in found.items():
        low, high = one.ratio_quartiles
        figures = (one.median_ms, one.p99_ms, one.best_block_ms, one.ratio)
        drawn.add_row(name, *(f"{figure:.2f}" for figure in figures), f"{low:.2f} - {high:.2f}")
    return drawn


if __name__ == "__main__":
    typer.run(main)
