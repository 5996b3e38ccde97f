"""The daemon's options, each spelled once: TOML key, SKERRY_ variable and flag come from here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge.events import MAX_PICTURE_BYTES, Name
from edge.leeway import EARLY_S, LoopFilter
from edge.mqtt import BrokerSettings
from edge.options import Options


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IncidentSettings(_Section):
    cool_down: Annotated[float, Field(ge=0, le=3600)] = Field(
        3.0, description="Seconds of quiet after which an incident ends."
    )
    update: Annotated[float, Field(gt=0, le=3600)] = Field(
        2.0, description="Least seconds between two updates of one incident."
    )


class PictureSettings(_Section):
    send: bool = Field(True, description="Send snapshots and heat maps.")
    boxes: bool = Field(True, description="Draw the boxes into the snapshot.")
    width: Annotated[int, Field(ge=64, le=4096)] = Field(640, description="Widest snapshot, in pixels.")
    cap: Annotated[int, Field(ge=1024, le=MAX_PICTURE_BYTES)] = Field(
        MAX_PICTURE_BYTES, description="Largest picture, in bytes."
    )


class Settings(Options):
    """`skerry run`."""

    strict_environment: ClassVar[bool] = True

    source: str = Field(
        description="What to watch: rtsp://..., v4l2://0, csi://0, gst:PIPELINE, sim://, a video file or a "
        "folder of pictures."
    )
    bundle: Path = Field(description="Folder of the calibrated bundle to fly.")
    clip_bundle: Path | None = Field(
        None, description="Folder of a calibrated clip bundle that flies beside it, at its own rate."
    )
    drone: Name = Field("drone-01", description="This drone's name, unique within the site.")
    site: Name = Field("site", description="The site's name.")
    state_dir: Path = Field(
        Path("skerry-state"), description="Folder for what must survive a power cut: the outbox."
    )
    fps: Annotated[float, Field(gt=0, le=60)] = Field(
        2.0, description="Frames looked at per second; a clip bundle has its own rate."
    )
    replay: Literal["realtime", "fast"] = Field(
        "realtime", description="How a recording is played: at its own speed, or as fast as it computes."
    )
    folder_fps: Annotated[float, Field(gt=0, le=1000)] = Field(
        10.0, description="Rate at which the pictures of a folder were taken."
    )
    variant: str = Field(
        "auto", description="Model of the bundle to run; auto takes the fastest that passed."
    )
    loop_filter: LoopFilter = Field(
        "auto",
        description="Whether decoding smooths the edges of blocks, for a model that sees a shrunk picture: "
        "auto leaves it out of key frames decoded alone (moves scores by up to 0.4 %), never of all (1 % or "
        "more).",
    )
    early: Annotated[float, Field(ge=0, le=0.5)] = Field(
        EARLY_S,
        description="Seconds by which a look may come early where that spares decoding, for a model that "
        "judges each picture by itself; 0 keeps every look to its moment.",
    )
    health_interval: Annotated[float, Field(ge=0.5, le=3600)] = Field(
        10.0, description="Seconds between health messages."
    )
    log: Literal["debug", "info", "warning", "error"] = Field("info", description="Least grave log line.")
    broker: BrokerSettings = BrokerSettings()
    incidents: IncidentSettings = IncidentSettings()  # type: ignore[call-arg]
    pictures: PictureSettings = PictureSettings()  # type: ignore[call-arg]
