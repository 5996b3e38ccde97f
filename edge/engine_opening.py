"""The newest engine of a bundle that opens on this device and answers, or why there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.bundle import ModelBundle
from edge.detector import input_shape
from edge.engines import MODELS, EngineRecord, EngineStore
from edge.errors import SkerryError
from edge.gpu import Device, EngineError, GpuError, Toolkit, describe_device, load_toolkit
from edge.runtimes import Runtime
from edge.tensorrt_runtime import TensorRtRuntime

log = logging.getLogger("skerry")


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """`variant`: the model it computes; `about`: what it is, for `status`."""

    runtime: Runtime
    variant: str
    about: str


def open_engine(
    bundle: ModelBundle, folder: Path, load: Callable[[], Toolkit] | None, reasons: list[str]
) -> Opened | None:
    """The reason of each engine that does not fly is added to `reasons`; of a bundle without a model for
    engines there is nothing to say, nor is TensorRT looked for."""
    if not set(MODELS.values()) & set(bundle.manifest.variants):
        return None
    try:
        return _first(bundle, EngineStore(folder), (load or load_toolkit)(), reasons)
    except (EngineError, GpuError) as error:
        reasons.append(str(error))
        return None


def _first(bundle: ModelBundle, store: EngineStore, toolkit: Toolkit, reasons: list[str]) -> Opened | None:
    device = describe_device(toolkit)
    hardware = (toolkit.version, device.compute, device.multiprocessors, device.module)
    candidates = store.candidates(bundle, hardware)
    if not candidates:
        reasons.append(_nothing_fits(bundle, store, toolkit, device))
    elif not (newest := _of_this_bundle(bundle, store)[0]).usable:
        reasons.append(_gated(newest))
    for record in candidates:
        try:
            runtime = _opened(bundle, store, record, toolkit)
        except SkerryError as error:
            log.warning("engine %s: %s", record.stem, error)
            reasons.append(str(error))
            continue
        about = f"TensorRT {toolkit.version}, {record.key.precision} engine {record.number}"
        return Opened(runtime, MODELS[record.key.precision], about)
    return None


def _opened(bundle: ModelBundle, store: EngineStore, record: EngineRecord, toolkit: Toolkit) -> Runtime:
    """One inference tells the truth about an engine; opening it does not."""
    runtime = TensorRtRuntime(store.engine(record), f"engine {record.stem}", toolkit)
    try:
        wanted = input_shape(bundle)
        if runtime.input_shape != wanted:
            raise EngineError(f"engine {record.stem} takes {runtime.input_shape}, the bundle says {wanted}")
        if not np.isfinite(runtime(np.zeros(wanted, np.float32))).all():
            raise EngineError(f"engine {record.stem} gives NaN or infinity")
    except BaseException:
        runtime.close()
        raise
    return runtime


def _nothing_fits(bundle: ModelBundle, store: EngineStore, toolkit: Toolkit, device: Device) -> str:
    """Why none of the cache can be used: the newest one's difference, or that there is none."""
    build = f"`skerry engine build {bundle.folder}`"
    ours = _of_this_bundle(bundle, store)
    if not ours:
        return f"no engine of this bundle; {build} makes one"
    newest = ours[0]
    if not newest.usable:
        return _gated(newest)
    was = f"TensorRT {newest.key.tensorrt} on {newest.key.module}"
    return f"engine was built for {was}, this is {toolkit.version} on {device.module}; {build} makes another"


def _of_this_bundle(bundle: ModelBundle, store: EngineStore) -> list[EngineRecord]:
    digests = {bundle.manifest.files[name] for name in bundle.manifest.variants.values()}
    return [record for record in store.records() if record.key.onnx in digests]


def _gated(record: EngineRecord) -> str:
    return f"the gate refused {record.key.precision} engine {record.number}: {record.gate.refusal}"
