"""Pictures of the pages in every state, wide and narrow, dark and light, to be looked at one by one.

`python -m tests.e2e.screenshots DIRECTORY [STATE ...]`
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from signaling.client import Device
from signaling.client.loopback import gather_loopback
from signaling.client.sources import open_source
from signaling.tokens import TokenAuthenticator, secret_key
from tests.e2e.scenes import MOVING, scene
from tests.helpers.browser import running_chromium
from tests.helpers.server import running_server
from tests.helpers.tokens import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from playwright.async_api import Page

    from signaling.client.device import MediaFactory
    from tests.helpers.browser import Chromium
    from tests.helpers.server import RunningServer

SIZES = {"1440": (1440, 900), "390": (390, 844)}
SCHEMES = ("dark", "light")
SMALL_SOURCE = "testsrc=384x216@8"
"""Small enough for twenty of them on one core."""
LIVE_MS = 60_000
SETTLE_MS = 1_300
"""The numbers are a second old by then, and what moves has moved."""
NAMES = ("east-gate", "harbour", "lookout", "meadow", "north-ridge", "old-mill", "pass", "summit", "valley")


@dataclass(frozen=True)
class State:
    """A page to open and what to do on it before its picture is taken."""

    name: str
    path: str
    devices: int = 0
    until: str = "#status[data-tone=good]"
    click: tuple[str, ...] = ()
    patience_ms: int = SETTLE_MS
    script: str = ""
    """What the browser is to be like, run before the page's own."""
    watched: bool = False
    """Whether somebody watches, on another page, once what is to be clicked has been."""
    once_watched: str = "#device[data-state=live]"
    """What the page then shows."""
    then: tuple[str, ...] = ()
    """What is clicked once it is live."""
    lose: bool = False
    """Stop the server; such a state is the only one with so many devices."""
    freeze: bool = False
    """Let the cameras' pictures stand still."""
    auth: bool = False
    """Whether the server asks for a token."""


def refuse(error: str, permission: str) -> str:
    """Return a script that makes the browser refuse camera and microphone."""
    return f"""
      MediaDevices.prototype.getUserMedia = () => Promise.reject(new DOMException("", "{error}"));
      Permissions.prototype.query = async () => Object.assign(new EventTarget(), {{ state: "{permission}" }});
    """


SCREEN = """
MediaDevices.prototype.getDisplayMedia = async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1280, height: 720 });
  const context = canvas.getContext("2d");
  setInterval(() => {
    context.fillStyle = "#fdfdfb";
    context.fillRect(0, 0, 1280, 720);
    context.fillStyle = "#20303c";
    context.font = "600 64px sans-serif";
    context.fillText("Quarterly figures", 96, 200);
    for (let bar = 0; bar < 6; bar += 1) context.fillRect(96 + 180 * bar, 620 - 50 * bar, 120, 50 * bar + 20);
  }, 100);
  return canvas.captureStream(10);
};
"""

HILLS = """
MediaDevices.prototype.getUserMedia = async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1280, height: 720 });
  const context = canvas.getContext("2d");
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const quiet = new GainNode(audio, { gain: 0.2 });
  const sound = audio.createMediaStreamDestination();
  tone.connect(quiet).connect(sound);
  tone.start();
  let at = 0;
  setInterval(() => {
    const sky = context.createLinearGradient(0, 0, 0, 720);
    sky.addColorStop(0, "#f4bc84");
    sky.addColorStop(1, "#c98e74");
    context.fillStyle = sky;
    context.fillRect(0, 0, 1280, 720);
    context.fillStyle = "#fff6e6";
    context.beginPath();
    context.arc(900, 170, 44, 0, 7);
    context.fill();
    ["#9a7690", "#7a5c76", "#54425e", "#342c44"].forEach((colour, depth) => {
      context.fillStyle = colour;
      context.beginPath();
      context.moveTo(0, 720);
      for (let x = 0; x <= 1280; x += 10) {
        const wave = Math.sin(x / (210 - 30 * depth) + 2 * depth) + 0.5 * Math.sin(x / 90 + depth);
        context.lineTo(x, 330 + 95 * depth - 34 * wave);
      }
      context.lineTo(1280, 720);
      context.fill();
    });
    context.fillStyle = "#ffe2aa";
    for (const lamp of [0, 34]) {
      context.beginPath();
      context.arc((at + lamp) % 1280, 668, 7, 0, 7);
      context.fill();
    }
    at += 4;
  }, 50);
  return new MediaStream([...canvas.captureStream(20).getVideoTracks(), ...sound.stream.getAudioTracks()]);
};
"""

