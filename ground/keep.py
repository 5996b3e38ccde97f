"""`--save`: pictures and events in a folder.

    DIR/events.jsonl
    DIR/SITE/DRONE/ID-snapshot.jpg
    DIR/SITE/DRONE/ID-heatmap.png

Names come from validated site, drone and UUID only. A picture is there whole or not at all.
"""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import UsageError
from edge.events import PictureMessage

SUFFIX = {"snapshot": "jpg", "heatmap": "png"}
MAX_SAVED_BYTES = 4 << 30  # in one run: a flood of invented incidents must not fill the disk


class Folder:
    """Raises UsageError when the folder cannot be written to."""

    def __init__(self, folder: Path, max_bytes: int = MAX_SAVED_BYTES) -> None:
        self._folder, self._left = folder, max_bytes
        self.refused = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._events = (folder / "events.jsonl").open("ab")
        except OSError as error:
            raise _cannot(folder, error) from None

    def save_picture(self, picture: PictureMessage) -> Path | None:
        """Where it is, or None when this run has saved enough."""
        if not self._allows(len(picture.data)):
            return None
        place = self._folder / picture.site / picture.drone
        file = place / f"{picture.id}-{picture.kind}.{SUFFIX[picture.kind]}"
        part = file.with_name(f".{file.name}.part")
        try:
            place.mkdir(parents=True, exist_ok=True)
            part.write_bytes(picture.data)
            part.replace(file)
        except OSError as error:
            raise _cannot(file, error) from None
        return file

    def save_event(self, line: str) -> None:
        data = line.encode() + b"\n"
        if not self._allows(len(data)):
            return
        try:
            self._events.write(data)
            self._events.flush()
        except OSError as error:
            raise _cannot(self._folder / "events.jsonl", error) from None

    def close(self) -> None:
        self._events.close()

    def _allows(self, size: int) -> bool:
        if size > self._left:
            self.refused += 1
            return False
        self._left -= size
        return True


def _cannot(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write {path}: {error.strerror or os.strerror(error.errno or 0)}; see --save")
