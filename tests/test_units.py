from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest
from pydantic import BaseModel

from edge.errors import BundleError, CameraError, SettingsError, SkerryError, UsageError
from edge.settings import Settings

SYSTEMD = Path(__file__).parent.parent / "systemd"
UNIT = SYSTEMD / "skerry.service"
ENGINE = SYSTEMD / "skerry-engine.service"
EXAMPLE = SYSTEMD / "skerry.toml"
SYSUSERS = SYSTEMD / "skerry.sysusers"

analyze = shutil.which("systemd-analyze")
sysusers = shutil.which("systemd-sysusers")
needs_analyze = pytest.mark.skipif(analyze is None, reason="systemd-analyze is not installed")


def unit(file: Path = UNIT) -> ConfigParser:
    """Strict: a key given twice is an error."""
    parser = ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(file.read_text())
    return parser


def verify(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Plain `verify` returns 0 on a misspelt key; without recursion into other units it returns 1."""
    assert analyze is not None
    file = folder / "skerry.service"
    file.write_text(text)
    command = [analyze, "verify", "--man=no", "--recursive-errors=no", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def installed(file: Path = UNIT) -> str:
    """The unit with a program that exists here, as on a drone where it is installed."""
    return file.read_text().replace("/opt/skerry/.venv/bin/skerry", sys.executable)


@needs_analyze
@pytest.mark.parametrize("file", [UNIT, ENGINE], ids=lambda file: file.name)
def test_systemd_finds_nothing_wrong_with_the_unit(file: Path, tmp_path: Path) -> None:
    assert "/opt/skerry/.venv/bin/skerry" in file.read_text()
    verdict = verify(tmp_path, installed(file))
    assert (verdict.returncode, verdict.stderr) == (0, "")


@needs_analyze
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("WatchdogSec=", "WatchdogSecs="),
        ("RestartSec=5", "RestartSec=soon"),
        ("[Service]", "[Servcie]"),
        (f"ExecStart={sys.executable}", "ExecStart=/nowhere/skerry"),
    ],
)
def test_systemd_does_find_what_is_wrong_with_a_spoilt_unit(tmp_path: Path, right: str, wrong: str) -> None:
    assert right in installed()
    verdict = verify(tmp_path, installed().replace(right, wrong))
    assert verdict.returncode != 0 or verdict.stderr


def test_the_unit_is_ready_when_the_daemon_says_so_and_is_watched_from_then_on() -> None:
    service = unit()["Service"]
    assert (service["Type"], service["NotifyAccess"], service["WatchdogSec"]) == ("notify", "main", "30")
    assert service["TimeoutStartSec"] not in ("0", "infinity"), (
        "nothing else ends a camera that hangs on opening"
    )


def test_systemd_tries_again_on_every_exit_code_that_trying_again_may_heal() -> None:
    service = unit()["Service"]
    final = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert service["Restart"] == "always"
    assert unit()["Unit"]["StartLimitIntervalSec"] == "0"
    assert final == {UsageError.exit_code, SettingsError.exit_code, BundleError.exit_code}
    assert not final & {0, CameraError.exit_code, SkerryError.exit_code}


def test_the_daemon_runs_as_its_own_user_who_may_use_cameras_and_the_gpu() -> None:
    service = unit()["Service"]
    lines = [shlex.split(line, comments=True) for line in SYSUSERS.read_text().splitlines()]
    made = {words[1] for words in lines if words and words[0] == "u"}
    member = {words[2] for words in lines if words and words[:2] == ["m", service["User"]]}
    assert made == {service["User"]} == {service["Group"]}
    assert "root" not in made
    assert set(service["SupplementaryGroups"].split()) == {"video", "render"} == member


@pytest.mark.skipif(sysusers is None or os.geteuid() != 0, reason="systemd-sysusers and root make users only")
def test_sysusers_makes_the_user_and_its_groups(tmp_path: Path) -> None:
    assert sysusers is not None
    (tmp_path / "etc").mkdir()
    made = subprocess.run(
        [sysusers, f"--root={tmp_path}", str(SYSUSERS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert re.search(
        r"^skerry:.*:/var/lib/skerry:.*nologin$", (tmp_path / "etc/passwd").read_text(), re.MULTILINE
    )
    groups = (tmp_path / "etc/group").read_text()
    for group in ("video", "render"):
        assert re.search(rf"^{group}:.*\bskerry$", groups, re.MULTILINE)


@pytest.fixture
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SKERRY_")]:
        monkeypatch.delenv(name)


def commented_in() -> str:
    return re.sub(r"^#(?=\w+ = )", "", EXAMPLE.read_text(), flags=re.MULTILINE)


def given(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, object, object]]:
    """(name, value, default) of every option that was set, sections opened."""
    for name in model.model_fields_set:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from given(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value, type(model).model_fields[name].get_default()


@pytest.mark.usefixtures("_no_variables")
def test_the_example_settings_are_right_and_keep_the_state_where_the_unit_lets_them() -> None:
    settings = Settings.load(file=EXAMPLE)
    assert settings.state_dir == Path("/var/lib") / unit()["Service"]["StateDirectory"]
    assert settings.broker.tls


@pytest.mark.usefixtures("_no_variables")
def test_what_the_example_comments_out_is_right_too_and_is_the_default(tmp_path: Path) -> None:
    whole = tmp_path / "skerry.toml"
    whole.write_text(commented_in())
    active = {name for name, _, _ in given(Settings.load(file=EXAMPLE))}
    shown = [entry for entry in given(Settings.load(file=whole)) if entry[0] not in active]
    assert len(shown) > 5
    for name, value, default in shown:
        assert default in (None, value), name


def test_the_unit_starts_the_daemon_on_the_example_where_it_says_to_install_it() -> None:
    words = shlex.split(unit()["Service"]["ExecStart"])
    assert words[1:3] == ["run", "--settings"]
    assert f"install as {words[3]}. " in EXAMPLE.read_text().splitlines()[0]


def test_the_credential_that_the_unit_offers_is_the_one_that_the_example_names() -> None:
    offered = re.search(r"^#LoadCredential=([\w-]+):", UNIT.read_text(), re.MULTILINE)
    assert offered is not None
    assert f'password_file = "{offered[1]}"' in EXAMPLE.read_text()


def test_the_engine_is_built_before_the_daemon_starts_and_cannot_keep_it_from_starting() -> None:
    built = unit(ENGINE)
    assert built["Service"]["Type"] == "oneshot"
    assert built["Unit"]["Before"] == built["Install"]["WantedBy"] == UNIT.name
    assert "RemainAfterExit" not in built["Service"], (
        "after a new bundle a restart of the daemon builds again"
    )
    assert "Requires" not in UNIT.read_text()


def test_the_engine_is_built_for_the_daemon_where_the_daemon_looks() -> None:
    daemon, built = unit()["Service"], unit(ENGINE)["Service"]
    shared = ("User", "Group", "SupplementaryGroups", "StateDirectory", "WorkingDirectory", "UMask")
    assert {key: built[key] for key in shared} == {key: daemon[key] for key in shared}
    words, flown = shlex.split(built["ExecStart"]), shlex.split(daemon["ExecStart"])
    assert (words[1:4], words[4]) == (["engine", "build", "--settings"], flown[3])
