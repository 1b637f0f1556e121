"""Browsers and Python clients watch each other; every codec that Chromium encodes goes through."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.async_api import expect

from signaling.client import Viewer
from tests.e2e.probes import (
    read_counter,
    read_patch,
    sound_energy,
    start_device,
    start_watching,
    wait_live,
    wait_time_passes,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.helpers.browser import Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(120)

STOP_SECONDS = 10.0
"""For a Python device to end; it promises two, on a machine that is not busy with browsers."""
FRAMES = 30
"""Pictures that a Python viewer decodes before it is believed."""
COLOUR_TOLERANCE = 45
"""Between what is drawn and what two colour conversions and a codec make of it, of 255."""

BARS = [(180, 180, 180), (180, 180, 0), (0, 180, 180), (0, 180, 0), (180, 0, 180), (180, 0, 0), (0, 0, 180)]
"""The test picture's colour bars, from left to right, as red, green and blue."""


@asynccontextmanager
async def running_device(server: RunningServer, *options: str) -> AsyncIterator[None]:
    """Run `aiosfu device` as a user would for the block."""
    command = [sys.executable, "-m", "signaling", "device", "--server", server.server_url, "--quiet", *options]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):
            _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert errors == b""


async def test_python_device_to_browser(server: RunningServer, chromium: Chromium) -> None:
    async with running_device(server, "--source", "testsrc=640x360@30", "--id", "python"):
        page = await start_watching(chromium, server.http_url)
        await wait_live(page)
        await expect(page.locator(".tile-name")).to_have_text("python")
        await expect(page.locator("[data-number=picture]")).to_have_text("640\N{MULTIPLICATION SIGN}360")

        for index, colour in enumerate(BARS):
            # The middle of each bar; the bars take the upper 55 % of the picture.
            patch = await read_patch(page, left=(index + 0.3) / 7, top=0.1, width=0.4 / 7, height=0.3)
            seen = patch["red"], patch["green"], patch["blue"]
            assert np.allclose(seen, colour, atol=COLOUR_TOLERANCE), f"bar {index}: {seen}, drawn as {colour}"
        first = await read_counter(page)
        await wait_time_passes(page)
        second = await read_counter(page)
        assert second > first
        assert await sound_energy(page) > 1e-6


async def test_browser_device_to_python_viewer(server: RunningServer, chromium: Chromium) -> None:
    await start_device(chromium, server.http_url, name="browser")
    async with Viewer(server.server_url) as viewer:
        feed = await viewer.next_feed(timeout=20)
        assert feed.device == "browser"
        assert feed.video is not None
        assert feed.audio is not None
        async with asyncio.timeout(30):
            pictures = [await feed.video.recv() for _ in range(FRAMES)]
            # The fake microphone beeps about once a second.
            while not np.any(np.abs((await feed.audio.recv()).to_ndarray()) > 100):
                pass
        picture = pictures[-1].to_ndarray(format="rgb24").astype(float)
        assert picture.shape[1] * 9 == picture.shape[0] * 16
        red, green, blue = picture.mean(axis=(0, 1))
        assert green > red + 40
        assert green > blue + 40
        times = [picture.pts for picture in pictures]
        assert times == sorted(set(times))


@pytest.mark.parametrize("codec", ["VP9", "AV1", "H264"])
async def test_codecs_of_the_browser(server: RunningServer, chromium: Chromium, codec: str) -> None:
    await start_device(chromium, server.http_url, codec=codec)
    viewer = await start_watching(chromium, server.http_url)
    await wait_live(viewer)
    # The tooltip is what getStats says of the track that is being decoded.
    await expect(viewer.locator(".tile .numbers")).to_have_attribute("title", f"{codec}, opus")
    picture = await read_patch(viewer)
    assert picture["green"] > picture["red"] + 20
    assert picture["contrast"] > 5
