"""S3D: torchvision's names and shapes, what each layer computes, files that are not its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from train.s3d import CLASSES, S3D, WeightsError, load_s3d, weights_digest

pytestmark = pytest.mark.slow  # a 3D network takes its time: the check stays under two minutes

Array = NDArray[np.float64]

# As the paper tabulates them and torchvision numbers them: place in `features`, input channels, then the four
# branches: 1 x 1; reduced, 3 x 3; reduced, 3 x 3; pooled, 1 x 1.
BLOCKS = [
    (5, 192, 64, (96, 128), (16, 32), 32),
    (6, 256, 128, (128, 192), (32, 96), 64),
    (8, 480, 192, (96, 208), (16, 48), 64),
    (9, 512, 160, (112, 224), (24, 64), 64),
    (10, 512, 128, (128, 256), (24, 64), 64),
    (11, 512, 112, (144, 288), (32, 64), 64),
    (12, 528, 256, (160, 320), (32, 128), 128),
    (14, 832, 256, (160, 320), (32, 128), 128),
    (15, 832, 384, (192, 384), (48, 128), 128),
]
PUBLISHED_PARAMETERS = 8_320_048  # with the classifier, as torchvision's documentation counts them


def units() -> Iterator[tuple[str, int, int, tuple[int, int, int]]]:
    """Name of each convolution with its normalisation, channels in and out, kernel."""

    def separable(name: str, width: int, out: int, side: int) -> Iterator[Any]:
        yield f"{name}.0", width, out, (1, side, side)
        yield f"{name}.1", out, out, (side, 1, 1)

    yield from separable("features.0", 3, 64, 7)
    yield "features.2", 64, 64, (1, 1, 1)
    yield from separable("features.3", 64, 192, 3)
    for place, width, alone, first, second, pooled in BLOCKS:
        name = f"features.{place}"
        yield f"{name}.branch0", width, alone, (1, 1, 1)
        for branch, (between, out) in (("branch1", first), ("branch2", second)):
            yield f"{name}.{branch}.0", width, between, (1, 1, 1)
            yield from separable(f"{name}.{branch}.1", between, out, 3)
        yield f"{name}.branch3.1", width, pooled, (1, 1, 1)


def state_dict(seed: int = 0) -> dict[str, torch.Tensor]:
    """As in torchvision's file, with other numbers: names and shapes written down independently."""
    random = torch.Generator().manual_seed(seed)
    found = {}
    for name, width, out, kernel in units():
        fan = width * kernel[0] * kernel[1] * kernel[2]
        found[f"{name}.0.weight"] = torch.randn(out, width, *kernel, generator=random) * (2 / fan) ** 0.5
        found[f"{name}.1.weight"] = 0.8 + 0.4 * torch.rand(out, generator=random)
        found[f"{name}.1.bias"] = 0.1 * torch.randn(out, generator=random)
        found[f"{name}.1.running_mean"] = 0.1 * torch.randn(out, generator=random)
        found[f"{name}.1.running_var"] = 0.5 + torch.rand(out, generator=random)
        found[f"{name}.1.num_batches_tracked"] = torch.tensor(7)
    found["classifier.1.weight"] = torch.randn(CLASSES, 1024, 1, 1, 1, generator=random)
    found["classifier.1.bias"] = torch.randn(CLASSES, generator=random)
    return found


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("s3d") / "weights.pth"
    torch.save(state_dict(), path)
    return path


def saved(path: Path, changes: Mapping[str, torch.Tensor | None]) -> Path:
    content = {**state_dict(), **changes}
    torch.save({name: value for name, value in content.items() if value is not None}, path)
    return path


def test_names_and_shapes_are_those_of_the_published_file() -> None:
    ours = {name: tuple(value.shape) for name, value in S3D(CLASSES).state_dict().items()}
    assert ours == {name: tuple(value.shape) for name, value in state_dict().items()}
    assert sum(weight.numel() for weight in S3D(CLASSES).parameters()) == PUBLISHED_PARAMETERS


def test_the_files_own_numbers_are_loaded_and_its_classifier_is_passed_over(weights: Path) -> None:
    network, digest = load_s3d(weights)
    assert digest == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert not network.training
    wanted = state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, wanted[name]), name


# An independent formulation: windows and sums in NumPy, in double precision.


def windows(
    maps: Array, kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...], fill: float
) -> Array:
    """c x t x h x w -> c x t' x h' x w' x kernel."""
    padded = np.pad(maps, [(0, 0), *((side, side) for side in pad)], constant_values=fill)
    every = sliding_window_view(padded, kernel, axis=(1, 2, 3))
    return every[:, :: stride[0], :: stride[1], :: stride[2]]


