"""Click: from the click on the viewer page's button to the first picture on it, in Chromium."""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING, Any, Final

from signaling.config.model import is_loopback
from tests.helpers.browser import WAIT_MS, measured_chromium

from .processes import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from .scenarios import Context, Row

RUNS: Final = 10
QUICK_RUNS: Final = 1

# Watches from before the page's own scripts: what is told is told by the page, not by the driver.
_WATCH = """
globalThis.marks = {};
const mark = (name) => { globalThis.marks[name] ??= performance.now(); };
addEventListener("click", () => mark("click"), { capture: true });
const { WebSocket: Socket, RTCPeerConnection: Peer } = globalThis;
globalThis.WebSocket = class extends Socket {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", ({ data }) => mark(JSON.parse(data).event));
  }
};
globalThis.RTCPeerConnection = class extends Peer {
  constructor(...args) {
    super(...args);
    this.addEventListener("connectionstatechange", () => mark(this.connectionState));
  }
};
new MutationObserver((_changes, observer) => {
  const video = document.querySelector("video");
  if (!video) return;
  observer.disconnect();
  video.requestVideoFrameCallback((now) => mark("picture"));
}).observe(document, { childList: true, subtree: true });
"""
STEPS: Final = ("welcome", "devices_invited", "start_listening", "offer_to_subscriber", "connected", "picture")
"""In order; each is a column, in milliseconds after the one before."""


async def click(context: Context) -> list[Row]:
    """Measure a click on a device that streams already, and on one that has to be invited first."""
    runs = QUICK_RUNS if context.quick else RUNS
    async with running_server("aiosfu", context.network), _chromium(context) as browser:
        url = f"http://{context.network.server_host}:{context.network.signalling_port}"
        streaming = await _streaming(browser, url, runs)
        waiting = [await _waiting(browser, url, number) for number in range(runs)]
    return [_row("streams already", streaming), _row("waits to be invited", waiting)]


async def _streaming(browser: Browser, url: str, runs: int) -> list[dict[str, float]]:
    async with _page(browser) as device, _page(browser) as other:
        await _online(device, url, "click-0")
        await _watch(other, url)
        return [await _watch_anew(browser, url) for _ in range(runs)]


async def _waiting(browser: Browser, url: str, number: int) -> dict[str, float]:
    async with _page(browser) as device:
        await _online(device, url, f"click-{number + 1}")
        return await _watch_anew(browser, url)


async def _watch_anew(browser: Browser, url: str) -> dict[str, float]:
    async with _page(browser) as viewer:
        return await _watch(viewer, url)


async def _online(page: Page, url: str, name: str) -> None:
    await page.goto(f"{url}/device#name={name}")
    await page.click("#online")
    await page.wait_for_selector("#device[data-state=waiting], #device[data-state=live]")


async def _watch(page: Page, url: str) -> dict[str, float]:
    """Return when things happened, in milliseconds of the page's clock."""
    await page.add_init_script(_WATCH)
    await page.goto(f"{url}/")
    await page.click("#watch")
    await page.wait_for_function("() => marks.picture !== undefined")
    marks: dict[str, float] = await page.evaluate("() => marks")
    return marks


def _row(case: str, runs: list[dict[str, float]]) -> Row:
    totals = sorted(run["picture"] - run["click"] for run in runs)
    row: dict[str, Any] = {
        "server": "aiosfu",
        "device": case,
        "clicks": len(runs),
        "picture_p50_ms": round(statistics.median(totals)),
        "picture_max_ms": round(totals[-1]),
    }
    before = "click"
    for step in STEPS:
        known = [run[step] - run[before] for run in runs if step in run and before in run]
        row[f"to_{step}_ms"] = round(statistics.median(known)) if known else None
        before = step
    return row


@contextlib.asynccontextmanager
async def _chromium(context: Context) -> AsyncIterator[Browser]:
    host = context.network.server_host
    # Cameras need a secure origin, which another machine's plain address is not.
    origin = f"http://{host}:{context.network.signalling_port}"
    extra = [f"--unsafely-treat-insecure-origin-as-secure={origin}"]
    # No user's browser has it: candidates on the loopback interface reach nobody, and checking each costs 50 ms.
    without = [] if is_loopback(host) else ["--allow-loopback-in-peer-connection"]
    async with measured_chromium(extra, without=without) as browser:
        yield browser


@contextlib.asynccontextmanager
async def _page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    context.set_default_timeout(WAIT_MS)
    try:
        yield await context.new_page()
    finally:
        await context.close()
