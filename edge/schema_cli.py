"""`skerry schema`: the documents of the wire, on the screen or in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.errors import UsageError
from edge.schema import documents, text


def schema(
    out: Annotated[Path | None, typer.Option("--out", help="Write the files into this folder.")] = None,
) -> None:
    """Print the wire's AsyncAPI document, or write it and the JSON Schema of every message to a folder."""
    files = documents()
    if out is None:
        typer.echo(text(files["asyncapi.json"]), nl=False)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, document in files.items():
            (out / name).write_text(text(document), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write to --out {out}: {error.strerror or error}") from None
