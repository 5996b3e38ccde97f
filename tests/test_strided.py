import onnx
import pytest
import torch

from edge.preprocess import InputSpec
from export.strided import Strided, strided
from export.variants import evidence_fp32
from tests.networks import enlivened, pairs, pointing
from train.scout import Scout, ScoutConfig, ScoutFlight


@pytest.fixture(scope="module")
def flight() -> ScoutFlight:
    torch.manual_seed(0)
    small = Scout(ScoutConfig(stem=4, channels=(4, 6, 8)))
    return ScoutFlight(enlivened(small)).eval()


def test_a_head_that_steps_changes_no_answer(flight: ScoutFlight) -> None:
    seen = pairs(2)
    with torch.inference_mode():
        wanted, found = flight(seen), strided(flight)(seen)
    logits = wanted[:, :4]
    assert logits.std(dim=0).max() > 0.01  # else agreeing would say nothing
    assert (logits[:, 0] - logits[:, 3]).abs().max() > 0.01  # nor if the four were alike
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_no_pixels_are_shuffled_any_more(flight: ScoutFlight) -> None:
    spec = InputSpec(frames=2, height=64, width=96, tiling="auto")
    graph = onnx.load_from_string(evidence_fp32(flight, spec)).graph
    assert not {"Transpose", "Reshape", "SpaceToDepth"} & {node.op_type for node in graph.node}


def test_what_is_no_scout_is_left_as_it_is() -> None:
    network = pointing()
    assert strided(network) is network


def test_the_flight_itself_is_left_alone(flight: ScoutFlight) -> None:
    seen = pairs(1)
    with torch.inference_mode():
        before = flight(seen)
        Strided(flight)
        assert torch.equal(flight(seen), before)
