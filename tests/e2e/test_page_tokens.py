"""The pages on a server that wants tokens: by a link that holds one, and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.e2e.probes import REMEMBER_SMALL, wait_live
from tests.helpers.server import running_server
from tests.helpers.tokens import SECRET, token

if TYPE_CHECKING:
    from tests.helpers.browser import Browsers

NEVER_SECONDS = 60.0
"""How long the server would wait for a token: longer than the test for anything."""


async def test_a_link_is_enough_and_without_one_the_page_says_what_is_missing(browsers: Browsers) -> None:
    async with (
        running_server(auth_secret=SECRET, auth_timeout=NEVER_SECONDS, check_tasks=False) as server,
        browsers.chromium() as chromium,
    ):
        device = await chromium.blank()
        await device.add_init_script(REMEMBER_SMALL)
        await device.goto(f"{server.http_url}/device#token={token('gate', 'DEVICE')}")
        await device.click("#online")
        viewer = await chromium.open(f"{server.http_url}/#device=gate&token={token('anna')}")
        await wait_live(viewer)
        assert {session.client.id for session in server.service.sessions.values()} == {"gate", "anna"}

        outside = await chromium.open(f"{server.http_url}/")
        await expect(outside.locator(".notice-title")).to_have_text("The server does not let you in")
        await expect(outside.locator("#status")).to_have_text("Refused")
        wrong = await chromium.open(f"{server.http_url}/#token={token('anna', secret='x' * 40)}")
        await expect(wrong.locator(".notice-title")).to_have_text("The server does not let you in")
        for page in (outside, wrong, viewer, device):
            await page.close()
        await server.wait_empty()
