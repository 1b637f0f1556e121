"""Restart: for how long the picture stands still when a server is stopped and started anew, for both libraries."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from aiortc.mediastreams import MediaStreamError

from signaling.client import Device, Viewer, open_source
from tests.helpers.browser import measured_chromium
from tests.helpers.server import until

from .processes import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from playwright.async_api import Page

    from .network import Network
    from .processes import ServerProcess
    from .scenarios import Context, Row

RUNS: Final = 6
QUICK_RUNS: Final = 1
SOURCE: Final = "testsrc=384x216@30"
"""Small, so that coding it is not what is measured."""
STEADY_PICTURES: Final = 30
"""That come before the server is told to end: a picture is on its way every 33 ms then."""
QUICK_STEADY_PICTURES: Final = 5
OPTIONS: Final = ("--drain-timeout", "0.5")
"""Pictures go on while a server drains, so this is in no figure."""
WAIT_SECONDS = 30.0
"""For what takes a second or two."""

# Notes when each picture of the page is shown, whichever element shows it.
_WATCH = """
globalThis.pictures = [];
const seen = new WeakSet();
const look = () => document.querySelectorAll("video").forEach((video) => {
  if (seen.has(video)) return;
  seen.add(video);
  const shown = () => { pictures.push(performance.now()); video.requestVideoFrameCallback(shown); };
  video.requestVideoFrameCallback(shown);
});
new MutationObserver(look).observe(document, { childList: true, subtree: true });
"""


async def restart(context: Context) -> list[Row]:
    """Measure a device and a viewer in Python, then both as pages in Chromium."""
    runs, steady = (QUICK_RUNS, QUICK_STEADY_PICTURES) if context.quick else (RUNS, STEADY_PICTURES)
    return [
        await _restarts("Python", _PythonClients(), context.network, runs, steady),
        await _restarts("JavaScript, Chromium", _Pages(), context.network, runs, steady),
    ]


class _PythonClients:
    """A `Device` and a `Viewer`, and when each picture came."""

    def __init__(self) -> None:
        self.times: list[float] = []

    @contextlib.asynccontextmanager
    async def watching(self, network: Network) -> AsyncIterator[None]:
        url = f"ws://{network.server_host}:{network.signalling_port}"
        async with Device(url, id="restart", media=lambda: open_source(SOURCE)), Viewer(url) as viewer:
            reader = asyncio.create_task(self._read(viewer), name="pictures")
            try:
                yield
            finally:
                reader.cancel()
                await asyncio.wait([reader])

    async def _read(self, viewer: Viewer) -> None:
        while True:
            feed = await viewer.next_feed(timeout=WAIT_SECONDS)
            with contextlib.suppress(MediaStreamError):
                while feed.video is not None:
                    await feed.video.recv()
                    self.times.append(time.monotonic())

    async def wait_pictures(self, count: int) -> None:
        wanted = len(self.times) + count
        await until(lambda: len(self.times) >= wanted, WAIT_SECONDS)

    async def read(self) -> Sequence[float]:
        return self.times


class _Pages:
    """The device page and the viewer page of the server."""

    @contextlib.asynccontextmanager
    async def watching(self, network: Network) -> AsyncIterator[None]:
        url = f"http://{network.server_host}:{network.signalling_port}"
        # Cameras need a secure origin, which another machine's plain address is not.
        async with measured_chromium([f"--unsafely-treat-insecure-origin-as-secure={url}"]) as browser:
            device = await (await browser.new_context()).new_page()
            await device.goto(f"{url}/device#name=restart")
            await device.click("#online")
            self._viewer: Page = await (await browser.new_context()).new_page()
            await self._viewer.add_init_script(_WATCH)
            await self._viewer.goto(f"{url}/")
            await self._viewer.click("#watch")
            yield

    async def wait_pictures(self, count: int) -> None:
        shown = len(await self.read())
        await self._viewer.wait_for_function(f"() => pictures.length >= {shown + count}", timeout=WAIT_SECONDS * 1000)

    async def read(self) -> Sequence[float]:
        return [at / 1000 for at in await self._viewer.evaluate("() => pictures")]


async def _restarts(library: str, clients: _PythonClients | _Pages, network: Network, runs: int, steady: int) -> Row:
    gaps: list[float] = []
    away: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server("aiosfu", network, OPTIONS))
        # Ends before the server whose place others have taken does.
        async with clients.watching(network):
            for _ in range(runs):
                await clients.wait_pictures(steady)
                before = len(await clients.read())
                server, seconds = await _restart(server, network, stack)
                await clients.wait_pictures(steady)
                times = (await clients.read())[before - 1 :]
                gaps.append(max(later - earlier for earlier, later in pairwise(times)))
                away.append(seconds)
    return _row(library, gaps, away)


async def _restart(
    server: ServerProcess, network: Network, stack: contextlib.AsyncExitStack
) -> tuple[ServerProcess, float]:
    """Do as a service manager does; return the new server, and how long nobody took connections, in seconds."""
    await asyncio.to_thread(server.stop)
    ended = time.monotonic()
    newer = await stack.enter_async_context(running_server("aiosfu", network, OPTIONS))
    return newer, time.monotonic() - ended


def _row(library: str, gaps: list[float], away: list[float]) -> Row:
    row: dict[str, Any] = {
        "server": "aiosfu",
        "library": library,
        "restarts": len(gaps),
        "gap_p50_ms": round(statistics.median(gaps) * 1000),
        "gap_max_ms": round(max(gaps) * 1000),
        "start_p50_ms": round(statistics.median(away) * 1000),
    }
    return row
