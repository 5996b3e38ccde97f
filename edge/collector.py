"""The garbage collector's part in a start."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No looking for garbage meanwhile, and later not among what is there by then.

    Importing makes hundreds of thousands of objects that stay; going through them again and again is a
    tenth of a start, and once in flight a pause between a frame and its alert.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
