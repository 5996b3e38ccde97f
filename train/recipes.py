"""Named recipes. The class holds the published one; a named recipe holds only how it differs."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.errors import UsageError, nearest
from train.cae import CaeConfig
from train.scout import ScoutConfig


class Recipe(BaseModel):
    """The published training: mean squared error, Adam, nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "report"
    model: CaeConfig = CaeConfig()
    epochs: int = Field(default=200, ge=1, le=100_000)
    batch: int = Field(default=20, ge=1, le=65_536)
    lr: float = Field(default=0.01, gt=0, le=1, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0, lt=2**31)
    early_stop: int | None = Field(default=None, ge=1)  # epochs without a better validation loss
    schedule: Literal["constant", "cosine"] = "constant"
    beta2: float = Field(default=0.999, gt=0, lt=1)  # of Adam: how long it remembers squared gradients

    def rate(self, epoch: int) -> float:
        """Adam's learning rate in `epoch`, from 1. Cosine: up over a tenth of them, then down to zero."""
        if self.schedule == "constant":
            return self.lr
        rise = min(1.0, epoch / max(1.0, 0.1 * self.epochs))
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / self.epochs))


class ScoutRecipe(BaseModel):
    """Corrupt and repair on crops of footage. An epoch is STEPS steps: crops are drawn without end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    STEPS: ClassVar[int] = 100
    schedule: ClassVar[str] = "cosine"
    early_stop: ClassVar[None] = None

    kind: Literal["scout"] = "scout"
    name: str = "standard"
    model: ScoutConfig = ScoutConfig()
    epochs: int = Field(default=25, ge=1, le=100_000)
    batch: int = Field(default=16, ge=1, le=4096)  # crops per step
    crop: int = Field(default=96, ge=32, le=160, multiple_of=16)  # pixels
    lr: float = Field(default=2e-3, gt=0, le=1, allow_inf_nan=False)
    decay: float = Field(default=1e-4, ge=0, le=1, allow_inf_nan=False)  # of the weights, as in AdamW
    beside: Literal["earlier", "route"] = "earlier"  # what the second picture shows, as in flight
    searches: int = Field(default=2, ge=0, le=20)  # for hard places, evenly spread over the epochs
    seed: int = Field(default=0, ge=0, lt=2**31)

    @property
    def searched_after(self) -> frozenset[int]:
        """Epochs."""
        parts = self.searches + 1
        return frozenset(round(self.epochs * part / parts) for part in range(1, parts)) - {0, self.epochs}

    def rate(self, step: int) -> float:
        """AdamW's learning rate in `step`, from 0: up over a tenth of all, then down to zero by a cosine."""
        whole = self.epochs * self.STEPS
        rise = max(1.0, 0.1 * whole)
        if step < rise:
            return self.lr * (0.04 + 0.96 * step / rise)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, whole - rise)))


RECIPES: dict[str, dict[str, Any]] = {
    "report": {},
    "sigmoid": {"model": CaeConfig(tail="sigmoid")},
    # For a few hundred frames in a minute or two. In so few steps the plain sigmoid, a shorter memory in Adam
    # and a rate that falls to zero each get closer to normal frames than the published choices.
    "quick": {
        "model": CaeConfig(tail="sigmoid"),
        "epochs": 52,
        "batch": 16,
        "lr": 0.006,
        "schedule": "cosine",
        "beta2": 0.97,
    },
}


SCOUT_RECIPES: dict[str, dict[str, Any]] = {
    "standard": {},
    "quick": {"epochs": 6, "searches": 1},
    "long": {"epochs": 100},
}


def recipe(name: str = "report", **differences: object) -> Recipe:
    """The named recipe with these differences; None means not given. Raises UsageError."""
    return _named(Recipe, RECIPES, name, differences)


def scout_recipe(name: str = "standard", **differences: object) -> ScoutRecipe:
    """Likewise, of the scout. Raises UsageError."""
    return _named(ScoutRecipe, SCOUT_RECIPES, name, differences)


_Any = TypeVar("_Any", Recipe, ScoutRecipe)


def _named(
    kind: type[_Any], known: dict[str, dict[str, Any]], name: str, differences: dict[str, object]
) -> _Any:
    if name not in known:
        raise UsageError(f"there is no recipe {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    given = {option: value for option, value in differences.items() if value is not None}
    try:
        return kind(**{"name": name, **known[name], **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"{option} {first['input']}: {first['msg'][0].lower()}{first['msg'][1:]}") from None
