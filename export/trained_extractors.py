"""Networks of PyTorch that make features -> the ONNX graph that flies, which says how it wants its pixels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from edge.preprocess import InputSpec
from export.extractor_graph import FEATURES, ExtractorError, note, parsed
from export.to_onnx import converted
from train.cae import CAE
from train.checkpoint import load_checkpoint
from train.s3d import LEAST_FRAMES, LEAST_SIDE, load_s3d

USUAL_FRAMES = 16  # of S3D


def of_s3d(weights: Path, frames: int | None, size: int, picture: InputSpec) -> bytes:
    """For clips of so many pictures of `size` pixels on a side. Raises ExtractorError, WeightsError."""
    frames = frames or USUAL_FRAMES
    if frames < LEAST_FRAMES:
        raise ExtractorError(f"--frames {frames}: S3D looks at {LEAST_FRAMES} frames at least")
    if size < LEAST_SIDE:
        raise ExtractorError(f"--size {size}: S3D needs pictures of {LEAST_SIDE} pixels at least")
    network, _ = load_s3d(weights)
    graph = converted(network, torch.zeros(1, 3, frames, size, size), FEATURES)
    return _noted(graph, picture.model_copy(update={"height": size, "width": size}))


def of_checkpoint(path: Path) -> bytes:
    """What an autoencoder of ours boils a picture down to. Raises ExtractorError, CheckpointError."""
    checkpoint = load_checkpoint(path)
    network = checkpoint.build()
    if not isinstance(network, CAE):
        raise ExtractorError(
            f"{path} holds a {checkpoint.kind}, which makes no features of single pictures; "
            "give the checkpoint of an autoencoder (`skerry train cae`)"
        )
    spec = checkpoint.input
    return _noted(
        converted(Latent(network).eval(), torch.zeros(1, 3, spec.height, spec.width), FEATURES), spec
    )


class Latent(nn.Module):
    """n x 3 x height x width -> n x latent, in the middle of an autoencoder."""

    def __init__(self, network: CAE) -> None:
        super().__init__()
        self.down, (self.flat, self.middle, *_) = network.encoder, network.bottleneck

    def forward(self, pictures: Tensor) -> Tensor:
        latent: Tensor = self.middle(self.flat(self.down(pictures)))
        return latent


def _noted(graph: bytes, picture: InputSpec) -> bytes:
    model = parsed(graph, "the graph")
    note(model, picture)
    return bytes(model.SerializeToString(deterministic=True))
