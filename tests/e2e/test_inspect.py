"""The inspector, on its own page and as the viewer page's panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.e2e.probes import start_device, wait_playing

if TYPE_CHECKING:
    from tests.helpers.browser import Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(120)


async def test_the_page_shows_the_whole_way_and_hides_secrets(server: RunningServer, chromium: Chromium) -> None:
    await start_device(chromium, server.http_url, name="cam-1")
    page = await chromium.open(f"{server.http_url}/inspect#device=cam-1")
    await wait_playing(page, "#picture")
    inspection = page.locator("#inspection")
    await expect(inspection.locator(".timeline")).to_contain_text("connection: connected")
    await expect(inspection.locator(".timeline")).to_contain_text("signalling: stable")
    await expect(inspection.locator(".facts-list")).to_contain_text("video/")
    await expect(inspection).to_contain_text("127.0.0.1")
    await expect(inspection.locator(".events")).to_contain_text("received offer_to_subscriber")
    await expect(inspection.locator(".events")).to_contain_text("sent start_receiving")
    secrets = await page.evaluate(
        "() => document.querySelector('#picture').srcObject && document.querySelector('#inspection').textContent"
    )
    assert "a=ice-pwd:(hidden)" in secrets
    assert "a=fingerprint:(hidden)" in secrets
    assert "a=fingerprint:sha-256" not in secrets


async def test_the_panel_copies_a_report(server: RunningServer, chromium: Chromium) -> None:
    await start_device(chromium, server.http_url, name="cam-1")
    page = await chromium.open(f"{server.http_url}/#device=cam-1")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await wait_playing(page)
    await page.click("#toggle-inspector")
    await page.click("#copy-report")
    await expect(page.locator("#copy-report")).to_have_text("Copied")
    report = await page.evaluate("() => navigator.clipboard.readText()")
    for part in ("# aiosfu report", "connection: connected", "codec: video", "start_receiving", "a=ice-pwd:(hidden)"):
        assert part in report
    assert "fingerprint:sha-256" not in report
