"""A real server for each test, and a real browser that they share.

A connection to a browser belongs to its loop, so all tests here run in one: pytest-asyncio's of the session.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiohttp import web

from tests.helpers import ports
from tests.helpers.browser import Browsers, Chromium, running_browsers
from tests.helpers.server import RunningServer, assert_no_stray_tasks, running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


HERE = Path(__file__).parent
PAGES = HERE / "pages"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run this folder's tests in the session's loop, but for those that name another themselves."""
    for item in items:
        if item.path.is_relative_to(HERE) and pytest_asyncio.is_async_test(item):
            named = item.get_closest_marker("asyncio")
            if named is None or "loop_scope" not in named.kwargs:
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browsers() -> AsyncIterator[Browsers]:
    async with running_browsers() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def _no_stray_tasks() -> AsyncIterator[None]:
    """Fail a test that leaves a task behind: the loop does not end with it."""
    before = asyncio.all_tasks()
    yield
    await assert_no_stray_tasks(before)


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def chromium(browsers: Browsers, server: RunningServer) -> AsyncIterator[Chromium]:
    # After the server, so that its pages are gone before the server looks for what is left.
    async with browsers.chromium() as visited:
        yield visited
    await server.wait_empty()


@pytest.fixture
def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    return ports.free_port()


@pytest_asyncio.fixture(loop_scope="session")
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
