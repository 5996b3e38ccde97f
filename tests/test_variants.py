import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edge.errors import UsageError
from edge.preprocess import InputSpec
from edge.runtimes import OnnxRuntime
from export.variants import CAE_VARIANTS, int8_cpu, parse_variants, widened
from tests.networks import SMALL, lively, pictures
from train.cae import CaeConfig, Tail


@pytest.fixture(scope="module")
def int8() -> bytes:
    return int8_cpu(lively(), InputSpec())


@pytest.mark.parametrize("tail", ["relu-batchnorm-sigmoid", "sigmoid"])
def test_widening_changes_no_answer(tail: Tail) -> None:
    network = lively(CaeConfig(tail=tail))
    batch = pictures(3)
    with torch.inference_mode():
        narrow, wide = network(batch), widened(network)(batch)
    assert narrow.std(dim=0).max() > 0.01  # else agreeing would say nothing
    assert (wide - narrow).abs().max() < 1e-5


def test_widening_rounds_every_channel_count_up_to_whole_blocks() -> None:
    assert widened(lively(CaeConfig())).config.channels == (16, 32, 64)
    assert widened(lively(CaeConfig(channels=(16, 17, 48), latent=6))).config.channels == (16, 32, 48)


def test_a_new_channel_carries_zeros_through_every_batchnorm() -> None:
    wide = widened(lively())
    seen: list[torch.Tensor] = []
    wide.decoder[0].register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.inference_mode():
        wide(pictures(1))
    assert seen[0][:, : SMALL.channels[1]].abs().max() > 0
    assert seen[0][:, SMALL.channels[1] :].abs().max() == 0


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
    assert parse_variants("fp32, int8-cpu,fp32", CAE_VARIANTS) == ("fp32", "int8-cpu")


def test_a_mistyped_variant_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"int8-cup.*did you mean int8-cpu"):
        parse_variants("fp32,int8-cup", CAE_VARIANTS)
    with pytest.raises(UsageError, match="names no variant"):
        parse_variants(" ,", CAE_VARIANTS)
