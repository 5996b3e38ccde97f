from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.errors import UsageError
from edge.preprocess import InputSpec
from edge.runtimes import OnnxRuntime
from export.gate import as_written
from export.layers import layers, named
from export.static_integers import for_processor, for_tensorrt
from export.tensorrt_rules import UnfitError, broken_rules, must_suit_tensorrt
from export.variants import EVIDENCE, RESTORED, fp32
from tests.networks import lively, pairs, pictures, pointing

TILE = InputSpec(frames=2, height=64, width=96, tiling="auto")
NORMAL = [tensor[None].numpy() for tensor in pairs(6, seed=5)]
PICTURES = [tensor[None].numpy() for tensor in pictures(6, seed=5)]


@pytest.fixture(scope="module")
def scout() -> bytes:
    return fp32(pointing(), TILE, EVIDENCE)


@pytest.fixture(scope="module")
def cae() -> bytes:
    return fp32(lively(), InputSpec(), RESTORED)


@pytest.fixture(scope="module")
def for_trt(scout: bytes) -> bytes:
    return for_tensorrt(onnx.load_from_string(scout), NORMAL, ())


def drift(data: bytes, scout: bytes) -> float:
    seen = pairs(1).numpy()
    wanted = as_written(scout)(seen)
    return float(np.abs(as_written(data)(seen) - wanted).max() / np.abs(wanted).max())


# Layers


def test_layers_come_in_order_with_what_they_cost(cae: bytes) -> None:
    found = layers(onnx.load_from_string(cae))
    assert [layer.operator for layer in found] == ["Conv"] * 3 + ["Gemm"] * 2 + ["ConvTranspose"] * 3
    assert found[0].cost == 3 * 3 * 9 * 124 * 124  # the arithmetic
    assert found[3].cost == 12 * 6 * 5 * 15 * 15  # reading the weights
    assert found[7].cost == 3 * 3 * 9 * 62 * 62  # each weight meets each input once


def test_layers_are_named_by_place_or_name_and_a_typing_error_is_answered(cae: bytes) -> None:
    found = layers(onnx.load_from_string(cae), ("Conv", "Gemm"))
    assert named(["first", "last"], found, "--in-float") == {found[0].name, found[-1].name}
    assert named([found[1].name], found, "--in-float") == {found[1].name}
    with pytest.raises(UsageError, match=r"--in-float fist: no layer .*did you mean first"):
        named(["fist"], found, "--in-float")


# For TensorRT


def test_a_file_for_tensorrt_breaks_none_of_its_rules(for_trt: bytes, cae: bytes) -> None:
    must_suit_tensorrt(for_trt)
    must_suit_tensorrt(for_tensorrt(onnx.load_from_string(cae), PICTURES, ()))


def test_transposed_convolutions_stay_in_float_unless_asked_for(cae: bytes) -> None:
    def quantised(data: bytes) -> set[str]:
        graph = onnx.load_from_string(data).graph
        made = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
        return {node.op_type for node in graph.node if made & set(node.input)}

    usual = for_tensorrt(onnx.load_from_string(cae), PICTURES, ())
    assert quantised(usual) == {"Conv", "Gemm"}
    asked = for_tensorrt(onnx.load_from_string(cae), PICTURES, (), ("Conv", "ConvTranspose"))
    assert quantised(asked) == {"Conv", "ConvTranspose"}
    must_suit_tensorrt(asked)


def test_a_layer_named_stays_in_float_and_the_drift_is_less(scout: bytes, for_trt: bytes) -> None:
    names = [layer.name for layer in layers(onnx.load_from_string(scout))]
    less = for_tensorrt(onnx.load_from_string(scout), NORMAL, names[:3])
    graph = onnx.load_from_string(less).graph
    made = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    assert {node.name for node in graph.node if node.op_type == "Conv" and not made & set(node.input)} == {
        *names[:3]
    }
    assert 0 < drift(less, scout) < drift(for_trt, scout) < 0.2


def test_weights_are_kept_in_one_byte(scout: bytes, for_trt: bytes) -> None:
    assert len(for_trt) < 0.6 * len(scout)


def zero_point_of_five(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    part = next(part for part in model.graph.initializer if part.name == node.input[2])
    part.CopyFrom(numpy_helper.from_array(np.int8(5), part.name))


def unsigned(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    part = next(part for part in model.graph.initializer if part.name == node.input[2])
    part.CopyFrom(numpy_helper.from_array(np.uint8(0), part.name))


def float_weights(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    node.input[1] = "elsewhere"


def quantised_bias(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)
    node = next(node for node in nodes if node.op_type == "Conv")
    node.input[2] = next(n.output[0] for n in nodes if n.op_type == "DequantizeLinear")


def quantiser_before_relu(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)
    relu = next(node for node in nodes if node.op_type == "Relu")
    scale, zero = next(node.input[1:3] for node in nodes if node.op_type == "QuantizeLinear")
    model.graph.node.append(helper.make_node("QuantizeLinear", [relu.input[0], scale, zero], ["q"]))
    model.graph.node.append(helper.make_node("DequantizeLinear", ["q", scale, zero], ["dq"]))
    relu.input[0] = "dq"


def second_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def old_operators(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 12


def outside_data(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def no_quantisers(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (zero_point_of_five, "zero point that is not 0 in int8"),
        (unsigned, "zero point that is not 0 in int8"),
        (float_weights, "only one of input and weights"),
        (quantised_bias, "quantised bias"),
        (quantiser_before_relu, "parted from its ReLU"),
        (second_domain, "operator sets"),
        (old_operators, "operator set 12, at least 13"),
        (outside_data, "weights outside the file"),
        (no_quantisers, "nothing is quantised"),
    ],
)
def test_every_broken_rule_is_seen(
    for_trt: bytes, change: Callable[[onnx.ModelProto], None], sentence: str
) -> None:
    model = onnx.load_from_string(for_trt)
    change(model)
    assert any(sentence in rule for rule in broken_rules(model))


def test_a_file_for_a_processor_is_refused_for_tensorrt(scout: bytes) -> None:
    with pytest.raises(UnfitError, match="does not suit TensorRT") as caught:
        must_suit_tensorrt(for_processor(onnx.load_from_string(scout), NORMAL, ()))
    assert caught.value.exit_code == 3


# For a processor


def test_a_file_for_a_processor_flies_and_stays_near(scout: bytes) -> None:
    made = for_processor(onnx.load_from_string(scout), NORMAL, ())
    seen = pairs(1).numpy()
    wanted = as_written(scout)(seen)
    with OnnxRuntime(made, "int8") as runtime:
        assert 0 < np.abs(runtime(seen) - wanted).max() < 0.2 * np.abs(wanted).max()


def test_a_convolution_left_in_float_has_no_quantiser_around_it(scout: bytes) -> None:
    every = {layer.name for layer in layers(onnx.load_from_string(scout), ("Conv",))}
    made = for_processor(onnx.load_from_string(scout), NORMAL, every)
    assert "QuantizeLinear" not in {node.op_type for node in onnx.load_from_string(made).graph.node}
