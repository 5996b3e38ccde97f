"""The second model of the demo: one of clips, from what the demo itself has, with no weights of anybody's.

The autoencoder's own code of a picture is the feature, pooled over two seconds. The head learns from whole
flights, normal ones and patrols, which say no more than that something is in them; none of these is flown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from export.account import Account

Type = Callable[..., None]  # a verb and its words, as a person types them

NORMALS, PATROLS = 3, 3  # flights that the head learns from
_FRAMES, _STRIDE = 8, 4
_EPOCHS = 3


@dataclass(frozen=True, slots=True)
class Bags:
    """Flights of which only the label is known."""

    normal: tuple[Path, ...]
    patrol: tuple[Path, ...]


def learn_clips(
    out: Path, bags: Bags, calibrate: Path, fps: float, alarms: tuple[str, ...], run: Type
) -> Path:
    """Features, head, bundle, threshold; returns the bundle. `alarms`: what calibration is asked for."""
    features, head, bundle = out / "features", out / "mil.ckpt", out / "clip-bundle"
    clips = (f"--fps={fps:g}", f"--frames={_FRAMES}", f"--stride={_STRIDE}", "--workers=1", "--force")
    run("features", *bags.normal, *bags.patrol, "--extractor", out / "cae.ckpt", *clips, "--out", features)
    normal = [word for video in bags.normal for word in ("--normal", features / f"{video.stem}.npz")]
    patrol = [word for video in bags.patrol for word in ("--anomalous", features / f"{video.stem}.npz")]
    recipe = ("--recipe", "small", "--epochs", _EPOCHS, "--force")
    run("train", "mil", *recipe, "--out", head, *normal, *patrol)
    extractor = ("--extractor", features / "extractor.onnx", "--variants", "fp32", "--footage", calibrate)
    run("export", head, *extractor, "--force", "--out", bundle)
    run("calibrate", bundle, *alarms, "--normal", calibrate)
    return bundle


def begun_by(account: Account) -> str:
    """How many incidents each of two models began; empty where one flew alone."""
    kinds = Counter(incident.messages[0].event.raised_by for incident in account.incidents)
    return ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items(), key=str) if kind)
