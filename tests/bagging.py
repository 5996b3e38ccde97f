"""Videos as features, for tests: normal ones stay around one place, anomalous ones leave it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.clips import ExtractorSpec, Features
from train.bags import Bag
from train.feature_files import FeatureVideo, write_features

WIDTH = 6
SPEC = ExtractorSpec(frames=4, stride=2, fps=4.0, width=WIDTH, sha256="a" * 64)


def raw(seed: int, anomalous: bool, clips: int = 12) -> Features:
    """clips x WIDTH; a quarter of an anomalous one lies along another axis."""
    random = np.random.default_rng(seed)
    found = random.normal(0, 0.2, (clips, WIDTH)) + np.eye(WIDTH)[0]
    if anomalous:
        first = int(random.integers(clips - clips // 4))
        found[first : first + max(1, clips // 4)] += 3 * np.eye(WIDTH)[1]
    return np.asarray(found, np.float32)


def bag(seed: int, anomalous: bool, clips: int = 12, source: str | None = None) -> Bag:
    return Bag(f"v{seed}", raw(seed, anomalous, clips), anomalous, (source or f"s{seed}",))


def bags(count: int, clips: int = 12) -> list[Bag]:
    """So many of each class, in turn."""
    return [bag(seed, bool(seed % 2), clips) for seed in range(2 * count)]


def video(path: Path, features: Features, spec: ExtractorSpec | None = SPEC) -> Path:
    """A file as `skerry features` writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = SPEC.frames + (len(features) - 1) * SPEC.stride
    write_features(path, FeatureVideo(path.stem, features, spec, SPEC.fps, frames))
    return path


def folders(home: Path, count: int, clips: int = 12) -> tuple[Path, Path]:
    """(normal, anomalous), so many videos in each."""
    for seed in range(2 * count):
        anomalous = bool(seed % 2)
        name = "anomalous" if anomalous else "normal"
        video(home / name / f"v{seed:02}.npz", raw(seed, anomalous, clips))
    return home / "normal", home / "anomalous"
