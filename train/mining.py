"""Hard places of normal footage: where a scout half trained takes what belongs there for foreign.

Windows cut at random hold a landmark as rarely as the footage does, and a landmark pasted elsewhere looks the
same: a lone rock, a jetty. So training stops on the way, goes over its footage as flight would, and from then
on learns as much from the places that it was wrong about as from all others (hard negatives, Sung and Poggio
1998).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edge.frames import Picture
from edge.localize import shape_of
from edge.observer import judged
from edge.preprocess import pair_to_tensor
from edge.tiles import extended
from train.footage import Clip, Sampling, open_sampled
from train.pasts import Histories, Pasts
from train.scout import MULTIPLE, Scout
from train.scout_fit import SPEC, has_bfloat16
from train.windows import SIDE, Windowed, Windows, window_at

MOST = 600  # windows that one search keeps
_PIXELS, _FEWEST_LOOKS, _MOST_LOOKS = 300_000_000, 100, 600  # of pictures that one search looks at
_WRONG = 0.15  # probability of being foreign from which a normal place is worth learning
_PEAKS = 4  # places of one picture
_APART = SIDE // 2  # pixels between them
_ASIDE = 24  # pixels a place may lie off its window's middle
_CELL = 4  # pixels of one value of the head


@dataclass(frozen=True)
class HardPlaces:
    """Where to look for them: what the scout trains on, and nothing else."""

    clips: Sequence[Clip]
    sampling: Sampling
    seed: int
    on_frame: Callable[[str], None] = lambda _: None
    pasts: Pasts = field(default_factory=Histories)

    def __call__(self, network: Scout, device: torch.device, done: int) -> Windows:
        """The windows about which the network is most wrong, at most MOST."""
        kept: list[tuple[float, int, Windowed, list[bool]]] = []
        counter = itertools.count()
        for stack, random, known in self._stacks(done):
            assert stack[0] is not None
            found = probabilities(network, stack[0], stack[1], device)
            if known is not None:
                found *= judged(known, shape_of(found))
            for wrong, place in peaks(found):
                window = window_at(stack, _beside(place, stack[0], random))
                heapq.heappush(
                    kept, (wrong, next(counter), window, [picture is not None for picture in stack])
                )
                if len(kept) > MOST:
                    heapq.heappop(kept)
        pictures = np.array([window for _, _, window, _ in kept], np.uint8)
        there = np.array([there for *_, there in kept], np.bool_)
        depth = self.pasts.depth
        return Windows(pictures.reshape(-1, depth, SIDE, SIDE, 3), there.reshape(-1, depth))

    def _stacks(
        self, done: int
    ) -> Iterator[tuple[list[Picture | None], np.random.Generator, NDArray[np.bool_] | None]]:
        """Pictures through time, evenly spread over the clips, and where they are judged."""
        frames, number, every = sum(clip.frames for clip in self.clips), 0, 0.0
        for clip in self.clips:
            history = self.pasts.of(clip)
            with open_sampled(Path(clip.path), self.sampling) as stream:
                for frame in itertools.islice(stream, clip.start, clip.stop):
                    every = every or max(1.0, frames / looks(frame.image.shape))
                    wanted = int((number + 1) / every) > int(number / every)
                    random = np.random.default_rng((self.seed, done, number)) if wanted else None
                    stack = history.stack(frame.image, frame.stream_s, random)
                    number += 1
                    self.on_frame(clip.name)
                    if random is not None:
                        yield stack, random, history.known


def looks(shape: tuple[int, ...]) -> int:
    """How many pictures of this shape a search looks at: large ones take longer."""
    return min(_MOST_LOOKS, max(_FEWEST_LOOKS, _PIXELS // (shape[0] * shape[1])))


def probabilities(
    network: Scout, now: Picture, earlier: Picture | None, device: torch.device
) -> NDArray[np.float32]:
    """H x W x 3 BGR pictures -> H/4 x W/4, how surely each place is foreign."""
    height, width = now.shape[:2]
    below, beside = -height % MULTIPLE, -width % MULTIPLE
    pictures = [extended(picture, below, beside) for picture in (now, now if earlier is None else earlier)]
    tensor = torch.from_numpy(pair_to_tensor(pictures[0], pictures[1], SPEC)).to(device)
    was_training = network.training
    network.eval()
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device.type)),
    ):
        logits = network.head(network.seen(tensor.contiguous(memory_format=torch.channels_last))[0])
    network.train(was_training)
    found = torch.sigmoid(logits.float())[0, 0].cpu().numpy()
    return np.asarray(found[: math.ceil(height / _CELL), : math.ceil(width / _CELL)], np.float32)


def peaks(wrong: NDArray[np.float32]) -> Iterator[tuple[float, tuple[int, int]]]:
    """(probability, row and column of the picture) of the worst places, far apart, worst first."""
    smooth = np.asarray(cv2.blur(wrong, (3, 3)), np.float32).reshape(wrong.shape).copy()
    reach = _APART // _CELL
    for _ in range(_PEAKS):
        row, column = (int(place) for place in np.unravel_index(int(smooth.argmax()), smooth.shape))
        value = float(smooth[row, column])
        if value < _WRONG:
            return
        yield value, (row * _CELL, column * _CELL)
        smooth[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = 0


def _beside(place: tuple[int, int], picture: Picture, random: np.random.Generator) -> tuple[int, int]:
    """Top left corner of a window that holds the place near its middle."""
    aside = random.integers(-_ASIDE, _ASIDE + 1, 2)
    row, column = (
        min(max(0, centre + int(off) - SIDE // 2), max(0, length - SIDE))
        for centre, off, length in zip(place, aside, picture.shape[:2], strict=True)
    )
    return row, column
