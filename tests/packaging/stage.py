"""An installed `aiosfu` under test: its programs, run with an empty environment, far from the checkout."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import numpy as np

from signaling.client import read_frame_counter
from tests.e2e.probes import start_watching, wait_live
from tests.helpers.browser import running_chromium

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

READY = re.compile(r"aiosfu is ready: open (http://127\.0\.0\.1:\d+)/ ")
FREE_PORTS = ("--port", "0", "--media-host", "127.0.0.1", "--media-port", "0")
READY_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 10.0
VIEW_TIMEOUT_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Served:
    """A server of an installed program."""

    pid: int
    url: str
    ready_seconds: float
    """From its start to its ready line."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A way to start the program, and where and with what environment."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]

    @contextlib.asynccontextmanager
    async def serving(self, *options: str) -> AsyncIterator[Served]:
        """Run `serve` for the block; it must end well and have said nothing else."""
        began = time.monotonic()
        process = await self._start("serve", *FREE_PORTS, *options)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                line = (await process.stdout.readline()).decode()
            seconds = time.monotonic() - began
            match = READY.match(line)
            assert match is not None, (line, await process.communicate())
            yield Served(process.pid, match[1], seconds)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
                out, errors = await process.communicate()
        assert (process.returncode, out, errors) == (0, b"", b"")

    async def run(self, *words: str) -> tuple[int | None, str, str]:
        """Run a command to its end; return its status and output."""
        process = await self._start(*words)
        try:
            async with asyncio.timeout(VIEW_TIMEOUT_SECONDS):
                out, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, out.decode(), errors.decode()

    async def _start(self, *words: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self.command, *words, stdout=pipe, stderr=pipe, cwd=self.folder, env=dict(self.environment)
        )


async def check_snapshot(program: Installed, url: str) -> None:
    """Have the program watch the demo device and fail unless it saw the test picture."""
    path = program.folder / "now.png"
    server = url.replace("http", "ws", 1)
    status, out, errors = await program.run("view", "--server", server, "--snapshot", str(path), "--seconds", "2")
    assert (status, errors) == (0, ""), out
    with av.open(str(path)) as image:
        picture = next(image.decode(video=0))
    assert (picture.width, picture.height) == (1280, 720)
    assert read_frame_counter(picture) is not None
    bars = picture.to_ndarray(format="rgb24")[100, 1280 // 14 :: 1280 // 7]
    assert len(np.unique(bars // 64, axis=0)) == 7, bars  # seven colours


async def check_browser(url: str) -> None:
    """Open the server's own page in Chromium and fail unless its picture moves."""
    async with running_chromium() as chromium:
        await wait_live(await start_watching(chromium, url))
