"""The status page, and the server's numbers against what a real browser measured in the same run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from playwright.async_api import expect
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.library import assert_no_problems, open_library, start_publisher, start_viewer, wait_feed
from tests.e2e.probes import start_device
from tests.helpers.axe import assert_accessible
from tests.helpers.server import running_server
from tests.helpers.tokens import SECRET, token

if TYPE_CHECKING:
    from tests.helpers.browser import Browsers, Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(90)

# What the viewer has received, by its own connection's statistics; media goes on meanwhile.
RECEIVED = """
async () => {
  const found = { packets: 0, bytes: 0 };
  for (const stats of (await feeds[0].peerConnection.getStats()).values()) {
    if (stats.type !== "inbound-rtp") continue;
    found.packets += stats.packetsReceived;
    found.bytes += stats.bytesReceived;
  }
  return found;
}
"""
FIRST_FRAME = "async () => (await feeds[0].stats()).firstFrameMs"


async def fetch(url: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


async def sent(server: RunningServer, feed: int) -> dict[str, int]:
    """Return what the server says that it has sent to the feed's one viewer."""
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{server.http_url}/api/v1/feeds/{feed}/subscriptions") as answer:
            (subscription,) = (await answer.json())["subscriptions"]
    names = {"packets": "packets", "bytes": "payload_bytes", "again": "packets_retransmitted"}
    return {ours: sum(track[theirs] for track in subscription["tracks"]) for ours, theirs in names.items()}


async def test_the_numbers_are_what_a_browser_measured(server: RunningServer, chromium: Chromium, pages: str) -> None:
    device, page = await open_library(chromium, pages, server), await open_library(chromium, pages, server)
    await start_publisher(device)
    await start_viewer(page)
    await wait_feed(page)
    feed = int(await page.evaluate("() => feeds[0].id"))
    before = await sent(server, feed)
    measured: dict[str, Any] = await page.evaluate(RECEIVED)
    after = await sent(server, feed)
    # What is on its way is neither here nor there.
    assert before["packets"] - 5 <= measured["packets"] <= after["packets"] + after["again"]
    assert before["bytes"] * 0.97 <= measured["bytes"] <= after["bytes"] * 1.03
    text = await fetch(f"{server.http_url}/metrics")
    found = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
    seconds = float(await page.evaluate(FIRST_FRAME)) / 1000
    assert found["aiosfu_first_frame_seconds_count"] == 1
    assert found["aiosfu_first_frame_seconds_sum"] <= seconds
    assert found["aiosfu_first_frame_seconds_sum"] > seconds - 1
    await assert_no_problems(device, page)


async def test_an_operator_sees_who_watches_and_ends_it(server: RunningServer, chromium: Chromium) -> None:
    device = await start_device(chromium, server.http_url, name="cam-1")
    page = await chromium.open(f"{server.http_url}/status")
    await expect(page.locator("#feeds-none")).to_be_visible()
    viewer = await chromium.open(f"{server.http_url}/#all")
    await viewer.wait_for_selector(".tile[data-state=live]")
    card = page.locator("#feeds .card")
    await expect(card.locator("h3")).to_have_text("cam-1")
    await expect(page.locator("#status")).to_have_text("1 viewer")
    await expect(page.locator(".gauge", has_text="To viewers").locator(".gauge-value")).to_contain_text("bit/s")
    await card.locator("summary").click()
    await expect(card.locator(".watcher .card-figures")).to_contain_text("bit/s")
    await expect(card.locator(".watcher .card-figures")).to_contain_text("UDP from")
    await expect(card.locator(".plot-wide path")).to_have_attribute("d", re.compile(r"M\d+"))
    await assert_accessible(page)

    stop = card.locator("> .card-head button")
    await stop.click()
    await expect(stop).to_have_text("Stop it?")
    await expect(card).to_be_visible()
    await stop.click()
    await expect(card).to_have_count(0)
    await device.wait_for_selector("#device[data-state=waiting]")
    title = page.locator("#rooms .card h3")
    room = await title.inner_text()
    close = page.locator("#rooms .card button")
    await close.click()
    await close.click()
    # The page waits for what its person wants next in a room of its own, which is another one and empty.
    await expect(viewer.locator(".notice")).to_contain_text("The room was closed")
    await expect(title).not_to_have_text(room)
    await expect(page.locator("#rooms .card-figures")).to_contain_text("0 devices")
    await expect(device.locator("#device")).to_have_attribute("data-state", "waiting")
    await viewer.close()
    await expect(page.locator("#rooms-none")).to_be_visible()


async def test_with_auth_on_it_asks_for_a_token(browsers: Browsers) -> None:
    async with running_server(auth_secret=SECRET) as server, browsers.chromium() as chromium:
        for expected in ("401", "403"):
            chromium.forgive(expected)
        page = await chromium.open(f"{server.http_url}/status")
        await expect(page.locator("#status")).to_have_text("Token needed")
        await assert_accessible(page)
        await page.fill("#token", token("boss"))
        await page.click("#sign-in button")
        await expect(page.locator(".notice")).to_contain_text("does not grant admin")
        await page.fill("#token", token("boss", admin=True))
        await page.click("#sign-in button")
        await expect(page.locator("#server-words")).to_contain_text("up for")
        await page.reload()
        await expect(page.locator("#server-words")).to_contain_text("up for")
        linked = await chromium.open(f"{server.http_url}/status#token={token('boss', admin=True)}")
        await expect(linked.locator("#server-words")).to_contain_text("up for")
        assert linked.url == f"{server.http_url}/status"
