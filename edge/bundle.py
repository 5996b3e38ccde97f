"""A bundle: everything a drone needs to fly one model, in a folder that proves itself.

    manifest.json               what it is, and the sha256 of every other file
    model.fp32.onnx             and further variants
    calibration-XXXXXXXX.npz    error statistics of normal footage
    route-XXXXXXXX.npz          places of the route, of models that compare flights

The manifest is the commit point: a new calibration is written under a new name before the manifest that
names it replaces the old one, so a power cut leaves the old bundle or the new one, never a mixture.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from edge.clips import ClipSpec
from edge.errors import BundleError
from edge.preprocess import InputSpec

FORMAT = 1
MOTION = 1  # how motion is measured; with another, what was normal of it is of another quantity
MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 4_000_000

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]  # never a path
Finite = Annotated[float, Field(allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1, le=16_384)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Kind = Literal["reconstruction", "prediction", "clip", "frame", "evidence"]
Source = Literal["error", "head", "latent", "motion"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Branch(_Part):
    """One kind of evidence that something does not belong.

    `source`: `error`, the squared reconstruction error; `head`, the model's own probability of a foreign
    thing; `latent`, how far its features lie from those of normal footage; `motion`, what moves otherwise
    than the camera. `window`: side, in pixels of that map, of the mean taken around each; None for the mean
    of the whole picture. `power`: of that mean, 1 for the ordinary one.
    """

    source: Source
    window: Annotated[int, Field(ge=1, le=255)] | None
    power: Annotated[int, Field(ge=1, le=8)] = 1


class Scoring(_Part):
    """How evidence becomes one number: the largest of the branches, each calibrated on normal footage.

    `memory_s`: time constant with which a map remembers earlier ones. `persistence`: frames in a row that
    must agree; the alarm looks at the smallest of them. `relight`: errors are less what a change of light
    explains (see `edge.illumination`).
    """

    branches: Annotated[tuple[Branch, ...], Field(min_length=1, max_length=8)] = (
        Branch(source="error", window=3),
        Branch(source="error", window=9),
    )
    memory_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.0
    persistence: Annotated[int, Field(ge=1, le=30)] = 2
    relight: bool = False

    @classmethod
    def for_kind(
        cls,
        kind: Kind,
        motion: bool | None = None,
        latent: bool = False,
        relight: bool = False,
        beside: Literal["earlier", "route"] = "earlier",
    ) -> Scoring:
        """What a new bundle of this kind looks at; motion where asked for, or the model sees pairs anyway.

        A model of a route (`beside`) sees whatever is new there; beside it motion finds no more, and the
        threshold that both keep is higher (docs/detection.md).
        """
        branches: tuple[Branch, ...] = cls().branches
        if kind == "evidence":
            branches = (Branch(source="head", window=3),)
            if latent:
                branches = (*branches, Branch(source="latent", window=9))
        memory_s = 0.3 if beside == "route" else 0.0
        pairs = kind == "evidence" and beside == "earlier"
        if pairs if motion is None else motion:
            moving = Branch(source="motion", window=31, power=3)  # a thing's speed, not how many walk
            branches, memory_s = (*branches, moving), max(memory_s, 0.15)
        return cls(branches=branches, memory_s=memory_s, relight=relight)


class Calibration(_Part):
    """The alarm threshold and how it was found; scores are in the unit of the scoring rule."""

    threshold: Finite
    release: Finite  # an incident ends below this
    median: Finite
    box_level: Finite  # heat from which a pixel belongs to a box
    false_alarms_per_hour: Positive
    method: Literal["conformal", "pareto"]
    smallest_rate: Positive  # false alarms per hour; rarer ones this much footage does not support
    expected: tuple[Finite, Finite]  # 90 % interval of the true rate, from counting alone
    view: tuple[Size, Size]  # height and width at which pictures were looked at
    block_s: Positive
    block_maxima: Annotated[tuple[Finite, ...], Field(min_length=1)]
    footage_s: Positive
    frames: Annotated[int, Field(ge=1)]
    fps: Positive
    variant: str
    statistics: FileName | None  # None: the score needs none (clip bundles)
    route: FileName | None = None  # places of the route (see `edge.places`), of models that look at them
    judged: Annotated[float, Field(ge=0, le=1)] | None = None  # of each flight, what the others had seen
    motion: int = 0  # MOTION, then; 0: from before it was noted
    created: AwareDatetime


class Parity(_Part):
    """A variant against PyTorch, on held-out normal and disturbed frames. Drifts are relative; of clips,
    whose scores are logits, in standard deviations of the logits.

    One that is not within tolerance is not in the bundle, unless that was asked for; its figures stay.
    """

    frames: int
    max_drift: Finite
    mean_drift: Finite
    rank_correlation: Finite
    alarms_gained: int
    alarms_lost: int
    within_tolerance: bool
    feature_drift: Finite | None = None  # of models with features: the largest mean change, in their spread
    heat_iou: Finite | None = (
        None  # of the places that are hot, those that both say, over those that either says
    )
    feature_cosine: Finite | None = None  # of clips: the least between a feature and what it should be
    mixture: str = ""  # what of it is not in the precision that its name says


class Manifest(_Part):
    format: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=100)]
    kind: Kind
    created: AwareDatetime
    input: InputSpec
    scoring: Scoring
    clip: ClipSpec | None = None  # of clip bundles: how a stream becomes scores
    calibration: Calibration | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)
    parity: dict[str, Parity] = Field(default_factory=dict)
    variants: Annotated[dict[str, FileName], Field(min_length=1)]  # fp32, int8-cpu, ... -> file
    files: dict[FileName, Sha256]


@dataclass(frozen=True, slots=True)
class ModelBundle:
    folder: Path
    manifest: Manifest
    digest: str  # sha256 of manifest.json, and so of everything

    def read(self, name: str) -> bytes:
        """A file's bytes, verified now: what is checked is what is used. Raises BundleError."""
        data = _read(self.folder / name, self.folder)
        if hashlib.sha256(data).hexdigest() != self.manifest.files.get(name):
            raise BundleError(
                f"{self.folder / name} was changed after the bundle was made; copy the bundle again"
            )
        return data

    def model(self, variant: str) -> bytes:
        if variant not in self.manifest.variants:
            offered = ", ".join(sorted(self.manifest.variants))
            raise BundleError(f"bundle {self.folder} has no variant {variant!r}; it has {offered}")
        return self.read(self.manifest.variants[variant])

    def calibration(self) -> Calibration:
        if self.manifest.calibration is None:
            raise BundleError(
                f"bundle {self.folder} has no threshold yet; run "
                f"`skerry calibrate {self.folder} --normal FOOTAGE`"
            )
        return self.manifest.calibration

    def outdated(self) -> str | None:
        """Why the threshold is no longer for what is measured, if so, and what to do. It may fly."""
        moving = any(branch.source == "motion" for branch in self.manifest.scoring.branches)
        if not moving or self.calibration().motion == MOTION:
            return None
        return (
            "this version measures motion otherwise than the one that calibrated the bundle, so alarms may "
            f"be more or fewer than wanted; run `skerry calibrate {self.folder} --normal FOOTAGE` again"
        )

    def statistics(self) -> bytes:
        """What calibration learnt of normal footage, verified. Raises BundleError where there is none."""
        name = self.calibration().statistics
        if name is None:
            raise BundleError(f"the calibration of {self.folder} lacks its statistics; calibrate it again")
        return self.read(name)

    def route(self) -> bytes | None:
        """Places of the route, verified; None for a model that does not look at them. Raises BundleError."""
        if self.manifest.input.beside != "route":
            return None
        name = self.calibration().route
        if name is None:
            raise BundleError(f"the calibration of {self.folder} lacks its route; calibrate it again")
        return self.read(name)


