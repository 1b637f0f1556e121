"""Firefox with the pages as people have them: it watches a device, and it is one; and both over links that break."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from signaling.client import Device, Viewer, open_source
from tests.e2e.probes import READ_PATCH, read_patch, start_watching, wait_live
from tests.helpers.browser import running_chromium
from tests.helpers.firefox import find_firefox, running_firefox
from tests.helpers.server import running_server

if TYPE_CHECKING:
    from tests.helpers.firefox import Tab

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(find_firefox() is None, reason="no Firefox; apt install firefox-esr"),
]

VIDEO = ".tile video"
BACK_SECONDS = 40
"""Page and device wait up to ten seconds between attempts."""


async def allow_loopback(tab: Tab) -> None:
    """Hold the microphone: without, Firefox gathers only the default route's address, which reaches no 127.0.0.1."""
    await tab.evaluate("navigator.mediaDevices.getUserMedia({ audio: true }).then((it) => { window.held = it })")


async def wait_moving(tab: Tab) -> None:
    """Return when the first tile's picture moves; frames are counted by its clock, for the quality report stays 0."""
    await tab.wait_for(f"document.querySelector({VIDEO!r})?.videoWidth > 0")
    await tab.evaluate(f"window.probeStart = document.querySelector({VIDEO!r}).currentTime")
    await tab.wait_for(f"document.querySelector({VIDEO!r}).currentTime > probeStart + 0.5")


async def test_firefox_watches_a_vp8_device_and_finds_it_again(free_port: int) -> None:
    media = lambda: open_source("testsrc=384x216@15")  # noqa: E731  made anew for each publication
    device = asyncio.create_task(Device(f"ws://127.0.0.1:{free_port}", id="cam-1", media=media).run())
    try:
        async with running_firefox() as firefox:
            async with running_server(check_tasks=False, port=free_port) as server:
                tab = await firefox.open(f"{server.http_url}/")
                await allow_loopback(tab)
                await tab.click("#watch")
                await wait_moving(tab)
                # The colour bars: the first is white, the last blue.
                first, last = [
                    await tab.evaluate(f"({READ_PATCH})(document.querySelector({VIDEO!r}), {json.dumps(place)})")
                    for place in ([0.03, 0.1, 0.08, 0.3], [0.89, 0.1, 0.08, 0.3])
                ]
                assert min(first["red"], first["green"], first["blue"]) > 130
                assert last["blue"] > last["red"] + 80
                assert last["blue"] > last["green"] + 80
                assert firefox.problems == []
                await tab.evaluate(f"window.before = document.querySelector({VIDEO!r}).srcObject")
            await tab.wait_for("document.querySelector('#status').textContent === 'Reconnecting'")
            async with running_server(check_tasks=False, port=free_port) as server:
                await tab.wait_for("document.querySelector('#status').textContent === '1 camera live'", BACK_SECONDS)
                await wait_moving(tab)
                # The same stream, so that nobody has to do anything.
                assert await tab.evaluate(f"before === document.querySelector({VIDEO!r}).srcObject")
                await tab.close()
    finally:
        device.cancel()
        await asyncio.gather(device, return_exceptions=True)


async def test_firefox_publishes_to_python_and_to_chromium() -> None:
    async with (
        running_server(check_tasks=False) as server,
        running_firefox() as firefox,
        running_chromium() as chromium,
    ):
        tab = await firefox.open(f"{server.http_url}/device#name=fox-1")
        await tab.click("#online")
        async with Viewer(server.server_url) as viewer:
            feed = await viewer.next_feed(BACK_SECONDS)
            assert feed.device == "fox-1"
            assert feed.video is not None
            assert feed.audio is not None
            picture = await feed.video.recv()
            assert picture.width > 0
            await feed.audio.recv()
            watching = await start_watching(chromium, server.http_url)
            await wait_live(watching)
            assert (await read_patch(watching))["contrast"] >= 0
            await tab.wait_for("document.querySelector('#device').dataset.state === 'live'")
            await watching.close()
        assert firefox.problems == []
        await tab.close()
        await server.wait_empty()
