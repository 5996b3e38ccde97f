import pytest
import torch
from torch import nn

from export.widening import streamlined, widened
from tests.networks import SMALL, lively, pictures
from train.cae import CAE, CaeConfig, Tail


def norms(network: CAE) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


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


@pytest.mark.parametrize(("tail", "left"), [("relu-batchnorm-sigmoid", 1), ("sigmoid", 0)])
def test_folding_the_batchnorms_changes_no_answer(tail: Tail, left: int) -> None:
    """Borders and every second row included, where a transposed convolution covers pixels less often."""
    network = lively(CaeConfig(tail=tail, latent=20)).double()
    batch = pictures(2).double()
    with torch.inference_mode():
        wanted, folded = network(batch), streamlined(network).double()
        assert (folded(batch) - wanted).abs().max() < 1e-4
    assert (norms(network), norms(folded)) == (2 + left, left)


def test_the_offset_of_a_batchnorm_counts() -> None:
    """Folding that forgot it, or made it a bias, would be seen."""
    network = lively()
    with torch.no_grad():
        norm = network.decoder[0][2]  # type: ignore[index]
        norm.bias += 3.0
    batch = pictures(1)
    with torch.inference_mode():
        wanted = network(batch)
        assert (wanted - lively()(batch)).abs().max() > 0.05
        assert (streamlined(network)(batch) - wanted).abs().max() < 1e-4


def test_a_batchnorm_without_a_spare_channel_stays() -> None:
    network = lively(CaeConfig(channels=(16, 17, 48), latent=6, tail="sigmoid"))
    batch = pictures(1)
    with torch.inference_mode():
        assert (streamlined(network)(batch) - network(batch)).abs().max() < 1e-4
    assert norms(streamlined(network)) == 1


def test_the_network_itself_is_left_alone() -> None:
    network, batch = lively(), pictures(1)
    with torch.inference_mode():
        before = network(batch)
        streamlined(network)
        assert torch.equal(network(batch), before)
