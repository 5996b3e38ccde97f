"""What a person writes first to watch a camera: OpenCV reads every frame, PyTorch looks at two a second.

    python benchmarks/naive_watch.py URI [--checkpoint C]

The peer of `benchmarks/daemon.py` and `benchmarks/start.py`. It scores and prints; it localises, keeps and
sends nothing. One thread for PyTorch, which is the cheapest it can do. Without a checkpoint the weights are
random: that changes no cost. Runs until SIGTERM or the end of the video, which is played at its own pace.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import cv2
import torch
import typer

from edge.notify import notify
from edge.preprocess import InputSpec, to_tensor
from train.cae import CAE, CaeConfig
from train.checkpoint import load_checkpoint

FPS = 2.0


def main(
    uri: str,
    checkpoint: Annotated[Path | None, typer.Option()] = None,
    rate: Annotated[float, typer.Option(help="Pictures a second; OpenCV only guesses a camera's.")] = 0.0,
) -> None:
    """Read, look, print."""
    torch.set_num_threads(1)
    network, spec = CAE(CaeConfig()).eval(), InputSpec()
    if checkpoint is not None:
        trained = load_checkpoint(checkpoint)
        network, spec = trained.build(), trained.input  # type: ignore[assignment]
    capture = cv2.VideoCapture(uri)
    rate = rate or capture.get(cv2.CAP_PROP_FPS) or 30.0
    every, count, began_s = max(1, round(rate / FPS)), 0, time.monotonic()
    while True:
        good, picture = capture.read()
        if not good:
            break
        if "://" not in uri:
            time.sleep(max(0.0, began_s + count / rate - time.monotonic()))
        if count % every == 0:
            tensor = torch.from_numpy(to_tensor(picture, spec))
            with torch.inference_mode():
                score = float((network(tensor) - tensor).square().mean())
            print(f"look {count} {score:.6f}", file=sys.stderr, flush=True)
            if count == 0:
                notify("READY=1")
        count += 1


if __name__ == "__main__":
    typer.run(main)
