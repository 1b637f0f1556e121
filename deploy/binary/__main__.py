"""Make the one-file build: `python -m deploy.binary [--output FILE]`."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from signaling.doctor.system import PACKAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
MAX_BYTES = 120_000_000
STEP_TIMEOUT_SECONDS = 900.0
"""For one step; all of them take a minute or two, on a machine that does nothing else."""
COMPRESSION_LEVEL = 9
"""Of gzip, which every machine can read: xz saves a fifth of the bytes and takes three times as long to unpack."""
UNUSED_MODULES = ("tkinter", "readline", "setuptools", "pkg_resources", "mypy", "IPython", "PIL", "numpy")
"""What the libraries would import where it is there."""


class BuildError(Exception):
    """A step that failed; the text has the end of its output."""


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.binary", description="Make the one-file build.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "aiosfu", help="the file (default dist/aiosfu)")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "binary", help="folder for what is in between")
    arguments = parser.parse_args()
    try:
        size = build(arguments.output.absolute(), arguments.work.absolute())
    except BuildError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{arguments.output}: {size / 1e6:.0f} MB\n")
    return 0


def build(output: Path, work: Path) -> int:
    """Write the file; return its size in bytes. `work` is emptied first. Raises `BuildError`."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    python = _installed_wheel(work)
    _freeze(python, work)
    folder = work / "frozen" / "aiosfu"
    archive = work / "archive.tar.gz"
    files = _pack(folder, archive)
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(output.name + ".unfinished")
    with unfinished.open("wb") as target, archive.open("rb") as source:
        target.write(_launcher(archive, files))
        shutil.copyfileobj(source, target)
    unfinished.chmod(0o755)
    size = unfinished.stat().st_size
    if size > MAX_BYTES:
        raise BuildError(f"the file has {size / 1e6:.0f} MB, expected at most {MAX_BYTES / 1e6:.0f}")
    unfinished.replace(output)
    return size


def _installed_wheel(work: Path) -> Path:
    """Return a Python that has the wheel, PyInstaller, and nothing else: what is not declared is not found."""
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(work / "wheel")])
    (wheel,) = (work / "wheel").glob("*.whl")
    venv.create(work / "venv", with_pip=True, symlinks=True)
    python = work / "venv" / "bin" / "python"
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[binary]"])
    return python


def _freeze(python: Path, work: Path) -> None:
    whole = [option for package in ("signaling", "sfu") for option in ("--collect-submodules", package)]
    unused = [option for module in UNUSED_MODULES for option in ("--exclude-module", module)]
    # A package without its metadata has no version; the doctor shows these.
    versions = [option for package in PACKAGES for option in ("--copy-metadata", package)]
    _run(
        [
            *(str(python), "-m", "PyInstaller", str(HERE / "entry.py"), "--name", "aiosfu", "--onedir", "--noconfirm"),
            *("--log-level", "WARN", "--distpath", str(work / "frozen"), "--workpath", str(work / "pyinstaller")),
            *("--specpath", str(work), "--collect-data", "signaling", *versions, *whole, *unused),
        ],
        work,  # in the checkout PyInstaller would find its packages instead of the wheel's
    )


def _pack(folder: Path, archive: Path) -> int:
    """Write a folder as a .tar.gz that is the same for the same files; return how many regular files it has."""
    paths = sorted(folder.rglob("*"))
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", COMPRESSION_LEVEL, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in paths:
            tar.add(path, path.relative_to(folder), recursive=False, filter=_plain)
    return sum(path.is_file() and not path.is_symlink() for path in paths)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def _launcher(archive: Path, files: int) -> bytes:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    script = (HERE / "launcher.sh").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    values = {
        "VERSION": version,
        "PLATFORM": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())} or later",
        "ID": digest[:16],
        "FILES": str(files),
        "LINES": str(script.count("\n") + 1),
    }
    for name, value in values.items():
        script = script.replace(f"@{name}@", value)
    return script.encode()


def _run(command: Sequence[str], folder: Path = ROOT) -> None:
    # The hash seed makes PyInstaller's archive the same each time.
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": ""}
    done = subprocess.run(  # noqa: S603  commands of this file
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=STEP_TIMEOUT_SECONDS, check=False
    )
    if done.returncode != 0:
        raise BuildError(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:] or done.stdout[-3000:]}"
        )


if __name__ == "__main__":
    sys.exit(main())
