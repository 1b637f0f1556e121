"""What the device page remembers, which devices it offers, and that it stays awake."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.helpers.browser import CAMERA

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.helpers.browser import Browsers, Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(120)

TWO_CAMERAS = f"{CAMERA},device-count=2"

CAMERA_ID = "() => document.querySelector('#preview').srcObject.getVideoTracks()[0]?.getSettings().deviceId ?? null"


async def camera_id(page: Page) -> str | None:
    await expect(page.locator("#preview-cover")).to_be_hidden()
    device: str | None = await page.evaluate(CAMERA_ID)
    return device


async def test_settings_survive_a_reload_and_hold_no_token(server: RunningServer, chromium: Chromium) -> None:
    page = await chromium.open(f"{server.http_url}/device#token=sesame")
    await page.fill("#name", "porch")
    await page.click("#quality summary")
    chosen = {"height": "480", "fps": "15", "kbps": "800", "codec": "VP8"}
    for name, value in chosen.items():
        await page.select_option(f"select[name={name}]", value)
    await page.click("#online")
    await page.click("#mic")
    await expect(page.locator("#mic-label")).to_have_text("Microphone off")

    await page.goto("about:blank")
    await page.goto(f"{server.http_url}/device")
    await expect(page.locator("#name")).to_have_value("porch")
    for name, value in chosen.items():
        await expect(page.locator(f"select[name={name}]")).to_have_value(value)
    await page.click("#online")
    await expect(page.locator("#mic-label")).to_have_text("Microphone off")
    height = await page.evaluate(
        "() => document.querySelector('#preview').srcObject.getVideoTracks()[0].getSettings().height"
    )
    assert height == 480
    stored = await page.evaluate("() => JSON.stringify(Object.entries(localStorage))")
    assert "sesame" not in stored


@pytest.mark.parametrize(
    "stored", ["nonsense", "null", "[]", json.dumps({"height": "x", "codec": "MPEG2", "source": "tv"})]
)
async def test_nonsense_in_the_store_is_left_aside(server: RunningServer, chromium: Chromium, stored: str) -> None:
    page = await chromium.blank()
    await page.add_init_script(f"localStorage.setItem('aiosfu.device', {json.dumps(stored)})")
    await page.goto(f"{server.http_url}/device")
    await page.click("#online")
    await expect(page.locator("#state-title")).to_have_text("Online, nobody is watching")
    await expect(page.locator("select[name=codec]")).to_have_value("")


async def test_a_camera_that_is_not_there_any_more_gives_way_to_the_default(
    server: RunningServer, chromium: Chromium
) -> None:
    page = await chromium.blank()
    settings = json.dumps({"cameraId": "0" * 64, "name": "porch"})
    await page.add_init_script(f"localStorage.setItem('aiosfu.device', {json.dumps(settings)})")
    await page.goto(f"{server.http_url}/device")
    await page.click("#online")
    await expect(page.locator("#state-title")).to_have_text("Online, nobody is watching")
    assert await camera_id(page)
    await expect(page.locator("#camera-select option:checked")).to_have_text("Not connected")


async def test_the_next_camera_is_one_click_away(browsers: Browsers, server: RunningServer) -> None:
    async with browsers.chromium([TWO_CAMERAS], without=[CAMERA]) as chromium:
        page = await chromium.open(f"{server.http_url}/device")
        await page.click("#online")
        first = await camera_id(page)
        await page.click("#flip")
        await page.wait_for_function(
            f"first => ({CAMERA_ID})() !== first",
            arg=first,
        )
        second = await camera_id(page)
        await expect(page.locator("#camera-select")).to_have_value(second or "")
        # A refused camera leaves the present one where it was.
        await page.evaluate(
            """() => navigator.mediaDevices.getUserMedia = () =>
              Promise.reject(new DOMException("", "NotAllowedError"))"""
        )
        await page.click("#flip")
        await expect(page.locator(".notice-title")).to_be_visible()
        assert await camera_id(page) == second


async def test_a_missing_microphone_costs_no_picture(server: RunningServer, chromium: Chromium) -> None:
    page = await chromium.blank()
    await page.add_init_script(
        """const original = MediaDevices.prototype.getUserMedia;
        MediaDevices.prototype.getUserMedia = function (constraints) {
          if (constraints.audio) return Promise.reject(new DOMException("", "NotReadableError"));
          return original.call(this, constraints);
        };"""
    )
    await page.goto(f"{server.http_url}/device")
    await page.click("#online")
    await expect(page.locator("#state-title")).to_have_text("Online, nobody is watching")
    await expect(page.locator("#mic-label")).to_have_text("No microphone")
    assert await camera_id(page)


async def test_the_screen_stays_on_while_online(server: RunningServer, chromium: Chromium) -> None:
    page = await chromium.blank()
    await page.add_init_script(
        """window.locks = [];
        const original = WakeLock.prototype.request;
        WakeLock.prototype.request = async function (type) {
          const lock = await original.call(this, type);
          locks.push(lock);
          return lock;
        };"""
    )
    await page.goto(f"{server.http_url}/device")
    await page.click("#online")
    held = "count => locks.length === count && !locks.at(-1).released"
    await page.wait_for_function(held, arg=1)
    # A hidden page loses its lock; seen again it takes another.
    await page.evaluate(
        "async () => { await locks[0].release(); document.dispatchEvent(new Event('visibilitychange')); }"
    )
    await page.wait_for_function(held, arg=2)
    await page.click("#stop")
    await page.wait_for_function("() => locks.at(-1).released")


async def test_every_control_has_a_name(server: RunningServer, chromium: Chromium) -> None:
    page = await chromium.open(f"{server.http_url}/device", width=390)
    await page.click("#quality summary")
    nameless = await page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, [role=meter]")]
          .filter((control) => !control.ariaLabel && !control.textContent.trim())
          .filter((control) => !control.labels?.[0]?.textContent.trim())
          .map((control) => control.outerHTML)"""
    )
    assert nameless == []
    inline = await page.evaluate("() => document.querySelectorAll('[style]:not(#level)').length")
    assert inline == 0