def unit(maps: Array, weights: Mapping[str, Any], name: str, stride: tuple[int, ...] = (1, 1, 1)) -> Array:
    """Convolution, normalisation by the running statistics, nothing below 0."""
    kernel = weights[f"{name}.0.weight"].numpy().astype(np.float64)
    sides = kernel.shape[2:]
    seen = windows(maps, sides, stride, tuple(side // 2 for side in sides), 0.0)
    sums = np.tensordot(kernel, seen, axes=([1, 2, 3, 4], [0, 4, 5, 6]))
    gain, bias, mean, variance = (
        weights[f"{name}.1.{part}"].numpy().astype(np.float64)[:, None, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return np.asarray(np.maximum(0, (sums - mean) / np.sqrt(variance + 1e-3) * gain + bias))


def separable(maps: Array, weights: Mapping[str, Any], name: str, stride: int = 1) -> Array:
    return unit(unit(maps, weights, f"{name}.0", (1, stride, stride)), weights, f"{name}.1", (stride, 1, 1))


def highest(maps: Array, kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...]) -> Array:
    return np.asarray(windows(maps, kernel, stride, pad, -np.inf).max(axis=(4, 5, 6)))


def block(maps: Array, weights: Mapping[str, Any], name: str) -> Array:
    ways = [unit(maps, weights, f"{name}.branch0")]
    for branch in ("branch1", "branch2"):
        ways.append(separable(unit(maps, weights, f"{name}.{branch}.0"), weights, f"{name}.{branch}.1"))
    ways.append(unit(highest(maps, (3, 3, 3), (1, 1, 1), (1, 1, 1)), weights, f"{name}.branch3.1"))
    return np.concatenate(ways)


def layer(place: int, maps: Array, weights: Mapping[str, Any]) -> Array:
    name = f"features.{place}"
    if place in (0, 3):
        return separable(maps, weights, name, stride=2 if place == 0 else 1)
    if place == 2:
        return unit(maps, weights, name)
    if place in (1, 4):
        return highest(maps, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    if place == 7:
        return highest(maps, (3, 3, 3), (2, 2, 2), (1, 1, 1))
    if place == 13:
        return highest(maps, (2, 2, 2), (2, 2, 2), (0, 0, 0))
    return block(maps, weights, name)


@pytest.mark.parametrize(("frames", "side"), [(14, 32), (16, 48)])
def test_every_layer_gives_what_an_independent_formulation_gives(
    weights: Path, frames: int, side: int
) -> None:
    network, _ = load_s3d(weights)
    numbers = state_dict()
    clip = torch.randn(1, 3, frames, side, side, generator=torch.Generator().manual_seed(1))
    seen, expected = clip, clip[0].numpy().astype(np.float64)
    with torch.inference_mode():
        for place, part in enumerate(network.features):
            seen = part(seen)
            expected = layer(place, expected, numbers)
            assert seen.shape[1:] == expected.shape, place
            error = np.abs(seen[0].numpy() - expected).max() / np.abs(expected).max()
            assert error < 1e-5, (place, error)
        whole = network(clip)
    assert whole.shape == (1, 1024)
    assert whole[0].numpy() == pytest.approx(expected.mean(axis=(1, 2, 3)), rel=1e-4, abs=1e-5)


def test_a_clip_of_16_pictures_of_224_has_the_published_sizes_on_its_way() -> None:
    with torch.device("meta"):
        seen, sizes = torch.empty(1, 3, 16, 224, 224), []
        for part in S3D().eval().features:
            seen = part(seen)
            sizes.append(tuple(seen.shape[1:]))
    assert sizes[0] == (64, 8, 112, 112)
    assert sizes[4] == (192, 8, 28, 28)
    assert sizes[6] == (480, 8, 28, 28)
    assert sizes[12] == (832, 4, 14, 14)
    assert sizes[15] == (1024, 2, 7, 7)


FIRST = "features.0.0.0.weight"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({FIRST: None}, "lacks features.0.0.0.weight: those are not the weights of torchvision's s3d"),
        ({"head.weight": torch.zeros(1)}, "also has head.weight: those are not the weights"),
        ({FIRST: torch.zeros(64, 3, 1, 3, 3)}, "is 64 x 3 x 1 x 3 x 3 where S3D has 64 x 3 x 1 x 7 x 7"),
        ({FIRST: torch.full((64, 3, 1, 7, 7), torch.nan)}, f"NaN or infinite weights in {FIRST}"),
        ({"features.2.1.running_var": -torch.ones(64)}, "negative variances in features.2.1.running_var"),
    ],
)
def test_other_weights_are_one_sentence(
    tmp_path: Path, changes: Mapping[str, torch.Tensor | None], sentence: str
) -> None:
    with pytest.raises(WeightsError, match=sentence) as caught:
        load_s3d(saved(tmp_path / "other.pth", changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not weights", b"\x80\x02}q\x00."])
def test_files_that_hold_no_weights_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_s3d(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_is_one_sentence(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="is not a file of plain PyTorch weights, or it is cut short"):
        load_s3d(tmp_path / "a.pth")


def test_a_file_whose_name_says_its_digest_must_have_it(weights: Path, tmp_path: Path) -> None:
    digest = weights_digest(weights)
    right, wrong = tmp_path / f"s3d-{digest[:8]}.pth", tmp_path / "s3d-d76dad2f.pth"
    for path in (right, wrong):
        path.write_bytes(weights.read_bytes())
    assert load_s3d(right)[1] == digest
    with pytest.raises(WeightsError, match="should have a sha256 that begins with d76dad2f, it has"):
        load_s3d(wrong)


def test_what_carries_code_is_never_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "harm",)

    torch.save({"features": Harm()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="is not a file of plain PyTorch weights"):
        load_s3d(tmp_path / "a.pth")
    assert not (tmp_path / "harm").exists()
