"""`skerry engine`: build TensorRT engines on the device they are for, list them, clear them away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from edge.bundle import load_bundle
from edge.engine_build import Made, Order, make_engine
from edge.engine_choice import FOLDER
from edge.engine_gate import Tolerance
from edge.engines import MODELS, EngineRecord, EngineStore, Precision
from edge.errors import UsageError, nearest
from edge.gpu import load_toolkit
from edge.settings import Settings
from edge.stop import StopSignals
from edge.tensorrt_builder import BuildOptions, Tell

app = typer.Typer(no_args_is_help=True)

EnginesOption = Annotated[
    Path | None, typer.Option(help="Folder of the engines; default: `engines` in the daemon's state_dir.")
]
SettingsOption = Annotated[
    Path | None, typer.Option(help="The daemon's settings: its bundle and state_dir are meant.")
]


@app.command()
def build(
    bundle: Annotated[Path | None, typer.Argument(help="Bundle folder; default: that of --settings.")] = None,
    precision: Annotated[str, typer.Option(help="fp16 or int8.")] = "fp16",
    settings: SettingsOption = None,
    engines: EnginesOption = None,
    workspace: Annotated[
        int, typer.Option(min=1, max=65536, help="MB of device memory a layer may use.")
    ] = BuildOptions().workspace_mb,
    optimization: Annotated[
        int, typer.Option(min=0, max=5, help="How long to search for fast kernels.")
    ] = BuildOptions().optimization,
    max_drift: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Largest relative change of a score against ONNX Runtime on the same file, usually 0.005; "
            "of clips in the spread of their scores, usually 0.5.",
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Build even where there is one, or one was refused.")
    ] = False,
) -> None:
    """Build a bundle's engine on this device, hold it against its ONNX file, and keep it for the daemon.

    Does nothing where there is a fitting one already. An engine that says something else than ONNX Runtime
    does of the same file is refused; the daemon then takes the one before it, or ONNX Runtime, and says so
    in its status. How far the file is from fp32 on the same pictures is told beside.
    """
    chosen = _precision(precision)
    folder, store = _places(bundle, settings, engines)
    loaded = load_bundle(folder)
    order = Order(chosen, BuildOptions(workspace, optimization), Tolerance.of(max_drift), again)
    with StopSignals() as stop, _progress(Console(stderr=True)) as progress:
        made = make_engine(loaded, order, store, load_toolkit(), _teller(progress, stop))
    typer.echo(_outcome(made, store))


@app.command("list")
def show(settings: SettingsOption = None, engines: EnginesOption = None) -> None:
    """List the engines of the cache, newest first, and what the gate said of each."""
    store = _store(settings, engines)
    table = Table(
        *("engine", "precision", "TensorRT", "device", "built (UTC)", "MB"),
        *("drift from its file", "file from fp32", "gate"),
    )
    for record in store.records():
        table.add_row(*_row(record))
    if table.row_count:
        Console().print(table)
    else:
        typer.echo(f"no engines in {store.folder}")


@app.command()
def clean(settings: SettingsOption = None, engines: EnginesOption = None) -> None:
    """Remove every engine of the cache; the daemon falls back to ONNX Runtime until one is built."""
    store = _store(settings, engines)
    if not store.folder.is_dir():
        typer.echo(f"no engines in {store.folder}")
        return
    with store.building():
        gone = store.prune(keep=0)
    typer.echo(f"{len(gone)} engines removed from {store.folder}")


def _precision(word: str) -> Precision:
    for known in MODELS:
        if known == word:
            return known
    raise UsageError(f"--precision {word!r} is none{nearest(word, MODELS)}: give {' or '.join(MODELS)}")


def _places(bundle: Path | None, file: Path | None, engines: Path | None) -> tuple[Path, EngineStore]:
    if bundle is not None:
        return bundle, _store(file, engines)
    if file is None:
        raise UsageError("name a bundle, or give the daemon's --settings, which name one")
    return Settings.load(file=file).bundle, _store(file, engines)


def _store(file: Path | None, engines: Path | None) -> EngineStore:
    if engines is not None:
        return EngineStore(engines)
    if file is not None:
        return EngineStore(Settings.load(file=file).state_dir / FOLDER)
    state_dir: Path = Settings.model_fields["state_dir"].default
    return EngineStore(state_dir / FOLDER)


def _progress(console: Console) -> Progress:
    # No markup: names of layers have brackets, and an exception in TensorRT's callback would end the process.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _teller(progress: Progress, stop: StopSignals) -> Tell:
    task = progress.add_task("starting TensorRT", total=None)

    def tell(phase: str, done: int, total: int) -> bool:
        progress.update(task, description=phase[:60], completed=done, total=total)
        return not stop.asked

    return tell


def _outcome(made: Made, store: EngineStore) -> str:
    record = made.record
    verb = f"built in {record.seconds:.0f} s" if made.new else "is there already"
    return (
        f"{record.key.precision} engine {record.number} for TensorRT {record.key.tensorrt} on "
        f"{record.key.module} {verb}: largest drift {_percent(record.gate.max_drift)} from its file, of that "
        f"from fp32 {_percent(record.gate.file_drift)} on painted pictures; {record.size / 1e6:.1f} MB in "
        f"{store.folder}"
    )


def _percent(drift: float | None) -> str:
    return "-" if drift is None else f"{drift:.3%}"


def _row(record: EngineRecord) -> tuple[str, ...]:
    return (
        str(record.number),
        record.key.precision,
        record.key.tensorrt,
        record.key.module,
        f"{record.built:%Y-%m-%d %H:%M}",
        f"{record.size / 1e6:.1f}",
        _percent(record.gate.max_drift),
        _percent(record.gate.file_drift),
        "passed" if record.usable else record.gate.refusal,
    )
