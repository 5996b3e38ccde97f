"""Figures of boxes against abnormal regions: RBDC, TBDC, and the share of frames with a hit.

Region and track based detection criteria after Ramachandra and Jones (2020). A box matches every region of
its frame with an IoU of at least 0.1. A region is found at the highest peak of the boxes that match it, and
once only; a box that matches nothing is false. A track is found when a tenth of its regions are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.events import Box
from train.evaluation.curves import Pool, Weights, area_up_to
from train.evaluation.frames import ratio
from train.evaluation.scored import Floats, Scored
from train.evaluation.truth import Region

LEAST_IOU = 0.1  # beta
LEAST_OF_TRACK = 0.1  # alpha


@dataclass(frozen=True, eq=False)
class Found:
    """One video. `false` are peaks of boxes that match nothing; a region or track is -inf if never found."""

    frames: int
    false: Floats
    regions: Floats
    tracks: Floats
    hits: int
    frames_with_regions: int


def find(scored: Scored) -> Found | None:
    """Over the frames that count. None where the truth has abnormal frames but no regions."""
    counted = np.flatnonzero(scored.counted)
    if scored.video.regions is None and scored.abnormal[counted].any():
        return None
    regions_in = _by_frame(scored.video.regions or ())
    false: list[float] = []
    tracks: dict[int, list[float]] = defaultdict(list)
    hits = frames_with_regions = 0
    for place in counted:
        boxes, regions = scored.boxes[place], regions_in[int(scored.frame[place])]
        overlaps = [[iou(box, region) for region in regions] for box in boxes]
        false += [box.peak for box, row in zip(boxes, overlaps, strict=True) if not _matches(row)]
        for column, region in enumerate(regions):
            tracks[region.track].append(_found_at(boxes, [row[column] for row in overlaps]))
        if regions and scored.abnormal[place]:
            frames_with_regions += 1
            hits += any(share > 0 for row in overlaps for share in row)
    return Found(
        frames=len(counted),
        false=np.array(false, np.float64),
        regions=np.array([peak for peaks in tracks.values() for peak in peaks], np.float64),
        tracks=np.array([_track_at(peaks) for peaks in tracks.values()], np.float64),
        hits=hits,
        frames_with_regions=frames_with_regions,
    )


def _by_frame(regions: Sequence[Region]) -> dict[int, list[Region]]:
    frames: dict[int, list[Region]] = defaultdict(list)
    for region in regions:
        frames[region.frame].append(region)
    return frames


def iou(box: Box, region: Region) -> float:
    """Shared area over joint area."""
    width = min(box.x + box.width, region.x + region.width) - max(box.x, region.x)
    height = min(box.y + box.height, region.y + region.height) - max(box.y, region.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (box.width * box.height + region.width * region.height - shared)


def _matches(overlaps: Sequence[float]) -> bool:
    return any(share >= LEAST_IOU for share in overlaps)


def _found_at(boxes: Sequence[Box], overlaps: Sequence[float]) -> float:
    matching = [box.peak for box, share in zip(boxes, overlaps, strict=True) if share >= LEAST_IOU]
    return max(matching, default=-math.inf)


def _track_at(peaks: Sequence[float]) -> float:
    """The threshold at which a tenth of the track's regions are found."""
    needed = math.ceil(LEAST_OF_TRACK * len(peaks))
    return sorted(peaks, reverse=True)[needed - 1]


class RegionFigures:
    """All videos' boxes and regions, from the highest peak down."""

    def __init__(self, videos: Sequence[Found | None]) -> None:
        self._used = np.array([video is not None for video in videos])
        found = [video for video in videos if video is not None]
        self._frames = np.array([one.frames for one in found], np.float64)
        self._hits = np.array([one.hits for one in found], np.float64)
        self._with_regions = np.array([one.frames_with_regions for one in found], np.float64)
        self._regions = np.array([len(one.regions) for one in found], np.float64)
        self._tracks = np.array([len(one.tracks) for one in found], np.float64)
        false = [one.false for one in found]
        self._by_region = _pool(false, [one.regions for one in found])
        self._by_track = _pool(false, [one.tracks for one in found])

    def rbdc(self, weights: Weights) -> float | None:
        """Area under share of regions found over false boxes per frame, from 0 to 1 of them."""
        return self._area(self._by_region, self._regions, weights[self._used])

    def tbdc(self, weights: Weights) -> float | None:
        """The same with tracks."""
        return self._area(self._by_track, self._tracks, weights[self._used])

    def box_hits(self, weights: Weights) -> float | None:
        """Abnormal frames with a box that touches an abnormal region, of those that have regions."""
        drawn = weights[self._used]
        return ratio(float(drawn @ self._hits), float(drawn @ self._with_regions))

    def _area(self, pool: Pool, totals: Floats, drawn: Weights) -> float | None:
        total = float(drawn @ totals)
        if total == 0:
            return None
        false, true = pool.points(drawn)
        return area_up_to(false / float(drawn @ self._frames), true / total, 1.0)


def _pool(false: Sequence[Floats], found: Sequence[Floats]) -> Pool:
    reached = [peaks[np.isfinite(peaks)] for peaks in found]
    return Pool(
        [np.concatenate(pair) for pair in zip(false, reached, strict=True)],
        [np.arange(len(no) + len(yes)) >= len(no) for no, yes in zip(false, reached, strict=True)],
    )
