"""Chromium and the server say goodbye to each other after the server has let go of OpenSSL's connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu import SubscriptionEnded
from tests.helpers.peers import CountingTrack, publisher, running_engine, until

if TYPE_CHECKING:
    from playwright.async_api import Page

    from sfu import Engine
    from tests.helpers.browser import Browsers

ANSWER = """
async (offer) => {
  window.connection = new RTCPeerConnection();
  await window.connection.setRemoteDescription({ type: "offer", sdp: offer });
  await window.connection.setLocalDescription();
  const { transport } = window.connection.getReceivers()[0];
  window.over = new Promise((resolve) => {
    transport.addEventListener("statechange", () => transport.state === "closed" && resolve(transport.state));
  });
  return window.connection.localDescription.sdp;
}
"""


async def watch(page: Page, engine: Engine, subscription: int) -> None:
    """Watch feed 1; return once the handshake has been let go, which the browser's first report brings about."""
    await engine.accept(subscription, await page.evaluate(ANSWER, await engine.subscribe(subscription, 1)))
    peer = engine._subscriptions[subscription].peer
    await until(lambda: peer.transport.srtp_profile is not None and peer.transport._ssl is None)


async def test_chromium_hears_our_goodbye_and_we_its(browsers: Browsers) -> None:
    async with running_engine() as (engine, events), publisher(engine, events, 1, CountingTrack()):
        async with browsers.chromium() as chromium:
            page = await chromium.blank()
            await watch(page, engine, 11)
            await engine.unsubscribe(11)
            assert await page.evaluate("window.over") == "closed"

            await watch(page, engine, 12)
            await page.evaluate("window.connection.close()")
            ended = await events.expect(SubscriptionEnded)
            assert (ended.subscription, ended.reason) == (12, "closed_by_peer")
