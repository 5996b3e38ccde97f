"""Which tests run where: what this machine lacks is skipped with its reason, never silently passed."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.broker import Mosquitto, find_mosquitto

_DESK = re.compile(r"^\s*(?:import|from) (?:torch|onnx|train|export)\b", re.MULTILINE)
_HAS_TORCH = find_spec("torch") is not None
_HERE = Path(__file__).parent

_OF_THE_DESK = [path.name for path in _HERE.glob("test_*.py") if _DESK.search(path.read_text())]

# Where PyTorch is absent only what flies is tested: a file that imports anything of the desk is left out.
collect_ignore = [] if _HAS_TORCH else _OF_THE_DESK


def footage() -> Path | None:
    """The folder of real footage that SKERRY_DATA names, if it is there."""
    named = os.environ.get("SKERRY_DATA")
    return Path(named) if named and Path(named).is_dir() else None


def _lacking(marker: str) -> str | None:
    """Why tests of this marker cannot run here, or None where they can."""
    if marker == "broker" and not find_mosquitto():
        return "mosquitto is not installed"
    if marker == "data" and footage() is None:
        return "SKERRY_DATA names no folder of real footage"
    if marker == "gpu" and not shutil.which("nvidia-smi"):
        return "no NVIDIA GPU here"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker in ("broker", "data", "gpu"):
        reason = _lacking(marker)
        if reason is None:
            continue
        for item in items:
            if marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if collect_ignore:
        terminalreporter.line(f"no PyTorch here: {len(collect_ignore)} files of train and export left out")


@pytest.fixture
def data() -> Path:
    """Real footage; ask for it in tests marked `data`."""
    folder = footage()
    assert folder is not None, "a test that asks for `data` must be marked with it"
    return folder


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker of the test's own, not started yet; for tests marked `broker`."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(folder)
    yield broker
    broker.stop(kill=True)


@pytest.fixture(autouse=True)
def _no_log_of_another_test() -> Iterator[None]:
    """A verb run within a test writes its log to that test's stderr. It is closed later, and what then goes
    there is an error in a test that did nothing."""
    yield
    logger = logging.getLogger("skerry")
    logger.handlers[:] = []
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
