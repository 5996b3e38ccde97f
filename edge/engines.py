"""The cache of TensorRT engines: which there are, what each belongs to, and what may be thrown away.

    000003-1f0c9e2ab5d47e88.json     what engine 3 belongs to, how it was made, what the gate said
    000003-1f0c9e2ab5d47e88.engine   its bytes; absent where the gate refused it
    000003-1f0c9e2ab5d47e88.log      what TensorRT said while building
    timing-5e0d....cache             tactics timed on this device, to make the next build shorter

The JSON is the commit point: it is written last and names the digest of the engine, so a build that is
killed, or runs out of space, leaves what was there. No engine is replaced; a newer one has a higher number.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from edge.bundle import ModelBundle, Sha256
from edge.detector import input_shape
from edge.gpu import Device, EngineError

Precision = Literal["fp16", "int8"]
MODELS: dict[Precision, str] = {"fp16": "fp16", "int8": "int8-trt"}  # the variant it is built from
KEPT = 2  # engines of a precision: the newest, and the one to fall back on
_MAX_SIDECAR_BYTES = 100_000
_BUILDING = ".building-"
FAILED_LOG = "failed.log"  # of the last build that ended without a record


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineKey(_Part):
    """All that an engine depends on; another value of any of these is another engine."""

    onnx: Sha256
    tensorrt: str  # in full: engines are for one exact version
    compute: str
    multiprocessors: int
    module: str
    l4t: str
    precision: Precision
    shape: tuple[int, ...]
    flags: tuple[str, ...] = ("STRONGLY_TYPED",)
    optimization: int
    workspace_mb: int

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def hardware(self) -> tuple[str, str, int, str]:
        """What must agree for an engine to be usable at all; the rest may differ in a previous one."""
        return self.tensorrt, self.compute, self.multiprocessors, self.module


class GateResult(_Part):
    """The engine against ONNX Runtime on the same file, with fixed pictures, on this device. Drifts are
    relative; of clips (then `frames` are clips) in the spread of the logits."""

    frames: int
    max_drift: Annotated[float, Field(allow_inf_nan=False)] | None  # None: NaN or infinity came out
    mean_drift: Annotated[float, Field(allow_inf_nan=False)] | None
    feature_drift: Annotated[float, Field(allow_inf_nan=False)] | None = None
    feature_cosine: Annotated[float, Field(allow_inf_nan=False)] | None = None
    file_drift: Annotated[float, Field(allow_inf_nan=False)] | None = None  # of the file itself, from fp32
    refusal: str = ""  # why it must not be used; empty for one that may


class EngineRecord(_Part):
    """The JSON beside an engine. `sha256` and `size` (bytes) are of the engine, kept or not.

    Format 1 was held against fp32 instead of the file: what it refused may be good, and is built again.
    """

    format: Literal[2] = 2
    number: Annotated[int, Field(ge=1, lt=1_000_000)]
    key: EngineKey
    sha256: Sha256
    size: int
    built: AwareDatetime
    seconds: float
    power_mode: str
    gate: GateResult

    @property
    def stem(self) -> str:
        return f"{self.number:06d}-{self.key.digest}"

    @property
    def usable(self) -> bool:
        return not self.gate.refusal


def key_of(
    bundle: ModelBundle, precision: Precision, tensorrt: str, device: Device, options: tuple[int, int]
) -> EngineKey:
    """`options`: optimization level, workspace in MB. Raises BundleError where the bundle lacks the model."""
    bundle.model(MODELS[precision])
    return EngineKey(
        onnx=bundle.manifest.files[bundle.manifest.variants[MODELS[precision]]],
        tensorrt=tensorrt,
        compute=device.compute,
        multiprocessors=device.multiprocessors,
        module=device.module,
        l4t=device.l4t,
        precision=precision,
        shape=input_shape(bundle),
        optimization=options[0],
        workspace_mb=options[1],
    )


class EngineStore:
    """A folder of engines, for one device; nothing is read or made before it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def records(self) -> list[EngineRecord]:
        """Newest first. What cannot be read as a record is none: an engine can always be built again."""
        found = (_parsed(path) for path in self.folder.glob("[0-9]*-*.json"))
        return sorted((record for record in found if record), key=lambda one: one.number, reverse=True)

    def candidates(self, bundle: ModelBundle, hardware: tuple[str, str, int, str]) -> list[EngineRecord]:
        """Engines of this bundle's models that this device can run and the gate let pass, newest first."""
        ours = {
            (bundle.manifest.files[bundle.manifest.variants[variant]], precision)
            for precision, variant in MODELS.items()
            if variant in bundle.manifest.variants
        }
        return [
            record
            for record in self.records()
            if record.usable
            and record.key.hardware == hardware
            and (record.key.onnx, record.key.precision) in ours
        ]

    def engine(self, record: EngineRecord) -> bytes:
        """Verified now: what is checked is what is used. Raises EngineError."""
        path = self.folder / f"{record.stem}.engine"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise EngineError(
                f"engine {path} cannot be read ({error.strerror}); `skerry engine build` makes it again"
            ) from None
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise EngineError(f"engine {path} was truncated or changed; `skerry engine build` makes it again")
        return data

    def next_number(self) -> int:
        return max((record.number for record in self.records()), default=0) + 1

    def keep(self, record: EngineRecord, engine: bytes, log: Path) -> None:
        """Commit: the engine unless it was refused, its log, then the record; then let older ones go."""
        if record.usable:
            self.write(f"{record.stem}.engine", engine)
        with _said(self.folder):
            log.replace(self.folder / f"{record.stem}.log")
        self.write(f"{record.stem}.json", record.model_dump_json(indent=2).encode() + b"\n")
        self.prune()

    def prune(self, keep: int = KEPT) -> list[EngineRecord]:
        """Remove what is older than the newest `keep` of a precision and verdict; return what went."""
        gone, seen = [], dict[tuple[Precision, bool], int]()
        for record in self.records():
            kind = (record.key.precision, record.usable)
            seen[kind] = seen.get(kind, 0) + 1
            if seen[kind] > keep:
                self._remove(record.stem)
                gone.append(record)
        return gone

    def _remove(self, stem: str) -> None:
        for suffix in (".json", ".engine", ".log"):  # the record first: without it the rest is nothing
            (self.folder / f"{stem}{suffix}").unlink(missing_ok=True)

    @contextmanager
    def building(self) -> Iterator[Path]:
        """Hold the store for one build; gives the file for its log. Sweeps up what a killed build left."""
        with _said(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EngineError(f"another build is at work in {self.folder}; wait for it") from None
            self._sweep()
            try:
                yield self.folder / f"{_BUILDING}log"
            finally:
                self._keep_failed_log()

    def _sweep(self) -> None:
        """Unfinished files, and engines whose record was never written; a failed build's log is kept."""
        known = {record.stem for record in self.records()}
        self._keep_failed_log()
        for path in [*self.folder.glob(f"{_BUILDING}*"), *_orphans(self.folder.glob("[0-9]*-*"), known)]:
            path.unlink(missing_ok=True)

    def _keep_failed_log(self) -> None:
        log = self.folder / f"{_BUILDING}log"
        if log.exists():
            log.replace(self.folder / FAILED_LOG)

    def timing_cache(self, key: EngineKey) -> bytes:
        try:
            return (self.folder / timing_name(key)).read_bytes()
        except OSError:
            return b""

    def write(self, name: str, data: bytes) -> None:
        """All of it or nothing, on disk before it returns. Raises EngineError."""
        temporary = self.folder / f"{_BUILDING}{name}"
        with _said(self.folder):
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.folder / name)
            descriptor = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def timing_name(key: EngineKey) -> str:
    """One cache per TensorRT version and device, whatever the model."""
    about = "\n".join(str(value) for value in key.hardware)
    return f"timing-{hashlib.sha256(about.encode()).hexdigest()[:16]}.cache"


def _parsed(path: Path) -> EngineRecord | None:
    try:
        if path.stat().st_size > _MAX_SIDECAR_BYTES:
            return None
        record = EngineRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return record if record.stem == path.stem else None


def _orphans(paths: Iterable[Path], known: set[str]) -> Iterator[Path]:
    return (path for path in paths if path.suffix in (".engine", ".log") and path.stem not in known)


@contextmanager
def _said(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(
            f"the engine cache {folder} cannot be written: {error.strerror}; make room there or name another "
            "folder with --engines"
        ) from None
