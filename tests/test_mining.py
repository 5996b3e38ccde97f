from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge.frames import Picture
from tests.builders import folder_of
from tests.scouting import RECIPE, TINY, footage, ground, still, walked
from train import mining
from train.footage import Clip, Sampling
from train.mining import HardPlaces, looks, peaks, probabilities
from train.pasts import DEPTH
from train.recipes import SCOUT_RECIPES, ScoutRecipe, scout_recipe
from train.scout import Scout
from train.scout_fit import fit_scout
from train.windows import SIDE, Windows

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
HEIGHT, WIDTH = 240, 400
ROCK = (180, 300)  # the middle of a white landmark


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of ground with one landmark that stays."""
    picture = ground(HEIGHT, WIDTH)
    picture[ROCK[0] - 8 : ROCK[0] + 8, ROCK[1] - 8 : ROCK[1] + 8] = 255
    return folder_of(tmp_path_factory.mktemp("flight") / "a", [picture] * 10)


def white_is_foreign(_: Scout, now: Picture, __: Picture | None, ___: torch.device) -> np.ndarray:
    return np.asarray((now.min(axis=2) > 250)[::4, ::4], np.float32)


def search(flight: Path, **other: object) -> HardPlaces:
    clip = Clip(name="a", path=str(flight), sha256="a", start=0, stop=10)
    return HardPlaces((clip,), Sampling(fps=10), seed=0, **other)  # type: ignore[arg-type]


def test_windows_are_cut_round_the_places_that_are_wrong(
    flight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mining, "probabilities", white_is_foreign)
    told: list[str] = []
    found = search(flight, on_frame=told.append)(Scout(TINY), CPU, 1)
    assert len(found) == 10
    assert told == ["a"] * 10
    assert found.pictures.shape[1:] == (DEPTH, SIDE, SIDE, 3)
    for window in found.pictures[:, 0]:
        rows, columns = np.nonzero(window.min(axis=2) > 240)
        assert len(rows) > 150  # all of it is in the window ...
        middle = SIDE / 2
        assert abs(np.mean(rows) - middle) < 48
        assert abs(np.mean(columns) - middle) < 48  # ... and in every crop of 96 pixels


def test_of_many_wrong_places_the_worst_are_kept(flight: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter(np.linspace(0.2, 0.9, 10))
    monkeypatch.setattr(mining, "MOST", 3)
    monkeypatch.setattr(
        mining, "probabilities", lambda *seen: white_is_foreign(*seen) * np.float32(next(steps))
    )
    found = search(flight)(Scout(TINY), CPU, 1)
    assert len(found) == 3
    assert found.there[:, 1].all()  # before the first frame, the least wrong, there is nothing


def test_a_network_that_is_nowhere_wrong_gives_no_window(
    flight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        mining, "probabilities", lambda _, now, *__: np.full((now.shape[0] // 4, now.shape[1] // 4), 0.1)
    )
    found = search(flight)(Scout(TINY), CPU, 1)
    assert len(found) == 0
    harder = still(2).harder(found)
    harder.drawn(np.random.default_rng(0))  # does not choose from nothing


def test_large_pictures_are_looked_at_less_often() -> None:
    assert looks((240, 360, 3)) > looks((720, 1280, 3)) > looks((1080, 1920, 3)) >= looks((2160, 3840, 3)) > 0


def test_only_so_many_pictures_are_looked_at(flight: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def nothing(*shown: object) -> np.ndarray:
        seen.append(len(shown))
        return np.zeros((60, 100), np.float32)

    monkeypatch.setattr(mining, "looks", lambda _: 4)
    monkeypatch.setattr(mining, "probabilities", nothing)
    search(flight)(Scout(TINY), CPU, 1)
    assert len(seen) == 4


def test_peaks_lie_apart_worst_first_and_end_where_nothing_is_wrong() -> None:
    wrong = np.zeros((100, 150), np.float32)
    wrong[20:23, 30:33], wrong[24:27, 34:37], wrong[70:73, 120:123] = 0.6, 0.5, 0.9
    found = list(peaks(wrong))
    assert [place for _, place in found] == [(71 * 4, 121 * 4), (21 * 4, 31 * 4)]
    assert found[0][0] == pytest.approx(0.9)
    assert wrong.max() == np.float32(0.9)  # as it was


def test_probabilities_are_those_of_the_head_whatever_the_pictures_size() -> None:
    network = Scout(TINY).train()
    now, earlier = ground(50, 70), ground(50, 70, seed=1)
    found = probabilities(network, now, earlier, CPU)
    assert found.shape == (13, 18)
    assert network.training
    whole = probabilities(network, ground(64, 80), ground(64, 80, seed=1), CPU)
    network.eval()
    both = np.concatenate([ground(64, 80)[:, :, ::-1], ground(64, 80, seed=1)[:, :, ::-1]], axis=2)
    with torch.inference_mode():
        logits, _ = network(torch.from_numpy(both.transpose(2, 0, 1)[None].astype(np.float32) / 255))
    np.testing.assert_allclose(whole, torch.sigmoid(logits)[0, 0].numpy(), atol=0.01)


def test_without_an_earlier_picture_the_one_now_stands_in() -> None:
    network = Scout(TINY)
    now = ground(64, 64)
    np.testing.assert_array_equal(
        probabilities(network, now, None, CPU), probabilities(network, now, now, CPU)
    )


def test_hard_windows_are_drawn_more_often_than_their_number_says() -> None:
    windows = still(50).harder(walked(1)[0]).harder(walked(2, seed=7)[0])
    assert windows.hard is not None
    assert len(windows.hard) == 3
    random = np.random.default_rng(0)
    shown = [windows.drawn(random)[0] for _ in range(400)]
    hard = sum((window == 255).any() for window in shown)
    assert 120 < hard < 200


@pytest.mark.parametrize("name", SCOUT_RECIPES)
def test_every_recipe_searches_on_its_way_and_not_at_its_ends(name: str) -> None:
    plan = scout_recipe(name)
    assert len(plan.searched_after) == plan.searches > 0
    assert 0 < min(plan.searched_after) <= max(plan.searched_after) < plan.epochs
    assert scout_recipe(name, searches=0).searched_after == frozenset()


def fitted(count: int, start: object = None) -> tuple[list[int], list[object]]:
    asked: list[int] = []

    def found(network: Scout, device: torch.device, done: int) -> Windows:
        asked.append(done)
        return walked(2)[0]

    plan = RECIPE.model_copy(update={"searches": 1})
    made = fit_scout(plan, footage(), CPU, start, search=found)  # type: ignore[arg-type]
    return asked, [next(made) for _ in range(count)]


def test_the_training_searches_when_its_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScoutRecipe, "STEPS", 2)
    assert fitted(4)[0] == [2]


def test_going_on_after_a_search_searches_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScoutRecipe, "STEPS", 2)
    _, made = fitted(3)
    assert fitted(1, made[0])[0] == []
    assert fitted(1, made[1])[0] == [2]
    assert fitted(1, made[2])[0] == [3]
