"""Debian's Chromium without a screen: an HTML file -> the picture a person would see."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np

from edge.frames import Picture

# Nothing of it may reach for the network, and it holds no profile of anyone's.
_OFFLINE = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
)


def find_chromium() -> str | None:
    return shutil.which("chromium")


def screenshot(page: Path, scratch: Path, size: tuple[int, int], *, dark: bool = False) -> Picture:
    """`size` is width, height; `scratch` an empty folder for the browser."""
    chromium = find_chromium()
    assert chromium, "a test that takes screenshots must be skipped without Chromium"
    scratch.mkdir()
    shot = scratch / "shot.png"
    options = [
        f"--user-data-dir={scratch / 'profile'}",
        f"--screenshot={shot}",
        f"--window-size={size[0]},{size[1]}",
    ]
    colours = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    line = [chromium, *_OFFLINE, *options, colours, page.absolute().as_uri()]
    subprocess.run(line, check=True, capture_output=True, timeout=120)
    picture = cv2.imread(str(shot), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, np.uint8)
