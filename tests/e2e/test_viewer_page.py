"""What a person does on the viewer page beyond watching: choosing, keeping, pausing, arranging, by mouse and by key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from playwright.async_api import expect

from tests.e2e.probes import start_device, wait_live, wait_time_passes
from tests.e2e.screenshots import cameras, wait_all_live

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.browser import Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(120)

TILES = 20
RECORDED_PICTURES = 20
"""Of two seconds' worth, at least, on a busy machine."""


async def test_one_click_in_the_list_watches_and_another_stops(server: RunningServer, chromium: Chromium) -> None:
    await start_device(chromium, server.http_url, name="cam-1")
    await start_device(chromium, server.http_url, name="cam-2")
    page = await chromium.open(f"{server.http_url}/")
    await expect(page.locator("#camera-count")).to_have_text("2 online")
    row = page.locator(".camera-row[data-device=cam-2]")
    await row.click()
    await wait_live(page)
    await expect(page.locator(".tile-name")).to_have_text(["cam-2"])
    await expect(row).to_have_attribute("aria-pressed", "true")
    await expect(page.locator(".camera-row[data-device=cam-1]")).to_contain_text("Available")
    await row.click()
    await expect(page.locator(".tile")).to_have_count(0)
    await expect(row).to_contain_text("Available")

    await row.click()
    await wait_live(page)
    (room,) = server.service.rooms.state.rooms
    assert server.service.close_room(room)  # by an operator
    await expect(page.locator(".notice")).to_contain_text("The room was closed")
    await expect(page.locator(".tile")).to_have_count(0)
    await expect(row).to_contain_text("Available")


async def test_a_link_opens_a_device_that_comes_later(server: RunningServer, chromium: Chromium) -> None:
    page = await chromium.open(f"{server.http_url}/#device=cam-1")
    await expect(page.locator(".tile-cover-title")).to_have_text("Not online")
    await start_device(chromium, server.http_url, name="cam-1")
    await wait_live(page)


async def test_pause_stops_the_picture_and_goes_on(server: RunningServer, chromium: Chromium) -> None:
    await start_device(chromium, server.http_url, name="cam-1")
    page = await chromium.open(f"{server.http_url}/#device=cam-1")
    await wait_live(page)
    await page.keyboard.press("Space")
    await expect(page.locator(".tile-badge")).to_have_text("PAUSED")
    frames = "() => document.querySelector('.tile video').getVideoPlaybackQuality().totalVideoFrames"
    await page.wait_for_function(
        """() => {
          const now = document.querySelector(".tile video").getVideoPlaybackQuality().totalVideoFrames;
          if (window.still?.frames !== now) window.still = { frames: now, at: performance.now() };
          return performance.now() - window.still.at > 1500;
        }"""
    )
    still = await page.evaluate(frames)
    await page.keyboard.press("Space")
    await expect(page.locator(".tile-badge")).to_have_text("LIVE")
    await page.wait_for_function(f"still => ({frames})() > still + 5", arg=still)


async def test_snapshot_and_recording_are_saved(server: RunningServer, chromium: Chromium, tmp_path: Path) -> None:
    await start_device(chromium, server.http_url, name="cam-1")
    page = await chromium.open(f"{server.http_url}/#device=cam-1")
    await wait_live(page)
    async with page.expect_download() as snapshot:
        await page.click(".tile-tools [data-action=snapshot]")
    await (await snapshot.value).save_as(tmp_path / "picture")
    assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")
    with av.open(tmp_path / "picture") as picture:
        (image,) = picture.decode(video=0)
    assert_green(image)

    await page.click(".tile-tools [data-action=record]")
    await expect(page.locator(".tile-recording")).to_have_text("REC 0:02")
    async with page.expect_download() as recording:
        await page.click(".tile-tools [data-action=record]")
    await (await recording.value).save_as(tmp_path / "film")
    with av.open(tmp_path / "film") as film:
        assert sorted(stream.type for stream in film.streams) == ["audio", "video"]  # whichever came first
        pictures = list(film.decode(video=0))
        film.seek(0)
        loudest = max(float(np.abs(sound.to_ndarray()).max()) for sound in film.decode(audio=0))
    assert len(pictures) > RECORDED_PICTURES
    assert_green(pictures[-1])
    assert loudest > 0
    await expect(page.locator(".tile-recording")).to_be_hidden()


def assert_green(image: av.VideoFrame) -> None:
    """Fail unless it is of Chromium's fake camera."""
    red, green, blue = image.to_ndarray(format="rgb24").mean(axis=(0, 1))
    assert green > max(red, blue) + 40, (red, green, blue)


async def test_keys_arrange_the_wall_and_the_sheet_explains_them(server: RunningServer, chromium: Chromium) -> None:
    async with cameras(server, 2):
        page = await chromium.open(f"{server.http_url}/#all")
        await wait_all_live(page, 2)
        await page.keyboard.press("2")
        await expect(page.locator(".tile[data-spotlight] .tile-name")).to_have_text("harbour")
        await wait_time_passes(page)
        await page.keyboard.press("g")
        await expect(page.locator(".tile[data-spotlight]")).to_have_count(0)
        await page.keyboard.press("i")
        await expect(page.locator(".tile .numbers").first).to_be_visible()
        await page.wait_for_selector(".graph path[data-graph=kbps][d^=M]", state="attached")
        await page.keyboard.press("?")
        await expect(page.locator("#help")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator("#help")).to_be_hidden()
        await page.close()


async def test_twenty_tiles_show_pictures_and_numbers(server: RunningServer, chromium: Chromium) -> None:
    async with cameras(server, TILES):
        page = await chromium.open(f"{server.http_url}/#all")
        await wait_all_live(page, TILES)
        await page.keyboard.press("i")
        # Numbers are read for tiles in view only.
        await page.wait_for_selector(".graph path[data-graph=kbps][d^=M]", state="attached")
        await page.close()
