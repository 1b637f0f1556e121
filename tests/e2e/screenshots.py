"""Pictures of the pages in every state, wide and narrow, dark and light, to be looked at one by one.

`python -m tests.e2e.screenshots DIRECTORY [STATE ...]`
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from signaling.client import Device
from signaling.client.loopback import gather_loopback
from signaling.client.sources import open_source
from tests.helpers.browser import running_chromium
from tests.helpers.server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

    from tests.helpers.browser import Chromium
    from tests.helpers.server import RunningServer

SIZES = {"1440": (1440, 900), "390": (390, 844)}
SCHEMES = ("dark", "light")
SMALL_SOURCE = "testsrc=384x216@8"
"""Small enough for twenty of them on one core."""
LIVE_MS = 60_000
SETTLE_MS = 1_300
"""The numbers are a second old by then, and what moves has moved."""
NAMES = ("front-door", "garage", "garden", "hall", "office", "roof", "stairs", "warehouse", "yard")


@dataclass(frozen=True)
class State:
    """A page to open and what to do on it before its picture is taken."""

    name: str
    path: str
    devices: int = 0
    until: str = "#status[data-tone=good]"
    click: tuple[str, ...] = ()
    patience_ms: int = SETTLE_MS
    lose: bool = False
    """Stop the server; such a state is the only one with so many devices."""


LIVE = "#status[data-tone=live]"
STATES = (
    State("no-device", "/"),
    State("waiting", "/#all", until="#looking:not([hidden])"),
    State("absent", "/#device=attic", until=".tile[data-state=absent]"),
    State("help", "/", click=("#open-help",)),
    State("inspect-empty", "/inspect"),
    State("devices", "/", devices=4, until=".camera-row >> nth=3"),
    State("live-1", "/#device=garage", devices=4, until=LIVE),
    State("live-4", "/#all", devices=4, until=LIVE),
    State("numbers", "/#all", devices=4, until=LIVE, click=("#toggle-numbers",), patience_ms=12_000),
    State("spotlight", "/#all", devices=4, until=LIVE, click=("#toggle-layout",)),
    State("menu", "/#all", devices=4, until=LIVE, click=(".tile-more >> nth=1",)),
    State("paused", "/#device=garage", devices=4, until=LIVE, click=(".tile [data-action=pause]",)),
    State("inspector", "/#device=garage", devices=4, until=LIVE, click=("#toggle-inspector",), patience_ms=2_500),
    State("inspect", "/inspect#device=garage", devices=4, until=LIVE, patience_ms=2_500),
    State("lost", "/#all", devices=3, until=LIVE, lose=True, patience_ms=6_000),
    State("live-9", "/#all", devices=9, until=LIVE),
    State("live-20", "/#all", devices=20, until=LIVE),
)


@contextlib.asynccontextmanager
async def cameras(server: RunningServer, count: int, source: str = SMALL_SOURCE) -> AsyncIterator[list[Device]]:
    """Run Python devices for the block, named as people name cameras."""
    names = [*NAMES, *(f"drone-{number}" for number in range(1, count))][:count]
    devices = [Device(server.server_url, id=name, media=lambda: open_source(source)) for name in names]
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
    await page.goto(server.http_url + state.path)
    await page.wait_for_selector(state.until, timeout=LIVE_MS)
    if state.path == "/#all" and state.devices:
        await wait_all_live(page, state.devices)
    for selector in state.click:
        await page.click(selector)
    if state.lose:
        await server.server.stop()
    await page.wait_for_timeout(state.patience_ms)


async def photograph(page: Page, name: str, directory: Path) -> None:
    """Take a page's four pictures."""
    for size, (width, height) in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await page.wait_for_timeout(SETTLE_MS if scheme == "dark" else 100)
            await page.screenshot(path=directory / f"{name}-{size}-{scheme}.png")


async def take(states: list[State], directory: Path) -> None:
    """Take all pictures, with as many devices at a time as the states ask for."""
    async with running_chromium() as chromium:
        chromium.forgive("ERR_CONNECTION_REFUSED")
        for count in sorted({state.devices for state in states}):
            group = [state for state in states if state.devices == count]
            async with running_server(check_tasks=False) as server, cameras(server, count):
                for state in group:
                    await _take_one(chromium, server, state, directory)


async def _take_one(chromium: Chromium, server: RunningServer, state: State, directory: Path) -> None:
    page = await chromium.blank(width=1440, height=900)
    await reach(page, state, server)
    await photograph(page, state.name, directory)
    await page.close()


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
