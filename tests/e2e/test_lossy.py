"""Chromium watches over a link that loses packets: the picture does not freeze."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypedDict, cast

import pytest

from tests.e2e.probes import wait_live
from tests.e2e.test_clients import running_device
from tests.helpers.lossy_proxy import Link, LossyProxy
from tests.helpers.server import running_server

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.helpers.browser import Browsers

pytestmark = pytest.mark.timeout(120)

ONE_WAY_SECONDS = 0.02
LINK = Link(ONE_WAY_SECONDS, loss=0.02)
CALM = Link(ONE_WAY_SECONDS)
MAX_FROZEN_SHARE = 0.01
FRAMES_PER_SECOND = 30
WATCHED_FRAMES = 30 * FRAMES_PER_SECOND
"""So that 1 % is one short freeze: chance has losses that no answer mends in time, one in 200 s as measured."""
WATCH_SECONDS = 70
"""For frames that take thirty seconds on a quiet machine."""

# The page keeps its connections to itself, and learns of the server's port only by the offer.
DETOUR = """
(() => {
  window.connections = [];
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...settings) {
      super(...settings);
      window.connections.push(this);
    }
    setRemoteDescription(description) {
      const sdp = description.sdp.replace(/(a=candidate:\\S+ \\d udp \\d+ \\S+) \\d+/g, "$1 PORT");
      return super.setRemoteDescription({ type: description.type, sdp });
    }
  };
  window.readVideo = async (frames) => {
    for (;;) {
      for (const stats of (await window.connections[0].getStats()).values()) {
        if (stats.type === "inbound-rtp" && stats.kind === "video" && stats.framesDecoded >= frames) return stats;
      }
      await new Promise(requestAnimationFrame);
    }
  };
})();
"""


class VideoStats(TypedDict):
    """What getStats tells of the video; durations in seconds, the timestamp in milliseconds."""

    timestamp: float
    framesDecoded: int
    packetsReceived: int
    nackCount: int
    retransmittedPacketsReceived: int
    """Absent before the first."""
    freezeCount: int
    totalFreezesDuration: float


async def read_video(page: Page, frames: int = 0) -> VideoStats:
    """Return the statistics once so many frames are decoded."""
    return cast("VideoStats", await page.evaluate("frames => window.readVideo(frames)", frames))


async def test_the_picture_does_not_freeze_while_packets_are_lost(browsers: Browsers) -> None:
    async with running_server(media_tcp=False) as server:
        with LossyProxy("127.0.0.1", ("127.0.0.1", server.engine.port), up=CALM, down=CALM) as proxy:
            async with (
                running_device(server, "--source", "testsrc=640x360@30", "--id", "python"),
                browsers.chromium() as chromium,
            ):
                page = await chromium.blank()
                await page.add_init_script(DETOUR.replace("PORT", str(proxy.address[1])))
                await page.goto(f"{server.http_url}/")
                await page.click("#watch")
                await wait_live(page)

                proxy.set_links(up=LINK, down=LINK)
                before = await read_video(page)
                async with asyncio.timeout(WATCH_SECONDS):
                    after = await read_video(page, before["framesDecoded"] + WATCHED_FRAMES)

                seconds = (after["timestamp"] - before["timestamp"]) / 1000
                frozen = after["totalFreezesDuration"] - before["totalFreezesDuration"]
                decoded = after["framesDecoded"] - before["framesDecoded"]
                assert frozen < MAX_FROZEN_SHARE * seconds, (
                    f"frozen {frozen:.2f} of {seconds:.1f} s: {before} to {after}"
                )
                assert decoded > 0.95 * FRAMES_PER_SECOND * seconds, f"{decoded} frames in {seconds:.1f} s"
                # The loss was real, and was mended.
                assert proxy.counts["down"]["lost"] > 0
                assert after["nackCount"] > before["nackCount"]
                assert after["retransmittedPacketsReceived"] > 0
                (subscription,) = server.engine.statistics().subscriptions
                assert any(consumer.retransmitted > 0 for consumer in subscription.consumers)
            await server.wait_empty()
