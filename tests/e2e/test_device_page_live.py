"""The device page while somebody watches: what is exchanged, limited, muted and lost, as seen from the other side."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from playwright.async_api import expect

from tests.e2e.probes import read_patch, sound_energy, start_watching, wait_live, wait_time_passes
from tests.helpers.browser import ALLOW_CAMERA

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.helpers.browser import Browsers, Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(120)

SLOW_MS = 40_000
"""Encoders take seconds to follow a limit, on a busy machine more."""

WATCH_CONNECTIONS = """
window.connections = [];
window.offers = 0;
const Connection = RTCPeerConnection;
window.RTCPeerConnection = class extends Connection {
  constructor(...args) { super(...args); connections.push(this); }
  setLocalDescription(...args) { offers += 1; return super.setLocalDescription(...args); }
};
window.sentVideo = async () => {
  const report = [...(await connections.at(-1).getStats()).values()];
  const video = report.find((s) => s.type === "outbound-rtp" && s.kind === "video");
  return { ...video, codec: report.find((s) => s.id === video?.codecId)?.mimeType };
};
"""

LOUDEST = """
async ([selector, seconds]) => {
  const context = new AudioContext();
  await context.resume();
  const analyser = context.createAnalyser();
  const audio = new MediaStream(document.querySelector(selector).srcObject.getAudioTracks());
  context.createMediaStreamSource(audio).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const end = context.currentTime + seconds;
  let loudest = 0;
  while (context.currentTime < end) {
    await new Promise(requestAnimationFrame);
    analyser.getFloatTimeDomainData(samples);
    loudest = Math.max(loudest, samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
  }
  await context.close();
  return loudest;
}
"""


async def open_device(chromium: Chromium, url: str, *, granted: bool = False) -> Page:
    page = await chromium.blank()
    await page.add_init_script(WATCH_CONNECTIONS)
    if granted:
        await page.context.grant_permissions(["camera", "microphone"])
    await page.goto(f"{url}/device")
    return page


async def go_live(chromium: Chromium, url: str, device: Page) -> Page:
    """Go online, watch, and return the viewer's page."""
    await device.click("#online")
    await expect(device.locator("#state-title")).to_have_text("Online, nobody is watching")
    viewer = await start_watching(chromium, url)
    await wait_live(viewer)
    return viewer


async def choose(device: Page, setting: str, value: str) -> None:
    await device.locator("#quality").evaluate("details => details.open = true")
    await device.select_option(f"select[name={setting}]", value)


async def test_a_real_screen_takes_the_cameras_place_without_negotiation(
    browsers: Browsers, server: RunningServer
) -> None:
    flags = ["--auto-select-tab-capture-source-by-title=Slides"]
    async with browsers.chromium(flags, without=[ALLOW_CAMERA]) as chromium:
        device = await open_device(chromium, server.http_url, granted=True)
        slides = await device.context.new_page()
        await slides.goto("data:text/html,<title>Slides</title><body style='background:rgb(0,0,220)'>Slides")
        await device.bring_to_front()
        viewer = await go_live(chromium, server.http_url, device)
        feed = await viewer.locator(".tile").get_attribute("data-feed")
        offers = await device.evaluate("() => offers")
        camera = await read_patch(viewer)
        assert camera["green"] > camera["blue"] + 40

        await device.check("input[value=screen]", force=True)
        await viewer.wait_for_function(f"() => ({PATCH_IS})('blue', 'green')", timeout=SLOW_MS)
        await expect(device.locator("#another-screen")).to_be_visible()
        await device.check("input[value=camera]", force=True)
        await viewer.wait_for_function(f"() => ({PATCH_IS})('green', 'blue')", timeout=SLOW_MS)
        await wait_time_passes(viewer)
        assert await device.evaluate("() => offers") == offers, "nothing was negotiated"
        assert await viewer.locator(".tile").get_attribute("data-feed") == feed, "viewers were not interrupted"
    await server.wait_empty()


PATCH_IS = """(more, less) => {
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  context.drawImage(document.querySelector(".tile video"), 0, 0, 1, 1);
  const [, green, blue] = context.getImageData(0, 0, 1, 1).data;
  const colours = { green, blue };
  return colours[more] > colours[less] + 40;
}"""


async def test_the_codec_is_the_chosen_one_and_can_be_exchanged_live(server: RunningServer, chromium: Chromium) -> None:
    device = await open_device(chromium, server.http_url)
    await choose(device, "codec", "VP9")
    viewer = await go_live(chromium, server.http_url, device)
    await device.wait_for_function("async () => (await sentVideo()).codec === 'video/VP9'")

    await choose(device, "codec", "VP8")
    await device.wait_for_function("async () => (await sentVideo()).codec === 'video/VP8'", timeout=SLOW_MS)
    await wait_live(viewer)
    await wait_time_passes(viewer)
    picture = await read_patch(viewer)
    assert picture["green"] > picture["blue"] + 40


async def test_limits_are_kept_and_lifted_while_live(server: RunningServer, chromium: Chromium) -> None:
    device = await open_device(chromium, server.http_url)
    await choose(device, "height", "360")
    await choose(device, "kbps", "400")
    viewer = await go_live(chromium, server.http_url, device)
    await viewer.wait_for_function("() => document.querySelector('.tile video').videoHeight === 360", timeout=SLOW_MS)
    await device.wait_for_function("async () => (await sentVideo()).targetBitrate <= 400_000", timeout=SLOW_MS)

    await choose(device, "height", "180")
    await choose(device, "fps", "5")
    await choose(device, "kbps", "150")
    await viewer.wait_for_function("() => document.querySelector('.tile video').videoHeight === 180", timeout=SLOW_MS)
    await device.wait_for_function("async () => (await sentVideo()).targetBitrate <= 150_000", timeout=SLOW_MS)
    await device.wait_for_function("async () => (await sentVideo()).framesPerSecond <= 6", timeout=SLOW_MS)
    assert await sent_kbps(device) < 150 * 1.25

    await choose(device, "height", "0")
    await choose(device, "kbps", "0")
    await viewer.wait_for_function("() => document.querySelector('.tile video').videoHeight > 180", timeout=SLOW_MS)


async def sent_kbps(device: Page) -> float:
    """Measure the video's bitrate by what leaves in two seconds of the sender's clock."""
    rate = await device.evaluate(
        """async () => {
          const first = await sentVideo();
          let last = first;
          while (last.timestamp < first.timestamp + 2_000) {
            await new Promise(requestAnimationFrame);
            last = await sentVideo();
          }
          return (last.bytesSent - first.bytesSent) * 8 / (last.timestamp - first.timestamp);
        }"""
    )
    return cast("float", rate)


async def test_mute_is_silence_at_the_viewer(server: RunningServer, chromium: Chromium) -> None:
    device = await open_device(chromium, server.http_url)
    viewer = await go_live(chromium, server.http_url, device)
    assert await sound_energy(viewer) > 1e-6
    await device.wait_for_function("() => Number(document.querySelector('#level').ariaValueNow) > 10")

    await device.click("#mic")
    await expect(device.locator("#mic-label")).to_have_text("Microphone off")
    await expect(device.locator("#state-text")).to_have_text(
        "Somebody is watching this picture. The microphone is off."
    )
    # What was on its way is played out first; the fake microphone beeps once a second.
    await wait_time_passes(viewer, seconds=1.5)
    assert await viewer.evaluate(LOUDEST, [".tile video", 2.5]) < 1e-7
    await device.wait_for_function("() => document.querySelector('#level').ariaValueNow === '0'")

    await device.click("#mic")
    assert await sound_energy(viewer) > 1e-6


async def test_it_says_who_asked_and_when_they_look_away(server: RunningServer, chromium: Chromium) -> None:
    device = await open_device(chromium, server.http_url)
    await device.click("#online")
    viewer = await chromium.open(f"{server.http_url}/")
    await viewer.evaluate(
        """async () => {
          const { Viewer } = await import("/static/js/aiosfu.js");
          window.viewer = new Viewer({ clientId: "guard-7" });
          await viewer.watch();
        }"""
    )
    watching = "Somebody is watching this picture and hearing this sound now."
    text = device.locator("#state-text")
    await expect(text).to_have_text(watching)
    await expect(device.locator("#asked")).to_contain_text("by viewer guard-7.")
    await viewer.wait_for_function("() => viewer.feeds[0]?.state === 'live'")
    await viewer.evaluate("() => viewer.feeds[0].pause('audio')")
    await expect(text).to_have_text("Somebody is watching this picture. No viewer takes the sound now.")
    await viewer.evaluate("() => viewer.feeds[0].pause('video')")
    await expect(text).to_have_text("A viewer is there but has paused: nothing is sent until it goes on.")
    await viewer.evaluate("() => viewer.feeds[0].resume()")
    await expect(text).to_have_text(watching)
    await viewer.evaluate("() => viewer.stop()")
    await expect(device.locator("#state-title")).to_have_text("Online, nobody is watching")
    await expect(device.locator("#asked")).to_be_empty()


async def test_a_camera_that_the_system_took_away_is_taken_back(server: RunningServer, chromium: Chromium) -> None:
    device = await open_device(chromium, server.http_url)
    viewer = await go_live(chromium, server.http_url, device)
    # Sleep ends tracks without an event; waking up is told by the page becoming visible.
    before = await device.evaluate(
        """() => {
          const track = document.querySelector("#preview").srcObject.getVideoTracks()[0];
          track.stop();
          document.dispatchEvent(new Event("visibilitychange"));
          return track.id;
        }"""
    )
    await device.wait_for_function(
        """before => {
          const track = document.querySelector("#preview").srcObject.getVideoTracks()[0];
          return track && track.id !== before && track.readyState === "live";
        }""",
        arg=before,
    )
    await wait_time_passes(viewer, seconds=1)
    await expect(device.locator("#state-title")).to_have_text("You are live")
    await expect(device.locator(".notice")).to_have_count(0)
