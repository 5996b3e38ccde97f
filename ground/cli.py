"""The ground's verbs: watch."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field

from edge.clock import Clock, SystemClock, boot_id
from edge.mqtt import BrokerSettings
from edge.options import Options, command
from ground.displays import Display, JsonLines, LiveTable, PlainLines
from ground.keep import Folder
from ground.view import GroundView
from ground.watch import Station

_ANY = r"^(\+|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$"


class WatchSettings(Options):
    """`skerry watch`."""

    broker: BrokerSettings = BrokerSettings()
    site: Annotated[str, Field(pattern=_ANY)] = Field(default="+", description="One site; + for all.")
    drone: Annotated[str, Field(pattern=_ANY)] = Field(default="+", description="One drone; + for all.")
    save: Path | None = Field(
        default=None, description="Folder for snapshots, heat maps and events.jsonl; made if it is not there."
    )
    json_lines: bool = Field(
        default=False,
        description="One JSON object per line, for pipes.",
        json_schema_extra={"flag": "--json"},
    )
    seconds: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Stop after this long.", json_schema_extra={"flag": "--for"}
    )
    events: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Stop after this many events.", json_schema_extra={"flag": "--count"}
    )


def run_watch(settings: WatchSettings) -> None:
    """Show what the drones find, as it arrives, until Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the terminal is put in order
    clock = SystemClock()
    view = GroundView(boot_id())
    live = sys.stdout.isatty() and not settings.json_lines
    _configure_log(live)
    folder = Folder(settings.save) if settings.save else None
    filters = (settings.site, settings.drone)
    station = Station(settings.broker, filters, _display(settings, view, clock, live), view, clock, folder)
    try:
        station.run(settings.seconds, settings.events)
    except KeyboardInterrupt:
        return  # asked to stop
    except BrokenPipeError:  # the reader has seen enough: do not complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        station.close()
        if not live and view.malformed:
            told = f"{view.malformed} malformed messages, the last: {view.last_malformed}"
            logging.getLogger("skerry.watch").warning("%s", told)


watch = command(WatchSettings, run_watch)


def _display(settings: WatchSettings, view: GroundView, clock: Clock, live: bool) -> Display:
    if live:
        return LiveTable(view, clock)
    return JsonLines(sys.stdout) if settings.json_lines else PlainLines(sys.stdout)


def _configure_log(live: bool) -> None:
    """Troubles with the broker go to stderr, unless the live table shows them."""
    logger = logging.getLogger("skerry")
    handler = logging.NullHandler() if live else logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("skerry: %(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING)
    logger.propagate = False
