"""Firefox with the pages as people have them: it watches, it is a device, it loses its links and finds them again.

Firefox runs as installed, apart from a camera that is fake and allowed. A page that holds no camera is given the
address of the default route alone, and that is never paired with 127.0.0.1: so all of this runs in a network of its own
with such a route, and the server listens for media on that address too, as it does by default.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import web

from signaling.client import Device, Viewer, open_source
from tests.e2e.probes import READ_PATCH
from tests.e2e.test_clients import BARS, COLOUR_TOLERANCE
from tests.e2e.test_stream import BLUE, FRONT, RED, running_drone, serving_page, video
from tests.helpers.cuttable_proxy import CuttableProxy
from tests.helpers.firefox import find_firefox, running_firefox
from tests.helpers.own_network import ADDRESS, own_network, why_not
from tests.helpers.server import running_server, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.helpers.firefox import Firefox, Tab
    from tests.helpers.server import RunningServer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
    pytest.mark.skipif(find_firefox() is None, reason="no Firefox: apt install firefox-esr"),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

PAGES = Path(__file__).parent / "pages"
PICTURE = ".tile video"
BACK_SECONDS = 30
"""Page and device wait up to ten seconds between attempts."""


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    with own_network():
        yield


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser(network: None) -> AsyncIterator[Firefox]:  # noqa: ARG001  started within it
    async with running_firefox() as firefox:
        yield firefox


@pytest.fixture
def firefox(browser: Firefox) -> Firefox:
    browser.problems.clear()
    return browser


def serving(**settings: Any) -> contextlib.AbstractAsyncContextManager[RunningServer]:
    return running_server(media_host=("127.0.0.1", ADDRESS), **settings)


@contextlib.asynccontextmanager
async def camera(server_url: str, name: str = "cam-1", codec: str = "VP8", **options: Any) -> AsyncIterator[None]:
    """Run a Python device with the test picture and its tone for the block."""
    media = lambda: open_source("testsrc=384x216@15", codec=codec, **options)  # noqa: E731  made anew each time
    task = asyncio.create_task(Device(server_url, id=name, media=media, codec=codec).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def colour(tab: Tab, selector: str, place: tuple[float, float, float, float] = (0, 0, 1, 1)) -> tuple[float, ...]:
    """Return the mean red, green and blue of a part of what a video element shows."""
    read = f"(selector, place) => ({READ_PATCH})(document.querySelector(selector), place)"
    patch = await tab.evaluate(read, selector, place)
    return patch["red"], patch["green"], patch["blue"]


async def assert_colour_bars(tab: Tab, selector: str = PICTURE) -> None:
    for index, drawn in enumerate(BARS):
        # The middle of each bar; the bars take the upper 55 % of the picture.
        seen = await colour(tab, selector, ((index + 0.3) / 7, 0.1, 0.4 / 7, 0.3))
        assert np.allclose(seen, drawn, atol=COLOUR_TOLERANCE), f"bar {index}: {seen}, drawn as {drawn}"


async def test_one_click_shows_and_sounds_a_camera(firefox: Firefox) -> None:
    async with serving() as server, camera(server.server_url), firefox.page(f"{server.http_url}/") as tab:
        await tab.wait_text("#status", "1 camera online")
        await tab.click("#watch")
        await tab.wait_text(".tile-badge", "LIVE")
        await tab.wait_frames(PICTURE)
        await assert_colour_bars(tab)
        await tab.wait_sound(PICTURE)

        # What the page says of it comes from statistics, which Firefox words in its own way.
        await tab.wait_for(
            "() => [...document.querySelectorAll('.tile .numbers dd')].every((dd) => /\\d/.test(dd.textContent))"
        )
        assert (
            await tab.evaluate("() => document.querySelector('[data-number=picture]').textContent")
            == "384\N{MULTIPLICATION SIGN}216"
        )
        await tab.wait_for("() => Number(document.querySelector('.meter').style.getPropertyValue('--level')) > 0.05")
        assert firefox.problems == []


async def test_the_picture_outlives_the_socket_and_the_server(firefox: Firefox, free_port: int) -> None:
    async with (
        CuttableProxy(free_port) as proxy,
        camera(f"ws://127.0.0.1:{free_port}"),
        contextlib.AsyncExitStack() as pages,
    ):
        async with serving(port=free_port, resume_grace=30, check_tasks=False):
            tab = await pages.enter_async_context(firefox.page(f"{proxy.url.replace('ws', 'http')}/#all"))
            await tab.wait_frames(PICTURE)
            await tab.evaluate(f"() => {{ window.before = document.querySelector({PICTURE!r}).srcObject }}")
            accepted = proxy.accepted
            proxy.cut()
            await until(lambda: proxy.accepted > accepted, BACK_SECONDS)
            await tab.wait_text("#status", "1 camera live")
            await tab.wait_frames(PICTURE)
            assert await tab.evaluate("() => peerConnections.length") == 1, "media knew nothing of it"
        await tab.wait_text("#status", "Reconnecting")
        await tab.wait_text(".tile-cover-title", "Lost")
        async with serving(port=free_port, check_tasks=False):
            await tab.wait_text("#status", "1 camera live", BACK_SECONDS)
            await tab.wait_frames(PICTURE)
            await assert_colour_bars(tab)
            # The same stream, so that nobody has to do anything.
            assert await tab.evaluate(f"() => before === document.querySelector({PICTURE!r}).srcObject")
            # A report has the connection that was lost, too; Firefox gives no statistics of closed ones.
            await tab.click("#toggle-inspector")
            await tab.click("#copy-report")
            await tab.wait_text("#copy-report .label", "Copied")
    assert [problem for problem in firefox.problems if "ws://" not in problem] == []


async def test_the_device_page_publishes(firefox: Firefox) -> None:
    async with serving() as server, firefox.page(f"{server.http_url}/device#name=fox-1") as tab:
        await tab.click("#online")
        await tab.wait_text("#state-title", "Online, nobody is watching")
        async with Viewer(server.server_url) as viewer:
            feed = await viewer.next_feed(timeout=20)
            assert feed.device == "fox-1"
            assert feed.video is not None
            assert feed.audio is not None
            async with asyncio.timeout(20):
                # Firefox's fake camera goes round the colours in half a minute: the one of now has to come.
                shown = await colour(tab, "#preview")
                while not np.allclose(await mean_colour(feed.video), shown, atol=COLOUR_TOLERANCE):
                    pass
                while not np.any(np.abs((await feed.audio.recv()).to_ndarray()) > 100):
                    pass
            await tab.wait_text("#state-title", "You are live")
            await tab.wait_for(
                "() => [...document.querySelectorAll('#numbers dd')].every((dd) => /\\d/.test(dd.textContent))"
            )
        await tab.wait_text("#state-title", "Online, nobody is watching")
        assert firefox.problems == []


async def mean_colour(track: Any) -> Any:
    return (await track.recv()).to_ndarray(format="rgb24").astype(float).mean(axis=(0, 1))


async def test_two_drones(firefox: Firefox) -> None:
    async with (
        serving() as server,
        running_drone(server.server_url, "drone-1", front=RED),
        running_drone(server.server_url, "drone-2", front=BLUE),
        serving_page() as url,
        firefox.page(f"{url}?server={server.http_url}") as tab,
    ):
        await tab.wait_for("() => window.js_webrtcstream !== undefined")
        for number in ("drone-1", "drone-2"):
            await tab.evaluate("(number, track) => fn_WEBRTC_login(number, track)", number, FRONT)
        for number in ("drone-1", "drone-2"):
            await tab.wait_frames(video(number))
        red, blue = await colour(tab, video("drone-1")), await colour(tab, video("drone-2"))
        assert red[0] > max(red[1:]) + COLOUR_TOLERANCE
        assert blue[2] > max(blue[:2]) + COLOUR_TOLERANCE
        await tab.wait_for(
            """() => ["drone-1", "drone-2"].every((id) => statistics.some(({ unit, fps, rx, track_id: track }) =>
                unit === units.get(id) && fps > 5 && rx > 0 && track === "fpv_camera"))"""
        )
        await tab.evaluate(
            "(number, track) => js_webrtcstream.getConversation(number, track).hangup()", "drone-1", FRONT
        )
        await tab.wait_frames(video("drone-2"))
        assert await tab.evaluate("() => log.filter(([what]) => what === 'error')") == []
        assert await tab.evaluate("() => Object.keys(js_webrtcstream.conversations)") == [f"drone-2/{FRONT}"]
        assert firefox.problems == []


@contextlib.asynccontextmanager
async def serving_samples(server: RunningServer) -> AsyncIterator[str]:
    """Serve the published document's pages by a web server of their own, with this server's port in place of theirs."""

    async def page(request: web.Request) -> web.Response:
        text = (PAGES / f"{request.match_info['name']}.html").read_text()
        return web.Response(text=text.replace("127.0.0.1:8002", f"127.0.0.1:{server.port}"), content_type="text/html")

    async def no_icon(_request: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.router.add_get("/favicon.ico", no_icon)
    app.router.add_get("/{name:[a-z]+}.html", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def test_the_documents_samples_of_both_roles(firefox: Firefox) -> None:
    async with (
        serving() as server,
        serving_samples(server) as url,
        firefox.page(f"{url}/device.html") as device,
        firefox.page(f"{url}/web.html") as tab,
    ):
        for page in (device, tab):
            await page.wait_for("() => ws.readyState === WebSocket.OPEN")
        await tab.click("#start")
        await tab.wait_frames("#remoteVideos video")
        await tab.wait_sound("#remoteVideos video")
        kinds = (
            "() => document.querySelector('#remoteVideos video').srcObject.getTracks().map(({ kind }) => kind).sort()"
        )
        assert await tab.evaluate(kinds) == ["audio", "video"], "one video element for both"
        await device.click("#stop")
        await device.click("#leave")
        await until(lambda: not server.service.rooms.state.feeds)
        assert firefox.problems == []


async def test_what_firefox_cannot_play_is_said(firefox: Firefox) -> None:
    """The Firefox of a distribution comes without H264; it fetches a decoder for that when it is online for a while."""
    async with serving() as server:
        async with (
            camera(server.server_url, "with-sound", "H264"),
            firefox.page(f"{server.http_url}/#all") as tab,
        ):
            async with camera(server.server_url, "silent", "H264", audio="none"):
                for name, state in (("with-sound", "live"), ("silent", "unplayable")):
                    tile = f".tile[data-device={name}]"
                    await tab.wait_text(f"{tile} .tile-cover-title", "No picture in this browser")
                    words = await tab.evaluate(
                        "(selector) => document.querySelector(selector).textContent", f"{tile} .tile-cover-text"
                    )
                    assert words.startswith("The camera sends H264, which this browser cannot play.")
                    assert (
                        await tab.evaluate("(selector) => document.querySelector(selector).dataset.state", tile)
                        == state
                    )
                await tab.wait_sound(".tile[data-device=with-sound] video")
            async with camera(server.server_url, "silent", "VP8", audio="none"):
                picture = ".tile[data-device=silent] video"
                await tab.wait_frames(picture)
                await assert_colour_bars(tab, picture)
        assert firefox.problems == []
