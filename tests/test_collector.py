"""Nothing is looked for while a start imports, and afterwards everything is as it was."""

from __future__ import annotations

import gc

import pytest

from edge.collector import uncollected


def test_the_collector_rests_meanwhile_and_passes_over_what_is_there_by_then() -> None:
    before = gc.get_freeze_count()
    try:
        with uncollected():
            assert not gc.isenabled()
            made = [[] for _ in range(100)]
        assert gc.isenabled()
        assert gc.get_freeze_count() > before + len(made)
    finally:
        gc.unfreeze()


def test_a_start_that_fails_leaves_the_collector_on() -> None:
    try:
        with pytest.raises(RuntimeError), uncollected():
            raise RuntimeError
        assert gc.isenabled()
    finally:
        gc.unfreeze()
