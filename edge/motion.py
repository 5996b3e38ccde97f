"""What moves otherwise than the scene: dense optical flow against the camera's own motion.

DIS flow (Kroeger et al. 2016) from the picture now to one about a fifth of a second ago, less an affine
motion of the whole picture, found by RANSAC over that flow and fitted to all that follow it. A still camera
is the case in which nothing is subtracted. Where too few places follow any one motion the camera's own cannot
be told, and the map is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.changes import Change, Gray, Map, changed, flattened, relit
from edge.frames import Picture

Flow = NDArray[np.float32]  # h x w x 2, pixels to the right and down
Affine = NDArray[np.float32]  # 2 x 3, from the earlier picture's pixels to the later one's

LONG_SIDE = 384  # pixels of the flow's own grid, whatever the camera's
_STEP = 8  # grid of the vectors that the camera's motion is fitted to
_STILL = 0.5  # pixels a vector may have of a still camera, or from a motion that explains it
_NOISE = 2.5  # grey levels, mean over 5 x 5 pixels: so much half of a still picture changes at most
_EXPLAINED = 0.75  # of that change a motion may leave; moving noise by half a pixel alone leaves 0.79
_AGREE = 1.5  # pixels from the fitted motion within which a vector supports it
_SUPPORT = 0.4  # of the vectors must do so
_WORTH = 1.25  # times as many vectors a motion must explain as standing still does
_LEAN, _FINEST = 3.0, 0.3  # medians, pixels: how far from the fit a vector still has a say in it
_ROUNDS = 6  # of fitting anew; after four nothing moves by a hundredth of a pixel
_TEXTURE = 2.0  # grey levels per pixel; below it a vector says nothing
_LEAST = 30  # textured places; with fewer no motion of the camera could be seen either
_AROUND = 21  # pixels: side of the square whose structure no place outruns
_BARE = 1e-3  # squared percent, so that bare ground has a mean too
_ASTRAY, _HOME = 1.0, 0.3  # pixels, and of a vector: so far from home it may lead and be half believed
_FAR = 3.0  # pixels, at most for the latter: a great vector on faint ground comes home by chance

STILL: Affine = np.eye(2, 3, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Movement:
    """Between an earlier picture and the one now. `affine` in pixels of the pictures given; the others on the
    flow's own grid over the picture now: `speed` in widths of it per second."""

    affine: Affine
    speed: Map
    change: Change


def movement(earlier: Gray, now: Gray, seconds: float) -> Movement | None:
    """Two small grey pictures of one size -> the camera's motion and what moves otherwise.

    None where the camera's motion cannot be told. Flow is sought from now back to earlier: what moves has to
    be marked where it is and not where it was. A step of exposure between the two is taken out first: against
    it no mover would count as a change.
    """
    earlier = relit(earlier, now)
    flow, agreed = _both_ways(flattened(earlier), flattened(now))
    back = _of_the_camera(flow, earlier, now)
    if back is None:
        return None
    affine = np.asarray(cv2.invertAffineTransform(back), np.float32)
    rest = flow - _field(back, flow.shape[:2])
    speed = np.hypot(rest[..., 0], rest[..., 1]) / np.float32(seconds * now.shape[1])
    change = changed(_moved(earlier, affine), now)
    believed = as_structure(speed, change.fine * agreed) * change.confidence * change.things * agreed
    return Movement(affine, np.asarray(believed, np.float32), change)


