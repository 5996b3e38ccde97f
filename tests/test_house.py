"""Which package may know which: proved on the source and, since imports carry others along, by running."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("edge", "export", "train", "ground")
HEAVY = {"numpy", "cv2", "onnxruntime", "av", "torch", "onnx", "onnxscript"}
# Of edge, the ground knows the wire and what carries it; nothing here needs a picture.
FOR_THE_GROUND = {
    f"edge.{name}" for name in ("broker", "clock", "deferred", "errors", "events", "mqtt", "options")
}

needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="no PyTorch here: only what flies is tested"
)
BY_PACKAGE = [
    pytest.param(name, marks=needs_torch if name in ("export", "train") else ()) for name in PACKAGES
]


def files(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def loaded_by(code: str) -> set[str]:
    """What a fresh interpreter has loaded after `code`, beyond what it starts with."""
    script = f"""
import sys
before = set(sys.modules)
def show(): print("LOADED", *(set(sys.modules) - before))
import atexit; atexit.register(show)
{code}
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "something happens at import"
    return set(done.stdout.rpartition("LOADED")[2].split())


def load_all(package: str) -> str:
    return "\n".join(f"import {module_name(path)}" for path in files(package))


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = str(node.module)
            yield from (f"{module}.{a.name}" if module in PACKAGES else module for a in node.names)


def named_in(*packages: str) -> dict[str, set[str]]:
    """Imported module -> files that name it."""
    users: dict[str, set[str]] = {}
    for path in files(*packages):
        for name in imports_of(path):
            users.setdefault(name, set()).add(module_name(path))
    return users


def offenders(package: str, forbidden: set[str]) -> dict[str, set[str]]:
    return {name: users for name, users in named_in(package).items() if name.partition(".")[0] in forbidden}


# Arrows


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("edge", {"train", "export", "ground", "torch", "torchvision", "onnx", "onnxscript", "amqtt"}),
        ("train", {"export", "ground", "onnx", "onnxscript", "amqtt"}),
        ("ground", {"train", "export", *HEAVY}),
    ],
)
def test_no_file_names_a_module_against_the_arrows(package: str, forbidden: set[str]) -> None:
    assert offenders(package, forbidden) == {}


def test_the_ground_names_nothing_of_edge_but_the_wire_and_what_carries_it() -> None:
    of_edge = {name: users for name, users in named_in("ground").items() if name.partition(".")[0] == "edge"}
    assert {name: users for name, users in of_edge.items() if name not in FOR_THE_GROUND} == {}


def test_only_the_command_line_names_the_daemon() -> None:
    assert named_in(*PACKAGES).get("edge.daemon", set()) <= {"edge.cli"}
    assert "edge.daemon" not in set(imports_of(ROOT / "skerry.py"))


def test_loading_all_of_edge_loads_nothing_of_the_desk_or_the_ground() -> None:
    assert (
        tops(loaded_by(load_all("edge"))) & {"train", "export", "ground", "torch", "onnx", "amqtt"} == set()
    )


def test_loading_all_of_the_ground_loads_no_picture_and_little_of_edge() -> None:
    loaded = loaded_by(load_all("ground"))
    assert tops(loaded) & {"train", "export", *HEAVY} == set()
    assert {name for name in loaded if name.startswith("edge.")} <= FOR_THE_GROUND


@needs_torch
def test_loading_all_of_train_loads_nothing_of_export_or_the_ground() -> None:
    assert tops(loaded_by(load_all("train"))) & {"export", "ground"} == set()


# Weight


def test_the_wire_needs_pydantic_and_the_standard_library_only() -> None:
    pydantic = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
    loaded = {name for name in tops(loaded_by("import edge.events")) if not name.startswith("_sysconfigdata")}
    assert loaded - set(sys.stdlib_module_names) <= pydantic | {"edge"}


