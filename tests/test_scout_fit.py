from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edge.errors import SkerryError, UsageError
from edge.preprocess import InputSpec
from tests.builders import folder_of
from tests.route import flight, strip
from tests.scouting import RECIPE, TINY, footage, ground
from tests.test_checkpoint import trained as trained_cae
from train import scout_fit
from train.cae import CAE
from train.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from train.cli import app
from train.corrupt import Batch
from train.recipes import SCOUT_RECIPES, Recipe, ScoutRecipe, scout_recipe
from train.scout import Scout
from train.scout_fit import SPEC, batches, fit_scout, focal, loss_of, mean_loss, painting
from train.windows import WindowFootage

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
STEPS = 3


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Epochs of a few steps, on one thread."""
    monkeypatch.setattr(ScoutRecipe, "STEPS", STEPS)
    monkeypatch.setattr(scout_fit, "_VALIDATION", 2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def seen() -> WindowFootage:
    return footage()


def some(seen: WindowFootage, count: int, start: Checkpoint | None = None, **other: object) -> Checkpoint:
    """The checkpoint after so many more epochs of the recipe's."""
    fitting = fit_scout(RECIPE.model_copy(update=other), seen, CPU, start)
    return [next(fitting) for _ in range(count)][-1]


def losses(checkpoint: Checkpoint) -> list[tuple[float, float]]:
    return [(epoch.train, epoch.validation) for epoch in checkpoint.history]


def same(a: Checkpoint, b: Checkpoint) -> bool:
    assert a.weights.keys() == b.weights.keys()
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


def test_going_on_from_a_saved_checkpoint_ends_in_the_same_weights(
    seen: WindowFootage, tmp_path: Path
) -> None:
    whole = some(seen, 4)
    save_checkpoint(tmp_path / "half.ckpt", some(seen, 2))
    resumed = some(seen, 2, load_checkpoint(tmp_path / "half.ckpt"))
    assert len(resumed.history) == 4
    assert losses(resumed) == losses(whole)
    assert same(resumed, whole)
    assert not same(resumed, load_checkpoint(tmp_path / "half.ckpt"))


def test_a_training_without_the_saved_optimiser_would_end_elsewhere(seen: WindowFootage) -> None:
    first = some(seen, 1)
    fresh = torch.optim.AdamW(first.build().parameters(), fused=True).state_dict()
    assert not same(some(seen, 1, replace(first, optimiser=fresh)), some(seen, 2))


def test_the_training_ends_when_its_epochs_are_done(seen: WindowFootage) -> None:
    told: list[int] = []
    made = list(fit_scout(RECIPE.model_copy(update={"epochs": 2}), seen, CPU, None, lambda: told.append(1)))
    assert [len(checkpoint.history) for checkpoint in made] == [1, 2]
    assert len(told) == 2 * STEPS
    assert not same(*made)  # the first did not change while the training went on


def test_the_seed_decides_the_weights(seen: WindowFootage) -> None:
    assert same(some(seen, 1), some(seen, 1))
    assert not same(some(seen, 1), some(seen, 1, seed=1))


def test_batches_made_ahead_are_those_that_their_numbers_say(seen: WindowFootage) -> None:
    """From wherever one goes on, and in the process of their own as in this one."""
    stream = iter(batches(seen.train, RECIPE, 5))
    for number in (5, 6, 7):
        wanted = scout_fit.batch(seen.train, RECIPE.crop, RECIPE.batch, (RECIPE.seed, number))
        for one, other in zip(next(stream), wanted, strict=True):
            np.testing.assert_array_equal(np.asarray(one), other)


