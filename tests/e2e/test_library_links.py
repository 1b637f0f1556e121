"""The browser library over links that break: sockets cut and frozen, a server that restarts, media that is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.library import (
    SCRIPT,
    assert_no_problems,
    open_library,
    start_publisher,
    start_viewer,
    wait_feed,
    wait_more_frames,
)
from tests.e2e.probes import wait_playing
from tests.e2e.test_lossy import DETOUR
from tests.helpers.cuttable_proxy import CuttableProxy
from tests.helpers.lossy_proxy import Link, LossyProxy
from tests.helpers.server import RunningServer, running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.helpers.browser import Browsers, Chromium

pytestmark = pytest.mark.timeout(90)


@pytest_asyncio.fixture(loop_scope="session")
async def lasting() -> AsyncIterator[RunningServer]:
    """Run a server whose sessions outlive their sockets."""
    async with running_server(check_tasks=False, resume_grace=30) as running:
        yield running
        # Clients that say goodbye are gone at once.
        await running.wait_empty()


async def test_a_cut_socket_costs_no_picture(lasting: RunningServer, chromium: Chromium, pages: str) -> None:
    async with CuttableProxy(lasting.port) as viewers, CuttableProxy(lasting.port) as devices:
        publisher = await open_library(chromium, pages, lasting)
        await start_publisher(publisher, options=f"server: '{devices.url}'")
        viewer = await open_library(chromium, pages, lasting)
        await start_viewer(viewer, f"server: '{viewers.url}'")
        await wait_feed(viewer)
        chromium.forgive("WebSocket connection to")
        for page, proxy, name in ((viewer, viewers, "viewer"), (publisher, devices, "publisher")):
            await page.evaluate(f"() => {{ window.back = next({name}.connection, 'resumed') }}")
            proxy.away = True
            proxy.cut()
            await page.wait_for_function(f"() => {name}.state === 'reconnecting'")
            await wait_more_frames(viewer, 10)
            proxy.away = False
            await page.evaluate("async () => await back")
            await page.wait_for_function(f"() => ['watching', 'live'].includes({name}.state)")
        await wait_more_frames(viewer, 10)
        stats = await viewer.evaluate("async () => await feeds[0].stats()")
        assert stats["freezes"] == 0
        assert stats["packetsLost"] == 0
        assert await viewer.evaluate("() => feeds.length") == 1
        await assert_no_problems(publisher, viewer)
        await viewer.evaluate("() => viewer.stop()")
        await publisher.evaluate("() => publisher.offline()")


async def test_requests_under_way_survive_a_cut_socket(lasting: RunningServer, chromium: Chromium, pages: str) -> None:
    async with CuttableProxy(lasting.port) as proxy:
        page = await open_library(chromium, pages, lasting)
        await page.evaluate(
            "async server => { window.link = new Connection({ role: 'WEB', server }); await link.open(); }", proxy.url
        )
        chromium.forgive("WebSocket connection to")
        # What the frozen link swallows is either unread by the server or unread by us; both are made up for.
        proxy.freeze()
        await page.evaluate("() => { window.rooms = [1, 2, 3].map(() => link.request('create_room')) }")
        await page.evaluate("async () => { window.back = next(link, 'resumed'); link.check(); await back; }")
        rooms = await page.evaluate("async () => (await Promise.all(rooms)).map(room => room.room_id)")
        assert len(set(rooms)) == 3
        assert len(lasting.service.rooms.state.rooms) == 3
        await page.evaluate("() => link.close()")


async def test_a_half_open_link_is_noticed(lasting: RunningServer, chromium: Chromium, pages: str) -> None:
    async with CuttableProxy(lasting.port) as proxy:
        publisher = await open_library(chromium, pages, lasting)
        await start_publisher(publisher)
        viewer = await open_library(chromium, pages, lasting)
        await start_viewer(viewer, f"server: '{proxy.url}'")
        await wait_feed(viewer)
        proxy.freeze()
        # The browser's news of another network, which is when links break without a word.
        await viewer.evaluate(
            """async () => {
              const back = next(viewer.connection, "resumed");
              dispatchEvent(new Event("online"));
              await back;
            }"""
        )
        await wait_more_frames(viewer, 10)
        await assert_no_problems(publisher, viewer)
        await viewer.evaluate("() => viewer.stop()")
        await publisher.evaluate("() => publisher.offline()")


async def test_a_restart_of_the_server_keeps_feed_and_element(browsers: Browsers, free_port: int, pages: str) -> None:
    async with browsers.chromium() as chromium:
        chromium.forgive("ERR_CONNECTION_REFUSED")
        async with running_server(check_tasks=False, port=free_port) as server:
            publisher = await open_library(chromium, pages, server)
            await start_publisher(publisher, options="clientId: 'cam-1'")
            viewer = await open_library(chromium, pages, server)
            await start_viewer(viewer)
            await wait_feed(viewer)
            await viewer.evaluate(
                "() => { window.before = { feed: feeds[0], id: feeds[0].id, stream: feeds[0].stream } }"
            )
        await viewer.wait_for_function("() => viewer.state === 'reconnecting' && feeds[0].state === 'lost'")
        async with running_server(check_tasks=False, port=free_port) as server:
            await viewer.wait_for_function("() => feeds[0].state === 'live'", timeout=40_000)
            await wait_more_frames(viewer, 10)
            await viewer.evaluate("() => { document.querySelector('#feed-1').probeStart = undefined }")
            await wait_playing(viewer, "#feed-1")
            assert await viewer.evaluate("() => [feeds.length, feeds[0].stream.getTracks().length]") == [1, 2]
            assert await viewer.evaluate("() => viewer.feeds[0] === before.feed && feeds[0].stream === before.stream")
            assert await viewer.evaluate("() => feeds[0].id !== before.id")
            await viewer.close()
            await publisher.close()
            await server.wait_empty()


async def test_a_broken_media_path_is_repaired(server: RunningServer, chromium: Chromium, pages: str) -> None:
    calm, hole = Link(0.0), Link(0.0, loss=1.0)
    with LossyProxy("127.0.0.1", ("127.0.0.1", server.engine.port), up=calm, down=calm) as path:
        publisher = await chromium.blank()
        await publisher.add_init_script(DETOUR.replace("PORT", str(path.address[1])))
        await publisher.goto(f"{pages}/blank.html")
        await publisher.evaluate(SCRIPT, server.http_url)
        await start_publisher(publisher, options="clientId: 'cam-1'")
        viewer = await open_library(chromium, pages, server)
        await start_viewer(viewer)
        await wait_feed(viewer)
        await publisher.evaluate("() => { window.first = publisher.publication.peerConnection }")
        path.set_links(up=hole, down=hole)
        await publisher.wait_for_function("() => publisher.publication.state === 'lost'")
        path.set_links(up=calm, down=calm)
        await publisher.wait_for_function("() => publisher.publication.state === 'live'", timeout=40_000)
        await viewer.wait_for_function("() => feeds[0].state === 'live'", timeout=40_000)
        await wait_more_frames(viewer, 10)
        assert await viewer.evaluate("() => feeds.length") == 1, "the feed object is the same"
    await publisher.close()
    await viewer.close()
