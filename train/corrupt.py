"""Normal windows made abnormal: what the scout learns to mark, and what it must learn to put up with.

Pasted in and to be marked: patches from elsewhere in the footage, flat and textured things, some of them
moved since the earlier picture or new; places where time ran faster. Laid over everything and to be ignored:
light, shadows, noise, compression, rain, an earlier picture that lies a pixel or two off. Pictures are
H x W x 3 float32 in [0, 1] throughout.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from train import weather
from train.windows import SIDE, Windows

Floats = NDArray[np.float32]
Random = np.random.Generator

SMALLEST, LARGEST = 6.0, 64.0  # pixels of a foreign thing
_COUNTS = (0, 1, 1, 2, 3)  # things in a crop
_ALONE = 0.15  # of the crops have no earlier picture; of a route, which is judged where it is known, none
_NEW, _BOTH = 0.75, 0.15  # of a route: of things, seen now alone and on both flights; the rest on the other
_VISIBLE = 0.03  # mean change of the colours below which nothing is there to see
_ASIDE, _TURN = 0.7, 0.1  # pixels, degrees: how far the earlier picture may lie off


class Example(NamedTuple):
    """`seen`: S x S x 6, now and earlier; `clean`: S x S x 3, now without the foreign, in the same light;
    `foreign`: S x S, 1 where something is."""

    seen: Floats
    clean: Floats
    foreign: Floats


class Batch(NamedTuple):
    """n x channels x S x S uint8; `foreign` is 0 or 1, the others are 255 at white."""

    seen: NDArray[np.uint8]
    clean: NDArray[np.uint8]
    foreign: NDArray[np.uint8]


def batch(windows: Windows, side: int, size: int, key: tuple[int, ...]) -> Batch:
    """`size` examples; the same for the same windows and key, whatever was made before."""
    random = np.random.default_rng(key)
    examples = [example(windows, side, random) for _ in range(size)]
    seen, clean = (np.stack([_bytes(one[part]) for one in examples]) for part in (0, 1))
    foreign = np.stack([one.foreign for one in examples]).astype(np.uint8)[:, None]
    return Batch(seen, clean, foreign)


def _bytes(picture: Floats) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.rint(picture * 255).astype(np.uint8).transpose(2, 0, 1))


def example(windows: Windows, side: int, random: Random) -> Example:
    """A random crop of a random window, corrupted."""
    pictures, there = windows.drawn(random)
    clean, earlier, *back = _crops(pictures, side, random)
    back = [picture for picture, exists in zip(back, there[2:], strict=True) if exists]
    if windows.of_route:
        return _of_route(windows, clean, earlier if there[1] else clean, random)
    alone = not there[1] or random.random() < _ALONE
    now, foreign = clean.copy(), np.zeros((side, side), np.float32)
    hurries = [bool(back) and not alone and random.random() < 0.4 for _ in range(random.choice(_COUNTS))]
    for hurry in sorted(hurries, reverse=True):  # first: it would wipe away and mark what was pasted earlier
        if hurry:
            _hurry(now, earlier, back[random.integers(len(back))], foreign, random)
        else:
            _paste(now, earlier, windows, foreign, random)
    clean, now, earlier = weather.over(clean, now, None if alone else earlier, random)
    return Example(np.concatenate([now, earlier], axis=2), clean, foreign)


def _of_route(windows: Windows, clean: Floats, other: Floats, random: Random) -> Example:
    """Foreign is what the other flight did not see; what both saw belongs there, whatever it looks like.
    Without another flight, or where it saw nothing, both pictures are the same to the last bit."""
    alone = other is clean
    clean, now, other = clean.copy(), clean.copy(), other.copy()
    foreign = np.zeros(clean.shape[:2], np.float32)
    for _ in range(random.choice(_COUNTS)):
        fate = 0.0 if alone else random.random()
        _plant(now, clean, other, windows, foreign, fate, random)
    clean, now, other = weather.over(clean, now, None if alone else other, random)
    return Example(np.concatenate([now, other], axis=2), clean, foreign)


def _plant(
    now: Floats,
    clean: Floats,
    other: Floats,
    windows: Windows,
    foreign: Floats,
    fate: float,
    random: Random,
) -> None:
    """By `fate` a thing is seen now alone, on both flights, or on the other alone."""
    found = _thing(now, windows, random)
    if found is None:
        return
    where, thing = found
    corner = (where.top, where.left)
    if fate < _NEW:
        before = now[where.inside].copy()
        _paste_at(now, thing, where.mask, corner)
        visible = (where.mask > 0.3) & (_difference(now[where.inside], before) > _VISIBLE)
        foreign[where.inside] = np.maximum(foreign[where.inside], visible)
    elif fate < _NEW + _BOTH:
        for picture in (now, clean, other):
            _paste_at(picture, thing, where.mask, corner)
        foreign[where.inside] *= where.mask < 0.5  # it hides what was foreign
    else:
        _paste_at(other, thing, where.mask, corner)


def _crops(window: NDArray[np.uint8], side: int, random: Random) -> list[Floats]:
    """The same place of all pictures; those from before now may lie a little off."""
    top, left = (int(random.integers(SIDE - side + 1)) for _ in range(2))
    crops = [window[0, top : top + side, left : left + side]]
    aside, turn = random.uniform(-_ASIDE, _ASIDE, 2), random.uniform(-_TURN, _TURN)
    if random.random() < 0.5:
        aside, turn = np.zeros(2), 0.0
    centre = (left + side / 2, top + side / 2)
    inverse = cv2.getRotationMatrix2D(centre, turn, 1.0)  # from the crop's pixels to the window's
    inverse[:, 2] += inverse[:, :2] @ (left, top) + aside
    for picture in window[1:]:
        crops.append(_taken(picture, inverse, side))
    return [np.divide(crop, np.float32(255), dtype=np.float32) for crop in crops]


def _taken(picture: NDArray[np.uint8], inverse: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    taken = cv2.warpAffine(
        picture,
        inverse,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(taken, np.uint8)


def _hurry(now: Floats, earlier: Floats, further: Floats, foreign: Floats, random: Random) -> None:
    """Put the past further back in one place: what moves there has moved too fast."""
    where = _Spot.random(random, len(now), 16.0, 80.0)
    if where is None:
        return
    spot, mask = where.inside, where.mask
    replaced = earlier[spot] + (further[spot] - earlier[spot]) * mask[..., None]
    past = _difference(replaced, earlier[spot])
    moved = (past > 0.04) | (_difference(now[spot], further[spot]) > 0.06)
    if past.max() > 0.04:
        foreign[spot] = np.maximum(foreign[spot], (mask > 0.5) & moved)
    earlier[spot] = replaced


def _paste(now: Floats, earlier: Floats, windows: Windows, foreign: Floats, random: Random) -> None:
    """Something foreign, which was there before, was elsewhere, or is new."""
    found = _thing(now, windows, random)
    if found is None:
        return
    where, thing = found
    spot, mask = where.inside, where.mask
    pasted = now[spot] + (thing - now[spot]) * mask[..., None]
    visible = (mask > 0.3) & (_difference(pasted, now[spot]) > _VISIBLE)
    foreign[spot] = np.maximum(foreign[spot], visible)
    now[spot] = pasted
    before = random.random()
    if before < 0.7:
        way = random.normal(0, 6, 2) if before < 0.5 else np.zeros(2)
        _paste_at(earlier, thing, mask, where.moved(way))


def _thing(now: Floats, windows: Windows, random: Random) -> tuple[_Spot, Floats] | None:
    """Something foreign and where it shall be; None where that is out of sight."""
    kind = random.random()
    largest = LARGEST if kind < 0.92 else 16.0  # a large change of light is no foreign thing
    where = _Spot.random(random, len(now), SMALLEST, largest)
    if where is None:
        return None
    if kind < 0.65:
        return where, _donor(windows, where.mask.shape, random)
    if kind < 0.92:
        return where, _flat(where.mask.shape, random)
    return where, _relit(now[where.inside], random)


def _paste_at(picture: Floats, thing: Floats, mask: Floats, corner: tuple[int, int]) -> None:
    top, left = corner
    above, aside = max(0, -top), max(0, -left)
    below, beyond = max(0, top + mask.shape[0]), max(0, left + mask.shape[1])
    here = picture[top + above : below, left + aside : beyond]
    if not here.size:  # it moved out of sight
        return
    part = (slice(above, above + here.shape[0]), slice(aside, aside + here.shape[1]))
    here += (thing[part] - here) * mask[part][..., None]


class _Spot(NamedTuple):
    """A soft blob in a crop: where its bounding box lies, and its mask."""

    top: int
    left: int
    mask: Floats

    @property
    def inside(self) -> tuple[slice, slice]:
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def moved(self, way: NDArray[np.float64]) -> tuple[int, int]:
        return self.top + round(way[0]), self.left + round(way[1])

    @classmethod
    def random(cls, random: Random, side: int, smallest: float, largest: float) -> _Spot | None:
        """Of a size between these, small ones as often as large ones; None where it fell outside."""
        size = np.exp(random.uniform(np.log(smallest), np.log(largest)))
        mask = _blob(float(size), random)
        y, x = random.uniform(0, side, 2)
        top, left = round(y - mask.shape[0] / 2), round(x - mask.shape[1] / 2)
        kept = mask[max(0, -top) : side - top, max(0, -left) : side - left]
        return cls(max(0, top), max(0, left), kept) if kept.size else None


def _blob(size: float, random: Random) -> Floats:
    """An ellipse, polygon or box of about `size` pixels, its edge softened."""
    stretch = np.exp(random.uniform(-0.55, 0.55))
    along, across = size * stretch / 2, size / stretch / 2
    soft = random.uniform(0.3, max(0.4, min(3.0, size / 8)))
    reach = int(np.ceil(1.1 * np.hypot(along, across) + 2 * soft)) + 1
    turn = random.uniform(0, np.pi)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    outline = _outline(random) * (along, across) @ turned.T + reach + random.uniform(-0.5, 0.5, 2)
    mask = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    faint = random.uniform(0.4, 0.9) if random.random() < 0.15 else 1.0
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft) * np.float32(faint), np.float32)


def _outline(random: Random) -> NDArray[np.float64]:
    """Corners of a shape about as large as the unit circle."""
    kind = random.integers(3)
    if kind == 0:
        return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.9
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    if kind == 1:
        angles = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 8)))
    radii = random.uniform(0.5, 1.1, len(angles)) if kind == 1 else np.ones(len(angles))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]


def _donor(windows: Windows, shape: tuple[int, ...], random: Random) -> Floats:
    """Footage from elsewhere: turned, flipped, larger or smaller, perhaps in another light."""
    source = windows.pictures[random.integers(len(windows)), 0]
    scale = np.exp(random.uniform(np.log(0.4), np.log(2)))
    turn = random.uniform(-np.pi, np.pi) if random.random() < 0.5 else random.uniform(-0.3, 0.3)
    flip = random.choice((-1, 1))
    matrix = scale * np.array([[np.cos(turn) * flip, -np.sin(turn)], [np.sin(turn) * flip, np.cos(turn)]])
    centre = random.uniform(0, SIDE, 2) - matrix @ (shape[1] / 2, shape[0] / 2)
    taken = cv2.warpAffine(
        source,
        np.column_stack([matrix, centre]),
        (shape[1], shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    thing = np.divide(taken, np.float32(255), dtype=np.float32)
    if random.random() < 0.5:
        thing = thing * np.float32(random.uniform(0.6, 1.5)) + np.float32(random.uniform(-0.2, 0.2))
    return np.asarray(np.clip(thing, 0, 1, out=thing), np.float32)


def _flat(shape: tuple[int, ...], random: Random) -> Floats:
    """One colour or grey, half of the time with a coarse texture."""
    colour = random.uniform(0, 1, 3) if random.random() < 0.5 else np.full(3, random.uniform(0, 1))
    thing = np.empty((*shape, 3), np.float32)
    thing[:] = colour
    if random.random() < 0.5:
        coarse = random.normal(0, 0.15, (max(2, shape[0] // 6), max(2, shape[1] // 6))).astype(np.float32)
        thing += cv2.resize(coarse, (shape[1], shape[0]))[..., None]
    return np.asarray(np.clip(thing, 0, 1, out=thing), np.float32)


def _relit(here: Floats, random: Random) -> Floats:
    much = np.float32(random.uniform(0.3, 0.8))
    return np.asarray(here * much if random.random() < 0.5 else 1 - (1 - here) * much, np.float32)


def _difference(one: Floats, other: Floats) -> Floats:
    """Mean over the colours and 5 x 5 pixels."""
    return np.asarray(cv2.blur(np.abs(one - other).mean(axis=2), (5, 5)), np.float32)
