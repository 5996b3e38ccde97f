"""What runs the bundle on this machine, and why: its newest engine, the one before, or the processor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.bundle import ModelBundle
from edge.detector import choose_variant, file_of, open_runtime, processor_variants, runtime_name
from edge.errors import SkerryError
from edge.openvino_runtime import MARK
from edge.runtimes import Runtime

if TYPE_CHECKING:
    from edge.gpu import Toolkit

log = logging.getLogger("skerry")

FOLDER = "engines"  # in the folder of the daemon's state
LONGEST = 200  # characters of a text on the wire


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """An open runtime. `variant`: the model it computes; `why`: one line for `status`."""

    runtime: Runtime
    variant: str
    why: str


def open_fastest(
    bundle: ModelBundle, wanted: str, engines: Path, load: Callable[[], Toolkit] | None = None
) -> Choice:
    """`wanted` is the setting: `auto` looks for an engine in the folder `engines` first, a named variant runs
    on the processor. `load`: other than `edge.gpu.load_toolkit`.

    Never fails for want of an engine. Raises BundleError if the bundle has nothing to run either.
    """
    reasons: list[str] = []
    if wanted == "auto" and engines.is_dir():
        from edge.engine_opening import open_engine  # of no use where none was built, and felt at each start

        found = open_engine(bundle, engines, load, reasons)
        if found is not None:
            return Choice(found.runtime, found.variant, _line(found.about, reasons))
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


def _line(what: str, reasons: list[str]) -> str:
    """One line that fits the wire."""
    text = "; ".join([what, *reasons])
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable if len(printable) <= LONGEST else printable[: LONGEST - 1] + "…"
