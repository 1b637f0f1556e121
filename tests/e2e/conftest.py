"""A real server and a real browser for each test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.helpers import ports
from tests.helpers.browser import Chromium, running_chromium
from tests.helpers.server import RunningServer, running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


PAGES = Path(__file__).parent / "pages"


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


@pytest.fixture
async def chromium(server: RunningServer) -> AsyncIterator[Chromium]:
    # After the server, so that its pages are gone before the server looks for what is left.
    async with running_chromium() as browser:
        yield browser
    await server.wait_empty()


@pytest.fixture
def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    return ports.free_port()


@pytest.fixture
async def pages() -> AsyncIterator[str]:
    """Serve a user's own page as users would: by a web server of their own."""
    app = web.Application()
    app.router.add_get("/favicon.ico", _no_icon)
    app.router.add_static("/", PAGES)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def _no_icon(_request: web.Request) -> web.Response:
    return web.Response(status=204)
