import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import UsageError
from edge.preprocess import InputSpec
from train.cae import CaeConfig
from train.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from train.fit import fit
from train.footage import Clip, Footage, Sampling, split
from train.recipes import Recipe

pytestmark = pytest.mark.slow


def trained(tail: str = "relu-batchnorm-sigmoid") -> Checkpoint:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 124, 124), np.uint8)
    clips = [Clip(name=name, path=f"/{name}", sha256=name, start=0, stop=10) for name in "abc"]
    model = CaeConfig(channels=(1, 1, 1), latent=1, tail=tail)  # type: ignore[arg-type]
    footage = Footage(split(clips, Sampling(), seed=0), pixels, pixels)
    return next(fit(Recipe(model=model, batch=4), footage, InputSpec(), torch.device("cpu")))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "good.ckpt"
    save_checkpoint(path, trained())
    return path.read_bytes()


def written(path: Path, **changes: object) -> Path:
    """A good checkpoint with some of its parts replaced."""
    save_checkpoint(path, trained())
    content: dict[str, Any] = torch.load(path, weights_only=True)
    torch.save({**content, **changes}, path)
    return path


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("tail", ["relu-batchnorm-sigmoid", "sigmoid"])
def test_what_is_saved_comes_back(tail: str, tmp_path: Path) -> None:
    checkpoint = trained(tail)
    save_checkpoint(tmp_path / "a.ckpt", checkpoint)
    loaded = load_checkpoint(tmp_path / "a.ckpt")
    assert loaded.record == checkpoint.record.model_copy(
        update={"weights_sha256": loaded.record.weights_sha256}
    )
    assert isinstance(loaded.model, CaeConfig)
    assert (loaded.kind, loaded.model.tail, loaded.input) == ("cae", tail, InputSpec())
    picture = torch.rand(1, 3, 124, 124)
    assert torch.equal(loaded.build()(picture), checkpoint.build()(picture))
    assert not loaded.build().training


def test_the_chosen_weights_are_the_best_ones_where_there_are_such(tmp_path: Path) -> None:
    checkpoint = trained()
    best = {name: tensor + 1 for name, tensor in checkpoint.weights.items()}
    save_checkpoint(tmp_path / "a.ckpt", replace(checkpoint, best=best))
    loaded = load_checkpoint(tmp_path / "a.ckpt")
    assert all(torch.equal(loaded.state_dict[name], best[name]) for name in best)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    save_checkpoint(path, trained())
    before = path.read_bytes()
    broken = replace(trained(), optimiser={"state": lambda: None})
    with pytest.raises((CheckpointError, AttributeError, pickle.PicklingError)):
        save_checkpoint(path, broken)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a\.ckpt cannot be written: No such file or directory"):
        save_checkpoint(tmp_path / "missing" / "a.ckpt", trained())


def test_errors_of_checkpoints_are_errors_of_use() -> None:
    assert issubclass(CheckpointError, UsageError)
    assert CheckpointError.exit_code == 2


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.ckpt")


@pytest.mark.parametrize("content", [b"", b"PK", b"not a checkpoint at all", bytes(5000)])
def test_a_file_of_something_else_is_not_a_checkpoint(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    assert "is not a checkpoint" in refused(path)


def test_a_foreign_zip_is_not_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    assert "is not a checkpoint" in refused(path)


def test_weights_of_another_program_are_not_a_checkpoint(tmp_path: Path) -> None:
    torch.save([1, 2, 3], tmp_path / "list.pt")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "state.pt")
    assert "is not a checkpoint of skerry" in refused(tmp_path / "list.pt")
    assert "checkpoint format None" in refused(tmp_path / "state.pt")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_checkpoint_cut_short_anywhere_is_refused(share: float, saved: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.ckpt"
    path.write_bytes(saved[: int(share * len(saved))])
    refused(path)


def test_an_archive_that_claims_to_lie_on_several_disks_is_refused(saved: bytes, tmp_path: Path) -> None:
    path, content = tmp_path / "disks.ckpt", bytearray(saved)
    content[-24] ^= 0xFF  # in the locator of the 64-bit end of the archive: how many disks
    path.write_bytes(content)
    refused(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_never_shows_as_anything_but_a_sentence(
    where: float, flip: int, saved: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "changed.ckpt"
    content = bytearray(saved)
    content[int(where * len(content))] ^= flip
    path.write_bytes(content)
    try:
        loaded = load_checkpoint(path)
    except CheckpointError:
        return
    path.write_bytes(saved)  # a byte that no weight depends on
    good = load_checkpoint(path).state_dict
    assert all(torch.equal(loaded.state_dict[name], good[name]) for name in good)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(value: float, tmp_path: Path) -> None:
    weights = dict(trained().weights)
    weights["bottleneck.1.bias"] = torch.full_like(weights["bottleneck.1.bias"], value)
    path = written(tmp_path / "a.ckpt", weights=weights)
    assert "NaN or infinite weights in bottleneck.1.bias" in refused(path)


def test_changed_weights_are_noticed(tmp_path: Path) -> None:
    weights = {name: tensor + 1 for name, tensor in trained().weights.items()}
    assert "not those that were saved" in refused(written(tmp_path / "a.ckpt", weights=weights))


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    checkpoint = trained()
    other = checkpoint.record.recipe.model_copy(update={"model": CaeConfig(channels=(2, 1, 1), latent=1)})
    record = checkpoint.record.model_copy(update={"recipe": other})
    save_checkpoint(tmp_path / "a.ckpt", replace(checkpoint, record=record))
    assert "do not fit its own model configuration" in refused(tmp_path / "a.ckpt")


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_another_format_number_is_named(number: object, tmp_path: Path) -> None:
    sentence = refused(written(tmp_path / "a.ckpt", format=number))
    assert f"checkpoint format {number!r}, this version reads 1" in sentence


@pytest.mark.parametrize("part", ["record", "weights", "best", "optimiser", "generator"])
@pytest.mark.parametrize("junk", [7, "text", [1], {"a": 1}])
def test_a_part_of_the_wrong_kind_is_refused(part: str, junk: object, tmp_path: Path) -> None:
    refused(written(tmp_path / "a.ckpt", **{part: junk}))


def test_an_unknown_tail_is_refused(tmp_path: Path) -> None:
    record = trained().record.model_dump_json().replace("relu-batchnorm-sigmoid", "relu-sigmoid")
    assert "recipe.model.tail" in refused(written(tmp_path / "a.ckpt", record=record))


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ('"kind":"cae"', '"kind":"scout"', "recipe: Value error, is that of a cae, not of a scout"),
        ('"name":"report"', '"kind":"scout","name":"report"', "recipe.model.latent: Unexpected"),
        ('"kind":"cae"', '"kind":"gan"', "kind: Input should be 'cae', 'scout' or 'mil'"),
    ],
)
def test_a_recipe_of_another_kind_of_network_is_refused(
    was: str, becomes: str, said: str, tmp_path: Path
) -> None:
    record = trained().record.model_dump_json()
    assert was in record
    assert said in refused(written(tmp_path / "a.ckpt", record=record.replace(was, becomes, 1)))


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "a.ckpt", tmp_path / "was-here"
    torch.save({"format": 1, "record": Hostile(mark)}, path)
    assert "holds code or objects" in refused(path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Hostile(mark)))
    assert mark.exists()  # the trap itself works
