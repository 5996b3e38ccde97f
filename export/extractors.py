"""A file that makes features -> an extractor: any ONNX model, S3D weights, a checkpoint of ours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from onnx import ModelProto
from pydantic import ValidationError

from edge.clips import ExtractorSpec
from edge.errors import BundleError, nearest
from edge.preprocess import InputSpec
from edge.runtimes import OnnxRuntime
from export.extractor_graph import ExtractorError, Wanted, fixed, note, noted, parsed, settle_output, shape_of
from export.trained_extractors import of_checkpoint, of_s3d
from train.features import Extractor
from train.s3d import PUBLISHED

S3D = "s3d"  # the word that stands for it, where a file is expected
_MAX_BYTES = 2_000_000_000
_CHECKPOINT = b"PK"  # how the archives begin that PyTorch writes

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
PIXELS: dict[str, InputSpec] = {  # of RGB; what a model was trained with, it needs
    "-1..1": InputSpec(scale=1 / 127.5, mean=(1.0, 1.0, 1.0)),
    "0..1": InputSpec(),
    "0..255": InputSpec(scale=1.0),
    "imagenet": InputSpec(mean=_IMAGENET[0], std=_IMAGENET[1]),
    "kinetics": InputSpec(mean=_KINETICS[0], std=_KINETICS[1]),
}
USUAL_PIXELS = "-1..1"
USUAL_SIZE = 224


@dataclass(frozen=True)
class Asked:
    """What a person may say about clips; None for what suits the extractor (`usual`)."""

    fps: float | None = None
    frames: int | None = None
    stride: int | None = None
    pooling: Literal["mean", "mean-change"] | None = None
    level: bool = False
    size: int | None = None  # pixels on a side, where the model leaves it open
    pixels: str | None = None
    output: str | None = None


def open_extractor(
    source: Path | str | None, weights: Path | None = None, asked: Asked | None = None, threads: int = 1
) -> Extractor:
    """`source`: an ONNX file, a checkpoint of ours, or the word `s3d`, whose `weights` are then needed.

    Raises ExtractorError, or CheckpointError, for whatever makes no features.
    """
    asked = asked or Asked()
    if source is None and weights is None:
        raise ExtractorError("no extractor was named; give --extractor FILE, or --weights FILE for S3D")
    if source is None or str(source) == S3D:
        return _s3d(weights, asked, threads)
    if weights is not None:
        raise ExtractorError(f"--weights is for S3D alone, {source} has its own; leave one of them out")
    path = Path(source)
    data = _read(path)
    if data.startswith(_CHECKPOINT):
        data = _of_checkpoint(path, asked)
    return of_onnx(data, path.name, asked, threads)


def _s3d(weights: Path | None, asked: Asked, threads: int) -> Extractor:
    if weights is None:
        raise ExtractorError(
            f"S3D needs its weights: fetch torchvision's s3d-{PUBLISHED}.pth (docs/clips.md says where from) "
            "and give it by --weights"
        )
    _says_itself(S3D, asked)
    graph = of_s3d(weights, asked.frames, asked.size or USUAL_SIZE, PIXELS["kinetics"])
    return of_onnx(graph, S3D, asked, threads)


def _of_checkpoint(path: Path, asked: Asked) -> bytes:
    _says_itself(path.name, asked)  # before the work
    return of_checkpoint(path)


def _says_itself(name: str, asked: Asked) -> None:
    if asked.output or asked.pixels:
        raise ExtractorError(f"{name} says itself which output and pixels it has; leave these options out")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ExtractorError(f"{path} is larger than {_MAX_BYTES / 1e9:g} GB; that cannot fly")
        return path.read_bytes()
    except OSError as error:
        raise ExtractorError(f"the extractor {path} cannot be read: {error.strerror}") from None


def of_onnx(data: bytes, name: str, asked: Asked, threads: int = 1) -> Extractor:
    """Any per-picture (n x 3 x h x w) or per-clip (n x 3 x frames x h x w) model."""
    model = parsed(data, name)
    picture = noted(model)
    if picture is None:
        data, picture = _made_to_fly(model, name, asked)
    else:
        _says_itself(name, asked)
    shape = _one_picture(shape_of(model.graph.input[0]), asked, name)
    runtime = _runtime(data, name, threads)
    found = _answer(runtime, shape, name)
    spec = spec_of(shape, found.shape[-1], hashlib.sha256(data).hexdigest(), asked, name)
    return Extractor(name, spec, picture, runtime, data)


def _one_picture(shape: tuple[int, ...], asked: Asked, name: str) -> tuple[int, ...]:
    """Raises ExtractorError for a graph that says it flies and does not, and for pictures of another size."""
    if len(shape) not in (4, 5) or min(shape) < 1:
        raise ExtractorError(f"{name} does not take one picture or clip at a time; give the original file")
    height, width = shape[-2:]
    if asked.size not in (None, height) or asked.size not in (None, width):
        raise ExtractorError(
            f"--size {asked.size}: {name} takes pictures of {width} x {height}; leave it out"
        )
    return shape


def _made_to_fly(model: ModelProto, name: str, asked: Asked) -> tuple[bytes, InputSpec]:
    pixels = _pixels(asked.pixels)
    shape = fixed(model, Wanted(asked.size or USUAL_SIZE, asked.frames, asked.output), name)
    with _runtime(model.SerializeToString(), name, 1) as runtime:
        settle_output(model, _answer(runtime, shape, name).shape, name)
    picture = pixels.model_copy(update={"height": shape[-2], "width": shape[-1]})
    note(model, picture)
    return bytes(model.SerializeToString(deterministic=True)), picture


def _pixels(asked: str | None) -> InputSpec:
    word = asked or USUAL_PIXELS
    if word not in PIXELS:
        raise ExtractorError(f"--pixels {word} is not one of {', '.join(PIXELS)}{nearest(word, PIXELS)}")
    return PIXELS[word]


def _runtime(data: bytes, name: str, threads: int) -> OnnxRuntime:
    try:
        return OnnxRuntime(data, name, threads)
    except BundleError as error:
        raise ExtractorError(str(error)) from None


def _answer(
    runtime: OnnxRuntime, shape: tuple[int, ...], name: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """To pictures of one grey. Raises ExtractorError for what is no feature."""
    try:
        found = runtime(np.zeros(shape, np.float32))
    except BundleError as error:
        raise ExtractorError(str(error)) from None
    if found.dtype != np.float32 or not np.isfinite(found).all():
        raise ExtractorError(
            f"{name} answers with {found.dtype}, NaN or infinity instead of float32 features"
        )
    return found


def spec_of(shape: tuple[int, ...], width: int, digest: str, asked: Asked, name: str) -> ExtractorSpec:
    """Clips as asked for, else as usual. Raises ExtractorError where that does not fit the extractor."""
    sees: Literal["frame", "clip"] = "frame" if len(shape) == 4 else "clip"
    if sees == "clip" and asked.pooling is not None:
        raise ExtractorError(f"{name} sees whole clips: there is nothing to pool; leave --pooling out")
    if sees == "clip" and asked.frames not in (None, shape[2]):
        raise ExtractorError(
            f"{name} looks at {shape[2]} frames at once; give --frames {shape[2]}, or leave it out"
        )
    frames = shape[2] if sees == "clip" else asked.frames or 8
    pooling = asked.pooling or ("mean-change" if sees == "frame" else "mean")
    try:
        return ExtractorSpec(
            sees=sees,
            frames=frames,
            stride=asked.stride or (max(1, frames // 2) if sees == "frame" else frames),
            fps=asked.fps or (8.0 if sees == "frame" else 15.0),
            pooling=pooling,
            width=width * (2 if pooling == "mean-change" else 1),
            level=asked.level,
            sha256=digest,
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ExtractorError(f"--{first['loc'][0]}: {first['msg']}") from None
