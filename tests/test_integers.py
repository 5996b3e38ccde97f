import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.runtimes import OnnxRuntime, Tensor
from export.integers import SECOND_WEIGHT, integer_linear, to_bytes

INPUTS, OUTPUTS = 500, 7
WEIGHTS = np.random.default_rng(1).normal(0, 1, (OUTPUTS, INPUTS)).astype(np.float32)
BIAS = np.arange(OUTPUTS, dtype=np.float32)


def one_layer(inputs: tuple[str, ...] = ("x", "weight", "bias")) -> bytes:
    """y = x W' + b, as PyTorch exports a Linear layer."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in (("x", INPUTS), ("y", OUTPUTS))
    ]
    graph = helper.make_graph(
        [helper.make_node("Gemm", inputs, ["y"], name="linear", transB=1)],
        "layer",
        ends[:1],
        ends[1:],
        [numpy_helper.from_array(WEIGHTS, "weight"), numpy_helper.from_array(BIAS, "bias")],
    )
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


def answer(weight_bytes: int, x: Tensor) -> NDArray[np.float32]:
    with OnnxRuntime(integer_linear(one_layer(), [weight_bytes]), "layer") as runtime:
        return runtime(x)


@pytest.mark.parametrize(("weight_bytes", "error"), [(1, 0.04), (2, 4e-4)])
def test_a_layer_answers_as_in_float_and_a_second_byte_makes_it_a_hundred_times_nearer(
    weight_bytes: int, error: float
) -> None:
    x = np.random.default_rng(2).normal(0, 1, (1, INPUTS)).astype(np.float32)
    wanted = x @ WEIGHTS.T + BIAS
    difference = np.abs(answer(weight_bytes, x) - wanted).max() / np.abs(wanted).max()
    assert error / 100 < difference < error


def test_small_inputs_beside_a_large_one_are_not_lost() -> None:
    x = np.full((1, INPUTS), 0.002, np.float32)
    x[0, 0] = 1  # with one byte an input, 0.002 would be rounded to nothing
    wanted = x @ WEIGHTS.T + BIAS
    assert np.abs(answer(2, x) - wanted).max() < 0.01 * np.abs(x[0, 1:] @ WEIGHTS[:, 1:].T).max()


def test_an_input_of_zeros_gives_the_bias() -> None:
    assert np.array_equal(answer(2, np.zeros((1, INPUTS), np.float32)), BIAS[None])


def test_a_layer_without_a_bias_is_turned_too() -> None:
    x = np.ones((1, INPUTS), np.float32)
    with OnnxRuntime(integer_linear(one_layer(("x", "weight")), [2]), "layer") as runtime:
        assert np.abs(runtime(x) - x @ WEIGHTS.T).max() < 0.01


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_inputs_of_any_size_keep_their_precision(scale: float) -> None:
    x = (np.random.default_rng(3).normal(0, scale, (1, INPUTS))).astype(np.float32)
    wanted = x @ WEIGHTS.T
    difference = np.abs(answer(2, x) - BIAS - wanted).max()
    assert difference < 1e-3 * np.abs(wanted).max() + 1e-6


def test_bytes_of_weights_never_overflow_the_sums_of_any_processor() -> None:
    stored, _ = to_bytes(WEIGHTS * 1000, 2)
    assert 2 * 255 * int(np.abs(stored.astype(int)).max()) < 2**15


def test_two_bytes_give_a_weight_back_to_a_fraction_of_the_step() -> None:
    stored, step = to_bytes(WEIGHTS, 2)
    first, second = stored[:, :OUTPUTS].T.astype(float), stored[:, OUTPUTS:].T.astype(float)
    restored = (first + second * SECOND_WEIGHT) * step[:, None]
    assert (np.abs(restored - WEIGHTS) <= 0.51 * SECOND_WEIGHT * step[:, None]).all()


def test_an_output_without_weights_stays_without() -> None:
    stored, step = to_bytes(np.zeros((2, 3), np.float32), 2)
    assert not stored.any()
    assert np.isfinite(step).all()


def test_only_standard_operators_are_left() -> None:
    loaded = onnx.load_from_string(integer_linear(one_layer(), [1]))
    assert {node.domain for node in loaded.graph.node} == {""}
    assert "Gemm" not in {node.op_type for node in loaded.graph.node}
