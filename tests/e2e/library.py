"""A page that has nothing but the browser library, and what tests ask of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.e2e.probes import wait_playing

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.helpers.browser import Chromium
    from tests.helpers.server import RunningServer

WAIT_SECONDS = 20
"""For what takes a second or two on a quiet machine."""

# A camera of one colour with something that moves, and what tests ask of the library.
SCRIPT = """
async (server) => {
  Object.assign(window, await import(`${server}/static/js/aiosfu.js`));
  window.camera = (colour, width = 320, height = 240) => {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    let turn = 0;
    setInterval(() => {
      context.fillStyle = colour;
      context.fillRect(0, 0, width, height);
      context.fillStyle = "#888";
      context.fillRect((turn = (turn + 7) % width), height - 20, 20, 20);
    }, 50);
    return canvas.captureStream(20).getVideoTracks()[0];
  };
  window.tone = () => {
    const context = new AudioContext();
    const oscillator = context.createOscillator();
    const destination = context.createMediaStreamDestination();
    oscillator.connect(destination);
    oscillator.start();
    return destination.stream.getAudioTracks()[0];
  };
  window.next = (target, name, condition = () => true) => new Promise((resolve, reject) => {
    const stop = new AbortController();
    setTimeout(() => reject(new Error(`no ${name} came`)), 20_000);
    target.addEventListener(name, ({ detail }) => {
      if (!condition(detail)) return;
      stop.abort();
      resolve(detail);
    }, { signal: stop.signal });
  });
  window.show = (id, stream) => {
    const video = document.createElement("video");
    Object.assign(video, { id, autoplay: true, muted: true, srcObject: stream });
    document.body.append(video);
  };
  window.problems = [];
  window.publish = async (tracks, options) => {
    window.publisher = new Publisher({ stream: new MediaStream(tracks), ...options });
    publisher.addEventListener("error", ({ detail }) => problems.push(`publisher: ${detail.message}`));
    await publisher.online({ signal: AbortSignal.timeout(20_000) });
  };
  window.watch = async (options) => {
    window.viewer = new Viewer(options);
    viewer.addEventListener("error", ({ detail }) => problems.push(`viewer: ${detail.message}`));
    window.feeds = [];
    viewer.addEventListener("feed", ({ detail: feed }) => {
      feeds.push(feed);
      show(`feed-${feeds.length}`, feed.stream);
    });
    await viewer.watch({ signal: AbortSignal.timeout(20_000) });
  };
}
"""


async def open_library(chromium: Chromium, pages: str, server: RunningServer) -> Page:
    """Open a page that has nothing but the library of `server`."""
    page = await chromium.open(f"{pages}/blank.html")
    await page.evaluate(SCRIPT, server.http_url)
    return page


async def start_publisher(page: Page, tracks: str = "camera('#0000ff'), tone()", options: str = "") -> None:
    await page.evaluate(f"async () => await publish([{tracks}], {{ {options} }})")


async def start_viewer(page: Page, options: str = "") -> None:
    await page.evaluate(f"async () => await watch({{ {options} }})")


async def wait_feed(page: Page) -> None:
    """Return when the first feed is live and its picture moves."""
    await page.wait_for_function("() => feeds[0]?.state === 'live'")
    await wait_playing(page, "#feed-1")


async def assert_no_problems(*pages: Page) -> None:
    for page in pages:
        assert await page.evaluate("() => problems") == []


async def frames(page: Page) -> int:
    """Return how many pictures have been decoded."""
    return int(await page.evaluate("async () => (await feeds[0].stats()).frames"))


async def wait_async(page: Page, condition: str) -> None:
    """Return when the async function `condition` gives true; Playwright's own wait takes its promise for true."""
    async with asyncio.timeout(WAIT_SECONDS):
        await page.evaluate(
            f"async () => {{ while (!(await ({condition})())) await new Promise((go) => setTimeout(go, 50)); }}"
        )


async def wait_more_frames(page: Page, count: int) -> None:
    before = await frames(page)
    await wait_async(page, f"async () => (await feeds[0].stats())?.frames > {before + count}")
