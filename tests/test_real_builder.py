"""What the real parser and builder take and refuse of what Skerry exports, through Skerry's own code."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.gpu import EngineError, GpuError
from edge.preprocess import InputSpec
from edge.tensorrt_builder import BuildOptions, build_engine
from export.halves import halved
from export.measured_ranges import Ranges
from export.static_integers import for_processor, for_tensorrt
from export.tensorrt_rules import broken_rules
from export.variants import EVIDENCE, RESTORED, fp16, fp32
from tests.builders import BLUR
from tests.extractors import FRAMES, network
from tests.networks import lively, pairs, pictures, pointing
from tests.real_builder import built, needs_builder, real_toolkit

pytestmark = [
    needs_builder,
    pytest.mark.filterwarnings("ignore:Use:DeprecationWarning"),  # there the timing cache is empty for good
]
TILE = InputSpec(frames=2, height=64, width=96, tiling="auto")
TILES = [tensor[None].numpy() for tensor in pairs(4, seed=5)]
THUMBNAILS = [tensor[None].numpy() for tensor in pictures(4, seed=5)]


@pytest.mark.parametrize("variant", ["fp32", "fp16", "int8-trt"])
@pytest.mark.parametrize("kind", ["cae", "scout"])
def test_every_variant_of_a_network_of_ours_is_parsed_and_built(kind: str, variant: str) -> None:
    net, spec, answer = (lively(), InputSpec(), RESTORED) if kind == "cae" else (pointing(), TILE, EVIDENCE)
    model = fp16(net, spec, answer) if variant == "fp16" else fp32(net, spec, answer)
    if variant == "int8-trt":
        normal = THUMBNAILS if kind == "cae" else TILES
        model = for_tensorrt(onnx.load_from_string(model), normal, ())
    assert len(built(model)) > len(model) / 4


@pytest.mark.parametrize("sees", ["frame", "clip"])
def test_every_variant_of_an_extractor_is_parsed_and_built(sees: str) -> None:
    shape = (1, 3, 32, 32) if sees == "frame" else (1, 3, FRAMES, 32, 32)
    model = network(sees)
    ranges = Ranges(model, [np.random.default_rng(3).random(shape, np.float32)])
    for one in (model, halved(model), ranges.for_tensorrt(())):
        assert built(one)


def test_integers_for_a_processor_are_refused_in_one_sentence() -> None:
    scout = onnx.load_from_string(fp32(pointing(), TILE, EVIDENCE))
    with pytest.raises(EngineError, match=r"cannot take it: .*; export another variant") as told:
        built(for_processor(scout, TILES, ()))
    assert "\n" not in str(told.value)


def convolution(zero: int = 0, of_weights: int = 0, bias: bool = False) -> onnx.ModelProto:
    """A convolution in integers. `bias`: quantised too."""
    constants = {
        "step": np.array(0.05, np.float32),
        "zero": np.array(zero, np.int8),
        "weights": np.arange(-108, 108, dtype=np.int8).reshape(8, 3, 3, 3),
        "steps": np.full(8, 0.01, np.float32),
        "zeros": np.full(8, of_weights, np.int8),
        "offset": np.arange(8, dtype=np.int32 if bias else np.float32),
        "none": np.zeros(8, np.int32),
    }
    made = helper.make_node
    nodes = [
        made("QuantizeLinear", ["pictures", "step", "zero"], ["q"], name="quantise"),
        made("DequantizeLinear", ["q", "step", "zero"], ["x"], name="dequantise"),
        made("DequantizeLinear", ["weights", "steps", "zeros"], ["w"], name="of_weights", axis=0),
        made("DequantizeLinear", ["offset", "steps", "none"], ["b"], name="of_bias", axis=0),
        made("Conv", ["x", "w", "b" if bias else "offset"], ["y"], name="convolution", pads=[1] * 4),
    ]
    if not bias:
        del nodes[3]
    ends: list[Any] = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 16, 16])
        for name, channels in (("pictures", 3), ("y", 8))
    ]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_a_convolution_by_our_rules_is_taken() -> None:
    model = convolution()
    assert not list(broken_rules(model))
    assert built(model.SerializeToString())


@pytest.mark.parametrize(
    ("breach", "why"),
    [
        ({"zero": 3}, "Non-zero zero point"),
        ({"of_weights": 2}, "Non-zero zero point"),
        ({"bias": True}, "has type Int32 but must have type"),
    ],
)
def test_what_our_rules_forbid_the_real_parser_refuses(breach: dict[str, Any], why: str) -> None:
    model = convolution(**breach)
    assert list(broken_rules(model))
    with pytest.raises(EngineError, match=why):
        built(model.SerializeToString())


def test_an_operator_that_it_lacks_is_named() -> None:
    ends: list[Any] = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 8, 8]), ("y", [1, 3]))
    ]
    graph = helper.make_graph([helper.make_node("Det", ["x"], ["y"], name="d")], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(EngineError, match=r"it cannot compute this at the operator Det \(d\)"):
        built(model.SerializeToString())


@pytest.mark.parametrize("junk", [b"", b"no model at all", BLUR.read_bytes()[:100]])
def test_what_is_no_model_is_one_sentence(junk: bytes) -> None:
    with pytest.raises(EngineError) as told:
        built(junk)
    assert "\n" not in str(told.value)


def test_its_progress_is_told_and_a_build_stops_when_asked() -> None:
    told, toolkit = list[tuple[str, int, int]](), real_toolkit()

    def go_on(phase: str, done: int, steps: int) -> bool:
        told.append((phase, done, steps))
        return True

    build_engine(BLUR.read_bytes(), "blur", toolkit, BuildOptions(), tell=go_on)
    assert told
    assert all(1 <= done <= steps for _, done, steps in told)
    with pytest.raises(GpuError, match="the build of blur was stopped"):
        build_engine(BLUR.read_bytes(), "blur", toolkit, BuildOptions(), tell=lambda *_: False)


def test_a_timing_cache_that_is_none_is_no_obstacle() -> None:
    toolkit = real_toolkit()
    assert build_engine(BLUR.read_bytes(), "blur", toolkit, BuildOptions(), b"junk" * 50).engine
