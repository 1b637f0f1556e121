"""Clients written from the published document's own samples work as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.e2e.probes import read_patch, sound_energy, start_device, start_watching, wait_live, wait_playing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

    from tests.helpers.browser import Browsers, Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(120)

DOCUMENT_PORT = 8002
"""The samples have it built in; the browser is told to find this test's server behind it."""
VIDEO = "#remoteVideos video"


@pytest_asyncio.fixture(loop_scope="session")
async def chromium(browsers: Browsers, server: RunningServer) -> AsyncIterator[Chromium]:
    rule = f"MAP 127.0.0.1:{DOCUMENT_PORT} 127.0.0.1:{server.port}"
    async with browsers.chromium([f"--host-resolver-rules={rule}"]) as browser:
        yield browser
    await server.wait_empty()


async def open_bare(chromium: Chromium, url: str) -> Page:
    """Open a bare page and wait until its socket is open."""
    page = await chromium.open(url)
    await page.wait_for_function("() => ws.readyState === WebSocket.OPEN")
    return page


async def test_samples_of_both_roles_together(chromium: Chromium, pages: str) -> None:
    device = await open_bare(chromium, f"{pages}/device.html")
    viewer = await open_bare(chromium, f"{pages}/web.html")
    await viewer.click("#start")
    await wait_playing(viewer, VIDEO)

    # Audio and video came in one stream: one video element, with both.
    assert await viewer.locator(VIDEO).count() == 1
    kinds = await viewer.locator(VIDEO).evaluate("video => video.srcObject.getTracks().map(track => track.kind).sort()")
    assert kinds == ["audio", "video"]
    picture = await read_patch(viewer, selector=VIDEO)
    assert picture["green"] > picture["blue"] + 40
    assert await sound_energy(viewer, VIDEO) > 0

    # The samples print what they get: the document promises an event and leaves its name open.
    async with viewer.expect_console_message(lambda message: message.text.startswith("Got stop_listening")):
        await device.click("#stop")
    async with device.expect_console_message(lambda message: message.text.startswith("Got left")):
        await device.click("#leave")


async def test_the_documents_viewer_watches_our_device(server: RunningServer, chromium: Chromium, pages: str) -> None:
    await start_device(chromium, server.http_url)
    viewer = await open_bare(chromium, f"{pages}/web.html")
    await viewer.click("#start")
    await wait_playing(viewer, VIDEO)


async def test_our_viewer_watches_the_documents_device(server: RunningServer, chromium: Chromium, pages: str) -> None:
    device = await open_bare(chromium, f"{pages}/device.html")
    viewer = await start_watching(chromium, server.http_url)
    await wait_live(viewer)

    # Stopped but still connected: it may not be switched on again unasked.
    await device.click("#stop")
    await expect(viewer.locator("#welcome-title")).to_have_text("The camera was switched off", timeout=10_000)
    await expect(viewer.locator("#looking")).to_be_hidden()
    await viewer.click("#invite")
    await wait_live(viewer)
