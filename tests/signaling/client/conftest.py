"""What the clients' tests share: media files, made once, and a watch on threads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from . import media

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

THREAD_END_SECONDS = 3.0
OURS = ("source-reader", "recorder", "video-decoder", "audio-decoder")


@pytest.fixture(autouse=True)
def _no_stray_threads() -> Iterator[None]:
    """Fail a test that leaves a reader, recorder or decoder thread behind."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREAD_END_SECONDS
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith(OURS):
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), f"stray thread: {thread.name}"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of one-second test pictures with a tone, 640x360 at 30 frames a second; see `media.FILES`."""
    directory = tmp_path_factory.mktemp("media")
    for name in media.FILES:
        media.write(directory / name)
    return directory