def test_validation_sees_the_same_batches_in_every_epoch_and_none_that_train(
    seen: WindowFootage, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[list[Batch]] = []
    monkeypatch.setattr(scout_fit, "mean_loss", lambda _, examples, __: shown.append(examples) or 0.5)
    keys: list[tuple[int, ...]] = []
    original = scout_fit.batch
    monkeypatch.setattr(
        scout_fit,
        "batch",
        lambda windows, crop, size, key: keys.append(key) or original(windows, crop, size, key),
    )
    first = some(seen, 3)
    some(seen, 1, first)
    assert len(shown) == 4
    assert all(len(key) == 3 for key in keys)
    for later in shown[1:]:
        for one, other in zip(shown[0], later, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_validation_loss_is_that_of_the_weights_saved(seen: WindowFootage) -> None:
    made = some(seen, 2)
    held_out = [scout_fit.batch(seen.validation, RECIPE.crop, RECIPE.batch, (0, n, 1)) for n in range(2)]
    network = made.build()
    assert isinstance(network, Scout)
    assert mean_loss(network, held_out, CPU) == pytest.approx(made.history[-1].validation, rel=0.02)


def test_the_loss_falls(seen: WindowFootage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScoutRecipe, "STEPS", 30)
    history = some(seen, 3, epochs=3, lr=0.01).history
    assert history[-1].train < 0.85 * history[0].train
    assert history[-1].validation < 0.8 * history[0].validation


def test_a_loss_that_is_no_number_stops_the_training_in_one_sentence(
    seen: WindowFootage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scout_fit, "painting", lambda repaired, clean: repaired.mean() * torch.nan)
    with pytest.raises(UsageError) as caught:
        some(seen, 1)
    assert str(caught.value) == (
        "the loss stopped being a number in epoch 1; train with a lower --lr than 0.002"
    )


# The loss


def test_what_is_marked_right_costs_nothing_and_what_is_marked_wrong_much() -> None:
    wanted = torch.zeros(1, 1, 4, 4)
    wanted[..., :2] = 1
    right = (wanted - 0.5) * 40
    assert focal(right, wanted) < 1e-6
    assert focal(-right, wanted) > 10
    easy, hard = (focal(torch.full((1, 1, 1, 1), logit), torch.zeros(1, 1, 1, 1)) for logit in (-2.0, 2.0))
    assert hard / easy > 100  # cross entropy alone: 17 times


def test_painting_costs_errors_and_half_of_those_of_edges() -> None:
    clean = torch.rand(2, 3, 8, 8)
    assert painting(clean, clean) == 0
    assert painting(clean + 0.25, clean) == pytest.approx(0.25, rel=1e-5)
    stripes = torch.zeros(1, 3, 8, 8)
    stripes[..., ::2] = 0.2
    assert painting(stripes, torch.zeros_like(stripes)) == pytest.approx(0.1 + 0.5 * 0.2, rel=1e-5)


def test_a_batch_costs_the_same_however_bright_bytes_are_kept(seen: WindowFootage) -> None:
    """Bytes are brought to [0, 1]: the painter's error of a white picture painted black is about 1."""
    white = np.full((1, 3, 32, 32), 255, np.uint8)
    nothing = np.zeros((1, 1, 32, 32), np.uint8)
    network = Scout(TINY).eval()
    torch.nn.init.zeros_(network.painter.weight)
    torch.nn.init.zeros_(network.painter.bias)
    torch.nn.init.constant_(network.head.bias, -20)
    examples = Batch(np.concatenate([white, white], axis=1), white, nothing)
    with torch.inference_mode():
        assert float(loss_of(network, examples, CPU)) == pytest.approx(1, abs=0.01)


# Recipes


def test_a_recipe_nobody_knows_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no recipe 'quik'.*quick.*known: standard, quick, long"):
        scout_recipe("quik")


@pytest.mark.parametrize("name", SCOUT_RECIPES)
def test_a_recipe_holds_only_how_it_differs(name: str) -> None:
    named = scout_recipe(name, batch=None)
    assert named == ScoutRecipe(name=name, **SCOUT_RECIPES[name])
    assert scout_recipe(name, epochs=3, seed=4).model_dump() == {**named.model_dump(), "epochs": 3, "seed": 4}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"lr": -1}, "--lr -1: input should be greater than 0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"epochs": 0}, "--epochs 0"),
        ({"batch": 0}, "--batch 0"),
        ({"seed": -1}, "--seed -1"),
    ],
)
def test_a_value_out_of_range_is_named(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        scout_recipe("quick", **given)


def test_the_rate_rises_and_then_falls_to_zero() -> None:
    plan = ScoutRecipe(epochs=20)
    whole = plan.epochs * plan.STEPS
    rates = [plan.rate(step) for step in range(whole)]
    top = int(np.argmax(rates))
    assert max(rates) == pytest.approx(plan.lr)
    assert top == pytest.approx(0.1 * whole, abs=1)
    assert 0 < rates[0] < 0.1 * plan.lr
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 <= rates[-1] < 0.01 * plan.lr


# Checkpoints


def test_a_scouts_checkpoint_comes_back(seen: WindowFootage, tmp_path: Path) -> None:
    made = some(seen, 1)
    save_checkpoint(tmp_path / "a.ckpt", made)
    loaded = load_checkpoint(tmp_path / "a.ckpt")
    assert loaded.record == made.record.model_copy(update={"weights_sha256": loaded.record.weights_sha256})
    assert (loaded.kind, loaded.recipe, loaded.model, loaded.input) == ("scout", RECIPE, TINY, SPEC)
    assert loaded.splits == seen.splits
    network = loaded.build()
    assert isinstance(network, Scout)
    assert not network.training
    picture = torch.rand(1, 6, 32, 48)
    with torch.inference_mode():
        assert torch.equal(network(picture)[0], made.build()(picture)[0])


def rewritten(path: Path, record: str) -> Path:
    content = torch.load(path, weights_only=True)
    torch.save({**content, "record": record}, path)
    return path


def test_a_checkpoint_of_another_network_is_refused(seen: WindowFootage, tmp_path: Path) -> None:
    made = some(seen, 1)
    save_checkpoint(tmp_path / "a.ckpt", made)
    wider = made.record.model_dump_json().replace('"stem":8', '"stem":9')
    record = json.loads(wider)
    record["weights_sha256"] = load_checkpoint(tmp_path / "a.ckpt").record.weights_sha256
    with pytest.raises(CheckpointError, match="do not fit its own model configuration"):
        load_checkpoint(rewritten(tmp_path / "a.ckpt", json.dumps(record)))


def test_an_autoencoders_checkpoint_from_before_there_were_scouts_still_loads(tmp_path: Path) -> None:
    """The record as it was then: of one kind of network, one picture, one schedule."""
    made = trained_cae()
    save_checkpoint(tmp_path / "old.ckpt", made)
    record = json.loads(load_checkpoint(tmp_path / "old.ckpt").record.model_dump_json())
    del record["kind"], record["recipe"]["schedule"], record["recipe"]["beta2"]
    del record["input"]["frames"], record["input"]["tiling"]
    loaded = load_checkpoint(rewritten(tmp_path / "old.ckpt", json.dumps(record)))
    assert (loaded.kind, loaded.input) == ("cae", InputSpec())
    assert isinstance(loaded.recipe, Recipe)
    assert (loaded.recipe.schedule, loaded.recipe.beta2) == ("constant", 0.999)
    network = loaded.build()
    assert isinstance(network, CAE)
    picture = torch.rand(1, 3, 124, 124)
    assert torch.equal(network(picture), made.build()(picture))


# The command


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("flights")
    for clip in range(3):
        folder_of(home / f"clip{clip}", [ground(100, 120, seed=clip) + np.uint8(n) for n in range(11)])
    return home


def train(kind: str, *options: object) -> str:
    """What the command printed; its error, if it raised one, is raised."""
    result = CliRunner().invoke(app, [kind, *map(str, options)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def scout(flights: Path, out: Path, *options: object) -> str:
    common = ("--normal", flights, "--fps", 10, "--device", "cpu", "--out", out)
    return train("scout", *common, *options)


def test_the_command_trains_and_goes_on(flights: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "a.ckpt", tmp_path / "whole.ckpt"
    quick = ("--recipe", "quick", "--batch", 1)
    said = scout(flights, out, *quick, "--epochs", 2, "--minutes", 0)
    assert "recipe quick: crops of 96 px, 2 epochs, batch 1" in said
    assert f"{out}: epoch 1 of 1 trained" in said
    assert "2 epochs were planned: run the same command with --resume to go on" in said
    assert "epoch 2 of 2 trained" in scout(flights, out, "--resume")
    scout(flights, whole, *quick, "--epochs", 2)
    assert same(load_checkpoint(out), load_checkpoint(whole))


@pytest.mark.parametrize("finished", [False, True])
def test_a_checkpoint_of_the_other_kind_is_not_gone_on_with(
    finished: bool, flights: Path, seen: WindowFootage, tmp_path: Path
) -> None:
    cae, other = trained_cae(), some(seen, 1)
    if finished:
        cae = with_epochs(cae)
        other = with_epochs(other)
    save_checkpoint(tmp_path / "cae.ckpt", cae)
    save_checkpoint(tmp_path / "scout.ckpt", other)
    for options in ((), ("--lr", 0.3)):
        with pytest.raises(SkerryError) as caught:
            scout(flights, tmp_path / "cae.ckpt", "--resume", *options)
        assert str(caught.value) == (
            f"{tmp_path / 'cae.ckpt'} holds an autoencoder; go on with it by `skerry train cae`"
        )
        with pytest.raises(SkerryError) as caught:
            train("cae", "--normal", flights, "--out", tmp_path / "scout.ckpt", "--resume", *options)
        assert str(caught.value) == (
            f"{tmp_path / 'scout.ckpt'} holds a scout; go on with it by `skerry train scout`"
        )


def with_epochs(checkpoint: Checkpoint) -> Checkpoint:
    """As if as many epochs had been planned as were done."""
    done = checkpoint.recipe.model_copy(update={"epochs": len(checkpoint.history)})
    return replace(checkpoint, record=checkpoint.record.model_copy(update={"recipe": done}))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--recipe", "report"), "there is no recipe 'report'.*known: standard, quick, long"),
        (("--lr", -1), "--lr -1.0: input should be greater than 0"),
        (("--fps", 1), "are too few to train on"),
        (("--resume",), "there is no checkpoint at"),
        (("--out", "/nowhere/a.ckpt"), "must be a file in a folder that exists"),
    ],
)
def test_what_a_person_can_get_wrong_is_one_sentence(
    options: tuple[object, ...], sentence: str, flights: Path, tmp_path: Path
) -> None:
    with pytest.raises(SkerryError, match=sentence) as caught:
        scout(flights, tmp_path / "a.ckpt", *options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.ckpt").exists()


def test_other_footage_is_not_gone_on_with(flights: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.ckpt"
    scout(flights, out, "--recipe", "quick", "--batch", 1, "--epochs", 2, "--minutes", 0)
    with pytest.raises(UsageError, match="was trained on other footage or at another rate"):
        scout(flights, out, "--resume", "--folder-fps", 11)
    with pytest.raises(UsageError, match="falls to zero at epoch 2; leave it out to resume"):
        scout(flights, out, "--resume", "--epochs", 3)


def test_the_command_trains_on_flights_of_one_route(tmp_path: Path) -> None:
    land, home = strip(), tmp_path / "route"
    for seed in range(4):
        folder_of(home / f"flight{seed}", list(flight(land, seed, count=12)))
    out = tmp_path / "route.ckpt"
    quick = ("--recipe", "quick", "--batch", 1, "--epochs", 2, "--minutes", 0)
    scout(home, out, "--route", *quick)
    assert load_checkpoint(out).input.beside == "route"
    scout(home, out, "--resume")
    found = load_checkpoint(out)
    assert (found.input.beside, len(found.history)) == ("route", 2)


def test_a_training_without_a_route_does_not_go_on_with_one(flights: Path, tmp_path: Path) -> None:
    out = tmp_path / "plain.ckpt"
    scout(flights, out, "--recipe", "quick", "--batch", 1, "--epochs", 2, "--minutes", 0)
    with pytest.raises(SkerryError, match="--route is not how it was trained"):
        scout(flights, out, "--resume", "--route")
