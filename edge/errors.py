"""What can go wrong, as a person should read it.

SkerryError            70  internal
├── UsageError          2  a wrong option, a missing path
│   └── SettingsError   2  a wrong setting, wherever it came from
├── BundleError         3  a bundle that must not fly
│   └── EngineError     3  a TensorRT engine that cannot be made or used here (edge.gpu)
├── FootageError        2  pictures or video that cannot be read
├── CameraError         4  a camera that could not be opened at all
├── GpuError           70  a GPU that fails or has no room (edge.gpu)
├── OutboxError        70  a disk that keeps no messages (edge.outbox)
└── BrokerError        70  a broker that refuses us

Each carries one sentence that says what to do, and the exit code of the process. Foreign exceptions
(av, cv2, onnxruntime, paho, pydantic, sqlite3) are translated where they arise.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SkerryError(Exception):
    """Root of the family; `exit_code` is what the process returns."""

    exit_code = 70


class UsageError(SkerryError):
    exit_code = 2


class SettingsError(UsageError):
    pass


class FootageError(SkerryError):
    exit_code = 2


class BundleError(SkerryError):
    exit_code = 3


class CameraError(SkerryError):
    exit_code = 4


class BrokerError(SkerryError):
    pass


def nearest(word: str, known: Iterable[str]) -> str:
    """' (did you mean X?)' for a mistyped word, else the empty string."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
