"""One camera on the viewer page, as a person deals with it: chosen, linked to, enlarged, kept; judged by its pixels."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from signaling.client import Device
from signaling.client.testsource import ToneTrack
from signaling.client.timeline import Timeline
from tests.e2e.probes import read_patch, sound_energy, wait_live
from tests.e2e.screenshots import cameras, wait_all_live
from tests.e2e.test_stream import BLUE, RED, Camera

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

    from tests.helpers.browser import Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(60)

WALLS = ((1152, 808), (1408, 808), (1888, 988), (820, 1088), (812, 298), (366, 704))
"""Widths and heights: 1440 x 900 with and without the list, full HD, a tablet, a phone both ways."""
GAP_PX, STRIP_PX, MIN_STRIP_TILE_PX, PHONE_PX, RATIO = 10, 220, 150, 640, 16 / 9
"""As in wall.js."""


@contextlib.asynccontextmanager
async def porch(server: RunningServer) -> AsyncIterator[None]:
    """Run the device `porch` for the block: a red camera `front`, a blue one `back`, and a tone."""
    timeline = Timeline()
    device = Device(
        server.server_url,
        id="porch",
        media=lambda: [Camera("front", RED), Camera("back", BLUE), ToneTrack(timeline)],
    )
    task = asyncio.create_task(device.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def wait_colour(page: Page, more: str, less: str) -> None:
    """Return when the tile's picture is more of one colour than of another."""
    async with asyncio.timeout(10):
        while True:
            patch = await read_patch(page, 0.4, 0.4, 0.2, 0.2)
            if patch[more] > patch[less] + 60:  # type: ignore[literal-required]  # two of its four keys
                return


async def test_a_link_opens_one_camera_of_several_and_another_can_be_chosen(
    server: RunningServer, chromium: Chromium
) -> None:
    async with porch(server):
        page = await chromium.open(f"{server.http_url}/#device=porch&camera=back")
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await wait_live(page)
        await wait_colour(page, "blue", "red")
        choice = page.locator(".tile-cameras")
        await expect(choice.locator("option:checked")).to_have_text("back")

        await choice.select_option(label="front")
        await wait_colour(page, "red", "blue")
        assert await page.locator(".tile").count() == 1
        await page.keyboard.press("Escape")
        await page.locator(".tile").focus()
        await page.keyboard.press("y")
        await page.wait_for_function(
            "async url => (await navigator.clipboard.readText()) === url",
            arg=f"{server.http_url}/#device=porch&camera=front",
        )

        await page.locator(".tile").hover()
        await page.click(".tile-sound")
        await expect(page.locator(".tile-sound")).to_have_attribute("aria-pressed", "true")
        assert await sound_energy(page) > 1e-4
        await page.close()


async def test_a_link_opens_the_room_of_somebody_else(server: RunningServer, chromium: Chromium) -> None:
    async with porch(server):
        host = await chromium.open(f"{server.http_url}/#device=porch")
        await wait_live(host)
        (room,) = server.service.rooms.state.rooms
        guest = await chromium.open(f"{server.http_url}/#room={room}")
        await wait_live(guest)
        await expect(guest.locator(".tile-name")).to_have_text("porch")
        await wait_colour(guest, "red", "blue")
        assert list(server.service.rooms.state.rooms) == [room], "the guest opened no room"
        await guest.close()
        await host.close()


async def test_picture_in_picture_and_full_screen(server: RunningServer, chromium: Chromium) -> None:
    async with porch(server):
        page = await chromium.open(f"{server.http_url}/#device=porch")
        await wait_live(page)
        in_picture = "() => document.pictureInPictureElement === document.querySelector('.tile video')"
        await page.click("[data-action=pip]")
        await page.wait_for_function(in_picture)
        await expect(page.locator("[data-action=pip]")).to_have_attribute("aria-label", "Leave picture in picture")
        await page.click("[data-action=pip]")
        await page.wait_for_function("() => document.pictureInPictureElement === null")

        await page.keyboard.press("f")
        await page.wait_for_function("() => document.fullscreenElement?.matches('.tile')")
        fills = "() => document.querySelector('.tile video').clientHeight === innerHeight"
        await page.wait_for_function(fills)
        # Nothing lies on the picture while nobody moves; what does comes back with the pointer.
        await page.wait_for_selector(".tile[data-still]")
        await page.mouse.move(200, 200)
        await page.wait_for_selector(".tile:not([data-still])")
        await page.keyboard.press("f")
        await page.wait_for_function("() => document.fullscreenElement === null")
        await page.close()


async def test_every_key_does_what_the_sheet_says(server: RunningServer, chromium: Chromium) -> None:
    async with cameras(server, 2):
        page = await chromium.open(f"{server.http_url}/#all")
        await wait_all_live(page, 2)
        tiles = page.locator(".tile")
        await page.keyboard.press("1")
        await expect(tiles.first).to_be_focused()
        await expect(page.locator(".tile[data-spotlight] .tile-name")).to_have_text("east-gate")
        await page.keyboard.press("s")
        await expect(page.locator(".tile[data-spotlight]")).to_have_count(0)
        await page.keyboard.press("ArrowRight")
        await expect(tiles.nth(1)).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator(".tile[data-spotlight] .tile-name")).to_have_text("harbour")
        await page.keyboard.press("Escape")
        await expect(page.locator(".tile[data-spotlight]")).to_have_count(0)
        await page.keyboard.press("m")
        await expect(tiles.nth(1).locator(".tile-sound")).to_have_attribute("aria-pressed", "true")
        await page.keyboard.press("l")
        await expect(page.locator("#cameras")).to_be_hidden()
        await page.keyboard.press("d")
        await expect(page.locator("#inspector")).to_be_visible()
        await page.keyboard.press("w")
        await page.wait_for_function("() => document.pictureInPictureElement !== null")
        async with page.expect_download() as snapshot:
            await page.keyboard.press("c")
        assert (await snapshot.value).suggested_filename.startswith("harbour ")
        await page.keyboard.press("x")
        await expect(page.locator(".tile-name")).to_have_text(["east-gate"])
        await page.keyboard.press("a")
        await wait_all_live(page, 2)
        await page.close()


