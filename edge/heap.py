"""Memory that is free but not the system's: holes in malloc's heap where pictures were.

Pictures of 3 and 6 MB (1080p) come and go with each look and never lie where the last ones did. Having malloc
give each back at once costs more than it saves, as every page is cleared anew; now and then costs nothing.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


@cache
def _trim() -> Any:
    """glibc's malloc_trim(3); None in a C library that has none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> bool:
    """All that is free, in about a millisecond; False where that cannot be asked for."""
    trim = _trim()
    return trim is not None and bool(trim(0) in (0, 1))
