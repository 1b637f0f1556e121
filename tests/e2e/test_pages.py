"""Chromium's device page to Chromium's viewer page, as people use them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.e2e.probes import (
    crash,
    read_patch,
    sound_energy,
    start_device,
    start_watching,
    wait_live,
    wait_numbers,
)

if TYPE_CHECKING:
    from tests.helpers.browser import Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(120)

GROW_MS = 60_000
"""It takes some five seconds on a quiet machine."""


async def test_a_click_shows_and_sounds_the_camera(server: RunningServer, chromium: Chromium) -> None:
    device = await start_device(chromium, server.http_url, is_full_size=True, name="cam-1")
    viewer = await start_watching(chromium, server.http_url)
    await wait_live(viewer)

    # Chromium's encoder starts smaller and grows as it learns the bandwidth.
    await viewer.wait_for_function("() => document.querySelector('.tile video').videoWidth === 1280", timeout=GROW_MS)
    picture = await read_patch(viewer)
    assert picture["green"] > 60, "Chromium's fake camera is green"
    assert picture["green"] > picture["blue"] + 40
    assert picture["contrast"] > 5
    assert await sound_energy(viewer) > 0

    await expect(viewer.locator(".tile-name")).to_have_text("cam-1")
    await expect(viewer.locator(".tile-badge")).to_have_text("LIVE")
    await expect(viewer.locator("#status")).to_have_text("1 camera live")
    await expect(viewer.locator("[data-number=picture]")).to_have_text(re.compile(r"^1280\D720$"))
    shown = await wait_numbers(viewer)
    assert re.fullmatch(r"\d+\xa0fps", shown["fps"])
    assert re.fullmatch(r"[1-9]\d*\xa0kbit/s", shown["kbps"])
    assert re.fullmatch(r"<?\d+\xa0ms", shown["roundTrip"])
    assert re.fullmatch(r"[\d.]+\xa0%", shown["loss"])

    await expect(device.locator("#state-title")).to_have_text("You are live")
    await expect(device.locator("#live-badge")).to_be_visible()
    await wait_numbers(device, "#numbers")


async def test_sound_starts_muted_and_one_click_unmutes(server: RunningServer, chromium: Chromium) -> None:
    await start_device(chromium, server.http_url)
    viewer = await start_watching(chromium, server.http_url)
    await wait_live(viewer)
    sound = viewer.locator(".tile-sound")
    await expect(sound).to_have_text("Sound off")
    assert await viewer.locator(".tile video").evaluate("video => video.muted")
    await viewer.wait_for_function(
        "() => Number(document.querySelector('.meter').style.getPropertyValue('--level')) > 0.05"
    )

    await sound.click()
    await expect(sound).to_have_text("Sound on")
    assert not await viewer.locator(".tile video").evaluate("video => video.muted || video.paused")


async def test_full_screen_and_back(server: RunningServer, chromium: Chromium) -> None:
    await start_device(chromium, server.http_url)
    viewer = await start_watching(chromium, server.http_url)
    await wait_live(viewer)
    button = viewer.locator(".tile-fullscreen")
    await button.click()
    await expect(button).to_have_attribute("aria-label", "Leave full screen")
    await button.click()
    await expect(button).to_have_attribute("aria-label", "Full screen")


async def test_no_layout_shift_when_the_picture_arrives(server: RunningServer, chromium: Chromium) -> None:
    await start_device(chromium, server.http_url)
    viewer = await chromium.open(f"{server.http_url}/")
    await viewer.evaluate(
        """() => {
          window.boxes = new Set();
          new MutationObserver(() => {
            const box = document.querySelector(".tile-picture")?.getBoundingClientRect();
            // Until the welcome makes room for it, in one step, the wall is not displayed: then there is no box.
            if (box?.width) window.boxes.add(JSON.stringify([box.x, box.y, box.width, box.height].map(Math.round)));
          }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
        }"""
    )
    # The tile grows in by a transform, which moves nothing else but is seen by getBoundingClientRect.
    await viewer.emulate_media(reduced_motion="reduce")
    await viewer.click("#watch")
    await wait_live(viewer)
    await wait_numbers(viewer)
    assert len(await viewer.evaluate("() => [...window.boxes]")) == 1


async def test_without_a_device_the_page_says_how_to_get_one(server: RunningServer, chromium: Chromium) -> None:
    viewer = await start_watching(chromium, server.http_url)
    await expect(viewer.locator("#welcome-title")).to_have_text("Waiting for a camera")
    await expect(viewer.locator("#device-url")).to_have_text(f"{server.http_url}/device")
    await expect(viewer.locator("#device-command")).to_have_text(
        f"aiosfu device --server {server.server_url} --source testsrc"
    )
    # It is noticed by itself when one comes online.
    await start_device(chromium, server.http_url)
    await wait_live(viewer)


async def test_a_second_visitor_watches_too(server: RunningServer, chromium: Chromium) -> None:
    device = await start_device(chromium, server.http_url)
    first = await start_watching(chromium, server.http_url)
    await wait_live(first)
    second = await start_watching(chromium, server.http_url)
    await wait_live(second)

    await first.click("#stop")
    await expect(first.locator("#welcome-title")).to_have_text("See your cameras, live")
    await expect(first.locator(".tile")).to_have_count(0)
    await expect(device.locator("#device")).to_have_attribute("data-state", "live")
    await second.close()
    # Nobody is left: the camera does not stream to nobody.
    await expect(device.locator("#state-title")).to_have_text("Online, nobody is watching")

    await first.click("#watch")
    await wait_live(first)
    await expect(device.locator("#device")).to_have_attribute("data-state", "live")


async def test_two_devices_have_a_tile_each(server: RunningServer, chromium: Chromium) -> None:
    await start_device(chromium, server.http_url, name="cam-1")
    await start_device(chromium, server.http_url, name="cam-2")
    viewer = await start_watching(chromium, server.http_url)
    await expect(viewer.locator(".tile[data-state=live]")).to_have_count(2)
    assert sorted(await viewer.locator(".tile-name").all_text_contents()) == ["cam-1", "cam-2"]
    await expect(viewer.locator("#status")).to_have_text("2 cameras live")


async def test_stop_on_the_device_page_ends_the_tile(server: RunningServer, chromium: Chromium) -> None:
    device = await start_device(chromium, server.http_url)
    viewer = await start_watching(chromium, server.http_url)
    await wait_live(viewer)
    await device.click("#stop")
    await expect(viewer.locator(".tile-cover-title")).to_have_text("The camera stopped")
    await expect(device.locator("#state-title")).to_have_text("Offline")
    assert await device.evaluate("() => document.querySelector('#preview').srcObject") is None
    await expect(viewer.locator(".tile")).to_have_count(0)
    await expect(viewer.locator("#welcome-title")).to_have_text("Waiting for a camera")


async def test_a_device_that_vanishes_is_shown_as_lost_and_comes_back_in_place(
    server: RunningServer, chromium: Chromium
) -> None:
    device = await start_device(chromium, server.http_url, name="cam-1")
    viewer = await start_watching(chromium, server.http_url)
    await wait_live(viewer)
    await viewer.evaluate("() => { document.querySelector('.tile').before = true }")
    await crash(device)
    await expect(viewer.locator(".tile-cover-title")).to_have_text("Lost")
    await start_device(chromium, server.http_url, name="cam-1")
    await wait_live(viewer)
    assert await viewer.evaluate("() => document.querySelector('.tile').before"), "the tile kept its place"


async def test_mute_camera_and_microphone(server: RunningServer, chromium: Chromium) -> None:
    device = await start_device(chromium, server.http_url)
    viewer = await start_watching(chromium, server.http_url)
    await wait_live(viewer)
    await device.click("#camera")
    await expect(device.locator("#camera-label")).to_have_text("Picture off")
    await device.click("#mic")
    await expect(device.locator("#mic-label")).to_have_text("Microphone off")
    await expect(device.locator("#state-text")).to_have_text(
        "Somebody is there, but sees and hears nothing. The picture is off. The microphone is off."
    )
    await viewer.wait_for_function(f"() => ({BRIGHTNESS})() < 20")
    await device.click("#camera")
    await viewer.wait_for_function(f"() => ({BRIGHTNESS})() > 40")


BRIGHTNESS = """() => {
  const video = document.querySelector(".tile video");
  const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 18 });
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 32, 18);
  const { data } = context.getImageData(0, 0, 32, 18);
  return data.filter((_, at) => at % 4 === 1).reduce((sum, green) => sum + green, 0) / (32 * 18);
}"""
