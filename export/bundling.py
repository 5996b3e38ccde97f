"""What the gate let through -> the bundle on disk, with where all of it came from."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edge.bundle import Manifest, ModelBundle, Parity, Scoring, load_bundle, write_bundle
from edge.clips import ClipSpec
from edge.errors import BundleError, UsageError
from edge.preprocess import InputSpec
from export.disturb import DISTURBANCES
from export.families import FAMILIES
from export.gate import Gate
from export.parity import PROVISIONAL_MARGIN
from train.checkpoint import Checkpoint

MAX_NAME = 100  # characters, as the manifest has it


def gate_record(gate: Gate, footage_given: bool, calibrated: Path | None) -> dict[str, Any]:
    """How the variants were held against PyTorch, for the provenance."""
    return {
        "undisturbed": gate.pictures.undisturbed,
        "pictures": gate.pictures.shows,
        "footage": "given with --footage" if footage_given else "the checkpoint's validation split",
        "disturbances": list(DISTURBANCES),
        "tolerance": asdict(gate.tolerance),
        **_threshold(gate, calibrated),
    }


def _threshold(gate: Gate, calibrated: Path | None) -> dict[str, Any]:
    if gate.truth.levels is None or calibrated is None:
        rule = f"{PROVISIONAL_MARGIN:g} x the largest PyTorch score of an undisturbed picture"
        if gate.truth.unit is not None:
            above = PROVISIONAL_MARGIN - 1
            rule = f"{above:.2g} of the scores' spread above the largest of an undisturbed clip"
        return {"provisional_threshold": gate.truth.threshold, "threshold_rule": rule}
    rule = f"the calibrated threshold of bundle {load_bundle(calibrated).manifest.name}"
    return {"threshold": gate.truth.levels.alarm, "threshold_rule": rule}


def must_be_writable(out: Path, force: bool) -> None:
    """Raises UsageError unless `out` is new, empty, or a bundle that may be replaced."""
    try:
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return
    except OSError as error:
        raise UsageError(f"--out {out} cannot be used: {error.strerror}") from None
    if not out.is_dir():
        raise UsageError(f"--out {out} is a file: name a new folder")
    try:
        load_bundle(out)
    except BundleError:
        raise UsageError(
            f"--out {out} is not empty and no sound bundle: name a new folder, or remove that one"
        ) from None
    if not force:
        raise UsageError(f"--out {out} is a bundle already: name a new folder, or replace it with --force")


def write(
    out: Path,
    checkpoint: Checkpoint,
    name: str,
    models: Mapping[str, bytes],
    evidence: Evidence,
    scoring: Scoring,
    clips: ClipPart | None = None,
) -> ModelBundle:
    """The bundle, not calibrated yet. What an old bundle in the same folder held goes."""
    files = {f"model.{variant}.onnx": data for variant, data in models.items()}
    manifest = Manifest(
        name=name,
        kind="clip" if clips else FAMILIES[checkpoint.kind].bundle,
        created=datetime.now(timezone.utc),
        input=clips.picture if clips else checkpoint.input,
        scoring=scoring,
        clip=clips.spec if clips else None,
        provenance=_provenance(checkpoint, evidence) | ({"extractor": clips.extractor} if clips else {}),
        parity=dict(evidence.parity),
        variants={variant: f"model.{variant}.onnx" for variant in models},
        files=_old_files(out),
    )
    if clips:
        files[clips.spec.head] = clips.head
    try:
        return write_bundle(out, manifest, files)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror}") from None


@dataclass(frozen=True, eq=False)
class ClipPart:
    """What a clip bundle has beside its extractor. `extractor`: the name of the file it came from."""

    spec: ClipSpec
    picture: InputSpec
    head: bytes
    extractor: str


@dataclass(frozen=True)
class Evidence:
    """Which checkpoint file it was, and what the gate found."""

    checkpoint_sha256: str
    gate: Mapping[str, Any]
    parity: Mapping[str, Parity]


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _old_files(out: Path) -> dict[str, str]:
    """Named in the new manifest's draft, files of a replaced bundle are tidied away by the writer."""
    return dict(load_bundle(out).manifest.files) if (out / "manifest.json").exists() else {}


def _provenance(checkpoint: Checkpoint, evidence: Evidence) -> dict[str, Any]:
    record = checkpoint.record
    return {
        "recipe": record.recipe.model_dump(mode="json"),
        "data_sha256": record.splits.data_sha256,
        "split": _split(checkpoint),
        "training": _training(checkpoint),
        "checkpoint_sha256": evidence.checkpoint_sha256,
        "weights_sha256": record.weights_sha256,
        "trained_with": dict(record.versions),
        "exported_with": versions(),
        "gate": dict(evidence.gate),
    }


def _split(checkpoint: Checkpoint) -> dict[str, Any]:
    splits = checkpoint.splits
    counts = {name: splits.frames(name) for name in ("train", "validation", "test")}
    what = "clips" if checkpoint.kind == "mil" else "frames"
    return {"rule": splits.rule, "fps": splits.fps, what: counts}


def _training(checkpoint: Checkpoint) -> dict[str, Any]:
    """The figures of the epoch whose weights these are."""
    record = checkpoint.record
    if not record.history:
        return {"epochs": 0}
    chosen = record.history[(record.best_epoch or len(record.history)) - 1]
    loss = "loss" if checkpoint.kind == "mil" else "mse"
    return {
        "epochs": len(record.history),
        "weights_of_epoch": chosen.epoch,
        f"train_{loss}": chosen.train,
        f"validation_{loss}": chosen.validation,
        "seconds": round(sum(epoch.seconds for epoch in record.history), 3),
    }


def versions() -> dict[str, str]:
    packages = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
