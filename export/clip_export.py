"""`skerry export` of a head for clips: with the extractor of its training it becomes a clip bundle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from edge.bundle import ModelBundle, Scoring, load_bundle
from edge.errors import UsageError
from edge.runtimes import OnnxRuntime
from export import bundling
from export.clip_making import CLIP_TOLERANCE, CLIP_VARIANTS, HELD_OUT, NORMAL, ClipMaker
from export.gate import Gate, levels_of
from export.heads import asked, head_onnx
from export.held_out_clips import Clips, clips_of, normal_recordings
from export.making import Order, keep
from export.matching import matching_extractor
from export.parity import Tolerance, truth_of
from export.tables import gate_table
from export.variants import parse_variants
from train.checkpoint import Checkpoint
from train.features import Extractor
from train.footage import SplitName

SCORING = Scoring(persistence=1)  # a clip is many looks already


@dataclass(frozen=True)
class Wanted:
    """What was asked for on the command line."""

    checkpoint: Path
    out: Path
    name: str
    extractor: Path | None
    weights: Path | None
    size: int | None
    variants: str | None
    in_float: tuple[str, ...] | None
    footage: tuple[Path, ...]
    clips: int | None
    max_drift: float | None
    rank_correlation: float | None
    allow_drift: bool
    calibrated: Path | None

    @property
    def tolerance(self) -> Tolerance:
        given = {"max_drift": self.max_drift, "rank_correlation": self.rank_correlation}
        known = {name: value for name, value in given.items() if value is not None}
        return Tolerance(**{**vars(CLIP_TOLERANCE), **known})

    @property
    def order(self) -> Order:
        names = CLIP_VARIANTS if self.variants is None else parse_variants(self.variants, CLIP_VARIANTS)
        return Order(names, self.variants is not None, self.in_float)


def export_clips(trained: Checkpoint, wanted: Wanted, console: Console) -> ModelBundle:
    """Raises ExtractorError, UsageError, ParityError; then nothing is written."""
    order, spec = wanted.order, trained.clip
    levels = None if wanted.calibrated is None else levels_of(load_bundle(wanted.calibrated))
    status = Console(stderr=True)
    with status.status("opening the extractor"):
        extractor = matching_extractor(wanted.extractor, wanted.weights, spec.extractor, wanted.size)
        head, torch_head = head_onnx(trained.head(), spec), asked(trained.head())
    with status.status("reading held-out clips"):
        pictures = _clips(trained, extractor, wanted, "validation")
    with OnnxRuntime(head, "the head") as onnx_head:
        with status.status("asking the extractor"):
            truth = truth_of(
                pictures.read_by(torch_head).ask(extractor.extract), pictures.undisturbed, levels
            )
        gate = Gate(pictures.read_by(onnx_head), truth, wanted.tolerance)
        normal = cache(lambda: _clips(trained, extractor, wanted, "train"))
        with status.status("converting and comparing"):
            models, parity = ClipMaker(extractor.model, gate, normal, order, console.print).make()
    console.print(gate_table(parity, models, gate))
    kept = models if wanted.allow_drift else keep(models, parity, order, gate.tolerance, console)
    evidence = bundling.Evidence(bundling.file_digest(wanted.checkpoint), _record(gate, wanted), parity)
    part = bundling.ClipPart(spec, extractor.picture, head, extractor.name)
    data = {variant: made.data for variant, made in kept.items()}
    return bundling.write(wanted.out, trained, wanted.name, data, evidence, SCORING, part)


def _record(gate: Gate, wanted: Wanted) -> dict[str, Any]:
    return bundling.gate_record(gate, bool(wanted.footage), wanted.calibrated)


def _clips(trained: Checkpoint, extractor: Extractor, wanted: Wanted, part: SplitName) -> Clips:
    """For the gate those validated on, to calibrate integers those trained on; of footage given, both."""
    spec = trained.clip
    counts = HELD_OUT if part == "validation" else NORMAL
    count = wanted.clips if wanted.clips and part == "validation" else counts[spec.extractor.sees]
    recordings = normal_recordings(trained, part, wanted.footage)
    clips = clips_of(recordings, count, spec.extractor, extractor.picture, trained.splits.folder_fps)
    if not clips:
        length = spec.extractor.frames / spec.extractor.fps
        raise UsageError(
            f"no normal recording is as long as one clip of the model, {length:g} s: name longer ones "
            "with --footage"
        )
    return Clips(clips, spec, extractor.picture, lambda window: window)
