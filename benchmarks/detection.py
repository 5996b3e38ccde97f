"""What finds what does not belong, side by side: methods without us, published ones, and bundles of ours.

    python benchmarks/detection.py DATASET... [--bundle NAME=BUNDLE]... [--methods a,b] [--seeds] [--ablate]
                                   [--json FILE] [--markdown FILE]

All look at the same frames in the same order, their scores go through the same persistence, thresholds come
from held-out normal footage by the same rule, and one harness judges. Bundles are made before, by `skerry
train`, `export` and `calibrate`, on normal footage of the data set; DATASET/NAME=BUNDLE enters one for one
data set only. Methods that learn do so on two thirds of the data set's normal footage; the last third sets
thresholds and where boxes begin. With --seeds, bundles of one NAME are one method, trained several times.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.anomalib_peers import ANOMALIB, lacking
from benchmarks.contest import (
    Row,
    Rules,
    ablated,
    ablations,
    bundle_row,
    first_frames,
    normal_of,
    peer_row,
    spread,
    timed,
)
from benchmarks.peers import PEERS, Peer
from edge.bundle import ModelBundle, load_bundle
from edge.errors import SkerryError, UsageError, nearest
from train.evaluation.readers import AUTO, read_data_set
from train.evaluation.results import Figure
from train.evaluation.rows import NONE, rate_digits
from train.evaluation.truth import DataSet

CAPTION = (
    "AUC strict: causal, nothing normalised per video, in brackets the 95 % interval by bootstrap over "
    "videos; frame alone: the same before persistence; legacy: with knowledge of each whole video, as papers "
    "do. boxed: abnormal frames with a box on something abnormal. set for FA/h: false alarms per hour that "
    "the threshold is for, the wanted ones or the fewest that the normal footage supports; - where it is too "
    "short. ms: median of a whole inspection, one thread, all methods taking turns."
)
Value = Callable[[Row], Figure | float | None]


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    value: Value
    digits: int = 3
    interval: bool = False


COLUMNS = (
    Column("AUC strict", lambda row: row.judgement.strict.auc_micro, interval=True),
    Column("frame alone", lambda row: row.auc_frame),
    Column("legacy", lambda row: row.judgement.legacy.auc_micro),
    Column("AP", lambda row: row.judgement.strict.average_precision),
    Column("RBDC", lambda row: row.judgement.strict.rbdc, 2),
    Column("TBDC", lambda row: row.judgement.strict.tbdc, 2),
    Column("pixel AUROC", lambda row: row.judgement.strict.pixel_auroc),
    Column("boxed", lambda row: row.judgement.strict.box_hits, 2),
    Column("set for FA/h", lambda row: row.rate, 1),
    Column("events found", lambda row: row.judgement.strict.event_recall, 2),
    Column("FA/h", lambda row: row.judgement.strict.false_alarms_per_hour, -1),
    Column("ms", lambda row: median(row), 1),
)


def median(row: Row) -> float | None:
    return quantiles(row.milliseconds, n=2)[0] if len(row.milliseconds) > 1 else None


@dataclass(frozen=True, slots=True)
class Entered:
    """A bundle of the command line; `data_set` None: for every one."""

    name: str
    data_set: str | None
    folder: Path

    @classmethod
    def parse(cls, text: str) -> Entered:
        named, separator, folder = text.partition("=")
        data_set, slash, name = named.rpartition("/")
        if not separator or not name or not folder:
            raise UsageError(f"--bundle {text!r} must be NAME=BUNDLE or DATASET/NAME=BUNDLE")
        return cls(name, data_set if slash else None, Path(folder))


def main(
    data: Annotated[list[Path], typer.Argument(help="Folders of labelled footage.", metavar="DATASET...")],
    bundle: Annotated[list[str] | None, typer.Option(help="NAME=BUNDLE, may be repeated.")] = None,
    methods: Annotated[str, typer.Option(help="Of the methods without us: all, none or names.")] = "all",
    seeds: Annotated[bool, typer.Option("--seeds", help="Bundles of one NAME are one method.")] = False,
    ablate: Annotated[bool, typer.Option("--ablate", help="Also bundles with a part left out.")] = False,
    layout: Annotated[str, typer.Option(help="Of the data sets, as for skerry evaluate.")] = AUTO,
    fps: Annotated[float | None, typer.Option(help="Frames a second; else the bundles', or 10.")] = None,
    rate: Annotated[float, typer.Option(help="Wanted false alarms per hour.")] = 1.0,
    block: Annotated[float, typer.Option(help="Seconds of a block.")] = 10.0,
    persistence: Annotated[int, typer.Option(min=1, help="Of the methods without us.")] = 2,
    folder_fps: Annotated[float | None, typer.Option(help="As for skerry evaluate.")] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Behind each interval.")] = 200,
    frames: Annotated[int, typer.Option(min=2, help="Timed, of the first test video.")] = 40,
    backbone: Annotated[Path | None, typer.Option(help="ONNX features for anomalib's PaDiM.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")] = None,
) -> None:
    """Compare methods on labelled footage."""
    console = Console(width=170)
    before = os.getloadavg()
    try:
        entered = [Entered.parse(text) for text in bundle or ()]
        opened = [(one, load_bundle(one.folder)) for one in entered]
        chosen = choose(methods, backbone, console)
        rules = Rules(fps or common_fps(opened), rate, block, persistence, resamples, folder_fps)
        rows = []
        for path in data:
            data_set = read_data_set(path, layout)
            contest = Contest(
                data_set, rules, chosen, numbered(opened, data_set.name, seeds), ablate, console
            )
            rows += (found := contest.rows(frames))
            console.print(table(data_set.name, found))
        console.print(CAPTION, style="dim", highlight=False)
    except SkerryError as error:
        console.print(f"detection: {error}", style="red", markup=False)
        raise typer.Exit(error.exit_code) from None
    if json_file is not None:
        content = {"about": facts(rules, before), "rows": [row.model_dump() for row in rows]}
        json_file.write_text(json.dumps(content, indent=1) + "\n")
    if markdown is not None:
        tables = [as_markdown(name, of) for name, of in by_data_set(rows)]
        markdown.write_text("\n\n".join([*tables, CAPTION]) + "\n")


def choose(methods: str, backbone: Path | None, console: Console) -> dict[str, Callable[[], Peer]]:
    """Which take part. Those of anomalib only where they can. Raises UsageError for an unknown name."""
    known = [*PEERS, *ANOMALIB]
    wanted = {"all": known, "none": []}.get(methods, methods.split(","))
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"--methods {name!r} is unknown{nearest(name, known)}; known: {', '.join(known)}"
            )
    chosen: dict[str, Callable[[], Peer]] = {name: PEERS[name] for name in wanted if name in PEERS}
    for name in (name for name in wanted if name in ANOMALIB):
        if reason := lacking(name, backbone):
            console.print(f"{name} is left out: {reason}", style="dim", highlight=False)
        else:
            chosen[name] = lambda make=ANOMALIB[name]: make(backbone)  # type: ignore[misc]
    return chosen


def common_fps(opened: Sequence[tuple[Entered, ModelBundle]]) -> float:
    return opened[0][1].calibration().fps if opened else 10.0


def numbered(
    opened: Sequence[tuple[Entered, ModelBundle]], data_set: str, seeds: bool
) -> list[tuple[str, ModelBundle]]:
    """Those for this data set; of one name twice, unless they are seeds, the second gets a number."""
    found: list[tuple[str, ModelBundle]] = []
    for entered, bundle in opened:
        if entered.data_set not in (None, data_set):
            continue
        same = sum(name.partition(" #")[0] == entered.name for name, _ in found)
        found.append((entered.name if seeds or not same else f"{entered.name} #{same + 1}", bundle))
    return found


@dataclass(frozen=True)
class Contest:
    """All methods on one data set."""

    data_set: DataSet
    rules: Rules
    peers: Mapping[str, Callable[[], Peer]]
    bundles: Sequence[tuple[str, ModelBundle]]
    ablate: bool
    console: Console

    def rows(self, frames: int) -> list[Row]:
        made = {name: make() for name, make in self.peers.items()}
        with tempfile.TemporaryDirectory() as folder:
            bundles = [*self.bundles, *(self._ablations(Path(folder)) if self.ablate else ())]
            found = [*self._peer_rows(made), *self._bundle_rows(bundles)]
            quick = dict(bundles)  # of seeds the last: they differ in nothing that takes time
            times = timed(made, quick, first_frames(self.data_set, self.rules, frames))
        return [
            row.model_copy(update={"milliseconds": tuple(round(t, 3) for t in times[row.method])})
            for row in found
        ]

    def _peer_rows(self, made: Mapping[str, Peer]) -> Iterator[Row]:
        for name, peer in made.items():
            self._tell(name)
            yield peer_row(name, peer, self.data_set, normal_of(self.data_set, self.rules), self.rules)

    def _bundle_rows(self, bundles: Sequence[tuple[str, ModelBundle]]) -> Iterator[Row]:
        for name, bundle in bundles:
            self._tell(name)
            yield bundle_row(name, bundle, self.data_set, self.rules)

    def _ablations(self, folder: Path) -> Iterator[tuple[str, ModelBundle]]:
        """The whole one too: it is calibrated on the same footage as its parts."""
        normal = normal_of(self.data_set, self.rules)
        for number, (name, bundle) in enumerate(self.bundles):
            whole = {"all parts": bundle.manifest.scoring}
            for place, (what, scoring) in enumerate((whole | ablations(bundle.manifest.scoring)).items()):
                self._tell(f"{name}: {what}, calibrating")
                to = folder / f"{number}-{place}"
                yield f"{name}: {what}", ablated(bundle, scoring, to, normal, self.rules)

    def _tell(self, what: str) -> None:
        self.console.print(f"{self.data_set.name}: {what}", style="dim", markup=False, highlight=False)


def by_data_set(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    names = dict.fromkeys(row.data_set for row in rows)
    return [(name, [row for row in rows if row.data_set == name]) for name in names]


def cells(rows: Sequence[Row]) -> Iterator[list[str]]:
    """One line per method, of several seeds mean ± standard deviation."""
    for method in dict.fromkeys(row.method for row in rows):
        mine = [row for row in rows if row.method == method]
        name = method if len(mine) == 1 else f"{method} ({len(mine)} seeds)"
        yield [name, *(cell(column, mine) for column in COLUMNS), size(mine[0].parameters)]


def cell(column: Column, rows: Sequence[Row]) -> str:
    figures = [column.value(row) for row in rows]
    both = spread(figure.value if isinstance(figure, Figure) else figure for figure in figures)
    if both is None:
        return NONE
    digits = rate_digits(both[0]) if column.digits < 0 else column.digits
    if len(rows) > 1:
        return f"{both[0]:.{digits}f} ± {both[1]:.{digits}f}"
    figure = figures[0]
    if column.interval and isinstance(figure, Figure) and figure.low is not None and figure.high is not None:
        return f"{both[0]:.{digits}f} ({figure.low:.{digits}f}-{figure.high:.{digits}f})"
    return f"{both[0]:.{digits}f}"


def size(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 10_000 else str(count)


def table(data_set: str, rows: Sequence[Row]) -> Table:
    made = Table(title=title(data_set, rows), title_justify="left", box=None, pad_edge=False)
    for place, heading in enumerate(headings()):
        made.add_column(heading, justify="right" if place else "left", no_wrap=not place)
    for line in cells(rows):
        made.add_row(*line)
    return made


def headings() -> list[str]:
    return ["method", *(column.title for column in COLUMNS), "parameters"]


def title(data_set: str, rows: Sequence[Row]) -> str:
    if not rows:
        return data_set
    told = rows[0].judgement
    return (
        f"{data_set}: {told.frames} frames of {told.videos} videos at {rows[0].fps:g} fps, "
        f"{told.abnormal_frames} abnormal, {told.strict.events} events"
    )


def as_markdown(data_set: str, rows: Sequence[Row]) -> str:
    lines = [headings(), ["---", *["---:"] * (len(COLUMNS) + 1)], *cells(rows)]
    return "\n".join([title(data_set, rows), "", *(f"| {' | '.join(line)} |" for line in lines)])


def facts(rules: Rules, before: tuple[float, float, float]) -> dict[str, Any]:
    return {
        "rules": asdict(rules),
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_before": before[0],
        "versions": {name: version(name) for name in ("numpy", "opencv-python-headless", "onnxruntime")},
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    typer.run(main)
