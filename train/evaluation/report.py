"""The folder an evaluation leaves: its data, curves and pictures, and the page that ties them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edge.errors import UsageError
from train.evaluation.alarms import delays, events_of, seconds
from train.evaluation.figures import pr_svg, roc_svg, timeline_svg
from train.evaluation.page import EventRow, Exhibit, Report, Timeline, page
from train.evaluation.results import Evaluation
from train.evaluation.scenes import HeatScale, Scene, heat_scale, pictures, worst_false_alarms, worst_misses
from train.evaluation.scored import Scored

_DATA, _PAGE, _PICTURES = "evaluation.json", "index.html", "pictures"


@dataclass(frozen=True, slots=True)
class ReportFolder:
    """Where a report goes. What an earlier report left is replaced, anything else stays as it is."""

    path: Path

    def check(self, force: bool) -> None:
        """Before an hour of scoring. Raises UsageError for a folder with other things in it unless forced."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--out {self.path} is a file; name a folder for the report")
        if not (force or self._ours() or not self._holds_anything()):
            raise UsageError(
                f"--out {self.path} holds other things already; name an empty or new folder, or add "
                "--force to write among them"
            )
        self._make()

    def _make(self) -> None:
        try:
            (self.path / _PICTURES).mkdir(parents=True, exist_ok=True)
            self._write(".writable", b"")
            (self.path / ".writable").unlink()
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _holds_anything(self) -> bool:
        return self.path.is_dir() and any(self.path.iterdir())

    def _ours(self) -> bool:
        """Did an evaluation write here, the last one perhaps not to its end?"""
        inside = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        if inside == {_PICTURES}:
            return all(_ours_by_name(path.name) for path in (self.path / _PICTURES).iterdir())
        return {_DATA, _PAGE, _PICTURES} >= inside and is_evaluation(self.path / _DATA)

    def clear(self) -> None:
        """Away with the pictures of an earlier report, which may have had more of them."""
        for path in (self.path / _PICTURES).iterdir():
            if _ours_by_name(path.name):
                path.unlink()

    def picture(self, name: str, data: bytes) -> str:
        """Path relative to the page."""
        self._write(f"{_PICTURES}/{name}", data)
        return f"{_PICTURES}/{name}"

    def finish(self, evaluation: Evaluation, document: str) -> Path:
        self._write(_DATA, json_of(evaluation))
        self._write(_PAGE, document.encode())
        return self.path / _PAGE

    def _write(self, name: str, data: bytes) -> None:
        try:
            (self.path / name).write_bytes(data)
        except OSError as error:
            raise _unwritable(self.path / name, error) from error


def json_of(evaluation: Evaluation) -> bytes:
    return evaluation.model_dump_json(indent=2).encode() + b"\n"


def is_evaluation(path: Path) -> bool:
    try:
        Evaluation.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return False
    return True


def _ours_by_name(name: str) -> bool:
    return name.startswith(("roc.", "pr.", "video-", "miss-", "false-")) and name.endswith((".svg", ".jpg"))


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be written ({error.strerror}); name another place for the report")


def write_report(
    folder: ReportFolder,
    evaluation: Evaluation,
    scored: Sequence[Scored],
    worst: int,
    told: Callable[[], None] = lambda: None,
) -> Path:
    """Everything into a folder that `check` has passed; returns the page.

    `told` is called for each video and each worst frame.
    """
    threshold = evaluation.judgement.strict.threshold
    folder.clear()
    scale = heat_scale(scored)
    misses = [] if threshold is None else worst_misses(scored, threshold, worst)
    false = [] if threshold is None else worst_false_alarms(scored, threshold, worst)
    report = Report(
        evaluation=evaluation,
        roc=folder.picture("roc.svg", roc_svg(scored, threshold)),
        pr=folder.picture("pr.svg", pr_svg(scored, threshold)),
        events=tuple(row for each in scored for row in event_rows(each, threshold)),
        misses=_exhibits(folder, "miss", misses, scale, told),
        false_alarms=_exhibits(folder, "false", false, scale, told),
        timelines=tuple(_timelines(folder, scored, threshold, told)),
    )
    return folder.finish(evaluation, page(report))


def event_rows(scored: Scored, threshold: float | None) -> Iterator[EventRow]:
    """One row for each event that counts."""
    events = events_of(scored)
    found = [None] * len(events) if threshold is None else delays(scored, threshold)
    for (first, last), delay in zip(events, found, strict=True):
        begin, end = seconds(scored, first), seconds(scored, last)
        detected = None if threshold is None else delay is not None
        yield EventRow(scored.video.name, begin, end, detected, delay)


def _exhibits(
    folder: ReportFolder, kind: str, scenes: Sequence[Scene], scale: HeatScale, told: Callable[[], None]
) -> tuple[Exhibit, ...]:
    """In the order of the scenes, although their pictures come video by video."""
    made: dict[Scene, Exhibit] = {}
    for scene, picture, heat in pictures(scenes, scale):
        name = f"{kind}-{scenes.index(scene) + 1:02}"
        made[scene] = Exhibit(
            video=scene.scored.video.name,
            frame=scene.frame,
            stream_s=float(scene.scored.stream_s[scene.place]),
            score=scene.score,
            picture=folder.picture(f"{name}.jpg", picture),
            heat=None if heat is None else folder.picture(f"{name}-heat.jpg", heat),
        )
        told()
    return tuple(made[scene] for scene in scenes)


def _timelines(
    folder: ReportFolder, scored: Sequence[Scored], threshold: float | None, told: Callable[[], None]
) -> Iterator[Timeline]:
    for number, each in enumerate(scored, 1):
        picture = folder.picture(f"video-{number:03}.svg", timeline_svg(each, threshold))
        told()
        yield Timeline(each.video.name, picture)
