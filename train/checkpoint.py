"""A training's whole state in one file: what to build, what it was fed, and how to go on.

Written atomically, read with `weights_only=True`: a checkpoint can carry no code.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from torch import Tensor

from edge.clips import ClipSpec
from edge.errors import UsageError
from edge.preprocess import InputSpec
from train.cae import CAE, CaeConfig
from train.footage import Splits
from train.mil import Head, HeadConfig, build_head
from train.mil_recipes import MilRecipe
from train.recipes import Recipe, ScoutRecipe
from train.scout import Scout, ScoutConfig

FORMAT: Literal[1] = 1

Weights: TypeAlias = Mapping[str, Tensor]


class CheckpointError(UsageError):
    """A checkpoint that cannot be used; the text says why in one sentence."""


class Epoch(BaseModel):
    """Losses of one pass over the training frames; of a scout, of so many steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int  # from 1
    train: float
    validation: float
    seconds: float


def _kind(recipe: object) -> str:
    named = recipe.get("kind") if isinstance(recipe, dict) else getattr(recipe, "kind", None)
    return named if named in ("scout", "mil") else "cae"  # those of autoencoders never named theirs


Plan: TypeAlias = Recipe | ScoutRecipe | MilRecipe
AnyRecipe: TypeAlias = Annotated[
    Annotated[Recipe, Tag("cae")] | Annotated[ScoutRecipe, Tag("scout")] | Annotated[MilRecipe, Tag("mil")],
    Discriminator(_kind),
]


class Record(BaseModel):
    """All of a checkpoint that is not tensors.

    Of a head that scores clips `clip` says what it sees, and with what extractor; `input` then says nothing:
    the extractor's own file is told how large a picture it takes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    kind: Literal["cae", "scout", "mil"] = "cae"
    recipe: AnyRecipe
    input: InputSpec
    splits: Splits
    clip: ClipSpec | None = None
    history: tuple[Epoch, ...]
    best_epoch: int | None = None  # set when validation chooses the weights
    versions: dict[str, str]
    weights_sha256: str = ""  # of the chosen weights; filled in by `save_checkpoint`

    @field_validator("recipe")
    @classmethod
    def _of_its_kind(cls, recipe: AnyRecipe, info: ValidationInfo) -> AnyRecipe:
        if info.data.get("kind") not in (None, _kind(recipe)):
            raise ValueError(f"is that of a {_kind(recipe)}, not of a {info.data['kind']}")
        return recipe

    @model_validator(mode="after")
    def _says_what_it_sees(self) -> Record:
        if (self.clip is None) == isinstance(self.recipe, MilRecipe):
            raise ValueError("a head has a clip specification, and nothing else has")
        return self


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """`weights` are those of the last epoch, `best` those chosen on validation where early stop was asked
    for; `optimiser` and `generator` are what going on needs."""

    record: Record
    weights: Weights
    best: Weights | None
    optimiser: Mapping[str, Any]
    generator: Tensor

    @property
    def kind(self) -> str:
        return self.record.kind

    @property
    def recipe(self) -> Plan:
        return self.record.recipe

    @property
    def model(self) -> CaeConfig | ScoutConfig | HeadConfig:
        return self.record.recipe.model

    @property
    def clip(self) -> ClipSpec:
        """Of a head that scores clips. Raises CheckpointError for other networks."""
        if self.record.clip is None:
            raise CheckpointError(f"this checkpoint holds a {self.kind}, which scores no clips")
        return self.record.clip

    @property
    def input(self) -> InputSpec:
        return self.record.input

    @property
    def splits(self) -> Splits:
        return self.record.splits

    @property
    def history(self) -> tuple[Epoch, ...]:
        return self.record.history

    @property
    def state_dict(self) -> Weights:
        """The weights to use."""
        return self.weights if self.best is None else self.best

    def build(self) -> CAE | Scout | Head:
        """The trained network on the CPU, in evaluation mode."""
        network = self._untrained()
        network.load_state_dict(self.state_dict)
        return network.eval()

    def head(self) -> Head:
        """Likewise, of a checkpoint that scores clips. Raises CheckpointError for other networks."""
        network = self.build()
        if not isinstance(network, Head):
            raise CheckpointError(f"this checkpoint holds a {self.kind}, which scores no clips")
        return network

    def _untrained(self) -> CAE | Scout | Head:
        model = self.model
        if isinstance(model, HeadConfig):
            return build_head(model, self.clip.extractor.width)
        return CAE(model) if isinstance(model, CaeConfig) else Scout(model)


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Whole or not at all: the old file stays until the new one is on disk. Raises CheckpointError."""
    record = checkpoint.record.model_copy(update={"weights_sha256": _digest(checkpoint.state_dict)})
    content = {
        "format": FORMAT,
        "record": record.model_dump_json(),
        "weights": dict(checkpoint.weights),
        "best": None if checkpoint.best is None else dict(checkpoint.best),
        "optimiser": dict(checkpoint.optimiser),
        "generator": checkpoint.generator,
    }
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch wraps a full disk into a RuntimeError
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise CheckpointError(f"the checkpoint {path} cannot be written: {reason}") from None
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify. Raises CheckpointError for anything that is not a whole, finite checkpoint."""
    content = _read(path)
    if content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {content.get('format')!r}, this version reads {FORMAT}; "
            "train it again or use the version of skerry that wrote it"
        )
    try:
        checkpoint = Checkpoint(
            record=Record.model_validate_json(content["record"]),
            weights=content["weights"],
            best=content["best"],
            optimiser=content["optimiser"],
            generator=content["generator"],
        )
        _verify(path, checkpoint)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} lacks a part of a checkpoint ({error}); train it again") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        tags = ("cae", "scout", "mil")  # ours, not names of fields
        where = ".".join(str(part) for part in first["loc"] if part not in tags) or "record"
        raise CheckpointError(f"{path} is not a usable checkpoint: {where}: {first['msg']}") from None
    return checkpoint


def _read(path: Path) -> dict[str, Any]:
    """Whatever dictionary of tensors and plain values the file holds."""
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise CheckpointError(f"{path} is not a checkpoint, or it is cut short")
        with warnings.catch_warnings():  # torch muses about damaged files before it gives up on them
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} holds code or objects that a checkpoint never holds; do not use it"
        ) from None
    except (
        *(RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError),
        zipfile.BadZipFile,  # which asking whether it is one may raise
    ):
        raise CheckpointError(f"{path} is not a checkpoint, or it is damaged") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a checkpoint of skerry")
    return content


def _verify(path: Path, checkpoint: Checkpoint) -> None:
    _check_state(checkpoint)
    for weights in filter(None, (checkpoint.weights, checkpoint.best)):
        for name, tensor in weights.items():
            if not bool(torch.isfinite(tensor).all()):
                raise CheckpointError(f"{path} has NaN or infinite weights in {name}; train it again")
    if _digest(checkpoint.state_dict) != checkpoint.record.weights_sha256:
        raise CheckpointError(f"the weights in {path} are not those that were saved; the file is damaged")
    try:
        checkpoint.build()
    except RuntimeError:
        raise CheckpointError(f"the weights in {path} do not fit its own model configuration") from None


def _check_state(checkpoint: Checkpoint) -> None:
    """That a training can go on from it. Raises TypeError, naming the part."""
    if set(checkpoint.optimiser) != {"state", "param_groups"}:
        raise TypeError("optimiser")
    try:
        torch.Generator().set_state(checkpoint.generator)
    except (TypeError, RuntimeError):
        raise TypeError("generator") from None


def _digest(weights: Weights) -> str:
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
