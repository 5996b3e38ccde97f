"""From a network to each variant, with the gate at hand: the fastest mixture that passes it is what flies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx

from edge.bundle import Parity
from edge.errors import UsageError
from edge.preprocess import InputSpec
from edge.runtimes import Tensor
from export.layers import Layer, layers, named
from export.search import cheapest_in_float
from export.static_integers import PROCESSOR_OPERATORS, TENSORRT_OPERATORS, for_processor, for_tensorrt
from export.tensorrt_rules import must_suit_tensorrt
from export.variants import WEIGHT_BYTES, evidence_fp16, evidence_fp32, fp16, fp32, int8_cpu

Judge: TypeAlias = Callable[[bytes], Parity]
Strain: TypeAlias = Callable[[bytes], float]  # the share of the tolerance used up
Quantise: TypeAlias = Callable[[onnx.ModelProto, Iterable[Tensor], Collection[str]], bytes]


@dataclass(frozen=True)
class Job:
    """One network to make variants of. `network`: as it flies, of whatever class its kind has; `normal`:
    calibration pictures, made anew each time; `glance`: on a few of the gate's pictures, `strain` on all."""

    network: Any
    spec: InputSpec
    normal: Callable[[], Iterable[Tensor]]
    judge: Judge
    strain: Strain
    glance: Strain
    in_float: tuple[str, ...] | None = None  # names, `first`, `last`; None: as each variant does by itself
    search: bool = False


@dataclass(frozen=True, eq=False)
class Made:
    data: bytes
    mixture: str = ""


Make: TypeAlias = Callable[[Job], Made]


def cae_int8_cpu(job: Job) -> Made:
    """As few bytes a weight as the gate lets pass."""
    for count in WEIGHT_BYTES:
        made = Made(
            int8_cpu(job.network, job.spec, count), f"Linear weights of {count[0]} and {count[1]} bytes"
        )
        if count == WEIGHT_BYTES[-1] or job.judge(made.data).within_tolerance:
            return made
    raise AssertionError("WEIGHT_BYTES is empty")


def scout_int8_cpu(job: Job) -> Made:
    convolutions = [name for name in PROCESSOR_OPERATORS if name != "Relu"]
    return _static(job, evidence_fp32(job.network, job.spec), for_processor, convolutions, ("first", "last"))


def cae_int8_trt(job: Job) -> Made:
    return _for_tensorrt(job, fp32(job.network, job.spec))


def scout_int8_trt(job: Job) -> Made:
    return _for_tensorrt(job, evidence_fp32(job.network, job.spec))


def _for_tensorrt(job: Job, model: bytes) -> Made:
    made = _static(job, model, for_tensorrt, TENSORRT_OPERATORS, ())
    must_suit_tensorrt(made.data)
    return made


def _static(
    job: Job, model: bytes, quantise: Quantise, operators: Collection[str], usual: tuple[str, ...]
) -> Made:
    there = layers(onnx.load_from_string(model), operators)
    normal = list(job.normal())

    def draft(in_float: Collection[str]) -> bytes:
        return quantise(onnx.load_from_string(model), normal, in_float)

    if job.search:
        found = cheapest_in_float(
            there, lambda left: job.glance(draft(left)), lambda left: job.strain(draft(left))
        )
        if found is None:
            return Made(draft(()), "not one layer in integers passes the gate")
        return Made(draft(found.in_float), mixture(there, found.in_float))
    in_float = named(usual if job.in_float is None else job.in_float, there, "--in-float")
    if len(in_float) == len(there):
        raise UsageError("--in-float names every layer: leave that variant out with --variants")
    return Made(draft(in_float), mixture(there, in_float))


def mixture(there: Collection[Layer], in_float: Collection[str]) -> str:
    left = [layer.name for layer in there if layer.name in in_float]
    return f"in float: {', '.join(left)}" if left else ""


CAE_MAKERS: Mapping[str, Make] = {
    "fp32": lambda job: Made(fp32(job.network, job.spec)),
    "fp16": lambda job: Made(fp16(job.network, job.spec)),
    "int8-cpu": cae_int8_cpu,
    "int8-trt": cae_int8_trt,
}
SCOUT_MAKERS: Mapping[str, Make] = {
    "fp32": lambda job: Made(evidence_fp32(job.network, job.spec)),
    "fp16": lambda job: Made(evidence_fp16(job.network, job.spec)),
    "int8-cpu": scout_int8_cpu,
    "int8-trt": scout_int8_trt,
}
