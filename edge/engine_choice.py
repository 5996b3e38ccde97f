"""What runs the bundle on this machine, and why: its newest engine, the one before, or the processor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge.bundle import ModelBundle
from edge.detector import choose_variant, file_of, input_shape, open_runtime, processor_variants, runtime_name
from edge.engines import MODELS, EngineRecord, EngineStore
from edge.errors import SkerryError
from edge.gpu import Device, EngineError, GpuError, Toolkit, describe_device, load_toolkit
from edge.openvino_runtime import MARK
from edge.runtimes import Runtime
from edge.tensorrt_runtime import TensorRtRuntime

log = logging.getLogger("skerry")

LONGEST = 200  # characters of a text on the wire


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """An open runtime. `variant`: the model it computes; `why`: one line for `status`."""

    runtime: Runtime
    variant: str
    why: str


def open_fastest(
    bundle: ModelBundle, wanted: str, store: EngineStore, load: Callable[[], Toolkit] = load_toolkit
) -> Choice:
    """`wanted` is the setting: `auto` looks for an engine first, a named variant runs on the processor.

    Never fails for want of an engine. Raises BundleError if the bundle has nothing to run either.
    """
    reasons: list[str] = []
    if wanted == "auto" and store.folder.is_dir() and set(MODELS.values()) & set(bundle.manifest.variants):
        try:
            choice = _engine(bundle, store, load(), reasons)
        except (EngineError, GpuError) as error:
            choice = None
            reasons.append(str(error))
        if choice is not None:
            return choice
    for reason in reasons:
        log.warning("no engine: %s", reason)
    return _on_the_processor(bundle, wanted, reasons)


def _on_the_processor(bundle: ModelBundle, wanted: str, reasons: list[str]) -> Choice:
    """An OpenVINO that does not work here is no reason not to fly, unless it was asked for."""
    tried = processor_variants(bundle) if wanted == "auto" else (wanted,)
    for variant in tried or (choose_variant(bundle, wanted),):
        try:
            runtime = open_runtime(bundle, variant)
        except SkerryError as error:
            if wanted != "auto" or not variant.endswith(MARK):
                raise
            log.warning("no OpenVINO: %s", error)
            reasons.append(str(error))
            continue
        about = f"{runtime_name(variant)}, {file_of(variant)}"
        return Choice(runtime, variant, _line(about, reasons))
    raise AssertionError("a bundle with a model for this processor has one for ONNX Runtime")


def _engine(bundle: ModelBundle, store: EngineStore, toolkit: Toolkit, reasons: list[str]) -> Choice | None:
    """The first that opens and answers; the reason of each that does not is added to `reasons`."""
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
        return Choice(runtime, MODELS[record.key.precision], _line(about, reasons))
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


def _line(what: str, reasons: list[str]) -> str:
    """One line that fits the wire."""
    text = "; ".join([what, *reasons])
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable if len(printable) <= LONGEST else printable[: LONGEST - 1] + "…"
