"""Tiles: what twenty pictures at once cost the viewer page's main thread, beside a page that only shows them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.helpers.browser import WAIT_MS, measured_chromium

from .bench import running_bench
from .clip import SMALL, load_clip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright.async_api import Browser, CDPSession, Page, ViewportSize

    from .scenarios import Context, Row

TILES: Final = 20
QUICK_TILES: Final = 2
SETTLE_SECONDS: Final = 3.0
"""From the last picture to the measurement: the numbers of all tiles have been read by then."""
VIEWPORT: Final[ViewportSize] = {"width": 1440, "height": 900}

# Before the page's own scripts: long tasks, animation frames, and sound that rises and falls, for the meters to move.
_WATCH = """
globalThis.long = [];
new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) long.push(duration); })
  .observe({ type: "longtask", buffered: true });
globalThis.gaps = [];
let last = performance.now();
const frame = (now) => {
  gaps.push(now - last);
  last = now;
  requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
const read = RTCRtpReceiver.prototype.getSynchronizationSources;
RTCRtpReceiver.prototype.getSynchronizationSources = function () {
  const audioLevel = 0.1 + 0.1 * Math.sin(performance.now() / 300);
  return read.call(this).map((source) => ({ ...source, audioLevel }));
};
"""
# The same feeds by the same library, and nothing of the viewer page: what the browser itself needs.
_BARE = """async () => {
  const { Viewer } = await import("/static/js/aiosfu.js");
  document.body.style.cssText = "display: grid; grid-template-columns: repeat(5, 1fr); gap: 10px";
  globalThis.viewer = new Viewer({ devices: [] });
  viewer.addEventListener("feed", ({ detail: feed }) => {
    const video = document.createElement("video");
    Object.assign(video, { autoplay: true, muted: true, srcObject: feed.stream });
    video.style.width = "100%";
    document.body.append(video);
  });
  await viewer.watch();
}"""
_PICTURES = """count => {
  const videos = [...document.querySelectorAll("video")].filter((video) => video.videoWidth > 0);
  return videos.length === count && document.querySelectorAll(".tile:not([data-state=live])").length === 0;
}"""
_DECODED = """() => [...document.querySelectorAll("video")]
  .reduce((sum, video) => sum + video.getVideoPlaybackQuality().totalVideoFrames, 0)"""
Show: TypeAlias = "Callable[[Page, str], Awaitable[float]]"
"""Opens the page at an address and begins to watch; returns when that began."""
_TIMES: Final = {
    "script": "ScriptDuration",
    "style": "RecalcStyleDuration",
    "layout": "LayoutDuration",
    "main_thread": "TaskDuration",
}
"""Columns, and what the DevTools protocol calls them: CPU seconds of the main thread."""


async def tiles(context: Context) -> list[Row]:
    """Measure the pictures alone, the page as it opens, and the page with numbers and graphs."""
    cases = {
        "pictures alone": _show_alone,
        "viewer page": _show_page,
        "viewer page, numbers shown": _show_numbers,
    }
    if context.quick:
        del cases["viewer page"]
    count = QUICK_TILES if context.quick else TILES
    network = context.network
    url = f"http://{network.server_host}:{network.signalling_port}"
    async with (
        running_bench("aiosfu", network, load_clip(SMALL), context.settle) as bench,
        measured_chromium() as browser,
    ):
        for number in range(count):
            await bench.add_source(phase=number / count)
        rows: list[Row] = []
        for case, show in cases.items():
            async with _page(browser) as page:
                row = await _measure(context, page, url, count, show)
            rows.append({"server": "aiosfu", "case": case, "tiles": count, **row})
        return rows


async def _measure(context: Context, page: Page, url: str, count: int, show: Show) -> Row:
    began = await show(page, url)
    await page.wait_for_function(_PICTURES, arg=count)
    start_seconds = asyncio.get_running_loop().time() - began
    starting = await page.evaluate("() => long.splice(0)")
    await asyncio.sleep(context.settle if context.quick else SETTLE_SECONDS)
    return {
        "start_seconds": round(start_seconds, 2),
        "start_long_tasks": len(starting),
        "start_long_ms": round(sum(starting)),
        **await _window(page, count, context.seconds),
    }


async def _begin(page: Page) -> float:
    """Let the page settle, forget its long tasks until now, and return the time."""
    await page.wait_for_load_state("networkidle")
    await page.evaluate("() => { long.length = 0 }")
    return asyncio.get_running_loop().time()


async def _show_alone(page: Page, url: str) -> float:
    await page.goto(f"{url}/healthz")
    await page.evaluate(_BARE)
    began = await _begin(page)
    await page.evaluate("() => viewer.invite(null)")
    return began


async def _show_page(page: Page, url: str) -> float:
    await page.goto(f"{url}/")
    await page.wait_for_selector("#status[data-tone=good]")
    began = await _begin(page)
    await page.click("#watch")
    return began


async def _show_numbers(page: Page, url: str) -> float:
    began = await _show_page(page, url)
    await page.wait_for_selector(".tile")
    await page.click("#toggle-numbers")
    return began


async def _window(page: Page, count: int, seconds: float) -> Row:
    """Return what the main thread did for some seconds, in percent of them."""
    protocol = await page.context.new_cdp_session(page)
    # Its CPU time: what other processes take meanwhile is not the page's.
    await protocol.send("Performance.enable", {"timeDomain": "threadTicks"})
    await page.evaluate("() => { long.length = gaps.length = 0 }")
    decoded = await page.evaluate(_DECODED)
    before = await _metrics(protocol)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(seconds)
    took = loop.time() - began
    after = await _metrics(protocol)
    long, gaps = await page.evaluate("() => [long, gaps]")
    decoded = await page.evaluate(_DECODED) - decoded
    spent = {f"{name}_percent": round(100 * (after[key] - before[key]) / took, 2) for name, key in _TIMES.items()}
    return {
        "seconds": round(took, 1),
        **spent,
        "long_tasks": len(long),
        "long_ms": round(sum(long)),
        "longest_ms": round(max(long, default=0)),
        "frames_per_second": round(len(gaps) / took, 1),
        "longest_gap_ms": round(max(gaps, default=0)),
        "pictures_per_second": round(decoded / took / count, 1),
    }


async def _metrics(protocol: CDPSession) -> dict[str, float]:
    metrics = (await protocol.send("Performance.getMetrics"))["metrics"]
    return {metric["name"]: metric["value"] for metric in metrics}


@contextlib.asynccontextmanager
async def _page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport=VIEWPORT)
    context.set_default_timeout(WAIT_MS)
    try:
        page = await context.new_page()
        await page.add_init_script(_WATCH)
        yield page
    finally:
        await context.close()
