"""What a run leaves behind: a Markdown table and JSON, with machine, versions and date."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
import sysconfig
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .processes import janus_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGES = ("aiortc", "aiohttp", "av", "pylibsrtp", "uvloop", "pyOpenSSL")


def machine() -> dict[str, str]:
    """Return where and with what the figures were made."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": f"{os.cpu_count()} x {model[1] if model else platform.machine()}",
        "kernel": platform.release(),
        "python": f"{platform.python_version()} ({python_build()})",
        "janus": janus_version() or "not installed",
        **{name: version(name) for name in PACKAGES},
    }


def python_build() -> str:
    """Return what decides the interpreter's speed: its compiler, and whether it was optimised by profile.

    Without `--enable-optimizations`, which is the default of CPython's `configure`, it is a slower one.
    """
    words = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    chosen = [option for option in ("--enable-optimizations", "--with-lto") if option in words]
    return f"{platform.python_compiler()}, {' '.join(chosen) or 'without --enable-optimizations'}"


def write(output: Path, results: Mapping[str, Sequence[Mapping[str, Any]]], notes: Mapping[str, Sequence[str]]) -> Path:
    """Add these scenarios' results to what the folder holds; return the table's path.

    Scenarios that were not run this time keep their older rows, each with its own machine and date.
    """
    output.mkdir(parents=True, exist_ok=True)
    data = output / "results.json"
    kept: dict[str, Any] = json.loads(data.read_text()) if data.exists() else {}
    where = machine()
    for name, rows in results.items():
        kept[name] = {"machine": where, "rows": list(rows), "notes": list(notes.get(name, ()))}
    data.write_text(json.dumps(kept, indent=1) + "\n")
    table = output / "results.md"
    table.write_text("\n".join(_sections(kept)))
    return table


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a Markdown table; columns are those of all rows, in order of appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row if any(r.get(name) is not None for r in rows)))
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(row.get(name)) for name in columns)} |" for row in rows]
    return "\n".join(lines)


def _sections(kept: Mapping[str, Any]) -> list[str]:
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. What the columns mean is in `tests/benchmarks/README.md`.",
        "",
    ]
    for name, result in kept.items():
        where = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
        lines += [f"## {name}", "", where, "", markdown(result["rows"]), ""]
        lines += [f"- {note}" for note in result["notes"]]
        if result["notes"]:
            lines.append("")
    return lines


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
