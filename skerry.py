"""The front door: `skerry VERB`. Knows which package answers a verb and imports nothing heavy before."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer

from edge.collector import uncollected
from edge.deferred import defer
from edge.errors import SkerryError, nearest


@dataclass(frozen=True, slots=True)
class Verb:
    """`module:name` is a function or a typer.Typer of sub-commands; `extra` is what pip must install."""

    module: str
    name: str
    extra: str
    help: str
    panel: str


FLIGHT, DESK, GROUND = "On the drone", "At the desk", "On the ground"
VERBS = {
    "demo": Verb("export.demo", "demo", "demo", "All of it on this machine, in minutes.", "Start here"),
    "run": Verb("edge.cli", "run", "drone", "Watch the camera and report: the onboard daemon.", FLIGHT),
    "calibrate": Verb(
        "edge.cli", "calibrate", "drone", "Set the alarm threshold from normal footage.", FLIGHT
    ),
    "drift": Verb(
        "edge.cli", "drift", "drone", "Is a flight still like the footage of the calibration?", FLIGHT
    ),
    "inspect": Verb("edge.cli", "inspect", "drone", "Verify a bundle and say what it is.", FLIGHT),
    "bench": Verb("edge.cli", "bench", "drone", "Time the daemon's own chain, stage by stage.", FLIGHT),
    "engine": Verb("edge.engine_cli", "app", "drone", "Build TensorRT engines on this device.", FLIGHT),
    "doctor": Verb(
        "edge.cli", "doctor", "drone", "Say what this machine can do, and what is missing.", FLIGHT
    ),
    "schema": Verb(
        "edge.schema_cli", "schema", "", "Print the JSON Schema and AsyncAPI of the wire.", FLIGHT
    ),
    "simulate": Verb(
        "train.simulate_cli", "simulate", "drone", "Render patrol flights with known truth.", DESK
    ),
    "features": Verb(
        "export.features_cli", "features", "export", "Extract, once, what clips are scored by.", DESK
    ),
    "train": Verb(
        "train.cli", "app", "train", "Learn from flights what belongs there, and what does not.", DESK
    ),
    "evaluate": Verb(
        "train.evaluate_cli", "evaluate", "train", "Measure a bundle on labelled footage.", DESK
    ),
    "export": Verb("export.cli", "export", "export", "Turn a checkpoint into a bundle that flies.", DESK),
    "watch": Verb("ground.cli", "watch", "", "Show alerts in a terminal as they arrive.", GROUND),
}


def main() -> None:
    """Console entry; exits with the code that the error family documents."""
    # Pydantic would look through every installed package for plug-ins: time at each start, and none are ours.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # OpenBLAS's threads would turn for 50 ms at each start, and after each product, lest another one come.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")  # 2^16 ticks: 20 us or so
    # paho imports it for proxies that nobody goes through, and HTTP and a part of e-mail with it.
    defer("urllib.request")
    arguments = sys.argv[1:]
    verb = next((word for word in arguments if not word.startswith("-")), None)
    try:
        if verb is not None and verb not in VERBS:
            _fail(f"no verb {verb!r}{nearest(verb, VERBS)}; `skerry --help` lists them", 2)
        with uncollected():
            answer = build(verb)
        answer(prog_name="skerry")
    except SkerryError as error:
        _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        _fail(_missing(error, verb), 2)
    except Exception:  # noqa: BLE001 - the last line of defence: shown whole, and with its documented code
        import traceback

        traceback.print_exc()
        raise SystemExit(70) from None


def build(verb: str | None) -> typer.Typer:
    """The command line with `verb` imported for real and every other verb as a line in the help."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_about)
    for name, entry in VERBS.items():
        answer = getattr(import_module(entry.module), entry.name) if name == verb else _stub
        if isinstance(answer, typer.Typer):
            app.add_typer(answer, name=name, help=entry.help, rich_help_panel=entry.panel)
        else:
            app.command(name, rich_help_panel=entry.panel, short_help=entry.help)(answer)
    return app


def _stub() -> None:
    """Stands in the list for a verb that was not asked for."""


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"skerry {software_version()}")
        raise typer.Exit


def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The eye of a patrol drone: learns from normal flights what belongs on a route, watches the camera on
    board, and tells the people on the ground what does not belong and where.

    Exit codes: 0 stopped as asked, 1 over a budget, 2 usage or settings, 3 bundle, 4 camera could not be
    opened, 70 internal.
    """


def software_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("skerry")
    except PackageNotFoundError:
        return "unknown"


def _missing(error: ModuleNotFoundError, verb: str | None) -> str:
    extra = VERBS[verb].extra if verb in VERBS else ""
    if not extra or (error.name or "").split(".")[0] in {"edge", "train", "export", "ground"}:
        raise error
    return f"`skerry {verb}` needs the package {error.name}: pip install 'skerry[{extra}]'"


def _fail(sentence: str, code: int) -> Any:
    typer.echo(f"skerry: {sentence}", err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
