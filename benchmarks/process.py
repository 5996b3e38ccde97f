"""A process under measurement: started as a person would start it, its clock and memory read from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.bundle import ModelBundle, load_bundle, write_bundle
from edge.errors import SkerryError

READY_S = 60.0
ROOT = Path(__file__).parent.parent
QUIET, LOUD = 1e9, -1e9  # thresholds that no score reaches, and that every score does


@dataclass(frozen=True)
class Memory:
    """Megabytes. `shared`: pages that other processes map too count in part."""

    resident: float
    shared: float
    peak: float


class Watched:
    """A running process. `ready_s`: from before it was started to its first score, as it said itself."""

    def __init__(self, process: subprocess.Popen[bytes], began_s: float, errors: Path) -> None:
        self._process, self._began_s, self._errors = process, began_s, errors
        self.ready_s = float("nan")

    def cpu_s(self) -> float:
        """Of all its threads, those included that have ended."""
        return time.clock_gettime((~self._process.pid << 3) | 2)  # clock_getcpuclockid(3)

    def memory(self) -> Memory:
        folder = Path(f"/proc/{self._process.pid}")
        rolled = _kilobytes(folder / "smaps_rollup")
        peak = _kilobytes(folder / "status")["VmHWM"]
        return Memory(rolled["Rss"] / 1024, rolled["Pss"] / 1024, peak / 1024)

    def said(self) -> str:
        """On standard error."""
        return self._errors.read_text(errors="replace")

    def check(self) -> None:
        """Raises SkerryError where it has ended."""
        if self._process.poll() is not None:
            told = (self.said().strip().splitlines() or ["nothing"])[-1]
            raise SkerryError(f"{self._process.args} ended with {self._process.returncode}: {told}")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)

    def await_ready(self, channel: socket.socket) -> None:
        channel.settimeout(0.25)
        while time.monotonic() < self._began_s + READY_S:
            try:
                said = channel.recv(4096)
            except TimeoutError:
                self.check()
                continue
            if b"READY=1" in said:
                self.ready_s = time.monotonic() - self._began_s
                return
        raise SkerryError(f"{self._process.args} scored nothing within {READY_S:g} s: {self.said()[-300:]}")


@contextmanager
def watched(words: list[str], folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Watched]:
    """Run `words` until the context ends; entered when it says READY=1 on systemd's socket, which is ours."""
    folder.mkdir(parents=True, exist_ok=True)
    address, errors = folder / "notify", folder / "stderr"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, errors.open("wb") as output:
        channel.bind(str(address))
        environment = surroundings() | {"NOTIFY_SOCKET": str(address), **(more or {})}
        began_s = time.monotonic()
        process = subprocess.Popen(words, env=environment, stdout=output, stderr=output)
        running = Watched(process, began_s, errors)
        try:
            running.await_ready(channel)
            # What it says from now on needs no reader: a full socket would stop it.
            channel.shutdown(socket.SHUT_RD)
            yield running
            running.check()
            running.stop()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(5)


def surroundings() -> dict[str, str]:
    """The environment of an installed Skerry: its modules compiled, no settings from a person's shell."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKERRY_")}
    for name in ("PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS"):
        kept.pop(name, None)
    return kept | {"PYTHONPATH": str(ROOT)}


def skerry(*words: object) -> list[str]:
    program = Path(sys.executable).with_name("skerry")
    head = [str(program)] if program.exists() else [sys.executable, "-m", "skerry"]
    return [*head, *map(str, words)]


def with_threshold(bundle: Path, threshold: float, folder: Path) -> ModelBundle:
    """A copy whose alarm is set by hand: a measurement wants none of its frames to alarm, or all of them.

    Raises BundleError.
    """
    loaded = load_bundle(bundle)
    known = loaded.calibration().model_copy(update={"threshold": threshold, "release": threshold})
    files = {name: loaded.read(name) for name in loaded.manifest.files}
    return write_bundle(folder, loaded.manifest.model_copy(update={"calibration": known}), files)


def _kilobytes(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if words[-1] == "kB"}
