"""Models of anomalib, where it is installed, through the same harness: trained here, nothing downloaded.

PaDiM sits on the features of a given ONNX network (one input `frames`, outputs `stride4`, `stride8` and
`stride16`); GANomaly trains from scratch. Their own defaults, at 224 and, as in its paper, 64 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Look, Peer, Thinned
from edge.frames import Frame, Picture

FEATURES = {"stride4": 24, "stride8": 32, "stride16": 96}  # channels


def lacking(name: str, backbone: Path | None) -> str | None:
    """Why a model cannot take part, or None."""
    if not find_spec("anomalib"):
        return "anomalib is not installed"
    if name == "anomalib-padim" and backbone is None:
        return "it needs --backbone FEATURES.onnx"
    return None


def resized(image: Picture, side: int) -> NDArray[np.uint8]:
    """3 x side x side RGB."""
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[:, :, ::-1].transpose(2, 0, 1))


class AnomalibPadim(Peer):
    """A Gaussian for every place of the picture, on 100 of the features."""

    SIDE, MOST, KEPT = 224, 200, 100

    def __init__(self, backbone: Path) -> None:
        import onnxruntime
        import torch
        from anomalib.models.components import MultiVariateGaussian  # type: ignore[import-not-found]
        from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator  # type: ignore[import-not-found]

        torch.set_num_threads(1)  # as for every other method
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            backbone, options, providers=["CPUExecutionProvider"]
        )
        random = torch.Generator().manual_seed(0)
        self._chosen = torch.randperm(sum(FEATURES.values()), generator=random)[: self.KEPT]
        self._gaussian: Any = MultiVariateGaussian()
        self._to_map: Any = AnomalyMapGenerator()
        self._backbone_bytes = backbone.stat().st_size

    def fit(self, frames: Iterable[Frame]) -> None:
        import torch

        seen = Thinned(self.MOST)
        for frame in frames:
            seen.add(resized(frame.image, self.SIDE))
        self._gaussian.fit(torch.vstack([self._embedding(picture) for picture in seen.kept]))
        learned = self._gaussian.mean.numel() + self._gaussian.inv_covariance.numel()
        self.parameters = int(learned) + self._backbone_bytes // 4

    def _embedding(self, picture: NDArray[np.uint8]) -> Any:
        """1 x KEPT x 56 x 56: coarser features repeated over the finest grid."""
        import torch
        from torch.nn.functional import interpolate

        tensor = picture[None].astype(np.float32) / 127.5 - 1
        found = [torch.from_numpy(one) for one in self._session.run(list(FEATURES), {"frames": tensor})]
        size = found[0].shape[-2:]
        whole = torch.cat([found[0], *(interpolate(one, size=size, mode="nearest") for one in found[1:])], 1)
        return whole[:, self._chosen]

    def look(self, frame: Frame) -> Look:
        import torch

        with torch.inference_mode():
            heat = self._to_map(
                embedding=self._embedding(resized(frame.image, self.SIDE)),
                mean=self._gaussian.mean,
                inv_covariance=self._gaussian.inv_covariance,
                image_size=(self.SIDE, self.SIDE),
            )
        found = np.asarray(heat[0, 0].numpy(), np.float32)
        return float(found.max()), found


class AnomalibGanomaly(Peer):
    """Encoder, decoder, encoder: how far the two codes of a picture lie apart. It says nothing of places."""

    SIDE, BATCH, STEPS, MOST = 64, 16, 400, 1600

    def __init__(self, _backbone: Path | None) -> None:
        import torch
        from anomalib.models.image.ganomaly.torch_model import GanomalyModel  # type: ignore[import-not-found]

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self._model: Any = GanomalyModel((self.SIDE, self.SIDE), 3, n_features=64, latent_vec_size=100)
        self.parameters = sum(weights.numel() for weights in self._model.parameters())

    def fit(self, frames: Iterable[Frame]) -> None:
        import torch

        seen = Thinned(self.MOST)
        for frame in frames:
            seen.add(resized(frame.image, self.SIDE))
        pictures, random = torch.from_numpy(np.stack(seen.kept)), torch.Generator().manual_seed(0)
        step = _adversaries(self._model.train())
        for _ in range(self.STEPS):
            step(_scaled(pictures[torch.randint(len(pictures), (self.BATCH,), generator=random)]))
        self._model.eval()

    def look(self, frame: Frame) -> Look:
        import torch

        with torch.inference_mode():
            picture = _scaled(torch.from_numpy(resized(frame.image, self.SIDE))[None])
            score = float(self._model(picture).pred_score)
        return score, np.full((1, 1), score, np.float32)


def _scaled(pictures: Any) -> Any:
    """ImageNet's normalisation, which anomalib applies to all its models."""
    import torch

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (pictures.float() / 255 - mean[:, None, None]) / std[:, None, None]


def _adversaries(model: Any) -> Callable[[Any], None]:
    """One step of GANomaly's training, with its own losses, optimisers and rates."""
    import torch
    from anomalib.models.image.ganomaly.loss import (  # type: ignore[import-not-found]
        DiscriminatorLoss,
        GeneratorLoss,
    )

    rate: dict[str, Any] = {"lr": 2e-4, "betas": (0.5, 0.999)}
    for_discriminator = torch.optim.Adam(model.discriminator.parameters(), **rate)
    for_generator = torch.optim.Adam(model.generator.parameters(), **rate)
    discriminator_loss, generator_loss = DiscriminatorLoss(), GeneratorLoss()

    def step(batch: Any) -> None:
        padded, fake, code, code_of_fake = model(batch)
        real_guess, fake_guess = model.discriminator(padded)[0], model.discriminator(fake)[0]
        for_generator.zero_grad()
        generator_loss(code, code_of_fake, padded, fake, real_guess, fake_guess).backward()
        for_generator.step()
        real_guess, fake_guess = model.discriminator(padded)[0], model.discriminator(fake.detach())[0]
        for_discriminator.zero_grad()
        discriminator_loss(real_guess, fake_guess).backward()
        for_discriminator.step()

    return step


def _padim(backbone: Path | None) -> Peer:
    assert backbone is not None  # `lacking` has looked
    return AnomalibPadim(backbone)


ANOMALIB: Mapping[str, Callable[[Path | None], Peer]] = {
    "anomalib-padim": _padim,
    "anomalib-ganomaly": AnomalibGanomaly,
}
