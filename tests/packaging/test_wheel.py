"""The sdist and the wheel that is built from it, installed by pip into a clean virtual environment.

What the package depends on is borrowed from the environment of the tests, so that this takes no network;
`make binary` installs the same wheel with all it declares.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from .stage import Installed, check_browser, check_snapshot

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sdist and the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    # Without isolation: the backend is one of the tests' own dependencies. The wheel is built from the sdist.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT))
    return folder


@pytest.fixture(scope="module")
def program(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", symlinks=True)
    (wheel,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--python", str(folder / "venv"), "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    # A path file adds the folder and nothing that is there by another path file, as this checkout is.
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed((str(folder / "venv" / "bin" / "aiosfu"),), folder, {})


def run(*command: str) -> str:
    done = subprocess.run(command, cwd="/", env={}, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pages(names: list[str], folder: str) -> set[str]:
    return {name.removeprefix(folder) for name in names if name.startswith(folder) and not name.endswith("/")}


def test_wheel_and_sdist_have_every_page_and_nothing_of_the_machine(built: Path) -> None:
    here = {str(path.relative_to(ROOT / "static")) for path in (ROOT / "static").rglob("*") if path.is_file()}
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    assert pages(names, "signaling/static/") == here
    assert {"sfu/py.typed", "signaling/py.typed"} <= set(names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"sfu", "signaling", "aiosfu"}
    with tarfile.open(sdist) as source:
        members = [member.name.partition("/")[2] for member in source.getmembers() if member.isfile()]
    assert pages(members, "static/") == here
    assert {"Makefile", "LICENSE", "tests/packaging/test_wheel.py"} <= set(members)
    hidden = {name.partition("/")[0] for name in members if name.startswith((".", "build/", "dist/"))}
    assert hidden <= {".ci", ".gitignore"}


async def test_the_installed_command_serves_a_stream(program: Installed) -> None:
    python = str(program.folder / "venv" / "bin" / "python")
    where = await asyncio.to_thread(run, python, "-c", "import sfu, signaling; print(sfu.__file__, signaling.__file__)")
    assert all(path.startswith(str(program.folder)) for path in where.split())
    async with program.serving("--demo") as server:
        await check_browser(server.url)
        await check_snapshot(program, server.url)
