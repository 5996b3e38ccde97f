import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edge.errors import UsageError
from edge.preprocess import InputSpec
from edge.runtimes import OnnxRuntime
from export.gate import as_written
from export.variants import EVIDENCE, fp16, fp32, int8_cpu, parse_variants
from tests.networks import SMALL, lively, pairs, pictures, pointing

KNOWN = ("fp32", "int8-cpu")
TILE = InputSpec(frames=2, height=64, width=96, tiling="auto")


@pytest.fixture(scope="module")
def int8() -> bytes:
    return int8_cpu(lively(), InputSpec())


@pytest.fixture(scope="module")
def half() -> bytes:
    return fp16(lively(), InputSpec())


def test_fp16_has_only_half_weights_and_float_at_both_ends(half: bytes) -> None:
    graph = onnx.load_from_string(half).graph
    stored = {numpy_helper.to_array(part).dtype for part in graph.initializer}
    assert np.dtype(np.float32) not in stored
    assert np.dtype(np.float16) in stored
    ends = [end.type.tensor_type.elem_type for end in (*graph.input, *graph.output)]
    assert ends == [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT]


def test_fp16_computes_in_halves_and_stays_near_the_network(half: bytes) -> None:
    picture = pictures(1)
    with torch.inference_mode():
        wanted = lively()(picture).numpy()
    difference = np.abs(as_written(half)(picture.numpy()) - wanted)
    assert 1e-6 < difference.max() < 0.02


def test_making_fp16_leaves_the_network_as_it_was() -> None:
    network = lively()
    fp16(network, InputSpec())
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_a_scout_has_a_half_too() -> None:
    network, seen = pointing(), pairs(1)
    with torch.inference_mode():
        wanted = network(seen).numpy()
    for made, near in ((fp32(network, TILE, EVIDENCE), 1e-4), (fp16(network, TILE, EVIDENCE), 0.5)):
        assert np.abs(as_written(made)(seen.numpy()) - wanted).max() < near * np.abs(wanted).max()


def test_int8_is_for_the_two_linear_layers_only(int8: bytes) -> None:
    operators = [node.op_type for node in onnx.load_from_string(int8).graph.node]
    assert operators.count("MatMulInteger") == 2
    assert operators.count("Conv") == operators.count("ConvTranspose") == 3
    assert not {"Gemm", "QLinearConv", "ConvInteger"} & set(operators)


def test_int8_needs_no_operator_that_is_not_standard(int8: bytes) -> None:
    loaded = onnx.load_from_string(int8)
    assert {node.domain for node in loaded.graph.node} == {""}
    assert [(opset.domain, opset.version) for opset in loaded.opset_import] == [("", 18)]
    assert not loaded.functions


def test_no_large_weight_is_left_in_float(int8: bytes) -> None:
    stored = [numpy_helper.to_array(part) for part in onnx.load_from_string(int8).graph.initializer]
    features = 16 * 15 * 15
    large = {array.shape: array.dtype for array in stored if array.size >= features * SMALL.latent}
    assert large == {(features, 2 * SMALL.latent): np.int8, (SMALL.latent, features): np.int8}


def test_int8_stays_near_the_network_but_is_not_the_network(int8: bytes) -> None:
    picture = pictures(1)
    with torch.inference_mode():
        wanted = lively()(picture).numpy()
    with OnnxRuntime(int8, "int8") as runtime:
        difference = np.abs(runtime(picture.numpy()) - wanted)
    assert 0 < difference.mean() < 0.005
    assert difference.max() < 0.1


def test_variants_are_named_with_commas_and_come_once() -> None:
    assert parse_variants("fp32, int8-cpu,fp32", KNOWN) == ("fp32", "int8-cpu")


def test_a_mistyped_variant_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"int8-cup.*did you mean int8-cpu"):
        parse_variants("fp32,int8-cup", KNOWN)
    with pytest.raises(UsageError, match="names no variant"):
        parse_variants(" ,", KNOWN)