@pytest.mark.parametrize("module", ["edge.schema", "edge.errors", "edge.clock", "edge.stop", "edge.notify"])
def test_light_modules_stay_light(module: str) -> None:
    if not (ROOT / f"{module.replace('.', '/')}.py").exists():
        pytest.skip(f"{module} is gone")
    assert tops(loaded_by(f"import {module}")) & {"paho", "typer", *HEAVY} == set()


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_the_front_door_opens_without_anything_heavy(words: list[str]) -> None:
    ends = "try: skerry.main()\nexcept SystemExit as end: assert not end.code"
    for code in ("import skerry", f"import skerry, sys\nsys.argv = ['skerry', *{words}]\n{ends}"):
        loaded = loaded_by(code)
        assert "typer" in loaded
        assert tops(loaded) & {"paho", "train", "export", "ground", *HEAVY} == set()


def test_the_daemon_loads_nothing_that_only_draws_or_that_only_other_verbs_need() -> None:
    """Each of them would be felt in its start."""
    loaded = loaded_by("import skerry; skerry.build('run'); import edge.daemon")
    assert not loaded & {"rich.console", "rich.progress"}
    for_other_flights = (
        "engines",
        "gpu",
        "tensorrt_runtime",
        "cuda_runtime",
        "together",
        "place_files",
        "simcam",
    )
    assert not loaded & {f"edge.{name}" for name in (*for_other_flights, "calibrate", "survey", "thresholds")}


def test_a_verb_does_not_load_what_paho_would_reach_a_proxy_through() -> None:
    code = (
        "import skerry, sys\n"
        "sys.argv = ['skerry', 'run', '--settings', '/nowhere']\n"
        "sys.stderr = open('/dev/null', 'w')\n"
        "try: skerry.main()\nexcept SystemExit as end: assert end.code == 2\n"
        "sys.stderr = sys.__stderr__"
    )
    loaded = loaded_by(code)
    assert "paho.mqtt.client" in loaded
    assert "http.client" not in loaded


# Modules


@pytest.mark.parametrize("package", BY_PACKAGE)
def test_every_module_can_be_imported_and_says_nothing(package: str) -> None:
    assert {module_name(path) for path in files(package)} <= loaded_by(load_all(package))


def test_no_module_is_named_after_a_package_a_dependency_or_the_standard_library() -> None:
    """Run as a script, a file's folder comes first on the path, and it would shadow them."""
    taken = {*PACKAGES, "skerry", "tests", *sys.stdlib_module_names, *packages_distributions()}
    assert [str(path) for path in files(*PACKAGES) if path.stem != "__init__" and path.stem in taken] == []


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "common", "misc"}
    assert [str(path) for path in files(*PACKAGES) if path.stem in drawers] == []


# Excepts


def caught(handler: ast.expr | None) -> Iterator[str]:
    parts = handler.elts if isinstance(handler, ast.Tuple) else [handler]
    for part in parts:
        yield "everything" if part is None else ast.unparse(part).rpartition(".")[2]


def swallows(node: ast.AST) -> bool:
    """Catches any exception whatever and does not raise it again."""
    broad = {"everything", "Exception", "BaseException"}
    if isinstance(node, ast.ExceptHandler):
        last = node.body[-1]
        again = isinstance(last, ast.Raise) and last.exc is None
        return not again and bool(broad & set(caught(node.type)))
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "suppress":
        return any(ast.unparse(argument) in broad for argument in node.args)
    return False


@pytest.mark.parametrize(
    "code",
    [
        "try: f()\nexcept: pass",
        "try: f()\nexcept Exception as e: log(e)",
        "try: f()\nexcept (OSError, BaseException): pass",
        "with contextlib.suppress(Exception): f()",
    ],
)
def test_the_search_for_broad_excepts_finds_them(code: str) -> None:
    assert any(swallows(node) for node in ast.walk(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["try: f()\nexcept OSError: pass", "try: f()\nexcept BaseException:\n    undo()\n    raise"]
)
def test_the_search_for_broad_excepts_leaves_others_alone(code: str) -> None:
    assert not any(swallows(node) for node in ast.walk(ast.parse(code)))


def test_nothing_catches_whatever_comes() -> None:
    """But the front door, which shows it whole and leaves with the documented code."""
    everything = files(*PACKAGES, "benchmarks")
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in everything
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.ExceptHandler, ast.Call)) and swallows(node)
    ]
    assert found == []
