from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.heap import give_back

HOLES = """
import numpy as np, re
from edge.heap import give_back
def resident(): return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10
kept = [np.ones(100_000, np.uint8) for _ in range(1000)]  # too small to be mapped on their own
del kept[::2]
before = resident()
print(give_back(), before - resident())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
def test_holes_in_the_heap_go_back_to_the_system() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLES], capture_output=True, text=True, check=True, timeout=60
    )
    answer, given = done.stdout.split()
    if os.confstr("CS_GNU_LIBC_VERSION"):
        assert answer == "True"
        assert int(given) > 25  # of 50 MB


def test_a_c_library_without_it_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.heap._trim", lambda: None)
    assert give_back() is False
