"""Options spelled once, in a settings model: file, environment and command line are derived from it.

A field `keepalive` of the section `broker` is `[broker] keepalive = ...` in the TOML file,
`SKERRY_BROKER_KEEPALIVE` in the environment and `--broker-keepalive` on the command line. The command line
wins over the environment, which wins over the file. A word that is none of these is an error that names
the nearest one that is.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from edge.deferred import defer
from edge.errors import SettingsError, nearest

defer("asyncio")  # for command lines that pydantic-settings could make: a tenth of what it takes to import
from pydantic_settings import (  # noqa: E402
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENV_PREFIX = "SKERRY_"
# Variables that speak to make and the tests, not to a verb.
_NOT_SETTINGS = {"SKERRY_DATA", "SKERRY_SETTINGS"}
S = TypeVar("S", bound="Options")


class Options(BaseSettings):
    """Root of every settings model of a verb; build it with `load`."""

    # The daemon's environment is its own; a person's shell may hold variables of several verbs.
    strict_environment: ClassVar[bool] = False

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,  # SKERRY_BROKER_PASSWORD_FILE is broker.password_file
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, _FileSource(settings_cls, init_settings))

    @classmethod
    def load(cls: type[S], flags: Mapping[str, Any] | None = None, file: Path | None = None) -> S:
        """Merge the layers. `flags` is nested by section. Raises SettingsError, one sentence per mistake."""
        if cls.strict_environment:
            _check_environment(cls)
        from_file = _read_toml(file) if file else {}
        _check_keys(cls, from_file, f"{file}: ")
        try:
            return cls(**{**(flags or {}), _FILE: from_file})
        except ValidationError as error:
            raise SettingsError("; ".join(_sentences(cls, error))) from None


_FILE = "_settings_file_"  # carries the file's content from `load` to the source below


class _FileSource(PydanticBaseSettingsSource):
    """The lowest layer: what the TOML file said."""

    def __init__(self, settings_cls: type[BaseSettings], init: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._content: dict[str, Any] = init.init_kwargs.pop(_FILE, {})  # type: ignore[attr-defined]

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._content.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._content


@dataclass(frozen=True, slots=True)
class Option:
    """One leaf of a settings model."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def flag(self) -> str:
        extra = self.field.json_schema_extra
        given = extra.get("flag") if isinstance(extra, dict) else None
        return str(given or "--" + "-".join(self.path).replace("_", "-"))

    @property
    def variable(self) -> str:
        return ENV_PREFIX + "_".join(self.path).upper()

    @property
    def key(self) -> str:
        return ".".join(self.path)


def leaves(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[Option]:
    """Every option of a model, sections opened one level after another."""
    for name, field in model.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, (*prefix, name))
        else:
            yield Option((*prefix, name), field)


def command(model: type[S], run: Callable[[S], None]) -> Callable[..., None]:
    """A function that typer turns into a command with one flag per option, and `--settings FILE`."""
    options = {"_".join(option.path): option for option in leaves(model)}

    def invoke(settings: Path | None, **given: Any) -> None:
        flags: dict[str, Any] = {}
        for name, value in given.items():
            if value is not None:
                _put(flags, options[name].path, value)
        run(model.load(flags, settings or _settings_from_environment()))

    file = Annotated[Path | None, typer.Option("--settings", help="TOML file with any of these options.")]
    parameters = [_parameter("settings", file)]
    parameters += [_parameter(name, _annotation(option)) for name, option in options.items()]
    invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    invoke.__name__, invoke.__doc__ = run.__name__, run.__doc__
    return invoke


def _settings_from_environment() -> Path | None:
    named = os.environ.get("SKERRY_SETTINGS")
    return Path(named) if named else None


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _annotation(option: Option) -> Any:
    kind, flags = _cli_type(option.field.annotation), [option.flag]
    if kind is bool and not option.flag.startswith("--no-"):
        flags = [f"{option.flag}/--no-{option.flag[2:]}"]
    panel = option.path[0].capitalize() if len(option.path) > 1 else "Options"
    return Annotated[kind | None, typer.Option(*flags, help=_help(option), rich_help_panel=panel)]


def _help(option: Option) -> str:
    default = option.field.get_default(call_default_factory=False)
    text = option.field.description or ""
    choices = _choices(option.field.annotation)
    if choices:
        text += f" One of {', '.join(choices)}."
    if default is PydanticUndefined:
        return f"{text} Required."
    if default in (None, "", ()):
        return text
    return f"{text} Default: {default}."


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(str(value) for value in get_args(annotation))
    return ()


def _cli_type(annotation: Any) -> Any:
    """The plain type that typer shows; pydantic does the validating afterwards."""
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation if annotation in (bool, int, float, Path) else str


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for section in path[:-1]:
        tree = tree.setdefault(section, {})
    tree[path[-1]] = value


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        return content
    except OSError as error:
        raise SettingsError(f"settings file {file}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {file} is not TOML: {error}") from None


def _check_keys(model: type[BaseModel], content: Mapping[str, Any], where: str, prefix: str = "") -> None:
    """Unknown keys are caught before validation, so that the message can name the nearest known one."""
    known = [option.key for option in leaves(model)]
    fields = model.model_fields
    for key, value in content.items():
        if key not in fields:
            near = nearest(key, fields) or nearest(prefix + key, known)
            raise SettingsError(f"{where}unknown setting {prefix + key!r}{near}")
        section = fields[key].annotation
        if isinstance(value, dict) and inspect.isclass(section) and issubclass(section, BaseModel):
            _check_keys(section, value, where, f"{prefix}{key}.")


def _check_environment(model: type[BaseModel]) -> None:
    known = {option.variable for option in leaves(model)} | _NOT_SETTINGS
    known |= {ENV_PREFIX + name.upper() for name in model.model_fields}  # a whole section as JSON
    for name in os.environ:
        if name.startswith(ENV_PREFIX) and name not in known:
            raise SettingsError(f"environment: unknown setting {name}{nearest(name, known)}")


def _sentences(model: type[BaseModel], error: ValidationError) -> Iterator[str]:
    options = {option.path: option for option in leaves(model)}
    for mistake in error.errors(include_url=False):
        path = tuple(str(part) for part in mistake["loc"])
        option = next((options[path[:n]] for n in range(len(path), 0, -1) if path[:n] in options), None)
        if option is None:
            yield f"setting {'.'.join(path) or 'file'}: {mistake['msg']}"
        elif mistake["type"] == "missing":
            yield f"setting {option.key} is missing: give {option.flag}, {option.variable} or set it"
        else:
            given = mistake.get("input")
            shown = "" if given is None else f" = {given!r}"
            yield f"setting {option.key}{shown}: {mistake['msg']} ({option.flag}, {option.variable})"
