"""A video file as libav opens it: which stream of it is the video, how fast and how long it says it is."""

from __future__ import annotations

from pathlib import Path

import av
import av.container
import av.video.stream

from edge.decoding import AV_ERRORS
from edge.errors import FootageError

# Formats in which libav sees a "video" where a person sees a text or a single picture.
NOT_VIDEO = {"tty", "image2", "gif", "ico"}
# Files that say what they hold in an index. Of others libav learns it by decoding their first pictures.
INDEXED = {".mp4", ".m4v", ".mov", ".mkv"}
_UNDECODED = {"skip_frame": "all"}  # while opening: decoding proper begins with a decoder of its own
FALLBACK_FPS = 25.0  # for a raw stream that states no rate: libav's own assumption


def stated_fps(stream: av.video.stream.VideoStream) -> float:
    """Frames per second as the stream states them; the guess comes first because AVI doubles the average."""
    for rate in (stream.guessed_rate, stream.average_rate):
        if rate and 0.01 <= rate <= 1000:
            return float(rate)
    return FALLBACK_FPS


def opened(path: Path) -> av.container.InputContainer:
    try:
        if not path.stat().st_size:
            raise FootageError(f"Video {path} is empty (0 bytes); copy it again or record it anew.")
        # `file:` and the whitelist: no name like `concat:...` and no playlist inside opens anything else.
        return av.open(
            f"file:{path}",
            options={"protocol_whitelist": "file", **(_UNDECODED if path.suffix.lower() in INDEXED else {})},
            metadata_errors="ignore",
            timeout=None,
        )
    except (*AV_ERRORS, OSError) as error:
        raise FootageError(
            f"{path} is not a video that can be read ({_reason(error)}); if it was cut short while recording "
            "or copying, copy it again, otherwise convert it to H.264 in MP4 or MKV."
        ) from error


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def video_stream(container: av.container.InputContainer, path: Path) -> av.video.stream.VideoStream:
    kind = container.format.name
    if kind in NOT_VIDEO or kind.endswith("_pipe"):
        raise FootageError(
            f"{path} is not a video ({kind}); name a video file, or the folder that holds the pictures."
        )
    for stream in container.streams.video:
        if stream.codec_context is not None and not _is_cover(stream):
            stream.codec_context.thread_count = 1
            return stream
    raise FootageError(f"{path} holds no video that can be decoded ({kind}); name a video file.")


def _is_cover(stream: av.video.stream.VideoStream) -> bool:
    """Is it the picture on a piece of music?"""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def declared_frames(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, fps: float
) -> int:
    """How many frames the file says it holds, 0 for unsaid. AVI counts fields: trust times first."""
    if stream.duration and stream.time_base:
        return round(float(stream.duration * stream.time_base) * fps)
    if stream.frames:
        return stream.frames
    if container.duration and len(container.streams) == 1:  # with sound, the sound may be the longer one
        return round(container.duration / 1e6 * fps)
    return 0
