"""Ramp: how soon Chromium's encoder reaches its rate through a server, which depends on the server's feedback alone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from tests.helpers.browser import measured_chromium

from .bench import running_bench
from .clip import CACHE, noisy_pictures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

    from .processes import Kind
    from .scenarios import Context, Row

GOAL_BITS_PER_SECOND: Final = 1_500_000
WATCH_SECONDS = 20.0
QUICK_SECONDS = 2.0
WIDTH, HEIGHT, FRAMES = 1280, 720, 45
NOISE = 12
ORIGIN = "https://ramp.invalid/"
"""Answered by the test driver itself: cameras need a secure origin, and nothing leaves the machine."""

_OFFER = """async ([width, height]) => {
  const media = await navigator.mediaDevices.getUserMedia({video: {width, height, frameRate: 30}, audio: true});
  const pc = globalThis.pc = new RTCPeerConnection();
  for (const track of media.getTracks()) {
    pc.addTrack(track, media);
  }
  globalThis.connected = new Promise(resolve => {
    pc.onconnectionstatechange = () => { if (pc.connectionState === "connected") resolve(performance.now()); };
  });
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== "complete") await new Promise(resolve => { pc.onicegatheringstatechange = resolve; });
  return pc.localDescription.sdp;
}"""
_ANSWER = (
    """async sdp => { await globalThis.pc.setRemoteDescription({type: "answer", sdp}); await globalThis.connected; }"""
)
_SAMPLE = """async milliseconds => {
  const samples = [];
  const began = await globalThis.connected;
  while (performance.now() - began < milliseconds) {
    const reports = [...(await globalThis.pc.getStats()).values()];
    const pair = reports.find(report => report.type === "candidate-pair" && report.nominated);
    for (const report of reports)
      if (report.type === "outbound-rtp" && report.kind === "video")
        samples.push([(performance.now() - began) / 1000, report.bytesSent, report.frameHeight ?? 0,
                      report.framesPerSecond ?? 0, report.qualityLimitationReason,
                      pair?.availableOutgoingBitrate ?? 0]);
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  return samples;
}"""


async def ramp(context: Context) -> list[Row]:
    """Measure seconds until a Chromium publisher sends more than 1.5 Mbit/s, ours and Janus."""
    seconds = QUICK_SECONDS if context.quick else WATCH_SECONDS
    camera = _camera()
    rows = []
    for kind in context.servers():
        async with _chromium(camera) as page:
            rows.append(await _ramp(context, kind, page, seconds))
    return rows


async def _ramp(context: Context, kind: Kind, page: Page, seconds: float) -> Row:
    async with running_bench(kind, context.network, context.clip, context.settle) as bench:
        answer = await bench.signalling.publish(0, await page.evaluate(_OFFER, [WIDTH, HEIGHT]))
        await page.evaluate(_ANSWER, answer)
        samples: list[list[Any]] = await page.evaluate(_SAMPLE, seconds * 1000)
        rates = list(_rates(samples))
        reached = next((when for when, rate in rates if rate > GOAL_BITS_PER_SECOND), None)
        last = samples[-1]
        return {
            "server": kind,
            "seconds_to_1500_kbps": round(reached, 1) if reached is not None else "never",
            "seconds_to_1500_kbps_estimate": next(
                (round(sample[0], 1) for sample in samples if sample[5] > GOAL_BITS_PER_SECOND), "never"
            ),
            "kbps_after_2_s": round(next((rate for when, rate in rates if when >= 2), 0) / 1000),
            "kbps_after_5_s": round(next((rate for when, rate in rates if when >= 5), 0) / 1000),
            "kbps_at_end": round(rates[-1][1] / 1000) if rates else 0,
            "estimate_kbps_at_end": round(last[5] / 1000),
            "height_at_end": last[2],
            "fps_at_end": last[3],
            "limited_by": last[4],
            "watched_seconds": seconds,
        }


def _rates(samples: list[list[Any]]) -> list[tuple[float, float]]:
    """Return (seconds, bit/s over the second before)."""
    rates = []
    start = 0
    for when, sent, *_ in samples:
        while samples[start + 1][0] < when - 1 and start + 2 < len(samples):
            start += 1
        since, before = samples[start][:2]
        if when - since >= 0.9:
            rates.append((when, (sent - before) * 8 / (when - since)))
    return rates


@contextlib.asynccontextmanager
async def _chromium(camera: Path) -> AsyncIterator[Page]:
    async with measured_chromium([f"--use-file-for-fake-video-capture={camera}"]) as browser:
        context = await browser.new_context(permissions=["camera", "microphone"])
        page = await context.new_page()
        await page.route(
            "**/*", lambda route: route.fulfill(body="<!doctype html><title>ramp</title>", content_type="text/html")
        )
        await page.goto(ORIGIN)
        yield page


def _camera() -> Path:
    """Return a noisy 720p30 Y4M file, made first where the cache does not have it."""
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"v1-{WIDTH}x{HEIGHT}-{FRAMES}.y4m"
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    chroma = bytes([128]) * (WIDTH * HEIGHT // 2)
    with partial.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F30:1 Ip A1:1 C420jpeg\n".encode())
        for picture in noisy_pictures(WIDTH, HEIGHT, FRAMES, noise=NOISE):
            file.write(b"FRAME\n" + picture.tobytes() + chroma)
    partial.replace(path)
    return path
