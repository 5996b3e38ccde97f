import ast
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import train.cae
from train.cae import CAE, CaeConfig

TAILS = ("relu-batchnorm-sigmoid", "sigmoid")


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def shapes(stages: nn.Sequential, pictures: Tensor) -> list[tuple[int, ...]]:
    seen = []
    for stage in stages:
        pictures = stage(pictures)
        seen.append(tuple(pictures.shape[1:]))
    return seen


def test_the_published_network_has_6_130_284_parameters() -> None:
    assert parameters(CAE(CaeConfig())) == 6_130_284


def test_the_sigmoid_tail_lacks_only_the_last_batch_normalisation() -> None:
    assert parameters(CAE(CaeConfig(tail="sigmoid"))) == 6_130_284 - 2 * 3


def test_every_stage_has_the_published_size() -> None:
    network = CAE(CaeConfig()).eval()
    pictures = torch.rand(2, 3, 124, 124)
    assert shapes(network.encoder, pictures) == [(15, 62, 62), (30, 31, 31), (60, 15, 15)]
    inner = network.encoder(pictures)
    assert shapes(network.bottleneck, inner) == [(13500,), (225,), (13500,), (60, 15, 15)]
    assert shapes(network.decoder, network.bottleneck(inner)) == [(30, 31, 31), (15, 61, 61), (3, 124, 124)]


@pytest.mark.parametrize(
    ("tail", "layers"),
    [
        (TAILS[0], [nn.ConvTranspose2d, nn.ReLU, nn.BatchNorm2d, nn.Sigmoid]),
        (TAILS[1], [nn.ConvTranspose2d, nn.Sigmoid]),
    ],
)
def test_the_tail_is_the_named_one(tail: str, layers: list[type[nn.Module]]) -> None:
    last = CAE(CaeConfig(tail=tail)).decoder[2]  # type: ignore[arg-type]
    assert [type(layer) for layer in last] == layers  # type: ignore[union-attr]


@pytest.mark.parametrize("tail", TAILS)
def test_pictures_come_back_in_their_own_shape_and_range(tail: str) -> None:
    network = CAE(CaeConfig(tail=tail)).eval()  # type: ignore[arg-type]
    restored = network(torch.rand(3, 3, 124, 124))
    assert restored.shape == (3, 3, 124, 124)
    assert restored.min() >= 0
    assert restored.max() <= 1


@pytest.mark.parametrize("tail", ["relu-sigmoid", "batchnorm-sigmoid", ""])
def test_a_relu_straight_into_a_sigmoid_is_not_to_be_had(tail: str) -> None:
    with pytest.raises(ValueError, match="is not one of relu-batchnorm-sigmoid, sigmoid"):
        CaeConfig(tail=tail)  # type: ignore[arg-type]


def test_the_network_imports_nothing_but_torch() -> None:
    tree = ast.parse(Path(train.cae.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    roots = {str(name).split(".")[0] for name in imported}
    assert {root for root in roots if root not in sys.stdlib_module_names} == {"torch"}
