"""From a bundle to an engine that may fly: built on this device, held against the gate, kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from edge.bundle import ModelBundle
from edge.engine_gate import Tolerance, gate
from edge.engines import (
    MODELS,
    EngineKey,
    EngineRecord,
    EngineStore,
    GateResult,
    Precision,
    key_of,
    timing_name,
)
from edge.errors import BundleError
from edge.gpu import Device, EngineError, Toolkit, describe_device
from edge.runtimes import OnnxRuntime
from edge.tensorrt_builder import BuildOptions, Built, Tell, build_engine
from edge.tensorrt_runtime import TensorRtRuntime

ROOM = 64_000_000  # bytes that must be free beside eight times the model: engine, timing cache and log


@dataclass(frozen=True, slots=True)
class Order:
    """What to build, and when to be content. `again`: even where there is one, or one was refused."""

    precision: Precision = "fp16"
    options: BuildOptions = field(default_factory=BuildOptions)
    tolerance: Tolerance = field(default_factory=Tolerance)
    again: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    record: EngineRecord
    new: bool


def make_engine(
    bundle: ModelBundle, order: Order, store: EngineStore, toolkit: Toolkit, tell: Tell = lambda *_: True
) -> Made:
    """The engine of this bundle for this device: the one there is, or a new one if the gate lets it pass.

    Raises EngineError where it cannot be built or must not be used; what was in the cache stays usable.
    """
    model, fp32 = bundle.model(MODELS[order.precision]), _fp32(bundle)
    device = describe_device(toolkit)
    options = (order.options.optimization, order.options.workspace_mb)
    key = key_of(bundle, order.precision, toolkit.version, device, options)
    with store.building() as log:
        found = None if order.again else _already(store, key, toolkit)
        if found is not None:
            return Made(found, new=False)
        _check_room(store.folder, model)
        started = time.monotonic()
        built = _built(model, bundle, order, store, toolkit, key, tell, log)
        verdict = _judged(built, bundle, (model, fp32), order, toolkit)
        record = _record(store, key, built, verdict, device, time.monotonic() - started)
        store.write(timing_name(key), built.timing_cache)
        store.keep(record, built.engine, log)
    if verdict.refusal:
        raise EngineError(_refused(record))
    return Made(record, new=True)


def _fp32(bundle: ModelBundle) -> bytes:
    if "fp32" not in bundle.manifest.variants:
        raise BundleError(
            f"bundle {bundle.folder} has no fp32 model to hold another one against; export it with fp32"
        )
    return bundle.model("fp32")


def _already(store: EngineStore, key: EngineKey, toolkit: Toolkit) -> EngineRecord | None:
    """The newest engine of exactly this key that opens. Raises EngineError if the gate refused it."""
    record = next((one for one in store.records() if one.key == key), None)
    if record is None:
        return None
    if not record.usable:
        raise EngineError(f"{_refused(record)}; --again builds it anew")
    try:
        with TensorRtRuntime(store.engine(record), record.stem, toolkit):
            return record
    except EngineError:  # it does not fit after all: to be built
        return None


def _refused(record: EngineRecord) -> str:
    return f"the {record.key.precision} engine must not fly: {record.gate.refusal}"


def _check_room(folder: Path, model: bytes) -> None:
    """Before minutes of building, not after."""
    free, wanted = shutil.disk_usage(folder).free, ROOM + 8 * len(model)
    if free < wanted:
        raise EngineError(
            f"the engine cache {folder} has {free // 1_000_000} MB free, a build needs "
            f"{wanted // 1_000_000}; make room there or name another folder with --engines"
        )


def _built(
    model: bytes,
    bundle: ModelBundle,
    order: Order,
    store: EngineStore,
    toolkit: Toolkit,
    key: EngineKey,
    tell: Tell,
    log: Path,
) -> Built:
    """Its log is on disk line by line: what a killed build said last is what one wants to know."""
    name = f"{bundle.folder}/{bundle.manifest.variants[MODELS[order.precision]]}"
    try:
        with log.open("w", encoding="utf-8", errors="replace", buffering=1) as lines:
            return build_engine(
                model, name, toolkit, order.options, store.timing_cache(key), tell, _writer(lines.write)
            )
    except OSError as error:
        raise EngineError(
            f"the builder's log {log} cannot be written: {error.strerror}; make room there"
        ) from None


def _writer(write: Callable[[str], int]) -> Callable[[str], None]:
    """Called by TensorRT, where an exception of Python's ends the process: a full disk only ends the log."""

    def line(text: str) -> None:
        if not text.startswith("VERBOSE"):  # megabytes of it
            with suppress(OSError):
                write(text.rstrip("\n") + "\n")

    return line


def _judged(
    built: Built, bundle: ModelBundle, models: tuple[bytes, bytes], order: Order, toolkit: Toolkit
) -> GateResult:
    """`models`: the engine's own file and fp32, whose digests were verified."""
    threads = os.cpu_count() or 1
    with (
        TensorRtRuntime(built.engine, f"the new {order.precision} engine", toolkit) as engine,
        OnnxRuntime(models[0], f"{bundle.folder} {MODELS[order.precision]}", threads) as file,
        OnnxRuntime(models[1], f"{bundle.folder} fp32", threads) as fp32,
    ):
        return gate(bundle, engine, file, fp32, order.tolerance)


def _record(
    store: EngineStore,
    key: EngineKey,
    built: Built,
    verdict: GateResult,
    device: Device,
    seconds: float,
) -> EngineRecord:
    return EngineRecord(
        number=store.next_number(),
        key=key,
        sha256=hashlib.sha256(built.engine).hexdigest(),
        size=len(built.engine),
        built=datetime.now(timezone.utc),
        seconds=round(seconds, 3),
        power_mode=device.power_mode,
        gate=verdict,
    )
