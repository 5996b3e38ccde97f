import math
from pathlib import Path

import numpy as np
import pytest
import torch

from edge.errors import UsageError
from edge.preprocess import InputSpec
from train.cae import CaeConfig
from train.checkpoint import Checkpoint, Epoch, load_checkpoint, save_checkpoint
from train.fit import batches, finished, fit, mean_error, memory_error_names_batch, pick_device
from train.footage import Clip, Footage, Sampling, split
from train.recipes import RECIPES, Recipe, recipe

SPEC = InputSpec()
CPU = torch.device("cpu")
SMALL = Recipe(model=CaeConfig(channels=(3, 4, 5), latent=6), epochs=4, batch=8, lr=0.01)


@pytest.fixture(scope="module")
def footage() -> Footage:
    """Smooth pictures of one hue each: quickly learned, none alike."""
    chance = np.random.default_rng(7)
    hues = chance.integers(60, 200, (30, 3, 1, 1))
    slope = np.linspace(-40, 40, 124).astype(np.int64)
    pixels = np.broadcast_to(hues + slope, (30, 3, 124, 124)).astype(np.uint8)
    clips = [Clip(name=name, path=f"/{name}", sha256=name, start=0, stop=10) for name in "abcd"]
    return Footage(split(clips, Sampling(), seed=0), pixels[:20], pixels[20:])


def last(plan: Recipe, footage: Footage, start: Checkpoint | None = None) -> Checkpoint:
    *_, checkpoint = fit(plan, footage, SPEC, CPU, start)
    return checkpoint


def losses(checkpoint: Checkpoint) -> list[tuple[float, float]]:
    return [(epoch.train, epoch.validation) for epoch in checkpoint.history]


def same(a: Checkpoint, b: Checkpoint) -> bool:
    assert a.weights.keys() == b.weights.keys()
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


def epochs(*validation: float) -> tuple[Epoch, ...]:
    return tuple(
        Epoch(epoch=number, train=0.1, validation=loss, seconds=1.0)
        for number, loss in enumerate(validation, start=1)
    )


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_learns(name: str, footage: Footage) -> None:
    history = last(recipe(name, epochs=4, batch=5), footage).history
    assert history[-1].train < 0.75 * history[0].train


def test_going_on_from_a_saved_checkpoint_ends_in_the_same_weights(footage: Footage, tmp_path: Path) -> None:
    whole = last(SMALL, footage)
    save_checkpoint(tmp_path / "half.ckpt", last(SMALL.model_copy(update={"epochs": 2}), footage))
    resumed = last(SMALL, footage, load_checkpoint(tmp_path / "half.ckpt"))
    assert len(resumed.history) == 4
    assert losses(resumed) == losses(whole)
    assert same(resumed, whole)


def test_a_training_without_the_saved_optimiser_would_end_elsewhere(footage: Footage) -> None:
    half = last(SMALL.model_copy(update={"epochs": 2}), footage)
    fresh = torch.optim.Adam(half.build().parameters(), lr=SMALL.lr).state_dict()
    forgetful = Checkpoint(half.record, half.weights, half.best, fresh, half.generator)
    assert not same(last(SMALL, footage, forgetful), last(SMALL, footage))


def test_a_checkpoint_does_not_change_while_the_training_goes_on(footage: Footage) -> None:
    first, *_, final = fit(SMALL, footage, SPEC, CPU)
    assert not same(first, final)
    assert same(first, last(SMALL.model_copy(update={"epochs": 1}), footage))


def test_the_seed_decides_the_weights(footage: Footage) -> None:
    assert same(last(SMALL, footage), last(SMALL, footage))
    assert not same(last(SMALL, footage), last(SMALL.model_copy(update={"seed": 1}), footage))


def test_early_stop_keeps_the_weights_of_the_best_epoch(footage: Footage) -> None:
    impatient = SMALL.model_copy(update={"epochs": 40, "early_stop": 2, "lr": 0.3})
    checkpoint = last(impatient, footage)
    validation = [epoch.validation for epoch in checkpoint.history]
    best = checkpoint.record.best_epoch
    assert best is not None
    assert len(validation) == best + 2 < 40
    assert validation[best - 1] == min(validation)
    measured = mean_error(checkpoint.build(), footage.validation, 8, SPEC, CPU)
    assert measured == pytest.approx(min(validation), rel=1e-5)


