"""The device page by itself: what it says when there is no camera to be had, and what it lets one change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.e2e.probes import read_patch, start_device, start_watching, wait_live, wait_time_passes
from tests.helpers.browser import ALLOW_CAMERA

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.helpers.browser import Browsers
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(120)


async def test_a_refused_permission_is_explained_and_how_to_grant_it(browsers: Browsers, server: RunningServer) -> None:
    async with browsers.chromium(without=[ALLOW_CAMERA]) as chromium:
        page = await chromium.open(f"{server.http_url}/device")
        await set_permissions(page, "denied")
        await page.click("#online")
        await expect(page.locator(".notice-title")).to_have_text(
            "The browser is not allowed to use the camera and microphone"
        )
        await expect(page.locator(".guide li")).to_have_count(3)
        await expect(page.locator(".guide li").first).to_contain_text("left end of the address")
        await expect(page.locator("#device")).to_have_attribute("data-state", "offline")
        await page.click(".guide-others summary")
        await expect(page.locator(".guide-others h3")).to_have_text(
            ["Firefox", "Safari on a Mac", "Chrome on Android", "Firefox on Android", "iPhone and iPad"]
        )
        # The way out is still there; and what is granted meanwhile needs no further click.
        await expect(page.locator("#online")).to_be_enabled()
        await set_permissions(page, "granted")
        await expect(page.locator("#preview-cover")).to_be_hidden()
        await expect(page.locator(".notice")).to_have_count(0)


async def set_permissions(page: Page, setting: str) -> None:
    """Answer for camera and microphone as the person did in the browser's settings."""
    session = await page.context.new_cdp_session(page)
    origin = await page.evaluate("() => location.origin")
    context = (await session.send("Target.getTargetInfo"))["targetInfo"]["browserContextId"]
    for name in ("microphone", "camera"):
        await session.send(
            "Browser.setPermission",
            {"permission": {"name": name}, "setting": setting, "origin": origin, "browserContextId": context},
        )


REFUSALS = [
    ("NotAllowedError", "camera", "prompt", "Chrome/1", "The question about the camera was closed", "asks again"),
    ("NotAllowedError", "camera", "granted", "Windows", "The system does not let", "Privacy & security"),
    ("NotAllowedError", "both", "granted", "Mac OS X", "The system does not let", "System Settings"),
    ("NotAllowedError", "microphone", None, "Firefox/1", "not allowed to use the microphone", "can allow it"),
    ("NotAllowedError", "screen", None, "Chrome/1", "No screen was shared", "Press “Screen” again"),
    ("NotFoundError", "both", None, "", "No camera or microphone was found", "share your screen"),
    ("NotFoundError", "microphone", None, "", "No microphone was found", "Plug one in"),
    ("NotReadableError", "camera", None, "", "The camera is busy", "Another program"),
    ("OverconstrainedError", "camera", None, "", "The chosen camera is gone", "Choose another"),
    ("TypeError", "camera", None, "", "The camera could not be opened", "because"),
]
"""What was thrown, what for, the permission afterwards, the browser; and parts of the title and the text."""

AGENTS = {
    "chrome": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36",
    "firefox": "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
    "safari": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1 (KHTML, like Gecko) Safari/605.1",
    "androidChrome": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Mobile",
    "androidFirefox": "Mozilla/5.0 (Android 15; Mobile; rv:153.0) Gecko/153.0 Firefox/153.0",
    "ios": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 (KHTML, like Gecko) CriOS/150",
}


async def test_every_refusal_has_its_words_and_every_browser_its_guide(
    browsers: Browsers, server: RunningServer
) -> None:
    async with browsers.chromium() as chromium:
        page = await chromium.open(f"{server.http_url}/device")
        refusals = await page.evaluate(
            """async (rows) => {
              const { refusalOf } = await import("/static/js/device-refusals.js");
              return rows.map(([error, wanted, permission, userAgent]) =>
                refusalOf(new DOMException("because", error), wanted, { permission, userAgent }));
            }""",
            [row[:4] for row in REFUSALS],
        )
        for row, refusal in zip(REFUSALS, refusals, strict=True):
            assert str(row[4]) in refusal["title"], row
            assert str(row[5]) in refusal["text"], row
        kinds = await page.evaluate(
            """async (agents) => {
              const { browserKind } = await import("/static/js/device-refusals.js");
              return [...agents.map((agent) => browserKind(agent)), browserKind(agents[2], 5)];
            }""",
            list(AGENTS.values()),
        )
        assert kinds == [*AGENTS, "ios"], "an iPad calls itself a Mac"


async def test_an_insecure_address_is_explained(browsers: Browsers, server: RunningServer) -> None:
    async with browsers.chromium(["--host-resolver-rules=MAP cameras.example 127.0.0.1"]) as chromium:
        page = await chromium.open(f"http://cameras.example:{server.port}/device")
        await expect(page.locator(".notice-title")).to_have_text("Cameras need https or localhost")
        await expect(page.locator(".notice-text")).to_contain_text(f"http://localhost:{server.port}/device")
        await page.click("#online")
        await expect(page.locator("#device")).to_have_attribute("data-state", "offline")


