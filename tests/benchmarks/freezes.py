"""Freezes: the part of the time that Chromium's picture stands still while the way to it loses packets."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.helpers.browser import measured_chromium
from tests.helpers.lossy_proxy import Link, LossyProxy

from .bench import running_bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from .bench import Bench
    from .scenarios import Context, Row

ONE_WAY_SECONDS = 0.02
CALM: Final = Link(ONE_WAY_SECONDS)
CASES: Final = {
    "none": CALM,
    "2 %": Link(ONE_WAY_SECONDS, 0.02),
    "2 %, bursts of 5": Link(ONE_WAY_SECONDS, 0.02, 5),
    "5 %": Link(ONE_WAY_SECONDS, 0.05),
    "5 %, bursts of 5": Link(ONE_WAY_SECONDS, 0.05, 5),
}
"""Both ways alike: a NACK is lost as often as what it asks for."""
SEEDS = 5
"""Viewers at once, each behind a proxy with a seed of its own; more would keep two cores busy with decoding."""
MIN_SECONDS = 40.0
"""For each: 200 s of watching a case, in which one freeze is a tenth of a percent or so."""
QUICK_SECONDS = 1.0
ORIGIN = "https://freezes.invalid/"
"""Answered by the test driver itself; nothing leaves the machine."""

_ANSWER = """async sdp => {
  const pc = globalThis.pc = new RTCPeerConnection();
  await pc.setRemoteDescription({type: "offer", sdp});
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== "complete") await new Promise(resolve => { pc.onicegatheringstatechange = resolve; });
  return pc.localDescription.sdp;
}"""
_SAMPLE = """async least => {
  for (;;) {
    for (const stats of (await globalThis.pc.getStats()).values())
      if (stats.type === "inbound-rtp" && stats.kind === "video" && (stats.framesDecoded ?? 0) >= least) return stats;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}"""
_COUNTS: Final = {
    "frames_decoded": "framesDecoded",
    "freezes": "freezeCount",
    "packets": "packetsReceived",
    "lost": "packetsLost",
    "retransmissions_received": "retransmittedPacketsReceived",
    "nacks": "nackCount",
    "plis": "pliCount",
}


@dataclass(frozen=True, slots=True)
class _Watched:
    """What one viewer saw between two readings of its statistics."""

    seconds: float
    frozen_seconds: float
    counts: dict[str, int]

    @property
    def frozen_percent(self) -> float:
        """The part of the time that the picture stood still."""
        return 100 * self.frozen_seconds / self.seconds


async def freezes(context: Context) -> list[Row]:
    """Measure the freezes of Chromium viewers over lossy links; once also without transport-wide feedback."""
    cases = [("none", True), ("2 %", True)] if context.quick else [(name, True) for name in CASES] + [("2 %", False)]
    return [await measure(context, name, transport_cc=transport_cc) for name, transport_cc in cases]


async def measure(context: Context, name: str, *, transport_cc: bool) -> Row:
    """Measure one case with a viewer for each seed at once, and beside them one without loss.

    Where that one's picture freezes too, it was not the loss alone, and the row says nothing of it.
    """
    seeds = 1 if context.quick else SEEDS
    seconds = QUICK_SECONDS if context.quick else max(MIN_SECONDS, context.seconds)
    async with (
        running_bench("aiosfu", context.network, context.clip, context.settle) as bench,
        measured_chromium() as browser,
    ):
        source = await bench.add_source(transport_cc=transport_cc)

        async def watch(link: Link, seed: int) -> _Watched:
            return await _watch(context, bench, browser, link, seed=seed, seconds=seconds)

        cpu = bench.server.cpu_seconds()
        control, *watched = await asyncio.gather(
            watch(CALM, 1), *(watch(CASES[name], 10 * seed + 1) for seed in range(1, seeds + 1))
        )
        cpu = bench.server.cpu_seconds() - cpu
        total = sum(one.seconds for one in watched)
        return {
            "server": "aiosfu",
            "loss": name,
            "feedback": "transport-cc" if transport_cc else "REMB",
            "viewers": len(watched),
            "seconds": round(total, 1),
            "frozen_percent": round(100 * sum(one.frozen_seconds for one in watched) / total, 3),
            "frozen_percent_worst": round(max(one.frozen_percent for one in watched), 3),
            **{title: sum(one.counts[title] for one in watched) for title in _COUNTS},
            "keyframe_requests": source.keyframe_requests,
            "server_cpu_seconds": round(cpu, 2),
            "control_freezes": control.counts["freezes"],
            "valid": control.counts["freezes"] == 0,
        }


async def _watch(
    context: Context, bench: Bench, browser: Browser, link: Link, *, seed: int, seconds: float
) -> _Watched:
    target = (context.network.server_host, context.network.media_port)
    with LossyProxy(context.network.load_host, target, up=CALM, down=CALM, seed=seed) as proxy:
        async with _page(browser) as page:
            viewer = await bench.signalling.viewer(0)
            offer = _detour(await viewer.subscribe(), proxy.address)
            await viewer.start(await page.evaluate(_ANSWER, offer))
            await _sample(page, least=context.clip.settings.frames_per_second)
            proxy.set_links(up=link, down=link)
            before = await _sample(page)
            await asyncio.sleep(seconds)
            after = await _sample(page)
    return _Watched(
        seconds=(after["timestamp"] - before["timestamp"]) / 1000,
        frozen_seconds=after["totalFreezesDuration"] - before["totalFreezesDuration"],
        counts={title: int(after.get(name, 0) - before.get(name, 0)) for title, name in _COUNTS.items()},
    )


async def _sample(page: Page, least: int = 0) -> dict[str, Any]:
    """Return the video's statistics once so many frames are decoded."""
    stats: dict[str, Any] = await page.evaluate(_SAMPLE, least)
    return stats


def _detour(offer: str, address: tuple[str, int]) -> str:
    """Put the proxy's address in the place of the server's, and leave no other way."""
    lines = [line for line in offer.splitlines() if not re.match(r"a=candidate:\S+ \d tcp ", line)]
    text = "\r\n".join(lines) + "\r\n"
    return re.sub(r"(a=candidate:\S+ \d udp \d+) \S+ \d+", rf"\1 {address[0]} {address[1]}", text)


@contextlib.asynccontextmanager
async def _page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.route(
            "**/*", lambda route: route.fulfill(body="<!doctype html><title>freezes</title>", content_type="text/html")
        )
        await page.goto(ORIGIN)
        yield page
    finally:
        await context.close()