def load_bundle(folder: Path, *, whole: bool = True) -> ModelBundle:
    """Open a bundle and verify every file's digest; not `whole`: each only when it is read, as in flight,
    which reads one of the models. Raises BundleError, one sentence."""
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a bundle folder; `skerry export CKPT --out {folder}` makes one")
    raw = _read(folder / MANIFEST, folder)
    bundle = ModelBundle(folder, _parse(raw, folder), hashlib.sha256(raw).hexdigest())
    for name in bundle.manifest.files if whole else ():
        bundle.read(name)
    return bundle


def _read(path: Path, folder: Path) -> bytes:
    try:
        if path.name == MANIFEST and path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{path} is far too large to be a manifest; export the bundle again")
        return path.read_bytes()
    except OSError as error:
        reason = (
            "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        )
        raise BundleError(f"bundle {folder}: {path.name} {reason}; copy the bundle again") from None


def _parse(raw: bytes, folder: Path) -> Manifest:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise BundleError(f"bundle {folder}: {MANIFEST} is not JSON; copy the bundle again") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT or isinstance(found, bool):
        raise BundleError(
            f"bundle {folder} has format {found!r}, this software reads {FORMAT}; export it again with it"
        )
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"bundle {folder}: manifest field {where}: {first['msg']}; export it again"
        ) from None
    _check_names(manifest, folder)
    return manifest


def _check_names(manifest: Manifest, folder: Path) -> None:
    unlisted = sorted(_named(manifest) - set(manifest.files))
    if unlisted:
        raise BundleError(f"bundle {folder}: no digest for {', '.join(unlisted)}; export it again")


def _named(manifest: Manifest) -> set[str]:
    """Every file that a bundle needs beside its manifest."""
    named = set(manifest.variants.values())
    if manifest.calibration and manifest.calibration.statistics:
        named.add(manifest.calibration.statistics)
    if manifest.calibration and manifest.calibration.route:
        named.add(manifest.calibration.route)
    if manifest.clip:
        named.add(manifest.clip.head)
    return named


def write_bundle(folder: Path, manifest: Manifest, files: dict[str, bytes]) -> ModelBundle:
    """Write a new bundle, or files and a manifest into an old one; files that nothing names any more go.

    `manifest.files` is completed with the digests of `files`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"{folder} cannot be made: {error.strerror}; name another folder") from None
    for name, data in files.items():
        _write_durably(folder / name, data)
    digests = {**manifest.files, **{name: hashlib.sha256(data).hexdigest() for name, data in files.items()}}
    named = _named(manifest)
    stale = set(digests) - named
    complete = manifest.model_copy(update={"files": {n: d for n, d in sorted(digests.items()) if n in named}})
    _write_durably(folder / MANIFEST, complete.model_dump_json(indent=2).encode() + b"\n")
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    return load_bundle(folder)


def _write_durably(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error.strerror}") from None
