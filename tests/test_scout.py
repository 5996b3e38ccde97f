from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from torch.nn.functional import pixel_unshuffle

from edge.runtimes import OnnxRuntime
from export.families import flying
from export.variants import evidence_fp32
from tests.networks import enlivened, pairs
from tests.scouting import TINY
from train.scout import MULTIPLE, Scout, ScoutConfig, ScoutFlight
from train.scout_fit import SPEC


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(seed: int = 0) -> Scout:
    torch.manual_seed(seed)
    return enlivened(Scout(TINY))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (96, 96), (384, 512), (48, 160)])
def test_training_gets_a_logit_for_four_pixels_a_side_and_a_whole_picture(height: int, width: int) -> None:
    with torch.inference_mode():
        logits, repaired = tiny()(pairs(2, height, width))
    assert logits.shape == (2, 1, height // 4, width // 4)
    assert repaired.shape == (2, 3, height, width)


@pytest.mark.parametrize(("height", "width"), [(16, 32), (64, 96)])
def test_flight_gets_one_map_of_cells_of_eight_pixels(height: int, width: int) -> None:
    with torch.inference_mode():
        evidence = ScoutFlight(tiny())(pairs(2, height, width))
    assert evidence.shape == (2, 4 + TINY.channels[1], height // 8, width // 8)


@pytest.mark.parametrize(("height", "width"), [(MULTIPLE + 8, 32), (32, MULTIPLE + 4), (40, 40)])
def test_sizes_that_are_no_multiple_do_not_pass_unnoticed(height: int, width: int) -> None:
    with pytest.raises(RuntimeError, match="size"), torch.inference_mode():
        tiny()(pairs(1, height, width))


def test_flight_sees_the_logits_of_training_two_by_two_and_then_the_features() -> None:
    network, shown = tiny(), pairs(2)
    with torch.inference_mode():
        logits, _ = network(shown)
        _, features = network.seen(shown)
        evidence = ScoutFlight(network)(shown)
    assert torch.equal(evidence, torch.cat([pixel_unshuffle(logits, 2), features], dim=1))
    assert logits.std() > 0
    assert features.std() > 0


def test_a_cell_holds_its_own_four_logits() -> None:
    """Rows first: what flight puts together again lies where training marked it."""
    network, shown = tiny(), pairs(1)
    with torch.inference_mode():
        logits, evidence = network(shown)[0][0, 0], ScoutFlight(network)(shown)[0]
    for place in range(4):
        assert torch.equal(evidence[place], logits[place // 2 :: 2, place % 2 :: 2])


def test_both_pictures_are_looked_at() -> None:
    network, shown = tiny(), pairs(1)
    for colours in (slice(0, 3), slice(3, 6)):
        changed = shown.clone()
        changed[:, colours] = 1 - changed[:, colours]
        with torch.inference_mode():
            assert not torch.allclose(network(changed)[0], network(shown)[0])


def test_a_crop_gives_the_middle_of_what_the_whole_gives() -> None:
    """Training on crops serves tiles: away from the edges it is the same function."""
    network, shown = tiny(), pairs(1, 480, 480)
    with torch.inference_mode():
        whole, part = network(shown)[0], network(shown[:, :, 96:384, 96:384])[0]
    inner = part[..., 32:40, 32:40]  # 128 pixels from the crop's edges
    torch.testing.assert_close(inner, whole[..., 56:64, 56:64], rtol=1e-4, atol=1e-4 * float(whole.std()))


def test_the_painter_is_not_in_the_graph_that_flies() -> None:
    onnx = pytest.importorskip("onnx")
    network = tiny()
    graph = onnx.load_from_string(evidence_fp32(flying(network), SPEC.model_copy(update=SMALL))).graph
    assert [(out.name, _sizes(out)) for out in graph.output] == [("evidence", [1, 4 + 8, 8, 12])]
    held = sorted(tuple(part.dims) for part in graph.initializer if len(part.dims) == 4)
    painters = tuple(network.painter.weight.shape)
    assert painters == (48, 8, 3, 3)
    assert painters not in held
    assert (4, network.head.in_channels, 4, 4) in held  # the head, stepping by two


SMALL = {"height": 64, "width": 96}


def _sizes(out: object) -> list[int]:
    return [place.dim_value for place in out.type.tensor_type.shape.dim]  # type: ignore[attr-defined]


def test_a_change_of_the_painter_changes_nothing_in_flight() -> None:
    network, shown = tiny(), pairs(1)
    with torch.inference_mode():
        before = flying(network)(shown)
        network.painter.weight.mul_(-2)
        assert torch.equal(flying(network)(shown), before)


def test_the_published_size_has_fewer_than_a_million_parameters() -> None:
    assert sum(weights.numel() for weights in Scout(ScoutConfig()).parameters()) < 1_000_000


def test_untrained_it_thinks_little_foreign() -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        logits, _ = Scout(TINY).eval()(pairs(1))
    assert torch.sigmoid(logits).mean() < 0.2


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ScoutConfig(channels=(8, 0, 8))
    with pytest.raises(FrozenInstanceError):
        TINY.stem = 3  # type: ignore[misc]


def test_the_exported_model_answers_as_pytorch_does_on_a_tile() -> None:
    network = flying(tiny())
    assert (SPEC.height, SPEC.width) == (384, 512)
    shown = pairs(1, SPEC.height, SPEC.width)
    with torch.inference_mode():
        wanted = network(shown).numpy()
    with OnnxRuntime(evidence_fp32(network, SPEC), "the tiny scout") as runtime:
        found = runtime(shown.numpy())
    assert wanted.shape == (1, 4 + TINY.channels[0], 48, 64)
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
