"""The machine a bench runs on: its time and its kernel's files as parameters, and what is said of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge.bundle import ModelBundle
from edge.clock import Clock, SystemClock
from edge.detector import choose_variant
from edge.jetson import board_facts

BACK_TO_BACK = "back to back; at 2 fps with idle gaps a frame takes longer"


@dataclass(frozen=True, slots=True)
class Machine:
    """Time, waiting, and the files of the kernel; all but the first are replaced in tests."""

    clock: Clock = field(default_factory=SystemClock)
    wait: Callable[[float], object] = time.sleep
    cpu_s: Callable[[], float] = time.process_time
    root: Path = Path("/")


def facts(bundle: ModelBundle, variant: str) -> dict[str, str]:
    """What the figures of one variant, back to back, belong to: without these a latency says nothing."""
    return {
        **about_machine(bundle, Machine()),
        "variant": choose_variant(bundle, variant),
        "pace": BACK_TO_BACK,
    }


def about_machine(bundle: ModelBundle, machine: Machine) -> dict[str, str]:
    import cv2
    import onnxruntime

    return {
        "machine": platform.machine(),
        "processor": _processor(machine.root),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "opencv": cv2.__version__,
        **board_facts(machine.root),
        "bundle": bundle.digest,
    }


def resident_mb(root: Path) -> float:
    """What this process holds in memory now; 0 where the kernel does not say."""
    try:
        lines = (root / "proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    kilobytes = next((line.split()[1] for line in lines if line.startswith("VmRSS:")), "0")
    return int(kilobytes) * 1024 / 1e6


def _processor(root: Path) -> str:
    """As the kernel calls it; ARM kernels often give no name."""
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, platform.processor() or "unknown")
