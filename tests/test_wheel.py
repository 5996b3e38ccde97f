"""What is shipped, as shipped: the built wheel alone in an empty environment with the base dependencies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("edge", "export", "train", "ground")
pytestmark = pytest.mark.slow


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """With nothing of this checkout or of the person's shell in the way."""
    surroundings = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SKERRY_"))
    }
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip")
    built = run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("skerry-*.whl")
    return file


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds the wheel, what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    made = run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    assert made.returncode == 0, made.stderr
    programs = folder / "venv" / "bin"
    installed = run(programs / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return programs


def test_the_wheel_holds_the_four_packages_and_the_front_door_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    shipped = {name for name in names if ".dist-info/" not in name}
    written = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {name for name in shipped if name.endswith(".py")} == written | {"skerry.py"}
    assert "train/evaluation/page.css" in shipped
    assert {name.partition("/")[0] for name in shipped} == {*PACKAGES, "skerry.py"}


def test_the_wheel_carries_its_license(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/LICENSE")]
        assert archive.read(name) == (ROOT / "LICENSE").read_bytes()


def test_the_front_door_opens_on_base_dependencies(bare: Path, tmp_path: Path) -> None:
    shown = run(bare / "skerry", "--help", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "watch" in shown.stdout


def test_the_ground_can_watch_on_base_dependencies(bare: Path, tmp_path: Path) -> None:
    shown = run(bare / "skerry", "watch", "--help", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "--broker" in shown.stdout


def test_the_wire_is_described_on_base_dependencies(bare: Path, tmp_path: Path) -> None:
    assert run(bare / "skerry", "schema", "--out", "wire", cwd=tmp_path).returncode == 0
    kept = {path.name: path.read_text() for path in (ROOT / "docs" / "wire").glob("*.json")}
    assert {path.name: path.read_text() for path in (tmp_path / "wire").iterdir()} == kept


def test_base_dependencies_bring_no_pictures_and_no_learning(bare: Path, tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util as u, edge.events\n"
        "heavy = ['numpy', 'cv2', 'onnxruntime', 'av', 'torch', 'onnx']\n"
        "print([name for name in heavy if u.find_spec(name) or name in sys.modules], edge.events.__file__)"
    )
    shown = run(bare / "python", "-c", code, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("[] "), shown.stdout
    assert str(ROOT) not in shown.stdout, "the checkout was imported, not the wheel"


def test_a_verb_that_needs_more_says_what_to_install(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    shown = run(bare / "skerry", "inspect", "bundle", cwd=tmp_path)
    assert shown.returncode == 2
    assert shown.stderr.startswith("skerry: `skerry inspect` needs the package ")
    assert shown.stderr.endswith(": pip install 'skerry[drone]'\n")
