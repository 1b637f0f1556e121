"""What a person would notice about a page, read from the page."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypedDict, cast

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.helpers.browser import Chromium


class Patch(TypedDict):
    """A part of a picture: mean colour, 0 to 255, and the spread of its brightness."""

    red: float
    green: float
    blue: float
    contrast: float


TILE_VIDEO = ".tile video"

READ_PATCH = """
(video, [left, top, width, height]) => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(video, 0, 0);
  const { data } = context.getImageData(
    left * canvas.width, top * canvas.height, Math.max(1, width * canvas.width), Math.max(1, height * canvas.height));
  const sums = [0, 0, 0];
  let squares = 0;
  const count = data.length / 4;
  for (let at = 0; at < data.length; at += 4) {
    for (let channel = 0; channel < 3; channel += 1) sums[channel] += data[at + channel];
    const brightness = (data[at] + data[at + 1] + data[at + 2]) / 3;
    squares += brightness * brightness;
  }
  const [red, green, blue] = sums.map((sum) => sum / count);
  const mean = (red + green + blue) / 3;
  return { red, green, blue, contrast: Math.sqrt(Math.max(0, squares / count - mean * mean)) };
}
"""

# Sound as an analyser hears it, muted or not; a note says whether any sample was above silence.
HEARD = """
async (video) => {
  const context = new AudioContext();
  await context.resume();
  const analyser = context.createAnalyser();
  const audio = new MediaStream(video.srcObject.getAudioTracks());
  context.createMediaStreamSource(audio).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const deadline = performance.now() + 10_000;
  let energy = 0;
  while (energy < 1e-6 && performance.now() < deadline) {
    await new Promise(requestAnimationFrame);
    analyser.getFloatTimeDomainData(samples);
    energy = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  }
  await context.close();
  return energy;
}
"""


async def start_watching(chromium: Chromium, http_url: str) -> Page:
    """Open the viewer page as a new visitor and click its button."""
    page = await chromium.open(f"{http_url}/")
    await page.click("#watch")
    return page


# As somebody who chose it in the settings on an earlier visit.
REMEMBER_SMALL = """
try {
  localStorage.getItem("aiosfu.device") ?? localStorage.setItem("aiosfu.device", JSON.stringify({ height: 360 }));
} catch {}  // the empty page that is there first has no storage
"""


async def start_device(chromium: Chromium, http_url: str, *, is_full_size: bool = False, **options: str) -> Page:
    """Open the device page as a new visitor, go online and wait until the server knows it.

    Its camera is set to 360 lines: encoding 720 takes a core, and most tests are about something else.
    """
    fragment = "&".join(f"{name}={value}" for name, value in options.items())
    page = await chromium.blank()
    if not is_full_size:
        await page.add_init_script(REMEMBER_SMALL)
    await page.goto(f"{http_url}/device#{fragment}")
    await page.click("#online")
    await page.wait_for_selector("#device[data-state=waiting], #device[data-state=live]")
    return page


async def crash(page: Page) -> None:
    """Kill the page's process: nothing of it gets to say goodbye."""
    session = await page.context.new_cdp_session(page)
    async with page.expect_event("crash"):
        # Never answered, for the process that would is gone.
        command = asyncio.ensure_future(session.send("Page.crash"))
    command.cancel()
    await asyncio.gather(command, return_exceptions=True)


async def wait_playing(page: Page, selector: str = TILE_VIDEO) -> None:
    """Return when the video's clock has advanced by a second's worth of pictures."""
    await page.wait_for_function(
        """selector => {
          const video = document.querySelector(selector);
          if (!video?.videoWidth) return false;
          video.probeStart ??= { time: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames };
          return video.currentTime > video.probeStart.time + 0.5
            && video.getVideoPlaybackQuality().totalVideoFrames > video.probeStart.frames + 5;
        }""",
        arg=selector,
    )


async def wait_time_passes(page: Page, selector: str = TILE_VIDEO, seconds: float = 0.5) -> None:
    """Return when the video's clock has advanced."""
    now = await page.locator(selector).first.evaluate("video => video.currentTime")
    await page.wait_for_function(
        "([selector, time]) => document.querySelector(selector).currentTime > time", arg=[selector, now + seconds]
    )


async def wait_live(page: Page) -> None:
    """Return when the viewer page says that its first camera is live and its picture moves."""
    await page.wait_for_selector(".tile[data-state=live]")
    await wait_playing(page)


async def read_patch(
    page: Page, left: float = 0, top: float = 0, width: float = 1, height: float = 1, selector: str = TILE_VIDEO
) -> Patch:
    """Read a part of the picture; all four are shares of its width and height."""
    patch = await page.locator(selector).first.evaluate(READ_PATCH, [left, top, width, height])
    return cast("Patch", patch)


async def sound_energy(page: Page, selector: str = TILE_VIDEO) -> float:
    """Return the mean square of the sound, 0 where there is none."""
    return cast("float", await page.locator(selector).first.evaluate(HEARD))


async def numbers(page: Page, selector: str = ".tile .numbers") -> dict[str, str]:
    """Return the live numbers as shown, by name."""
    shown = await page.locator(selector).first.evaluate(
        "list => Object.fromEntries([...list.querySelectorAll('dd')].map(dd => [dd.dataset.number, dd.textContent]))"
    )
    return cast("dict[str, str]", shown)


async def wait_numbers(page: Page, selector: str = ".tile .numbers") -> dict[str, str]:
    """Return the live numbers once all of them are known."""
    await page.wait_for_function(
        "selector => [...document.querySelectorAll(`${selector} dd`)].every(dd => /\\d/.test(dd.textContent))",
        arg=selector,
    )
    return await numbers(page, selector)


READ_STRIP = """
video => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(video, 0, 0);
  const block = canvas.width / 24;
  const middle = canvas.height - Math.max(16, canvas.height / 12) / 2;
  return Array.from({ length: 24 }, (_, index) =>
    context.getImageData(Math.round((index + 0.5) * block), Math.round(middle), 1, 1).data[1]);
}
"""


async def read_counter(page: Page, selector: str = TILE_VIDEO) -> int:
    """Read the test picture's frame counter: 24 blocks along its lower edge, 2 of them sync and 4 check bits."""
    blocks = cast("list[int]", await page.locator(selector).first.evaluate(READ_STRIP))
    bits = "".join("1" if block > 128 else "0" for block in blocks)
    assert bits.startswith("10"), f"no frame counter in {blocks}"
    return int(bits[2:-4], 2)
