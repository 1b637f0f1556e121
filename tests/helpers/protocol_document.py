"""The parts of `signaling/PROTOCOL.md` that are made from the code, and the parts that tests run.

`python -m tests.helpers.protocol_document --write` brings the tables of events up to date; a test fails while they
are not.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signaling.events import schema
from signaling.events.codes import Role
from signaling.events.inbound import EVENTS
from signaling.events.outbound import Track

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

DOCUMENT = Path(__file__).parents[2] / "signaling" / "PROTOCOL.md"
MAX_LISTED_VALUES = 8
"""The error codes are more, and have a table of their own."""
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    """Return the document's code blocks in one language, in order, as they stand."""
    return [body for name, body in _BLOCK.findall(DOCUMENT.read_text()) if name == language]


def rows(first_header: str) -> list[list[str]]:
    """Return the cells of the table whose header row begins with `first_header`."""
    lines = iter(DOCUMENT.read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first_header} |"):
            break
    else:
        raise AssertionError(f"{DOCUMENT.name} has no table that begins with {first_header!r}")
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found[1:]


def with_tables(text: str) -> str:
    """Return the document's text with its tables as the models have them."""
    return _TABLE.sub(lambda match: match[1] + _RENDERERS[match[2]]() + match[3], text)


def _clients() -> str:
    lines = ["| client's event | who | data | what |", "|---|---|---|---|"]
    for model in schema.inbound_models():
        roles = [str(role) for role in Role if model.event in EVENTS[role]]
        who = roles[0] if len(roles) == 1 else "both"
        lines.append(f"| `{model.event}` | {who} | {_data(model)} | {_sentence(model)} |")
    return "\n".join(lines) + "\n"


def _servers() -> str:
    lines = ["| server's event | data | what |", "|---|---|---|"]
    lines += [f"| `{model.event}` | {_data(model)} | {_sentence(model)} |" for model in schema.outbound_models()]
    return "\n".join(lines) + "\n"


_RENDERERS = {"clients": _clients, "server": _servers}


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(model) or "").split("\n\n", 1)[0].split()).replace("|", "\\|")


def _data(model: type[BaseModel]) -> str:
    shape = _shape(schema.protocol_schema()["$defs"][model.__name__])
    return f"`{shape}`"


def _shape(definition: dict[str, Any]) -> str:
    required = definition.get("required", ())
    fields = []
    for name, field in definition.get("properties", {}).items():
        fields.append(f"{name}{'' if name in required else '?'}: {_type(field)}")
    return "{" + ", ".join(fields) + "}"


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return _named_type(field["$ref"].rsplit("/", 1)[1])
    if "anyOf" in field:
        is_optional = "default" in field  # it may be null as well as missing, which the question mark covers
        choices = [choice for choice in field["anyOf"] if not (is_optional and choice == {"type": "null"})]
        return " or ".join(map(_type, choices))
    if "const" in field or "enum" in field:
        values = field.get("enum", [field.get("const")])
        return "code" if len(values) > MAX_LISTED_VALUES else " or ".join(f'"{value}"' for value in values)
    return f"[{_type(field['items'])}]" if field["type"] == "array" else str(field["type"])


def _named_type(name: str) -> str:
    if name == Track.__name__:
        return "track"  # in three events: the document explains it once
    definition = schema.protocol_schema()["$defs"][name]
    return _type(definition) if "enum" in definition else _shape(definition)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.helpers.protocol_document")
    parser.add_argument("--write", action="store_true", required=True, help="bring the tables up to date")
    parser.parse_args(arguments)
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