async def test_no_prompt_before_a_click_and_nothing_sent_before_somebody_watches(
    browsers: Browsers, server: RunningServer
) -> None:
    async with browsers.chromium(without=[ALLOW_CAMERA]) as chromium:
        page = await chromium.blank()
        await page.add_init_script(
            """window.asked = 0;
            const original = MediaDevices.prototype.getUserMedia;
            MediaDevices.prototype.getUserMedia = function (...args) { asked += 1; return original.apply(this, args); };
            const Connection = RTCPeerConnection;
            window.connections = 0;
            window.RTCPeerConnection = class extends Connection {
              constructor(...args) { super(...args); connections += 1; }
            };"""
        )
        await page.context.grant_permissions(["camera", "microphone"])
        await page.goto(f"{server.http_url}/device")
        await page.context.clear_permissions()
        await page.reload()
        await expect(page.locator("#preview-button")).to_be_visible()
        assert await page.evaluate("() => asked") == 0
        await page.context.grant_permissions(["camera", "microphone"])
        await page.click("#online")
        await expect(page.locator("#state-title")).to_have_text("Online, nobody is watching")
        assert await page.evaluate("() => [asked, connections]") == [1, 0]


async def test_a_taken_name_is_explained(browsers: Browsers, server: RunningServer) -> None:
    async with browsers.chromium() as chromium:
        await start_device(chromium, server.http_url, name="cam-1")
        second = await chromium.open(f"{server.http_url}/device#name=cam-1")
        await second.click("#online")
        await expect(second.locator(".notice-title")).to_have_text("This name is taken")
        await second.click("#stop")
        await second.fill("#name", "  my camera / 2 ")
        await second.click("#online")
        await expect(second.locator("#name")).to_have_value("my-camera-2")
        await expect(second.locator("#state-title")).to_have_text("Online, nobody is watching")


async def test_screen_and_camera_are_exchanged_while_live(browsers: Browsers, server: RunningServer) -> None:
    async with browsers.chromium() as chromium:
        device = await start_device(chromium, server.http_url)
        viewer = await start_watching(chromium, server.http_url)
        await wait_live(viewer)
        feed = await viewer.locator(".tile").get_attribute("data-feed")
        # A canvas stands in for the screen, which a machine without a display has not.
        await device.evaluate(
            """() => {
              navigator.mediaDevices.getDisplayMedia = async () => {
                const canvas = Object.assign(document.createElement("canvas"), { width: 1280, height: 720 });
                const context = canvas.getContext("2d");
                setInterval(() => {
                  context.fillStyle = `rgb(0 0 ${200 + Math.random() * 50})`;
                  context.fillRect(0, 0, 1280, 720);
                }, 50);
                return canvas.captureStream(20);
              };
            }"""
        )
        await device.check("input[value=screen]", force=True)
        await viewer.wait_for_function(f"() => ({IS_BLUE})()")
        await device.check("input[value=camera]", force=True)
        await viewer.wait_for_function(f"() => !({IS_BLUE})()")
        await wait_time_passes(viewer)
        assert (await read_patch(viewer))["green"] > 60
        assert await viewer.locator(".tile").get_attribute("data-feed") == feed, "viewers were not interrupted"


WIDTHS = (320, 390, 768, 1440)
"""Of the smallest phone, of most phones, of a tablet, of a desk."""
IS_BLUE = """() => {
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  context.drawImage(document.querySelector(".tile video"), 0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return blue > 100 && green < 60 && red < 60;
}"""


async def test_nothing_is_wider_than_the_window(browsers: Browsers, server: RunningServer) -> None:
    async with browsers.chromium() as chromium:
        device = await chromium.open(f"{server.http_url}/device")
        await assert_fits(device)
        viewer = await chromium.open(f"{server.http_url}/")
        await assert_fits(viewer)
        await viewer.click("#watch")
        await expect(viewer.locator("#welcome-title")).to_have_text("Waiting for a camera")
        await assert_fits(viewer)
        await device.click("#online")
        await wait_live(viewer)
        await assert_fits(viewer)
        await expect(device.locator("#state-title")).to_have_text("You are live")
        await assert_fits(device)


async def assert_fits(page: Page) -> None:
    """Fail when the page, at any width, scrolls sideways or parts of its header or numbers lie over each other."""
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 800})
        # What follows a size is arranged by the next picture.
        await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        await assert_fits_now(page, width)


async def assert_fits_now(page: Page, width: int) -> None:
    assert await page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), f"at {width} px"
    overlaps = await page.evaluate(
        """() => {
          const rows = [".header", ".tile .numbers", "#numbers"].map((row) => document.querySelector(row));
          return rows.filter(Boolean).flatMap((row) => {
            const boxes = [...row.children].map((part) => ({ part, box: part.getBoundingClientRect() }))
              .filter(({ box }) => box.width > 0);
            return boxes.slice(1)
              // The viewer page's buttons are a bar of their own at the lower edge of a phone.
              .map((right, index) => ({ ...right, left: boxes[index] }))
              .filter(({ box, left }) => box.top < left.box.bottom && box.bottom > left.box.top)
              .filter(({ box, left }) => box.left < left.box.left + left.part.scrollWidth - 1)
              .map(({ part }) => part.textContent.trim());
          });
        }"""
    )
    assert overlaps == [], f"at {width} px"
