"""Small real things for tests: a bundle that flies, scenes to fly it over."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from edge.bundle import Branch, Manifest, ModelBundle, Scoring, write_bundle
from edge.calibrate import calibrate
from edge.frames import Frame, Picture
from edge.preprocess import InputSpec
from edge.survey import Plan

BLUR = Path(__file__).parent / "data" / "blur.onnx"
EVIDENCE = Path(__file__).parent / "data" / "evidence.onnx"
TILE = (384, 512)  # height, width
NOON = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
SIZE = (240, 320)  # height, width
INTRUDER = (200, 100, 24, 24)  # x, y, width, height
ERRORS = Scoring(branches=(Branch(source="error", window=5),))


def scene(seed: int, intruder: bool = False) -> Picture:
    """A calm gradient with sensor noise; the intruder is a bright square."""
    random = np.random.default_rng(seed)
    rows = np.linspace(60, 120, SIZE[0])[:, None, None]
    picture = rows + random.normal(0, 3, (*SIZE, 3))
    if intruder:
        x, y, width, height = INTRUDER
        picture[y : y + height, x : x + width] = (40, 80, 250)
    return np.clip(picture, 0, 255).astype(np.uint8)


def frame(image: Picture, index: int = 0, fps: float = 2.0) -> Frame:
    seconds = index / fps
    return Frame(image, index, seconds, round(seconds * 1e9), NOON)


def folder_of(path: Path, pictures: list[Picture]) -> Path:
    path.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(path / f"{number:05d}.png"), picture)
    return path


def bundle_at(path: Path, scoring: Scoring | None = None) -> ModelBundle:
    """An uncalibrated bundle around the blur."""
    manifest = Manifest(
        name="blur",
        kind="reconstruction",
        created=NOON,
        input=InputSpec(),
        scoring=scoring or ERRORS,
        variants={"fp32": "model.fp32.onnx"},
        files={},
    )
    return write_bundle(path, manifest, {"model.fp32.onnx": BLUR.read_bytes()})


def evidence_bundle_at(path: Path, scoring: Scoring | None = None) -> ModelBundle:
    """An uncalibrated bundle that looks at pairs of pictures in tiles."""
    manifest = Manifest(
        name="evidence",
        kind="evidence",
        created=NOON,
        input=InputSpec(frames=2, height=TILE[0], width=TILE[1], tiling="auto"),
        scoring=scoring or Scoring.for_kind("evidence"),
        variants={"fp32": "model.fp32.onnx"},
        files={},
    )
    return write_bundle(path, manifest, {"model.fp32.onnx": EVIDENCE.read_bytes()})


def flying_bundle(path: Path, normal: Path, rate: float = 20.0) -> ModelBundle:
    """Calibrated on a folder of pictures taken at 2 fps; 70 s support 12 false alarms an hour."""
    return calibrate(bundle_at(path), Plan((normal,), rate=rate, folder_fps=2.0))


def patrol_pictures(plan: str, seed: int = 1000) -> list[Picture]:
    """One picture per letter: `.` normal, `X` with the intruder."""
    return [scene(seed + n, letter == "X") for n, letter in enumerate(plan)]