def test_without_early_stop_the_last_epoch_is_used(footage: Footage) -> None:
    checkpoint = last(SMALL, footage)
    measured = mean_error(checkpoint.build(), footage.validation, 8, SPEC, CPU)
    assert checkpoint.record.best_epoch is None
    assert measured == pytest.approx(checkpoint.history[-1].validation, rel=1e-5)


def test_patience_counts_epochs_since_the_best() -> None:
    patient = SMALL.model_copy(update={"epochs": 10, "early_stop": 2})
    assert not finished(patient, ())
    assert not finished(patient, epochs(3, 2, 2.5))
    assert finished(patient, epochs(3, 2, 2.5, 2.5))
    assert not finished(patient, epochs(3, 2, 2.5, 1.9))
    assert not finished(SMALL.model_copy(update={"epochs": 10}), epochs(1, 2, 3, 4, 5))


def test_each_picture_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    pixels = np.arange(23, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 1, 1), np.uint8)
    chance = torch.Generator().manual_seed(0)
    orders = []
    for _ in range(2):
        seen = [batch[:, 0, 0, 0] * 255 for batch in batches(pixels, 10, SPEC, CPU, chance)]
        assert [len(batch) for batch in seen] == [10, 10, 3]
        orders.append(torch.cat(seen).round().tolist())
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(23))


def test_a_loss_that_is_no_number_stops_the_training_in_one_sentence(footage: Footage) -> None:
    absurd = InputSpec(scale=1e30)  # its squared error overflows float32
    with pytest.raises(
        UsageError, match=r"stopped being a number in epoch 1; train with a lower --lr than 0\.01"
    ):
        next(fit(SMALL, footage, absurd, CPU))


def test_too_little_memory_names_the_batch() -> None:
    with pytest.raises(UsageError, match="use a smaller --batch than 20"), memory_error_names_batch(20):
        torch.empty(1 << 50)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_error_names_batch(20):
        torch.zeros(2).reshape(3)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UsageError, match="is not one of auto, cpu, cuda"):
        pick_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_said_to_be_absent() -> None:
    assert pick_device("auto") == CPU
    with pytest.raises(UsageError, match="sees no usable GPU here, use --device cpu"):
        pick_device("cuda")


@pytest.mark.gpu
def test_a_gpu_trains_what_a_cpu_can_use(footage: Footage) -> None:
    *_, checkpoint = fit(SMALL, footage, SPEC, torch.device("cuda"))
    measured = mean_error(checkpoint.build(), footage.validation, 8, SPEC, CPU)
    assert math.isclose(measured, checkpoint.history[-1].validation, rel_tol=0.01)


def test_a_cosine_rate_rises_over_a_tenth_and_falls_to_nothing() -> None:
    rates = [recipe("quick", epochs=40).rate(epoch) for epoch in range(1, 41)]
    assert max(rates) == pytest.approx(0.006, rel=0.03)
    assert rates.index(max(rates)) == 3
    assert rates[0] < 0.3 * max(rates)
    assert rates[-1] < 0.01 * max(rates)
    assert recipe("report").rate(1) == recipe("report").rate(200) == 0.01


def test_going_on_under_a_cosine_rate_ends_in_the_same_weights(footage: Footage) -> None:
    plan = SMALL.model_copy(update={"schedule": "cosine"})
    *_, half, _, whole = fit(plan, footage, SPEC, CPU)
    assert same(last(plan, footage, half), whole)


def test_the_report_recipe_is_the_published_one() -> None:
    plan = recipe()
    assert (plan.epochs, plan.batch, plan.lr) == (200, 20, 0.01)
    assert plan.model == CaeConfig()
    assert plan.model.tail == "relu-batchnorm-sigmoid"


def test_recipes_differ_only_where_they_say_so() -> None:
    assert recipe("sigmoid", epochs=3) == Recipe(name="sigmoid", model=CaeConfig(tail="sigmoid"), epochs=3)


@pytest.mark.parametrize(
    ("name", "differences", "sentence"),
    [
        ("reprot", {}, r"there is no recipe 'reprot' \(did you mean report\?\)"),
        ("report", {"lr": 0.0}, "--lr 0.0: input should be greater than 0"),
        ("report", {"batch": 0}, "--batch 0: input should be greater than or equal to 1"),
        ("report", {"early_stop": 0}, "--early-stop 0: input should be"),
        ("report", {"lr": float("nan")}, "--lr nan: input should be a finite number"),
    ],
)
def test_a_wrong_option_names_itself(name: str, differences: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        recipe(name, **differences)
