"""Every page in every state by axe-core, dark and light: no serious finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.e2e.probes import start_device
from tests.e2e.screenshots import DENIED, cameras, wait_all_live
from tests.helpers.axe import assert_accessible

if TYPE_CHECKING:
    from tests.helpers.browser import Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(90)


async def test_the_viewer_page(server: RunningServer, chromium: Chromium) -> None:
    page = await chromium.open(f"{server.http_url}/")
    await expect(page.locator("#welcome-title")).to_have_text("No camera is online yet")
    await assert_accessible(page)
    await page.click("#open-help")
    await assert_accessible(page)
    await page.click("#close-help")
    async with cameras(server, 2):
        await expect(page.locator(".camera-row")).to_have_count(2)
        await assert_accessible(page)
        await page.click("#watch")
        await wait_all_live(page, 2)
        await page.click("#toggle-numbers")
        await assert_accessible(page)
        await page.click("#toggle-layout")
        await page.click("#toggle-inspector")
        await expect(page.locator("#inspector .timeline")).to_contain_text("connection: connected")
        await page.click(".tile[data-spotlight] .tile-more")
        await expect(page.locator("#tile-menu")).to_be_visible()
        await assert_accessible(page)
        await page.keyboard.press("Escape")
        await page.click("#stop")
    await page.goto(f"{server.http_url}/#device=attic")
    await page.reload()
    await expect(page.locator(".tile[data-state=absent]")).to_be_visible()
    await assert_accessible(page)
    await page.close()


async def test_the_device_page(server: RunningServer, chromium: Chromium) -> None:
    page = await chromium.open(f"{server.http_url}/device#name=cam-1")
    await page.click("#quality summary")
    await assert_accessible(page)
    await page.click("#online")
    viewer = await chromium.open(f"{server.http_url}/#all")
    await expect(page.locator("#state-title")).to_have_text("You are live")
    await assert_accessible(page)
    await page.click("#mic")
    await page.click("#camera")
    await assert_accessible(page)
    await viewer.close()
    await page.close()

    refused = await chromium.blank()
    await refused.add_init_script(DENIED)
    await refused.goto(f"{server.http_url}/device")
    await refused.click("#online")
    await refused.click(".guide-others summary")
    await assert_accessible(refused)
    await refused.close()


async def test_the_inspector(server: RunningServer, chromium: Chromium) -> None:
    page = await chromium.open(f"{server.http_url}/inspect")
    await expect(page.locator("#picture-state")).to_have_text("No camera is online.")
    await assert_accessible(page)
    await start_device(chromium, server.http_url, name="cam-1")
    await page.select_option("#device", "cam-1")
    await expect(page.locator("#inspection .timeline")).to_contain_text("connection: connected")
    await page.click("#inspection summary >> nth=0")
    await assert_accessible(page)
