"""Media that stands still while signalling goes on: each page says so soon, and says so when it is back."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.e2e.probes import REMEMBER_SMALL, wait_live
from tests.e2e.test_lossy import DETOUR
from tests.helpers.lossy_proxy import Link, LossyProxy
from tests.helpers.server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

    from tests.helpers.browser import Browsers, Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(90)

CALM, HOLE = Link(), Link(loss=1.0)
SAID_WITHIN_MS = 2_000
LOST_MS = 20_000
"""For what browsers find out in five seconds, and mend in as many."""

# All times are the page's own: how late the test hears of them does not count, nor how long a busy machine kept the
# page from running at all, which its own clock tells.
WATCH_BADGE = """async () => {
  const video = document.querySelector(".tile video");
  const badge = document.querySelector(".tile-badge");
  window.said = [];
  window.keptMs = 0;
  let ranAt = performance.now();
  setInterval(() => {
    keptMs = Math.max(keptMs, performance.now() - ranAt - 50);
    ranAt = performance.now();
  }, 50);
  const shown = (now) => {
    Object.assign(window, { lastPictureAt: now, keptMs: 0 });
    video.requestVideoFrameCallback(shown);
  };
  await new Promise((go) => video.requestVideoFrameCallback((now) => { shown(now); go(); }));
  new MutationObserver(() => {
    const text = badge.hidden ? "" : badge.textContent;
    if (said.at(-1)?.text !== text) said.push({ text, after: performance.now() - lastPictureAt, keptMs });
  }).observe(badge, { subtree: true, childList: true, attributes: true, characterData: true });
}"""


@asynccontextmanager
async def detour(server: RunningServer, chromium: Chromium) -> AsyncIterator[tuple[Page, LossyProxy]]:
    """Open an empty page whose media goes by a proxy."""
    with LossyProxy("127.0.0.1", ("127.0.0.1", server.engine.port), up=CALM, down=CALM) as proxy:
        page = await chromium.blank()
        await page.add_init_script(DETOUR.replace("PORT", str(proxy.address[1])))
        yield page, proxy
        await page.close()


async def test_frozen_lost_and_back_are_each_called_so(browsers: Browsers) -> None:
    async with running_server(media_tcp=False) as server, browsers.chromium() as chromium:
        async with detour(server, chromium) as (device, uplink), detour(server, chromium) as (viewer, downlink):
            await device.add_init_script(REMEMBER_SMALL)
            await device.goto(f"{server.http_url}/device#name=cam-1")
            await device.click("#online")
            await viewer.goto(f"{server.http_url}/#device=cam-1")
            await wait_live(viewer)
            await viewer.evaluate(WATCH_BADGE)

            downlink.set_links(up=HOLE, down=HOLE)
            await expect_frozen(viewer)
            downlink.set_links(up=CALM, down=CALM)
            await viewer.wait_for_function("() => said.some(({ text }) => /^BACK AFTER \\d+ s$/.test(text))")
            await expect(viewer.locator("#status")).to_have_text("1 camera live")
            await expect(viewer.locator("#announcements")).to_contain_text("cam-1 is back after")

            # Both at once: browsers take some five seconds to call a link without answers disconnected.
            for link in (uplink, downlink):
                link.set_links(up=HOLE, down=HOLE)
            await expect(viewer.locator(".tile-cover-title")).to_have_text("Connection lost", timeout=LOST_MS)
            await expect(viewer.locator(".tile-badge")).to_be_hidden()
            title = device.locator("#state-title")
            await expect(title).to_have_text("Interrupted", timeout=LOST_MS)
            await expect(device.locator("#live-badge")).to_be_hidden()
            for link in (uplink, downlink):
                link.set_links(up=CALM, down=CALM)
            await expect(title).to_have_text("You are live", timeout=LOST_MS)
            await viewer.wait_for_function("() => /^BACK AFTER/.test(said.at(-1).text)", timeout=LOST_MS)
            await expect(viewer.locator(".tile-cover")).to_be_hidden()
        await server.wait_empty()


async def expect_frozen(viewer: Page) -> None:
    """Fail unless the page says in time, and everywhere, that the picture stands still."""
    await expect(viewer.locator(".tile-badge")).to_have_text("FROZEN")
    await expect(viewer.locator("#status")).to_have_text("1 camera frozen")
    await expect(viewer.locator(".camera-state")).to_have_text("Frozen")
    await expect(viewer.locator("#announcements")).to_have_text("cam-1 is frozen.")
    frozen = await viewer.evaluate("() => said.find(({ text }) => text === 'FROZEN')")
    assert frozen["after"] < SAID_WITHIN_MS + 2 * frozen["keptMs"], frozen
