"""The program inside the one-file build: hold on to its folder, then be the `aiosfu` command."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import sys
import time
from pathlib import Path

from signaling.cli import main

OLD_SECONDS = 24 * 3600.0
"""Another build's folder that nobody has run from for so long is removed: each holds 200 MB."""

_OURS = re.compile(r"[0-9a-f]{16}|\.unpacking-.+")


def hold(folder: Path) -> None:
    """Lock `folder` for as long as this process lives: `remove_old` and systemd-tmpfiles spare what is locked."""
    fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_SH | fcntl.LOCK_NB)


def remove_old(folder: Path, now: float) -> None:
    """Remove other builds' folders beside `folder` that are old and that no process holds; `now` as of time.time."""
    for other in folder.parent.iterdir():
        # Not the time of modification, which is the archive's.
        if other != folder and _OURS.fullmatch(other.name) and now - other.stat().st_ctime > OLD_SECONDS:
            descriptor = os.open(other, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other, ignore_errors=True)
            os.close(descriptor)


if __name__ == "__main__":
    home = Path(sys.executable).parent
    with contextlib.suppress(OSError):  # a file system without locks, another start that cleans: no reason not to run
        hold(home)
        remove_old(home, time.time())
    sys.exit(main())
