from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from edge.errors import SettingsError
from edge.options import Options, command


class Radio(BaseModel):
    model_config = {"extra": "forbid"}
    uri: str = Field("mqtt://a", description="Where.", json_schema_extra={"flag": "--broker"})
    keepalive: Annotated[int, Field(ge=1)] = Field(20, description="Seconds.")


class Daemon(Options):
    strict_environment: ClassVar[bool] = True
    drone: str = Field(description="Name.")
    fps: Annotated[float, Field(gt=0, le=60)] = Field(2.0, description="Rate.")
    replay: Literal["realtime", "fast"] = Field("realtime", description="How.")
    draw: bool = Field(True, description="Boxes.")
    radio: Radio = Radio()


def toml(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_command_line_wins_over_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toml(tmp_path / "s.toml", 'drone = "file"\nfps = 5\n[radio]\nkeepalive = 7\nuri = "mqtt://file"\n')
    monkeypatch.setenv("SKERRY_FPS", "4")
    monkeypatch.setenv("SKERRY_RADIO_KEEPALIVE", "8")
    found = Daemon.load({"fps": 3.0}, file)
    assert (found.drone, found.fps, found.radio.keepalive, found.radio.uri) == ("file", 3.0, 8, "mqtt://file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('drone = "d"\nfsp = 3', r"s\.toml: unknown setting 'fsp' \(did you mean fps\?\)"),
        (
            'drone = "d"\n[radio]\nkepalive = 3',
            r"unknown setting 'radio\.kepalive' \(did you mean keepalive\?\)",
        ),
        ('drone = "d"\nfps = 0', r"setting fps = 0: .*greater than 0.*--fps, SKERRY_FPS"),
        ('drone = "d"\n[radio]\nkeepalive = 0', r"setting radio\.keepalive = 0: .*SKERRY_RADIO_KEEPALIVE"),
        ('drone = "d"\nreplay = "slow"', r"setting replay = 'slow': .*'realtime' or 'fast'"),
        ("fps = 3", r"setting drone is missing: give --drone, SKERRY_DRONE"),
        ("drone = ", r"s\.toml is not TOML: "),
    ],
)
def test_a_mistake_in_the_file_names_the_setting_and_what_is_right(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        Daemon.load({}, toml(tmp_path / "s.toml", text))


def test_a_mistyped_variable_is_an_error_for_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKERRY_DRONR", "x")
    with pytest.raises(SettingsError, match=r"unknown setting SKERRY_DRONR \(did you mean SKERRY_DRONE\?\)"):
        Daemon.load({"drone": "d"})


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        Daemon.load({"drone": "d"}, tmp_path / "absent.toml")


def test_flags_are_derived_from_the_model() -> None:
    seen: list[Daemon] = []
    app = typer.Typer()
    app.command()(command(Daemon, seen.append))
    arguments = [
        "--drone",
        "d",
        "--no-draw",
        "--broker",
        "mqtt://b",
        "--radio-keepalive",
        "9",
        "--fps",
        "1.5",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (found,) = seen
    assert (found.drone, found.draw, found.fps) == ("d", False, 1.5)
    assert found.radio == Radio(uri="mqtt://b", keepalive=9)


def test_help_shows_every_option_with_its_default() -> None:
    app = typer.Typer()
    app.command()(command(Daemon, lambda _: None))
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    for expected in (
        "--settings",
        "--drone",
        "Required.",
        "--broker",
        "Default: 20.",
        "One of realtime, fast.",
    ):
        assert expected in text


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_hostile_files_raise_nothing_but_settings_errors(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(data)
    with pytest.raises(SettingsError):  # at the very least the drone's name is missing
        Daemon.load({}, file)
