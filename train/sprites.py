"""How intruders look from above: layers with coverage, drawn once, laid into frames with soft edges."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from train.intruders import Intruder, KindName, Rect
from train.route import Poses
from train.terrain import SUN, Bgra, Colour
from train.world import ripples, seeded

_FINE = 192  # pixels per size while drawing; shrunk afterwards, which smooths the edges
_PAINTS: tuple[Colour, ...] = ((40, 40, 205), (235, 238, 240), (40, 190, 240), (190, 90, 30), (60, 60, 62))
_JACKETS: tuple[Colour, ...] = ((30, 30, 220), (20, 200, 250), (240, 240, 240), (30, 120, 250))


@dataclass(frozen=True, eq=False)
class Layer:
    """A picture that fills `rect` (in sizes, the intruder's own frame), moved by `away` units down-sun."""

    image: Bgra | NDArray[np.float32]  # while being laid: float32, premultiplied
    rect: Rect
    away: float = 0.0


class _Canvas:
    def __init__(self, rect: Rect) -> None:
        self.rect = rect
        self.image = np.zeros(
            (int((rect[3] - rect[1]) * _FINE), int((rect[2] - rect[0]) * _FINE), 4), np.uint8
        )

    def _pixels(self, points: list[tuple[float, float]]) -> NDArray[np.int32]:
        moved = (np.asarray(points, np.float64) - self.rect[:2]) * _FINE
        return np.asarray(np.rint(moved), np.int32)

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        cv2.fillPoly(self.image, [self._pixels(points)], (*colour, 255))

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        x0, y0, x1, y1 = x - width / 2, y - height / 2, x + width / 2, y + height / 2
        self.shape([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def oval(self, x: float, y: float, width: float, height: float, colour: Colour, turn: float = 0) -> None:
        centre = tuple(int(v) for v in self._pixels([(x, y)])[0])
        axes = (max(1, int(width * _FINE / 2)), max(1, int(height * _FINE / 2)))
        cv2.ellipse(self.image, centre, axes, turn, 0, 360, (*colour, 255), -1)

    def layer(self) -> Layer:
        return Layer(self.image, self.rect)

    def shadow(self, away: float, strength: float = 0.5, blur: float = 0.04) -> Layer:
        """The silhouette as a shadow that falls `away` units."""
        cover = cv2.GaussianBlur(self.image[..., 3], (0, 0), blur * _FINE)
        dark = np.zeros_like(self.image)
        dark[..., :3] = (30, 20, 12)
        dark[..., 3] = strength * cover
        return Layer(dark, self.rect, away)


def layers(kind: KindName, size: float, rng: np.random.Generator) -> list[Layer]:
    """Lowest first."""
    if kind == "boat":
        return _boat(rng)
    if kind == "car":
        return _car(size, rng)
    if kind == "person":
        return _person(size, rng)
    return _drone_shadow() if kind == "drone-shadow" else _debris(rng)


def _shade(colour: Colour, by: float) -> Colour:
    blue, green, red = (min(255.0, c * by) for c in colour)
    return blue, green, red


def _boat(rng: np.random.Generator) -> list[Layer]:
    hull = _Canvas((-0.3, -0.55, 0.3, 0.55))
    paint = _PAINTS[int(rng.integers(3))]
    outline = [(0, -0.5), (0.09, -0.36), (0.16, -0.12), (0.175, 0.2), (0.15, 0.48)]
    ring = outline + [(-x, y) for x, y in reversed(outline)]
    hull.shape(ring, _shade(paint, 0.75))
    hull.shape([(x * 0.78, y * 0.92) for x, y in ring], (222, 230, 232))
    hull.shape([(x * 0.62, y * 0.62 + 0.13) for x, y in ring], (96, 120, 140))
    hull.box(0, 0.05, 0.22, 0.16, _shade(paint, 1.0))
    hull.box(0, -0.05, 0.20, 0.05, (70, 50, 36))
    hull.box(0, 0.49, 0.08, 0.07, (40, 40, 40))
    return [_wake(rng), hull.shadow(5), hull.layer()]


def _wake(rng: np.random.Generator) -> Layer:
    """Two arms of a V, and the wash of the screw between them, both breaking up behind."""
    rect = (-0.8, -0.45, 0.8, 2.6)
    canvas = _Canvas(rect)
    height, width = canvas.image.shape[:2]
    y = np.linspace(rect[1], rect[3], height, dtype=np.float32)[:, None]
    x = np.abs(np.linspace(rect[0], rect[2], width, dtype=np.float32))[None]
    back = np.clip(y + 0.42, 0, None)
    arm = np.exp(-(((x - 0.04 - 0.23 * back) / (0.035 + 0.03 * back)) ** 2)) * np.exp(-back / 1.3)
    wash = np.exp(-((x / (0.10 + 0.05 * back)) ** 2)) * np.exp(-np.clip(y - 0.45, 0, None) / 0.8) * (y > 0.42)
    noise = ripples(int(rng.integers(1 << 31)), "wake", 640, 6, 60, 0.8)[:height, :width]
    foam = np.clip((1.1 * arm + 0.95 * wash) * (1 + 0.35 * noise), 0, 1) * np.clip((2.6 - y) / 0.5, 0, 1)
    canvas.image[..., :3] = (246, 246, 240)
    canvas.image[..., 3] = 235 * foam * np.clip(back / 0.1, 0, 1)
    return canvas.layer()


def _car(size: float, rng: np.random.Generator) -> list[Layer]:
    car = _Canvas((-0.32, -0.56, 0.32, 0.56))
    paint = _PAINTS[int(rng.integers(len(_PAINTS)))]
    for front in (-0.32, 0.32):
        car.box(0, front, 0.46, 0.14, (28, 28, 28))
    car.box(0, 0, 0.40, 0.90, paint)
    car.oval(0, -0.42, 0.40, 0.16, paint)
    car.oval(0, 0.44, 0.40, 0.12, paint)
    car.box(0, -0.30, 0.34, 0.20, _shade(paint, 1.12))
    car.shape([(-0.17, -0.20), (0.17, -0.20), (0.14, -0.07), (-0.14, -0.07)], (70, 54, 44))
    car.box(0, 0.09, 0.29, 0.30, _shade(paint, 0.9))
    car.shape([(-0.14, 0.25), (0.14, 0.25), (0.16, 0.34), (-0.16, 0.34)], (64, 50, 40))
    for side in (-0.12, 0.12):
        car.oval(side, -0.47, 0.07, 0.04, (225, 245, 250))
    return [car.shadow(0.13 * size, 0.55), car.layer()]


def _person(size: float, rng: np.random.Generator) -> list[Layer]:
    person = _Canvas((-0.55, -0.55, 0.55, 0.55))
    jacket = _JACKETS[int(rng.integers(len(_JACKETS)))]
    person.oval(0.12, -0.26, 0.22, 0.44, (60, 50, 46))  # a foot in front
    person.oval(-0.12, 0.24, 0.22, 0.44, (60, 50, 46))
    person.oval(0, 0, 1.0, 0.56, jacket)
    person.oval(0, 0.02, 0.70, 0.40, _shade(jacket, 0.82))
    person.oval(0, -0.05, 0.36, 0.40, (62, 88, 120))
    return [person.shadow(0.95 * size, 0.5, 0.06), person.shadow(0.5 * size, 0.5, 0.06), person.layer()]


def _drone_shadow() -> list[Layer]:
    drone = _Canvas((-0.5, -0.5, 0.5, 0.5))
    for x in (-0.3, 0.3):
        for y in (-0.3, 0.3):
            drone.shape([(x * 1.1, y * 0.9), (x * 0.9, y * 1.1), (-0.04, 0.04), (0.04, -0.04)], (0, 0, 0))
            drone.oval(x, y, 0.30, 0.30, (0, 0, 0))
    drone.oval(0, 0, 0.26, 0.36, (0, 0, 0))
    return [drone.shadow(0, 0.72, 0.022)]


def _debris(rng: np.random.Generator) -> list[Layer]:
    heap = _Canvas((-0.45, -0.55, 0.45, 0.55))
    planks = int(rng.integers(4, 7))
    for n in range(planks):
        x = (n - (planks - 1) / 2) * 0.66 / planks
        tone = float(rng.uniform(0.75, 1.15))
        heap.box(
            x,
            float(rng.uniform(-0.04, 0.04)),
            0.6 / planks,
            float(rng.uniform(0.7, 0.9)),
            _shade((104, 150, 184), tone),
        )
    heap.box(0, -0.22, 0.74, 0.08, (70, 104, 132))
    heap.box(0, 0.24, 0.74, 0.08, (70, 104, 132))
    heap.oval(float(rng.uniform(-0.2, 0.2)), float(rng.uniform(-0.2, 0.2)), 0.26, 0.30, (30, 110, 245))
    return [heap.shadow(3, 0.4), heap.layer()]


class Actor:
    """One intruder, drawn for one picture size; `lay` puts it into frames."""

    def __init__(self, intruder: Intruder, seed: int, width: int) -> None:
        self.intruder = intruder
        rng = seeded(seed, "look", intruder.track, intruder.kind)
        self._pixels = intruder.size * width / 1920
        self._layers = [self._shrunk(layer) for layer in layers(intruder.kind, intruder.size, rng)]

    def _shrunk(self, layer: Layer) -> Layer:
        """To about the size it will have, with a clear rim so that its edge stays soft when it turns."""
        x0, y0, x1, y1 = layer.rect
        size = (max(1, round((x1 - x0) * self._pixels)), max(1, round((y1 - y0) * self._pixels)))
        premultiplied = layer.image.astype(np.float32)
        premultiplied[..., :3] *= premultiplied[..., 3:] / 255
        small = cv2.resize(premultiplied, size, interpolation=cv2.INTER_AREA)
        rim_x, rim_y = (x1 - x0) / size[0], (y1 - y0) / size[1]
        padded = cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
        return Layer(padded, (x0 - rim_x, y0 - rim_y, x1 + rim_x, y1 + rim_y), layer.away)

    def lay(self, frame: NDArray[np.uint8], poses: Poses, k: int, second: float) -> None:
        """Into BGR frame k in place, if it exists at that second."""
        if not self.intruder.since <= second <= self.intruder.until:
            return
        for layer in self._layers:
            self._lay(frame, layer, poses, k, second)

    def _lay(self, frame: NDArray[np.uint8], layer: Layer, poses: Poses, k: int, second: float) -> None:
        height, width = frame.shape[:2]
        place = self.intruder.places(np.array([second]))[0] + layer.away * np.asarray(SUN)
        middle = poses.part(k).to_picture(place[None], width, height)[0]
        pixels = self._pixels / poses.zoom[k]
        turn = self.intruder.course - poses.heading[k]
        matrix = _matrix(layer, middle, turn, pixels)
        rows, columns = layer.image.shape[:2]
        corners = cv2.transform(
            np.array([[[0, 0], [columns, 0], [0, rows], [columns, rows]]], np.float64), matrix
        )[0]
        x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, (width, height))
        if x0 >= x1 or y0 >= y1:
            return
        matrix[:, 2] -= (x0, y0)
        top = cv2.warpAffine(layer.image, matrix, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
        window = frame[y0:y1, x0:x1]
        window[:] = np.clip(window * (1 - top[..., 3:] / 255) + top[..., :3] + 0.5, 0, 255)


def _matrix(layer: Layer, middle: NDArray[np.float64], turn: float, pixels: float) -> NDArray[np.float64]:
    """2 x 3: pixels of the layer's image to pixels of the picture."""
    x0, y0, x1, y1 = layer.rect
    rows, columns = layer.image.shape[:2]
    step_x, step_y = (x1 - x0) / columns * pixels, (y1 - y0) / rows * pixels
    cos, sin = np.cos(turn), np.sin(turn)
    linear = np.array([[cos * step_x, -sin * step_y], [sin * step_x, cos * step_y]])
    corner = np.array([cos * x0 - sin * y0, sin * x0 + cos * y0]) * pixels
    origin = middle + corner + linear @ np.array([0.5, 0.5]) - 0.5  # between pixel centres
    return np.column_stack([linear, origin])