async def test_a_finger_enlarges_a_picture_and_all_it_needs_is_at_hand(
    server: RunningServer, chromium: Chromium
) -> None:
    async with cameras(server, 2):
        page = await chromium.blank(width=390, height=844, touch=True)
        await page.goto(f"{server.http_url}/#all")
        await wait_all_live(page, 2)
        await page.evaluate(ARRIVED)
        small = await page.evaluate(SMALL_TARGETS)
        assert small == [], "a finger needs 44 px"
        await page.tap(".tile >> nth=1 >> .tile-picture")
        await expect(page.locator(".tile[data-spotlight] .tile-name")).to_have_text("harbour")
        await page.tap(".tile[data-spotlight] .tile-picture")
        await expect(page.locator(".tile[data-spotlight]")).to_have_count(0)
        # The list is a sheet at the lower edge, which covers and uncovers the pictures by one tap.
        await page.tap("#toggle-list")
        sheet = await page.locator("#cameras").bounding_box()
        assert sheet is not None
        assert sheet["y"] + sheet["height"] == 844
        await page.tap("#close-list")
        await expect(page.locator("#cameras")).to_be_hidden()
        await page.close()


# A tile arrives a little smaller than it is, and may be live before it is there.
ARRIVED = """() => Promise.allSettled(
  document.getAnimations()
    .filter((animation) => animation.effect.getComputedTiming().endTime < Infinity)
    .map((animation) => animation.finished)
)"""
SMALL_TARGETS = """() => [...document.querySelectorAll("button, select, .toolbar a")]
  .map((control) => ({ control, box: control.getBoundingClientRect() }))
  .filter(({ control, box }) => box.width > 0 && !control.disabled && (box.width < 44 || box.height < 44))
  .map(({ control, box }) => `${control.id || control.className} ${box.width} x ${box.height}`)"""


async def test_however_many_pictures_there_are_they_fit(server: RunningServer, chromium: Chromium) -> None:
    page = await chromium.open(f"{server.http_url}/")
    layouts = await page.evaluate(LAYOUTS, [*WALLS])
    for (width, height), counts in zip(WALLS, layouts, strict=True):
        for count, (grid, spotlight) in enumerate(counts, start=1):
            where = f"{count} pictures on {width} x {height}: {grid}, {spotlight}"
            assert grid["columns"] * grid["tileWidth"] + (grid["columns"] - 1) * GAP_PX <= width, where
            others = count - 1
            large = spotlight["width"] / RATIO
            assert spotlight["width"] <= width, where
            if width < PHONE_PX:
                continue
            if spotlight["side"] == "beside":
                assert large <= height + 1, where
                assert not others or spotlight["width"] + GAP_PX + STRIP_PX <= width, where
            else:
                small = (spotlight["width"] - GAP_PX * (others - 1)) / others
                assert small >= MIN_STRIP_TILE_PX, where
                assert large + GAP_PX + small / RATIO <= height + 1, where
    # Twenty need no scrolling on a laptop.
    twenty, _ = layouts[0][19]
    rows = -(-20 // twenty["columns"])
    assert rows * twenty["tileWidth"] / RATIO + (rows - 1) * GAP_PX <= WALLS[0][1]


LAYOUTS = """async (walls) => {
  const { gridFor, spotlightFor } = await import("/static/js/wall.js");
  const counts = Array.from({ length: 25 }, (_, index) => index + 1);
  return walls.map(([width, height]) =>
    counts.map((count) => [gridFor(count, width, height), spotlightFor(count - 1, width, height)]));
}"""


async def test_a_slow_camera_is_not_frozen(server: RunningServer, chromium: Chromium) -> None:
    page = await chromium.open(f"{server.http_url}/")

    async def frozen_at(*pictures: float) -> list[float]:
        """Return when the picture is called frozen, seconds, if judged as the page does; it ends 3 s after the last."""
        found: list[float] = await page.evaluate(JUDGE, list(pictures))
        return found

    quick = [number / 30 for number in range(1, 300)]
    (said,) = await frozen_at(*quick)
    assert 1.4 < said - quick[-1] < 1.8
    once_a_second = [float(number) for number in range(1, 30)]
    assert await frozen_at(*once_a_second) == [pytest.approx(29 + 2.6, abs=0.4)]
    with_one_missing = [number for number in once_a_second if number != 15]
    assert len(await frozen_at(*with_one_missing)) == 1, "only after the last"
    assert len(await frozen_at(*quick, 14.0, *(14 + at for at in quick))) == 2, "a freeze, and the end"


JUDGE = """async (pictures) => {
  const { Liveness } = await import("/static/js/liveness.js");
  const liveness = new Liveness();
  const frozen = [];
  let before = "live";
  for (let now = 0; now < pictures.at(-1) + 3; now += 0.3) {
    liveness.timed(pictures.findLast((at) => at <= now) ?? null);
    const motion = liveness.update(1_000 + now * 1_000);
    if (motion === "frozen" && before !== "frozen") frozen.push(now);
    before = motion;
  }
  return frozen;
}"""
