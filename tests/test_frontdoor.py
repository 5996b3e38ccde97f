from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import metadata, version
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

import skerry
from edge.errors import (
    BrokerError,
    BundleError,
    CameraError,
    FootageError,
    SettingsError,
    SkerryError,
    UsageError,
)

NEEDS = {"train": "torch", "features": "onnx", "export": "onnx", "demo": "torch"}
RunVerb = Callable[..., tuple[int, str]]


def family(root: type[SkerryError]) -> Iterator[type[SkerryError]]:
    yield root
    for child in root.__subclasses__():
        yield from family(child)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunVerb:
    """Run `skerry probe` with `error` raised by the verb; returns exit code and what went to stderr."""

    def run(error: BaseException, extra: str = "drone") -> tuple[int, str]:
        def verb() -> None:
            raise error

        module: Any = ModuleType("probe_cli")
        module.probe = verb
        monkeypatch.setitem(sys.modules, "probe_cli", module)
        monkeypatch.setitem(skerry.VERBS, "probe", skerry.Verb("probe_cli", "probe", extra, "", ""))
        monkeypatch.setattr(sys, "argv", ["skerry", "probe"])
        with pytest.raises(SystemExit) as end:
            skerry.main()
        assert isinstance(end.value.code, int)
        return end.value.code, capsys.readouterr().err

    return run


def invoke(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "skerry", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_lists_every_verb_with_what_it_does() -> None:
    shown = CliRunner().invoke(skerry.build(None), ["--help"], terminal_width=200, prog_name="skerry")
    assert shown.exit_code == 0
    for name, verb in skerry.VERBS.items():
        assert any(name in line.split() and verb.help in line for line in shown.output.splitlines()), name


def test_help_names_every_exit_code() -> None:
    shown = CliRunner().invoke(skerry.build(None), ["--help"], terminal_width=200).output
    codes = {error.exit_code for error in family(SkerryError) if error.__module__ == "edge.errors"}
    assert codes == {2, 3, 4, 70}
    for code in codes:
        assert f" {code} " in shown.partition("Exit codes:")[2]


@pytest.mark.parametrize("name", skerry.VERBS)
def test_every_verb_explains_itself(name: str) -> None:
    needed = NEEDS.get(name, "pydantic")
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    shown = CliRunner().invoke(skerry.build(name), [name, "--help"], prog_name="skerry")
    assert shown.exit_code == 0, shown.output
    assert f"Usage: skerry {name}" in shown.output


def test_every_verb_names_an_extra_that_pip_knows() -> None:
    known = set(metadata("skerry").get_all("Provides-Extra") or ())
    assert {verb.extra for verb in skerry.VERBS.values()} <= known | {""}


def test_the_version_is_that_of_the_distribution() -> None:
    shown = invoke("--version")
    assert (shown.returncode, shown.stdout) == (0, f"skerry {version('skerry')}\n")


def test_without_a_verb_it_shows_the_help_and_says_that_this_was_not_it() -> None:
    shown = invoke()
    assert shown.returncode == 2
    assert "watch" in shown.stdout + shown.stderr


def test_a_mistyped_verb_is_one_sentence_with_the_nearest_verb() -> None:
    shown = invoke("wach")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == "skerry: no verb 'wach' (did you mean watch?); `skerry --help` lists them\n"


def test_a_verb_like_no_other_is_one_sentence_without_a_guess() -> None:
    shown = invoke("xyzzy")
    assert shown.returncode == 2
    assert shown.stderr == "skerry: no verb 'xyzzy'; `skerry --help` lists them\n"


@pytest.mark.parametrize("words", [["--nope"], ["schema", "--nope"], ["schema", "--out"]])
def test_a_wrong_option_is_a_usage_error_without_a_traceback(words: list[str]) -> None:
    shown = invoke(*words)
    assert shown.returncode == 2
    assert words[-1] in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError, 2),
        (SettingsError, 2),
        (FootageError, 2),
        (BundleError, 3),
        (CameraError, 4),
        (BrokerError, 70),
        (SkerryError, 70),
    ],
)
def test_an_error_of_the_family_is_its_sentence_and_its_exit_code(
    probe: RunVerb, error: type[SkerryError], code: int
) -> None:
    assert probe(error("the kettle is cold; light the stove")) == (
        code,
        "skerry: the kettle is cold; light the stove\n",
    )


def test_a_missing_package_names_the_extra_that_brings_it(probe: RunVerb) -> None:
    missing = ModuleNotFoundError("No module named 'cv2'", name="cv2")
    assert probe(missing) == (
        2,
        "skerry: `skerry probe` needs the package cv2: pip install 'skerry[drone]'\n",
    )


def test_a_missing_module_of_our_own_is_a_fault_and_looks_like_one(probe: RunVerb) -> None:
    with pytest.raises(ModuleNotFoundError):
        probe(ModuleNotFoundError("No module named 'edge.nothing'", name="edge.nothing"))


def test_ctrl_c_ends_without_a_traceback(probe: RunVerb) -> None:
    code, said = probe(KeyboardInterrupt())
    assert code == 130
    assert "Traceback" not in said


def test_what_nobody_foresaw_is_shown_whole_and_leaves_with_70(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(verb: str | None) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(skerry, "build", broken)
    monkeypatch.setattr(sys, "argv", ["skerry", "watch"])
    with pytest.raises(SystemExit) as left:
        skerry.main()
    assert left.value.code == 70
    assert "ZeroDivisionError: a defect" in capsys.readouterr().err
