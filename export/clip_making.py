"""The variants of a clip bundle's extractor, each held against the gate: fp32 is the extractor as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache, cached_property

from edge.bundle import Parity
from edge.clip_gate import cosines, told
from edge.clips import Features
from edge.errors import UsageError
from edge.openvino_runtime import MARK, openvino_here
from edge.runtimes import OnnxRuntime
from export.gate import Gate
from export.halves import halved
from export.held_out_clips import Clips
from export.layers import Layer, layers, named
from export.makers import Made, mixture
from export.making import INDISPENSABLE, Order
from export.measured_ranges import Ranges
from export.mixtures import fastest
from export.parity import Tolerance
from export.static_integers import TENSORRT_OPERATORS
from export.tensorrt_rules import UnfitError, must_suit_tensorrt

CLIP_VARIANTS = ("fp32", "fp16", "int8-cpu", "int8-trt")
# Where the rank correlation is 0.99, logits move by a seventh of their spread: of an AUC of 0.80 that takes
# 0.003. The largest of all changes has more room.
CLIP_TOLERANCE = Tolerance(max_drift=0.5, rank_correlation=0.99, feature_cosine=0.99)
HELD_OUT = {"frame": 12, "clip": 4}  # clips that the gate takes; a whole one costs as much as fifty pictures
NORMAL = {"frame": 6, "clip": 2}  # clips that integers are calibrated on, in every disturbance too
_RANKED_ON = 3  # clips that single layers are tried on


@dataclass(frozen=True, eq=False)
class ClipMaker:
    """`normal`: clips to calibrate integers on, read only if a variant wants them."""

    extractor: bytes
    gate: Gate
    normal: Callable[[], Clips]
    order: Order
    say: Callable[[str], None]

    def make(self) -> tuple[dict[str, Made], dict[str, Parity]]:
        """A usual variant that cannot be made is left out, and that is said."""
        models, parity = dict[str, Made](), dict[str, Parity]()
        for variant in self.order.variants:
            try:
                models[variant] = self._made(variant)
            except UnfitError as error:
                if self.order.insisted or variant == INDISPENSABLE:
                    raise
                self.say(f"{variant} is left out: {error}")
                continue
            parity |= self._judgement(variant, models[variant])
        return models, parity

    def _judgement(self, variant: str, made: Made) -> dict[str, Parity]:
        """The file passes only where it does in every runtime that may fly it."""
        found = {name: self._judged(name, made.data) for name in _flown_as(variant)}
        all_pass = all(one.within_tolerance for one in found.values())
        own = found[variant].model_copy(update={"mixture": made.mixture, "within_tolerance": all_pass})
        return {**found, variant: own}

    def _made(self, variant: str) -> Made:
        if variant == "fp16":
            return Made(halved(self.extractor))
        if variant == "int8-cpu":
            return self._integers(variant, self._ranges.for_processor, ("Conv",))
        if variant == "int8-trt":
            made = self._integers(variant, self._ranges.for_tensorrt, TENSORRT_OPERATORS)
            must_suit_tensorrt(made.data)
            return made
        return Made(self.extractor)

    def _integers(
        self, variant: str, draft: Callable[[Collection[str]], bytes], operators: Collection[str]
    ) -> Made:
        there = layers(self._ranges.model, operators)
        if not there:
            raise UnfitError("the extractor has no layer to make of integers")
        if self.order.in_float is not None:
            left = named(self.order.in_float, there, "--in-float")
            if len(left) == len(there):
                raise UsageError("--in-float names every layer: leave that variant out with --variants")
            return Made(draft(left), mixture(there, left))
        allowed = 1 - self.gate.tolerance.feature_cosine
        found = fastest(there, draft, lambda: self._harm, allowed, lambda data: self._passes(variant, data))
        if found is None:
            return Made(draft(()), "no mixture of integers and float passes the gate")
        return Made(found[1], mixture(there, found[0]))

    def _passes(self, variant: str, data: bytes) -> bool:
        return self._judgement(variant, Made(data))[variant].within_tolerance

    @cached_property
    def _judged(self) -> Callable[[str, bytes], Parity]:
        return cache(self.gate.judge)

    @cached_property
    def _ranges(self) -> Ranges:
        return Ranges(self.extractor, self.normal().tensors())

    @cached_property
    def _harm(self) -> dict[str, float]:
        """What each convolution alone in integers takes from the cosine of a feature, on average."""
        there = layers(self._ranges.model, ("Conv",))
        every = {layer.name for layer in there}
        truth = self._features(self.extractor)
        return {layer.name: self._taken(layer, every, truth) for layer in there}

    def _taken(self, layer: Layer, every: set[str], truth: Features) -> float:
        found = self._features(self._ranges.for_processor(every - {layer.name}))
        return max(0.0, 1 - float(cosines(found, truth).mean()))

    def _features(self, data: bytes) -> Features:
        clips = self.gate.pictures
        assert isinstance(clips, Clips)
        with OnnxRuntime(data, "the extractor") as runtime:
            few = clips.clips[:_RANKED_ON]
            return told(few, clips.spec, clips.picture, runtime, clips.head).features


def _flown_as(variant: str) -> tuple[str, ...]:
    """A processor's integers are computed by OpenVINO too, where it is, and not quite as by ONNX Runtime."""
    return (variant, variant + MARK) if variant == "int8-cpu" and openvino_here() else (variant,)