def _both_ways(earlier: Gray, now: Gray) -> tuple[Flow, Map]:
    """Flow from now back to earlier, and h x w in [0, 1]: how well the flow from there leads home again.

    Where a streak of rain or a picture's edge leads it astray, it does not (after Sundaram et al. 2010, whose
    limit is narrower, hard, and loses fast small things).
    """
    back = np.asarray(_dis().calc(now, earlier, None), np.float32)
    forth = np.asarray(_dis().calc(earlier, now, None), np.float32)
    y, x = np.mgrid[: now.shape[0], : now.shape[1]].astype(np.float32)
    home = cv2.remap(
        forth, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    allowed = _ASTRAY + np.minimum(_HOME * np.linalg.norm(back, axis=-1), _FAR)
    off = np.linalg.norm(back + home, axis=-1) / allowed
    return back, np.asarray(1 / (1 + off**4), np.float32)


def as_structure(speed: Map, fine: Map) -> Map:
    """No place faster than what has structure around it, `fine` of it, is on average.

    Where the edge of a shadow crosses plain ground flow follows the edge, and a walker close by would vouch
    for it.
    """
    weight = fine * fine + np.float32(_BARE)
    around = (_AROUND, _AROUND)
    mean = cv2.blur(speed * weight, around) / cv2.blur(weight, around)
    return np.asarray(np.minimum(speed, mean), np.float32)


def scaled(affine: Affine, small: tuple[int, ...], large: tuple[int, ...]) -> Affine:
    """The same motion in the pixels of another size of the picture; sizes are (height, width)."""
    x, y = large[1] / small[1], large[0] / small[0]
    (a, b, right), (c, d, down) = affine
    return np.array([[a, b * x / y, right * x], [c * y / x, d, down * y]], np.float32)


def registered(earlier: Picture, affine: Affine, now: Picture) -> Picture:
    """The earlier picture moved onto the one now; what was not in view then is taken from now."""
    if np.array_equal(affine, STILL):
        return earlier
    size = (now.shape[1], now.shape[0])
    moved: Picture = now.copy()
    cv2.warpAffine(
        earlier, affine, size, dst=moved, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
    )
    return moved


def shrunk(image: Picture) -> Gray:
    """Grey, at most LONG_SIDE wide or high; smaller pictures keep their size."""
    height, width = image.shape[:2]
    factor = min(1.0, LONG_SIDE / max(height, width))
    size = (max(16, round(width * factor)), max(16, round(height * factor)))
    small = image if factor == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


@cache
def _dis() -> Any:  # made once: it holds buffers
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


def camera_motion(flow: Flow, origin: Gray) -> Affine | None:
    """The 2 x 3 affine motion of the whole picture from where the flow starts, or None where no motion has
    enough support.

    Only places with some structure count: flow on bare tarmac is a guess. A still camera is preferred
    whenever nearly half of them stand still, a large mover must not become the frame of reference, and where
    no motion explains clearly more of them: in rain one can always be found that bends a corner.
    """
    grid = (slice(_STEP // 2, None, _STEP),) * 2
    textured = _texture(origin)[grid] >= _TEXTURE
    vectors = flow[grid][textured]
    still = int(np.count_nonzero(np.linalg.norm(vectors, axis=1) <= _STILL))
    if len(vectors) < _LEAST or still >= _SUPPORT * len(vectors):
        return STILL
    rows, columns = np.nonzero(textured)
    places = (np.stack([columns, rows], axis=-1) * _STEP + _STEP // 2).astype(np.float32)
    affine, support = cv2.estimateAffine2D(
        places, places + vectors, method=cv2.RANSAC, ransacReprojThreshold=_AGREE
    )
    if affine is None or support.mean() < _SUPPORT:
        return None
    fit = _fitted(np.asarray(affine, np.float32), places, places + vectors)
    follow = np.linalg.norm(places @ fit[:, :2].T + fit[:, 2] - places - vectors, axis=1) <= _STILL
    return fit if np.count_nonzero(follow) >= _WORTH * still else STILL


def _fitted(affine: Affine, places: Flow, moved: Flow) -> Affine:
    """The least squares of all vectors by Tukey's biweight, from where RANSAC left off; n x 2 points.

    What moves within RANSAC's reach has its full say there, and pulls the corners of a small picture along by
    as much as a walker far away moves.
    """
    from_here = np.column_stack([places, np.ones(len(places))]).astype(np.float64)
    reach, fit = _AGREE, affine.T.astype(np.float64)
    for _ in range(_ROUNDS):
        off = np.linalg.norm(from_here @ fit - moved, axis=1)
        say = np.clip(1 - (off / reach) ** 2, 0, None)[:, None]
        fit = np.linalg.lstsq(from_here * say, moved * say, rcond=None)[0]
        reach = max(_FINEST, _LEAN * float(np.median(off)))
    return np.asarray(fit.T, np.float32)


def _of_the_camera(flow: Flow, earlier: Gray, now: Gray) -> Affine | None:
    """As camera_motion, but a camera before which half of the picture stayed as it was, but for noise, stands
    still, whatever moves there, unless its motion explains what little change there was: over smooth ground a
    step of two pixels changes little too."""
    back, little = camera_motion(flow, now), _usual_change(earlier, now)
    if little > _NOISE or back is STILL:
        return back
    if back is None:
        return STILL
    affine = np.asarray(cv2.invertAffineTransform(back), np.float32)
    return back if _usual_change(_moved(earlier, affine), now) < _EXPLAINED * little else STILL


def _usual_change(before: Gray, now: Gray) -> float:
    """Median over the picture, grey levels; means of 5 x 5 pixels."""
    return float(np.median(cv2.blur(cv2.absdiff(before, now).astype(np.float32), (5, 5))))


def _moved(earlier: Gray, affine: Affine) -> Gray:
    return np.asarray(
        cv2.warpAffine(earlier, affine, earlier.shape[::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _texture(picture: Gray) -> Map:
    """Mean absolute gradient over 9 x 9 pixels, grey levels per pixel."""
    right = cv2.Sobel(picture, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(picture, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(cv2.blur(np.abs(right) + np.abs(down), (9, 9)), np.float32)


def _field(affine: Affine, shape: tuple[int, int]) -> Flow:
    """The flow that an affine motion means at every pixel."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    (a, b, right), (c, d, down) = affine - np.eye(2, 3, dtype=np.float32)
    return np.stack([a * x + b * y + right, c * x + d * y + down], axis=-1)
