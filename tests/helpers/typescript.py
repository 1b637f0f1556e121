"""The types of the browser library, checked by `tsc --strict` and shipped as `.d.ts`.

`python -m tests.helpers.typescript --check` fails on a type error or on declarations that are not up to date;
`--write` brings them up to date. Both install the compiler where it is missing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers import npm

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "7.0.2"
"""Pinned: another version may find other errors and words declarations differently."""

SOURCES = Path(__file__).parents[2] / "static" / "js"
LIBRARIES = ("aiosfu.js", "webrtc-stream.js")
"""What they import, and nothing else, is shipped with declarations."""

CHECK = (
    "--allowJs",
    "--checkJs",
    "--strict",
    "--noUnusedLocals",
    "--noUnusedParameters",
    "--noImplicitReturns",
    "--noFallthroughCasesInSwitch",
    "--target",
    "es2022",
    "--module",
    "es2022",
    "--moduleResolution",
    "bundler",
    "--lib",
    "es2023,dom,dom.iterable",
    "--types",
    "",
)
DECLARE = ("--declaration", "--emitDeclarationOnly", "--stripInternal")


class TypesError(Exception):
    """The declarations are out of date; the text says what to do."""


def install_compiler() -> list[str]:
    """Return the command that runs the compiler, after installing it beside the Python that runs this."""
    return [npm.program("node"), str(npm.package("typescript", VERSION) / "bin" / "tsc")]


def build(compiler: Sequence[str], directory: Path) -> dict[str, str]:
    """Check every module and return the library's declarations by file name; raise `npm.ToolError` on a type error.

    The modules are copied without the declarations that are there: those would be believed instead of the sources.
    """
    sources = directory / "js"
    sources.mkdir()
    for source in SOURCES.glob("*.js"):
        shutil.copy(source, sources)
    modules = sorted(str(source) for source in sources.glob("*.js"))
    npm.run([*compiler, *CHECK, "--noEmit", *modules])
    declarations = directory / "types"
    npm.run([*compiler, *CHECK, *DECLARE, "--outDir", str(declarations), *(str(sources / name) for name in LIBRARIES)])
    return {path.name: path.read_text() for path in declarations.glob("*.d.ts")}


def check(declarations: dict[str, str]) -> None:
    """Raise `TypesError` where the shipped declarations differ."""
    shipped = {path.name: path.read_text() for path in SOURCES.glob("*.d.ts")}
    names = sorted(shipped.keys() | declarations.keys())
    changed = [name for name in names if shipped.get(name) != declarations.get(name)]
    if changed:
        raise TypesError(f"the modules in static/js have other types than {', '.join(changed)}: run `make types`.")


def write(declarations: dict[str, str]) -> None:
    """Replace the shipped declarations."""
    for stale in SOURCES.glob("*.d.ts"):
        stale.unlink()
    for name, text in declarations.items():
        (SOURCES / name).write_text(text)


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.helpers.typescript", description="The library's types.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="fail when they are wrong or out of date")
    what.add_argument("--write", action="store_true", help="bring them up to date")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as directory:
            declarations = build(install_compiler(), Path(directory))
        if arguments.write:
            write(declarations)
        else:
            check(declarations)
    except (TypesError, npm.ToolError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
