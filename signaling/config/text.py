"""Settings as text: the effective ones with their origin, an example file, and the table in the documentation."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING
from urllib.parse import quote

from .model import ServerConfig, env_name, extra, flag_name
from .sources import CONFIG_FLAG, CONFIG_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .sources import Loaded

MASK = "***"
COMMENT_CHARS = 118
"""Of a line of the example's descriptions."""
ORIGIN_COLUMN = 46
"""Where the origins begin, behind all values but the longest."""

HEADINGS: Mapping[str, str] = {
    "host": "Addresses and ports",
    "ice_server": "STUN and TURN",
    "log_level": "Running it",
    "auth_secret": "Who may connect",
    "admin_network": "Watching over it",
    "max_sessions": "Limits",
    "heartbeat_interval": "Times",
}
"""By the first setting under it."""


def effective(loaded: Loaded) -> str:
    """Return the settings as TOML, each with where it comes from; secrets are masked."""
    lines = []
    for name in ServerConfig.model_fields:
        value = getattr(loaded.settings, name)
        shown = f"# {name} is not set" if value in (None, ()) else f"{name} = {_toml(name, value, masked=True)}"
        lines.append(f"{shown:<{ORIGIN_COLUMN}}  # {loaded.origins[name]}")
    return "\n".join(lines) + "\n"


def example() -> str:
    """Return a TOML file in which every setting is described and commented out."""
    lines = [
        "# The settings of `aiosfu serve --config FILE`. A line such as #name = value shows the default, or the form",
        "# of a value where the default is none. Flags and environment variables go before this file. Paths count from",
        "# its directory. On SIGHUP it is read again, and settings marked [reload] change without a restart.",
    ]
    for name, field in ServerConfig.model_fields.items():
        if name in HEADINGS:
            lines += ["", f"# --- {HEADINGS[name]} ---"]
        mark = " [reload]" if extra(name).get("reload") else ""
        text = f"{field.description}: {extra(name)['allowed']}{mark}"
        lines += ["", *(f"# {line}" for line in textwrap.wrap(text, COMMENT_CHARS))]
        lines.append(f"#{name} = {_example_value(name)}")
    return "\n".join(lines) + "\n"


def table() -> str:
    """Return all settings as Markdown tables under their headings."""
    return "\n".join(_table_lines()) + "\n"


def _table_lines() -> Iterator[str]:
    yield "| flag | variable | default | what | allowed |"
    yield "|---|---|---|---|---|"
    yield f"| `{CONFIG_FLAG}` | `{CONFIG_VARIABLE}` | | TOML file with the rest | a file that can be read |"
    for name, field in ServerConfig.model_fields.items():
        if name in HEADINGS:
            yield f"| **{HEADINGS[name]}** | | | | |"
        default = "" if field.default in (None, ()) else f"`{_toml(name, field.default, masked=False)}`"
        mark = " (reload)" if extra(name).get("reload") else ""
        cells = (f"`{flag_name(name)}`", f"`{env_name(name)}`", default, f"{field.description}{mark}", _allowed(name))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _allowed(name: str) -> str:
    return str(extra(name)["allowed"])


def _example_value(name: str) -> str:
    field = ServerConfig.model_fields[name]
    if field.default not in (None, ()):
        return _toml(name, field.default, masked=False)
    value = json.dumps(extra(name).get("metavar", "ADDRESS"))
    return value if field.default is None else f"[{value}]"


def _toml(name: str, value: object, *, masked: bool) -> str:
    """Return a value as TOML has it."""
    if masked and "secret" in extra(name):
        return json.dumps(MASK)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(name, item, masked=masked) for item in value) + "]"
    if isinstance(value, dict):
        return json.dumps(_ice_server(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) and not value.is_integer() else str(int(value))
    return json.dumps(str(value))  # whose strings are TOML's too


def _ice_server(server: Mapping[str, str]) -> str:
    """Return an RTCIceServer dictionary as it was given, without its password."""
    scheme, _, rest = server["urls"].partition(":")
    user = f"{quote(server['username'], safe='')}:{MASK}@" if "username" in server else ""
    return f"{scheme}:{user}{rest}"
