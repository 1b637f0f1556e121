"""The server goes away and comes back: pages say so, and find each other again without a click."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.e2e.probes import start_device, start_watching, wait_live
from tests.helpers.server import running_server

if TYPE_CHECKING:
    from tests.helpers.browser import Browsers

pytestmark = pytest.mark.timeout(120)

BACK_MS = 30_000
"""Both pages wait up to ten seconds between attempts."""


async def test_pages_survive_a_restart_of_the_server(browsers: Browsers) -> None:
    async with browsers.chromium() as chromium:
        chromium.forgive("ERR_CONNECTION_REFUSED")
        async with running_server(check_tasks=False) as server:
            port, url = server.port, server.http_url
            device = await start_device(chromium, url, name="cam-1")
            viewer = await start_watching(chromium, url)
            await wait_live(viewer)
        await expect(viewer.locator("#status")).to_have_text("Reconnecting")
        await expect(viewer.locator(".tile-cover-title")).to_have_text("Lost")
        await expect(viewer.locator(".tile-cover-text")).to_contain_text("Waiting for it to come back.")
        await expect(device.locator("#state-title")).to_have_text("Connecting")
        async with running_server(check_tasks=False, port=port) as server:
            await expect(viewer.locator("#status")).to_have_text("1 camera live", timeout=BACK_MS)
            await expect(viewer.locator(".tile-badge")).to_contain_text("BACK AFTER")
            await wait_live(viewer)
            await expect(device.locator("#state-title")).to_have_text("You are live")
            await viewer.close()
            await device.close()
            await server.wait_empty()


async def test_a_full_server_is_explained(browsers: Browsers) -> None:
    async with running_server(max_sessions=1) as server, browsers.chromium() as chromium:
        await start_device(chromium, server.http_url)
        viewer = await start_watching(chromium, server.http_url)
        await expect(viewer.locator(".notice-title")).to_have_text("The server is full")
        await expect(viewer.locator("#status")).to_have_text("Connecting")
