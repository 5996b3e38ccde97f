"""Frame AUC of a checkpoint on UCSD Ped2: all test frames pooled, nothing normalised per clip.

    python benchmarks/ped2_auc.py CKPT --data ucsd_ped2 [--json FILE]

Two scores of the squared error between a frame and its reconstruction: the mean of the whole picture, as
published, and the largest mean of any 9 x 9 window of the 124 x 124, which a small intruder can move.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from edge.recordings import find_recordings, open_recording
from train.checkpoint import load_checkpoint
from train.fit import batches
from train.footage import to_pixels

FLOOR = 0.838  # no learning: largest 15x15 mean of |frame t - frame t-2| at 160x120
WINDOW = 9  # pixels of the model's 124 x 124


def main() -> None:
    options = _options()
    checkpoint = load_checkpoint(options.checkpoint)
    network = checkpoint.build()
    clips = find_recordings([options.data / "testing" / "frames"])
    intervals = json.loads((options.data / "frame_labels.json").read_text())["intervals"]
    labels, means, windows = [], [], []
    for clip in clips:
        with open_recording(clip) as frames:
            pixels = np.stack([to_pixels(frame.image, checkpoint.input) for frame in frames])
        labels.append(labelled(len(pixels), intervals[clip.name]))
        for batch in batches(pixels, 50, checkpoint.input, torch.device("cpu")):
            with torch.inference_mode():
                errors = (network(batch) - batch).square().mean(dim=1).numpy()
            means.append(errors.mean(axis=(1, 2)))
            windows.append(list(largest_windows(errors)))
    truth = np.concatenate(labels)
    result = {
        "frames": len(truth),
        "abnormal": int(truth.sum()),
        "epochs": len(checkpoint.history),
        "recipe": checkpoint.recipe.name,
        "tail": checkpoint.model.tail,
        "auc_mean": float(roc_auc_score(truth, np.concatenate(means))),
        "auc_window": float(roc_auc_score(truth, np.concatenate(windows))),
        "floor_without_learning": FLOOR,
    }
    report(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the folder of UCSD Ped2")
    parser.add_argument("--json", type=Path, help="write the result here as well")
    return parser.parse_args()


def labelled(frames: int, intervals: list[list[int]]) -> NDArray[np.bool_]:
    """One truth per frame; intervals are counted from 1 and include both ends."""
    truth = np.zeros(frames, bool)
    for first, last in intervals:
        truth[first - 1 : last] = True
    return truth


def largest_windows(errors: NDArray[np.float32]) -> Iterator[float]:
    """The largest WINDOW x WINDOW mean that lies wholly inside each map of n x height x width."""
    half = WINDOW // 2
    for error in errors:
        means = cv2.boxFilter(error, -1, (WINDOW, WINDOW))
        yield float(means[half:-half, half:-half].max())


def report(result: dict[str, object]) -> None:
    print(f"Ped2, {result['frames']} test frames pooled, {result['abnormal']} of them abnormal")
    print(f"  recipe {result['recipe']}, tail {result['tail']}, {result['epochs']} epochs")
    print(f"  frame AUC, mean squared error     {result['auc_mean']:.4f}")
    print(f"  frame AUC, largest {WINDOW}x{WINDOW} window     {result['auc_window']:.4f}")
    print(f"  without learning (the floor)      {FLOOR:.3f}")


if __name__ == "__main__":
    main()