LIVE = "#status[data-tone=live]"
ONLINE = "#device[data-state=waiting]"
DENIED = refuse("NotAllowedError", "denied")
STATES = (
    State("no-device", "/"),
    State("waiting", "/#all", until="#looking:not([hidden])"),
    State("absent", "/#device=attic", until=".tile[data-state=absent]"),
    State("help", "/", click=("#open-help",)),
    State("inspect-empty", "/inspect"),
    State("status-empty", "/status"),
    State("status-token", "/status", until="#sign-in:not([hidden])", auth=True),
    State("device-idle", "/device", until="#device", script=HILLS),
    State("device-settings", "/device", until="#device", click=("#quality summary",), script=HILLS),
    State("device-waiting", "/device#name=porch", until="#device", click=("#online",), script=HILLS),
    State("device-live", "/device#name=porch", until="#device", click=("#online",), watched=True, script=HILLS,
        patience_ms=4_000),
    State("device-muted", "/device", until="#device", click=("#online",), watched=True, script=HILLS,
        then=("#mic", "#camera")),
    State("device-screen", "/device", until="#device", click=("#online",), watched=True, then=(
        ".segments label:last-of-type",), script=HILLS + SCREEN, patience_ms=3_000),
    State("device-refused", "/device", until="#device", click=("#online",), script=DENIED),
    State("device-no-camera", "/device", until="#device", click=("#online",), script=refuse("NotFoundError", "prompt")),
    State("device-lost", "/device", devices=1, until="#device", click=("#online",), watched=True, script=HILLS,
        lose=True, patience_ms=2_500),
    State("refused", "/#all", until="#status[data-tone=bad]", auth=True, patience_ms=300),
    State("devices", "/", devices=4, until=".camera-row >> nth=3"),
    State("live-1", "/#device=harbour", devices=4, until=LIVE),
    State("live-4", "/#all", devices=4, until=LIVE),
    State("hover", "/#all", devices=4, until=LIVE, then=(".tile-sound >> nth=1",)),
    State("numbers", "/#all", devices=4, until=LIVE, then=("#toggle-numbers",), patience_ms=12_000),
    State("spotlight", "/#all", devices=4, until=LIVE, then=("#toggle-layout",)),
    State("menu", "/#all", devices=4, until=LIVE, then=(".tile-more >> nth=1",)),
    State("paused", "/#device=harbour", devices=4, until=LIVE, then=(".tile [data-action=pause]",)),
    State("frozen", "/#device=harbour", devices=4, until=LIVE, freeze=True, patience_ms=3_000),
    State("inspector", "/#device=harbour", devices=4, until=LIVE, then=("#toggle-inspector",), patience_ms=2_500),
    State("inspect", "/inspect#device=harbour", devices=4, until=LIVE, patience_ms=2_500),
    State("status", "/status", devices=4, watched=True, until="#body:not([hidden])", patience_ms=35_000,
        once_watched="#feeds .card >> nth=3", then=("#feeds .watchers summary >> nth=0",)),
    State("lost", "/#all", devices=3, until=LIVE, lose=True, patience_ms=6_000),
    State("live-9", "/#all", devices=9, until=LIVE),
    State("live-20", "/#all", devices=20, until=LIVE),
)  # fmt: skip


