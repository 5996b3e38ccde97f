"""The frames an evaluation went most wrong on, as pictures: truth and boxes, and the heat map beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frames import Frame, Picture
from edge.recordings import open_recording
from edge.snapshots import draw
from train.evaluation.alarms import events_of, near
from train.evaluation.scored import Bools, Scored

APART_S = 2.0  # between two scenes of one video: neighbours show the same
_WIDTH, _LARGER = 960, 2.0  # pixels at most, and how much a small picture may be enlarged
_GREEN = (90, 220, 90)  # BGR
_SAMPLE = 32  # normal frames of a video that tell how hot normal is


@dataclass(frozen=True, eq=False)
class Scene:
    """One looked-at frame: the `place`-th of `scored`."""

    scored: Scored
    place: int

    @property
    def frame(self) -> int:
        return int(self.scored.frame[self.place])

    @property
    def score(self) -> float:
        return float(self.scored.causal[self.place])


@dataclass(frozen=True, slots=True)
class HeatScale:
    """`low` is an ordinary pixel, `high` the hottest pixel that all but a few normal frames stay under."""

    low: float
    high: float

    def __call__(self, heat: NDArray[np.float32]) -> NDArray[np.float32]:
        """0 for low, 1 for half as much again as high; a square root between, or warm would look cold."""
        part = (heat - self.low) / (self.high - self.low) / 1.5
        return np.asarray(np.sqrt(np.clip(part, 0, 1)), np.float32)


def worst_misses(scored: Sequence[Scored], threshold: float, count: int) -> list[Scene]:
    """Abnormal frames below the threshold, lowest first; not a video's first, still without evidence."""
    return _worst(scored, lambda each: each.abnormal & (each.causal < threshold), count, 1)


def worst_false_alarms(scored: Sequence[Scored], threshold: float, count: int) -> list[Scene]:
    """Frames at or above the threshold, away from events, highest first."""

    def wrong(each: Scored) -> Bools:
        return (each.causal >= threshold) & ~each.abnormal & ~near(each, events_of(each))

    return _worst(scored, wrong, count, -1)


def _worst(scored: Sequence[Scored], wrong: Callable[[Scored], Bools], count: int, sign: int) -> list[Scene]:
    every = [
        Scene(each, int(place))
        for each in scored
        for place in np.flatnonzero(wrong(each) & each.counted & np.isfinite(each.causal))
    ]
    chosen: list[Scene] = []
    for scene in sorted(every, key=lambda scene: sign * scene.score):
        if len(chosen) == count:
            break
        if all(_apart(scene, other) for other in chosen):
            chosen.append(scene)
    return chosen


def _apart(one: Scene, other: Scene) -> bool:
    times = one.scored.stream_s[one.place], other.scored.stream_s[other.place]
    return one.scored is not other.scored or abs(times[0] - times[1]) >= APART_S


def pictures(scenes: Sequence[Scene], scale: HeatScale) -> Iterator[tuple[Scene, bytes, bytes | None]]:
    """(scene, JPEG with truth and boxes, JPEG with heat or None); each video is read once."""
    for scored in dict.fromkeys(scene.scored for scene in scenes):
        mine = {scene.frame: scene for scene in scenes if scene.scored is scored}
        for frame in _read_again(scored, set(mine)):
            scene = mine[frame.index]
            yield scene, _marked(frame, scene), _heated(frame, scene, scale)


def _read_again(scored: Scored, wanted: set[int]) -> Iterator[Frame]:
    """The frames of these native numbers; the others cost no conversion."""
    asked = -1

    def wants(_: float) -> bool:
        nonlocal asked
        asked += 1
        return asked in wanted

    with open_recording(scored.video.path) as recording:
        left = len(wanted)
        for frame in recording.frames(wants):
            yield frame
            left -= 1
            if not left:
                return


def _marked(frame: Frame, scene: Scene) -> bytes:
    """Boxes over truth, whose lines are thicker: both are seen where they agree."""
    scale = _scale(frame.width)
    outlined = _outlined(_resized(frame.image), scene, scale)
    return _jpeg(draw(outlined, scene.scored.boxes[scene.place], scale))


def _outlined(picture: Picture, scene: Scene, scale: float) -> Picture:
    """A line around the truth rather than on its edge: it may be tiny."""
    thick = max(2, round(picture.shape[1] / 240))
    hidden = _truth(scene, (picture.shape[1], picture.shape[0]), scale)
    around = cv2.dilate(hidden, np.ones((2 * thick + 1, 2 * thick + 1), np.uint8))
    edges, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, edges, -1, _GREEN, thick)
    return picture


def _truth(scene: Scene, size: tuple[int, int], scale: float) -> NDArray[np.uint8]:
    """1 where the frame is abnormal: its pixels if known, else its rectangles. `size` is width, height."""
    video = scene.scored.video
    mask = video.mask(scene.frame) if video.mask is not None else None
    if mask is not None:
        return np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST), np.uint8)
    hidden = np.zeros((size[1], size[0]), np.uint8)
    for region in (region for region in video.regions or () if region.frame == scene.frame):
        corner = (round(region.x * scale), round(region.y * scale))
        opposite = (round((region.x + region.width) * scale), round((region.y + region.height) * scale))
        cv2.rectangle(hidden, corner, opposite, 1, cv2.FILLED)
    return hidden


def _heated(frame: Frame, scene: Scene, scale: HeatScale) -> bytes | None:
    """The heat map in colours over the picture in grey, which shows through more where it is cold."""
    if scene.scored.heat is None:
        return None
    picture = _resized(frame.image)
    size = (picture.shape[1], picture.shape[0])
    heat = cv2.resize(scene.scored.heat[scene.place].astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    part = scale(np.asarray(heat, np.float32))
    colours = cv2.applyColorMap((part * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    weight = (0.25 + 0.5 * part)[:, :, None]
    return _jpeg((grey * (1 - weight) + colours * weight).astype(np.uint8))


def heat_scale(scored: Sequence[Scored]) -> HeatScale:
    """One for all pictures of a report, from normal frames where there are any."""
    maps = [heat for each in scored for heat in _normal_maps(each)]
    if not maps:
        return HeatScale(0.0, 1.0)
    low = float(np.median([np.median(heat) for heat in maps]))
    high = float(np.quantile([heat.max() for heat in maps], 0.95))
    return HeatScale(low, high if high > low else low + 1.0)


def _normal_maps(scored: Scored) -> list[NDArray[np.float32]]:
    if scored.heat is None:
        return []
    normal = np.flatnonzero(~scored.abnormal & scored.counted)
    places = normal if len(normal) else np.arange(len(scored.frame))
    few = places[np.linspace(0, len(places) - 1, min(len(places), _SAMPLE)).astype(int)]
    return [scored.heat[place].astype(np.float32) for place in few]


def _scale(width: int) -> float:
    return min(_LARGER, _WIDTH / width)


def _resized(image: Picture) -> Picture:
    scale = _scale(image.shape[1])
    size = (round(image.shape[1] * scale), max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _jpeg(picture: Picture) -> bytes:
    """Colours at full size: halved, thin lines would fade."""
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85, *sampling])
    return bytes(data)
