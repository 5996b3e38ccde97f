"""What takes part in a bench: models of the bundle on the processor, and the TensorRT engine if any."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from edge.bundle import ModelBundle
from edge.detector import (
    choose_variant,
    file_of,
    open_detector,
    open_runtime,
    processor_variants,
    runtime_name,
)
from edge.engine_choice import open_fastest
from edge.engines import EngineStore
from edge.errors import UsageError, nearest
from edge.gpu import Toolkit, call, load_toolkit
from edge.pipeline import Detector
from edge.tensorrt_runtime import TensorRtRuntime

ENGINE = "engine"  # the name under which an engine takes part


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One that takes part. `gpu_mb`: what opening its engine took of the GPU's memory."""

    variant: str
    runtime: str
    detector: Detector
    gpu_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which variants take part, whether an engine is looked for, and what was left out, with the reason."""

    variants: tuple[str, ...]
    engine: bool
    left_out: dict[str, str]


def choose(bundle: ModelBundle, wanted: str) -> Choice:
    """`wanted`: `all`, `auto`, or names with commas between. Raises UsageError, BundleError."""
    present = bundle.manifest.variants
    if wanted == "all":
        here = processor_variants(bundle)
        why = "made for a GPU; name it with --variant to time it in ONNX Runtime on the processor"
        return Choice(here, True, {variant: why for variant in present if variant not in here})
    if wanted == "auto":
        return Choice((choose_variant(bundle, "auto"),), True, {})
    names = tuple(dict.fromkeys(name.strip() for name in wanted.split(",")))
    for name in names:
        if file_of(name) not in present and name != ENGINE:
            known = ", ".join((*present, ENGINE))
            raise UsageError(
                f"--variant {name!r}{nearest(name, present)}: bundle {bundle.folder} has {known}, all, auto"
            )
    return Choice(tuple(name for name in names if name != ENGINE), ENGINE in names, {})


def open_entries(
    bundle: ModelBundle,
    wanted: str,
    store: EngineStore,
    stack: ExitStack,
    load: Callable[[], Toolkit] = load_toolkit,
) -> tuple[list[Entry], dict[str, str]]:
    """Opened until the stack closes; the one that the daemon would fly first. And what was left out."""
    chosen, entries = choose(bundle, wanted), list[Entry]()
    left_out = dict(chosen.left_out)
    if chosen.engine:
        engine, why = _engine(bundle, store, stack, load)
        if engine is not None:
            entries.append(engine)
        elif why:
            left_out[ENGINE] = why
    if not (entries and wanted == "auto"):
        entries += [_processor(bundle, variant, stack) for variant in chosen.variants]
    if not entries:
        raise UsageError(f"nothing to time: {left_out.get(ENGINE) or 'the bundle has no engine here'}")
    return entries, left_out


def _processor(bundle: ModelBundle, variant: str, stack: ExitStack) -> Entry:
    runtime = stack.enter_context(open_runtime(bundle, variant))
    return Entry(variant, runtime_name(variant), open_detector(bundle, runtime))


def _engine(
    bundle: ModelBundle, store: EngineStore, stack: ExitStack, load: Callable[[], Toolkit]
) -> tuple[Entry | None, str]:
    """As the daemon would choose it, or why there is none."""
    free: list[tuple[Toolkit, float]] = []

    def loaded() -> Toolkit:
        toolkit = load()
        free.append((toolkit, _free_mb(toolkit)))
        return toolkit

    choice = open_fastest(bundle, "auto", store.folder, loaded)
    runtime = stack.enter_context(choice.runtime)
    if not isinstance(runtime, TensorRtRuntime):
        return None, choice.why.partition("; ")[2]
    toolkit, before = free[0]
    taken = before - _free_mb(toolkit)
    return Entry(ENGINE, choice.why, open_detector(bundle, runtime), max(0.0, taken)), ""


def _free_mb(toolkit: Toolkit) -> float:
    """Of the GPU's memory; a Jetson's is the processor's too."""
    free, _total = call(toolkit.cudart, "cudaMemGetInfo")
    return float(free) / 1e6
