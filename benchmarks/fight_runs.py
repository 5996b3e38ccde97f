"""Trainings that are done, kept in a file so that a run that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.mil_figures import Figures


class Run(BaseModel):
    """One training and what it is worth on its part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str
    part: str
    seed: int
    settings: str  # all that the figures depend on besides
    parameters: int
    offline: Figures
    streaming: Figures


class Kept:
    """Trainings done so far, a line each; a line that does not fit is not believed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: dict[tuple[str, str, int, str], Run] = {}
        for line in path.read_text().splitlines() if path.is_file() else ():
            try:
                run = Run.model_validate_json(line)
            except ValidationError:
                continue
            self._runs[run.row, run.part, run.seed, run.settings] = run

    def or_made(self, row: str, part: str, seed: int, settings: str, make: Callable[[], Run]) -> Run:
        key = row, part, seed, settings
        if key not in self._runs:
            self._runs[key] = make()
            with self._path.open("a") as file:
                file.write(self._runs[key].model_dump_json() + "\n")
        return self._runs[key]
