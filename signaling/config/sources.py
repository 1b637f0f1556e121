"""Where settings come from: a flag wins over the environment, which wins over the file, which wins over the default."""

from __future__ import annotations

import argparse
import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import ValidationError

from .model import ENV_PREFIX, ServerConfig, env_name, extra, flag_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONFIG_FLAG = "--config"
CONFIG_VARIABLE = ENV_PREFIX + "CONFIG"
OTHER_VARIABLES = frozenset(
    {CONFIG_VARIABLE, *(ENV_PREFIX + name for name in ("SERVER", "TOKEN", "TLS_FINGERPRINT", "UNPACK_DIR"))}
)
"""Variables with the prefix that are no setting of the server: the clients' commands' and the one-file build's."""
MAX_FILE_BYTES = 256 * 1024
"""The example with every setting and its description has 20 kB."""
MAX_SHOWN_CHARS = 200
"""Of a wrong value: a person recognises it by less."""

DEFAULT_ORIGIN = "default"

_NEVER_EMPTY = ("auth_secret", "auth_secret_file", "auth_public_key_file")
"""An empty variable counts as none; for these a typing error elsewhere (`$UNSET`) would open the server to all."""
_METAVARS: Mapping[object, str] = {int: "NUMBER", float: "SECONDS", str: "ADDRESS"}


class ConfigError(Exception):
    """A setting that cannot be used; the text names it, what was given and what is allowed."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and where each comes from."""

    settings: ServerConfig
    origins: Mapping[str, str]
    """By field: `flag --port`, `environment AIOSFU_PORT`, `file /etc/aiosfu.toml` or `default`."""
    file: Path | None = None
    unknown_variables: tuple[str, ...] = ()
    """Variables with our prefix that are no setting, with what may have been meant."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and a flag for every field. What is not given is absent from the result."""
    parser.add_argument(
        CONFIG_FLAG,
        dest="config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help=f"TOML file with settings; `aiosfu config --example` prints one ({CONFIG_VARIABLE})",
    )
    for name, field in ServerConfig.model_fields.items():
        options: dict[str, Any] = {
            "dest": name,
            "default": argparse.SUPPRESS,
            "help": f"{field.description} ({_default_text(field.default)}{env_name(name)})",
        }
        if field.annotation is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif get_origin(field.annotation) is tuple:
            options |= {"action": "append", "metavar": extra(name).get("metavar", "ADDRESS")}
        elif get_origin(field.annotation) is Literal:
            options["metavar"] = "|".join(get_args(field.annotation))
        else:
            options["metavar"] = extra(name).get("metavar") or _METAVARS.get(field.annotation, "VALUE")
        parser.add_argument(flag_name(name), **options)


def load(flags: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    """Return the settings, or raise `ConfigError` for the first that cannot be used.

    `flags` is what the parser of `add_arguments` found; what in it is no setting is ignored.
    """
    given = flags.get("config") or environ.get(CONFIG_VARIABLE)
    file = None if not given else _File(Path(str(given)))
    values: dict[str, object] = {}
    origins = dict.fromkeys(ServerConfig.model_fields, DEFAULT_ORIGIN)
    for name in ServerConfig.model_fields:
        if name in flags:
            values[name], origins[name] = flags[name], f"flag {flag_name(name)}"
        elif environ.get(env_name(name)):
            values[name], origins[name] = environ[env_name(name)], f"environment {env_name(name)}"
        elif env_name(name) in environ and name in _NEVER_EMPTY:
            raise ConfigError(f"{env_name(name)}: it is empty, which would turn auth off; unset it if that is meant")
        elif file is not None and name in file.values:
            values[name], origins[name] = file.value(name), f"file {file.path}"
    try:
        settings = ServerConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            raise ConfigError(str(first["ctx"]["error"])) from None
        name = str(first["loc"][0])
        where = file.where(name) if file is not None and origins[name].startswith("file") else None
        raise ConfigError(_explain(name, first["input"], where)) from None
    return Loaded(settings, origins, None if file is None else file.path, _unknown_variables(environ))


class _File:
    """A TOML file whose keys are fields' names. Raises `ConfigError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
            if len(content) > MAX_FILE_BYTES:
                raise ConfigError(f"{path}: expected at most {MAX_FILE_BYTES} bytes")
            self._text = content.decode()
            self.values: dict[str, Any] = tomllib.loads(self._text)
        except OSError as error:
            raise ConfigError(f"{CONFIG_FLAG} ({CONFIG_VARIABLE}): cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: expected a TOML file, which is UTF-8 text") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: expected a TOML file: {error}") from None
        for name, value in self.values.items():
            self._check(name, value)

    def value(self, name: str) -> object:
        """Return a field's value; the path of another file counts from this one's directory."""
        value = self.values[name]
        if extra(name).get("metavar") != "FILE":
            return value
        paths = [value] if isinstance(value, str) else value if isinstance(value, list) else None
        if paths is None or not all(isinstance(path, str) and path for path in paths):
            return value  # it is refused with its own words
        found = [str(self.path.parent / path) for path in paths]
        return found[0] if isinstance(value, str) and _is_single(name) else found

    def where(self, name: str) -> str:
        """Return the place of a key, for people."""
        match = re.search(rf"^[ \t]*[\"']?{re.escape(name)}[\"']?[ \t]*=", self._text, re.MULTILINE)
        line = "" if match is None else f", line {self._text.count(chr(10), 0, match.start()) + 1}"
        return f"{self.path}{line}"

    def _check(self, name: str, value: object) -> None:
        field = ServerConfig.model_fields.get(name)
        if field is None:
            section = "; settings are in no section" if isinstance(value, dict) else ""
            raise ConfigError(f"{self.where(name)}: {name!r} is no setting{section}{_nearest(name)}")
        if isinstance(value, bool) and field.annotation is not bool:  # which Python would count as 1 or 0
            raise ConfigError(_explain(name, str(value).lower(), self.where(name)))


def _is_single(name: str) -> bool:
    return get_origin(ServerConfig.model_fields[name].annotation) is not tuple


def _explain(name: str, given: object, where: str | None) -> str:
    notes = extra(name)
    # A password must not end up on a screen or in a log.
    shown = "***" if "secret" in notes else re.sub(r"(turns?:).*@", r"\1***@", str(given))[:MAX_SHOWN_CHARS]
    place = f"{flag_name(name)} ({env_name(name)})" if where is None else f"{where}: {name}"
    return f"{place}: got {shown!r}, expected {notes['allowed']}"


def _nearest(name: str, spelt: Callable[[str], str] = str) -> str:
    found = difflib.get_close_matches(name.lower().replace("-", "_"), ServerConfig.model_fields, n=1)
    return f"; did you mean {spelt(found[0])!r}?" if found else "; `aiosfu config --example` shows them all"


def _unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    known = {env_name(name) for name in ServerConfig.model_fields} | OTHER_VARIABLES
    return tuple(
        f"{name} is no setting{_nearest(name.removeprefix(ENV_PREFIX), env_name)}"
        for name in sorted(environ)
        if name.startswith(ENV_PREFIX) and name not in known
    )


def _default_text(default: object) -> str:
    return "" if default in ((), False, None) else f"default {default}; "
