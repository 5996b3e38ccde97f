"""What this machine can do, and which way it would take to a source's pictures: `skerry doctor`."""

from __future__ import annotations

import math
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge.clock import Clock
from edge.decoding import Entries
from edge.gstreamer import Plant
from edge.leeway import EARLY_S
from edge.loop_filter import CODECS
from edge.recordings import open_recording
from edge.sources import redact, scheme_of
from edge.streams import StreamCamera
from edge.thinning import SAME
from edge.videos import VideoRecording
from edge.ways import NETWORK, way

PACKAGES = (
    *("skerry", "numpy", "opencv-python-headless", "av", "onnxruntime", "onnxruntime-gpu", "openvino"),
    "paho-mqtt",
)
LOOK_S = 6.0  # of a stream, to learn how far its key frames are apart
LITTLE = 1 << 30  # bytes free below which it is worth saying so


@dataclass(frozen=True)
class Said:
    what: str
    found: str


def examine(plant: Plant, clock: Clock, folder: Path) -> Iterator[Said]:
    """The machine itself. Nothing is changed, no broker is asked, no settings are read."""
    yield Said("machine", f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    yield Said("versions", ", ".join(_versions()))
    yield Said("ONNX Runtime", _onnxruntime())
    yield Said("TensorRT", _tensorrt())
    yield Said("GStreamer", "in OpenCV" if plant.in_opencv else "not in this OpenCV")
    synced = clock.synced()
    yield Said(
        "clock", "synchronised" if synced else "not synchronised: events say so, and are sent all the same"
    )
    yield Said("disk", _disk(folder))
    yield Said("broker", "not asked; its settings are read by `skerry run` only")


def _versions() -> Iterator[str]:
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def _onnxruntime() -> str:
    try:
        providers = import_module("onnxruntime").get_available_providers()
    except ImportError as error:
        return f"not usable ({error}); pip install 'skerry[drone]'"
    return f"built with {', '.join(providers)}; only a run proves that one works"


def _tensorrt() -> str:
    """Bindings without their libraries fail in ways of their own, none of which matters here."""
    try:
        return f"{import_module('tensorrt').__version__} can be imported"
    except (ImportError, OSError, AttributeError) as error:
        return f"cannot be imported ({error}); models run by ONNX Runtime"


def _disk(folder: Path) -> str:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    warning = "; little for an outbox that must outlast a flight" if free < LITTLE else ""
    return f"{free / 1e9:.1f} GB free at {there}{warning}"


def examine_source(uri: str, fps: float, plant: Plant, clock: Clock) -> Iterator[Said]:
    """The way to a source's pictures. Opens recordings and network cameras, and nothing else.

    Raises UsageError for a URI that means nothing, FootageError and CameraError for what does not open.
    """
    scheme, name = scheme_of(uri), redact(uri)
    yield Said("source", f"{name} at {fps:g} pictures a second")
    if scheme in ("", "file"):
        yield from _recording(Path(unquote(urlsplit(uri).path)) if scheme else Path(uri), fps, clock)
    elif scheme == "sim":
        yield Said("way", "painted by Skerry itself; there is nothing to decode")
    else:
        found = way(scheme, uri, name, fps, plant)
        yield Said("way", found.by)
        yield Said("because", found.why)
        if scheme in NETWORK:
            yield from _stream(uri, name, fps)
        else:
            found.make()  # says what is missing


def _recording(path: Path, fps: float, clock: Clock) -> Iterator[Said]:
    with open_recording(path, clock=clock) as recording:
        if not isinstance(recording, VideoRecording):
            yield Said("way", "pictures of a folder; only those looked at are read")
            return
        yield Said("way", "PyAV in software, one thread")
        entries = recording.entries(LOOK_S)
        yield Said("decodes", how_far(recording.codec, recording.fps, entries, fps))
        yield from leeway(recording.codec, recording.fps, entries, fps)


def _stream(uri: str, name: str, fps: float) -> Iterator[Said]:
    camera = StreamCamera(uri, name)
    camera.open()
    try:
        entries = camera.entries(LOOK_S)
        yield Said("in software", how_far(camera.codec, camera.rate, entries, fps))
        yield from leeway(camera.codec, camera.rate, entries, fps)
    finally:
        camera.close()


def how_far(codec: str, rate: float, entries: Entries, fps: float) -> str:
    """What of a stream will be decoded, and why."""
    stream = f"{codec} at {rate:.4g} frames a second"
    if not entries.known:
        return f"every frame, converting only those looked at: {stream} is entered at its beginning only"
    if len(entries.at_s) < 2:
        return (
            f"up to the last picture wanted after a key frame: {stream}, "
            f"{len(entries.at_s)} to enter at in {entries.seen_s:.1f} s"
        )
    each = f"{stream}, a key frame each {entries.span_s:.3g} s"
    if _key_frames_only(entries, fps):
        return f"key frames only, and not more than are wanted: {each}"
    return f"from each key frame up to the last picture wanted before the next: {each}"


def leeway(codec: str, rate: float, entries: Entries, fps: float) -> Iterator[Said]:
    """What is decoded otherwise, or at another moment, for a model that bears it."""
    yield from _smoothing(codec, entries, fps)
    if entries.known and len(entries.at_s) > 1:
        yield Said("early looks", _early(rate, entries.span_s, fps))


def _early(rate: float, span_s: float, fps: float) -> str:
    """Of looks, where key frames come each `span_s`."""
    looks = round(span_s * fps)
    in_step = looks > 0 and abs(span_s * fps - looks) < SAME
    if (in_step and looks == 1) or span_s * rate < 1.5:
        return "none: a key frame comes at each look"
    early_s = min(EARLY_S, 0.5 / fps)
    due = math.floor((looks - 1) / fps * rate) + 1
    spared = f": {due - math.floor(early_s * rate + 0.25)} of {round(span_s * rate)} instead of {due}"
    return (
        f"up to {early_s:.2g} s where less is decoded so{spared if in_step else ''}, for a model that judges "
        "each picture by itself; --early 0 keeps each to its moment"
    )


def _smoothing(codec: str, entries: Entries, fps: float) -> Iterator[Said]:
    """What becomes of the loop filter, where a codec has one."""
    if codec not in CODECS:
        return
    if _key_frames_only(entries, fps):
        yield Said(
            "loop filter", "left out for a model that sees a shrunk picture; --loop-filter always keeps it"
        )
    else:
        yield Said("loop filter", "kept: pictures are built on one another")


def _key_frames_only(entries: Entries, fps: float) -> bool:
    return len(entries.at_s) > 1 and entries.span_s * fps <= 1 + SAME