@contextlib.asynccontextmanager
async def cameras(
    server: RunningServer, count: int, source: Callable[[str], MediaFactory] | None = None
) -> AsyncIterator[list[Device]]:
    """Run Python devices for the block, named as people name cameras; small test pictures without a `source`."""
    names = [*NAMES, *(f"drone-{number}" for number in range(1, count))][:count]
    opened = source or (lambda _name: lambda: open_source(SMALL_SOURCE))
    devices = [Device(server.server_url, id=name, media=opened(name)) for name in names]
    gather_loopback()
    tasks = [asyncio.create_task(device.run(), name=f"camera {device.id}") for device in devices]
    try:
        yield devices
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def wait_all_live(page: Page, count: int) -> None:
    """Return when so many tiles show a live picture."""
    live = "count => document.querySelectorAll('.tile[data-state=live]').length >= count"
    await page.wait_for_function(live, arg=count, timeout=LIVE_MS)


async def reach(page: Page, state: State, server: RunningServer) -> None:
    """Bring a page into a state."""
    await page.add_init_script(state.script)
    await page.goto(server.http_url + state.path)
    await page.wait_for_selector(state.until, timeout=LIVE_MS)
    if state.path == "/#all" and state.devices:
        await wait_all_live(page, state.devices)
    for selector in state.click:
        await page.click(selector)


async def change(page: Page, state: State, server: RunningServer) -> None:
    """Do what a state needs once its page is up, and wait until that is seen."""
    for selector in state.then:
        await page.click(selector)
    if state.lose:
        await server.server.stop()
    await page.wait_for_timeout(state.patience_ms)


async def photograph(page: Page, name: str, directory: Path) -> None:
    """Take a page's four pictures."""
    session = await page.context.new_cdp_session(page)
    for size, (width, height) in SIZES.items():
        if width < height:  # a phone: there are fingers and no pointer
            await session.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await page.wait_for_timeout(SETTLE_MS if scheme == "dark" else 200)
            await page.screenshot(path=directory / f"{name}-{size}-{scheme}.png")


async def take(states: list[State], directory: Path) -> None:
    """Take all pictures, with as many devices at a time as the states ask for."""
    async with running_chromium() as chromium:
        for expected in ("ERR_CONNECTION_REFUSED", "WebSocket connection", "401"):
            chromium.forgive(expected)
        for devices, auth in sorted({(state.devices, state.auth) for state in states}):
            group = [state for state in states if (state.devices, state.auth) == (devices, auth)]
            authenticator = (
                TokenAuthenticator(lambda: (secret_key(SECRET),), leeway_seconds=30, audience=None) if auth else None
            )
            running = running_server(check_tasks=False, authenticator=authenticator, auth_timeout=0.5)
            async with running as server, cameras(server, devices, _view if devices <= len(NAMES) else None):
                for state in group:
                    await _take_one(chromium, server, state, directory)


def _view(name: str) -> MediaFactory:
    return functools.partial(scene, name)


async def _take_one(chromium: Chromium, server: RunningServer, state: State, directory: Path) -> None:
    page = await chromium.blank(width=1440, height=900)
    watcher = None
    await reach(page, state, server)
    if state.watched:
        watcher = await chromium.open(f"{server.http_url}/#all")
        await page.wait_for_selector(state.once_watched, timeout=LIVE_MS)
        await page.bring_to_front()
        await page.mouse.move(5, 5)  # off the button that it pressed
    if state.freeze:
        MOVING.clear()
    await change(page, state, server)
    await photograph(page, state.name, directory)
    MOVING.set()
    await page.close()
    if watcher is not None:
        await watcher.close()


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.screenshots", description="Pictures of the pages.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("states", nargs="*", metavar="STATE", help=f"of {', '.join(state.name for state in STATES)}")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    chosen = [state for state in STATES if not arguments.states or state.name in arguments.states]
    asyncio.run(take(chosen, arguments.directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
