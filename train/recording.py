"""What a simulated flight leaves on disk: an H.264 video, a telemetry table, JSON."""

from __future__ import annotations

import csv
import json
import re
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from edge.errors import UsageError
from edge.frames import Picture
from train.route import Poses, Series

TELEMETRY = ("frame", "time_s", "latitude", "longitude", "altitude_m", "heading_deg", "pitch_deg", "roll_deg")
_OURS = re.compile(r"(normal|patrol)-\d\d\.(mp4|mp4\.part|telemetry\.csv|truth\.json)|simulation\.json")


def clear_recordings(out: Path, force: bool) -> None:
    """Make the folder ready: create it, or with `force` remove an earlier simulation. Raises UsageError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        there = sorted(out.iterdir())
        if there and not force:
            raise UsageError(
                f"{out} is not empty: give another folder, or --force to replace a simulation there."
            )
        for path in there:
            if _OURS.fullmatch(path.name):
                path.unlink()
        probe = out / "simulation.json"
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{out} is not a folder: give a folder to write to.") from None
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}): give a folder that can.") from None


class Recording:
    """An H.264 file that takes its name only when it is whole. One thread: the machine stays usable."""

    def __init__(self, path: Path, width: int, height: int, fps: int, crf: int, preset: str) -> None:
        self._path, self._part = path, path.with_name(path.name + ".part")
        self._container = av.open(str(self._part), "w", format="mp4")
        stream = self._container.add_stream("libx264", rate=fps)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, fps)
        stream.options = {"preset": preset, "crf": str(crf), "g": str(fps), "keyint_min": str(fps)}
        self._stream, self._count = stream, 0

    def __enter__(self) -> Recording:
        return self

    def add(self, picture: Picture) -> None:
        planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, self._count = self._count, self._count + 1
        frame.time_base = self._stream.codec_context.time_base
        self._container.mux(self._stream.encode(frame))

    def __exit__(self, kind: type[BaseException] | None, *_: TracebackType | BaseException | None) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)


def write_telemetry(path: Path, seconds: Series, poses: Poses) -> None:
    """One row per frame: WGS 84 degrees, metres above the sea, heading clockwise from north."""
    latitude, longitude, altitude = poses.geodetic()
    heading = np.mod(np.degrees(poses.heading), 360)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(TELEMETRY)
        for k, second in enumerate(seconds):
            place = (f"{latitude[k]:.8f}", f"{longitude[k]:.8f}", f"{altitude[k]:.3f}")
            angles = (f"{a:.3f}" for a in (heading[k], np.degrees(poses.pitch[k]), np.degrees(poses.roll[k])))
            table.writerow((k, f"{second:.4f}", *place, *angles))


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
