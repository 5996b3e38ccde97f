"""What the board says of itself in sysfs: temperatures, clocks, power rails, power mode.

Read directly, without tegrastats or root. Nothing here needs a Jetson: every other Linux has some of these
files, and what is absent is left out. The paths are those of NVIDIA's L4T 36; tried on made-up trees only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.health import temperatures

RAIL_CHIPS = ("ina3221", "ina226", "ina238")
MODULE_RAIL = "VDD_IN"  # all that the module takes; the carrier board comes on top


@dataclass(frozen=True, slots=True)
class Reading:
    """One moment: degrees Celsius, MHz, milliwatts, each by name."""

    temperatures_c: dict[str, float] = field(default_factory=dict)
    clocks_mhz: dict[str, float] = field(default_factory=dict)
    rails_mw: dict[str, float] = field(default_factory=dict)


def read_board(root: Path = Path("/")) -> Reading:
    """About 40 small files, 1 to 2 ms."""
    return Reading(temperatures(root / "sys/class/thermal"), dict(_clocks(root)), dict(sorted(_rails(root))))


def board_facts(root: Path = Path("/")) -> dict[str, str]:
    """What does not change in flight and decides what a figure means; only what is known."""
    known = {
        "module": first_line(root / "proc/device-tree/model"),
        "l4t": l4t(root),
        "nvpmodel": _power_mode(root),
        "clocks": _pinned(root),
    }
    return {name: value for name, value in known.items() if value}


def _clocks(root: Path) -> Iterator[tuple[str, float]]:
    """Processor cores from cpufreq (kHz), GPU and the like from devfreq (Hz)."""
    for core in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*"), key=_core):
        khz = _number(core / "cpufreq/scaling_cur_freq")
        if khz is not None:
            yield core.name, khz / 1e3
    for device in sorted((root / "sys/class/devfreq").glob("*")):
        hertz = _number(device / "cur_freq")
        if hertz is not None:
            yield device.name, hertz / 1e6


def _core(path: Path) -> int:
    digits = path.name[len("cpu") :]
    return int(digits) if digits.isdecimal() else -1


def _rails(root: Path) -> Iterator[tuple[str, float]]:
    """Channels of the power monitors: millivolts times milliamperes."""
    for chip in (root / "sys/class/hwmon").glob("hwmon*"):
        if first_line(chip / "name") not in RAIL_CHIPS:
            continue
        for label in chip.glob("in*_label"):
            number = label.name[len("in") : -len("_label")]
            millivolts = _number(chip / f"in{number}_input")
            milliamperes = _number(chip / f"curr{number}_input")
            if first_line(label) and millivolts is not None and milliamperes is not None:
                yield first_line(label), millivolts * milliamperes / 1e3


def _power_mode(root: Path) -> str:
    """The mode nvpmodel last set, by number and by the name its configuration gives it."""
    found = re.search(r"pmode:0*(\d+)", first_line(root / "var/lib/nvpmodel/status"))
    if found is None:
        return ""
    try:
        models = (root / "etc/nvpmodel.conf").read_text(errors="replace")
    except OSError:
        models = ""
    named = re.search(rf"<\s*POWER_MODEL\s+ID=0*{found[1]}\s+NAME=(\S+)", models)
    return f"{found[1]} ({named[1]})" if named else found[1]


def _pinned(root: Path) -> str:
    """Whether the processor's clocks may move: `jetson_clocks` sets least and most to the same."""
    cores = list((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"))
    limits = [(_number(core / "scaling_min_freq"), _number(core / "scaling_max_freq")) for core in cores]
    if not limits or any(None in pair for pair in limits):
        return ""
    return "pinned" if all(low == high for low, high in limits) else "scaling"


def l4t(root: Path) -> str:
    """`# R36 (release), REVISION: 4.3, GCID: ...` -> 36.4.3; '' on anything but a Jetson."""
    release = first_line(root / "etc/nv_tegra_release")
    found = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", release)
    return f"{found[1]}.{found[2]}" if found else ""


def first_line(path: Path) -> str:
    """The first line of a small file, '' where there is none."""
    try:
        text = path.read_bytes()[:1000].decode(errors="replace")
    except OSError:
        return ""
    return (text.replace("\0", "").strip().splitlines() or [""])[0]


def _number(path: Path) -> float | None:
    try:
        return float(int(first_line(path)))
    except ValueError:
        return None
