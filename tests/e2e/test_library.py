"""The browser library as its users have it: their own page, their own canvas for a camera, and links that break."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from playwright.async_api import Error as PageError

from tests.e2e.probes import read_patch, start_device, wait_playing
from tests.helpers.browser import running_chromium
from tests.helpers.cuttable_proxy import CuttableProxy
from tests.helpers.server import RunningServer, running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

    from tests.helpers.browser import Chromium

pytestmark = pytest.mark.timeout(90)

ROOT = Path(__file__).parents[2]
PAGES = Path(__file__).parent / "pages"
README_PORT = 8002
"""The README's page has it built in; the browser is told to find this test's server behind it."""

WAIT_SECONDS = 20
"""For what takes a second or two on a quiet machine."""

# A camera of one colour with something that moves, and what tests ask of the library.
SCRIPT = """
async (server) => {
  Object.assign(window, await import(`${server}/static/js/aiosfu.js`));
  window.camera = (colour, width = 320, height = 240) => {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    let turn = 0;
    setInterval(() => {
      context.fillStyle = colour;
      context.fillRect(0, 0, width, height);
      context.fillStyle = "#888";
      context.fillRect((turn = (turn + 7) % width), height - 20, 20, 20);
    }, 50);
    return canvas.captureStream(20).getVideoTracks()[0];
  };
  window.tone = () => {
    const context = new AudioContext();
    const oscillator = context.createOscillator();
    const destination = context.createMediaStreamDestination();
    oscillator.connect(destination);
    oscillator.start();
    return destination.stream.getAudioTracks()[0];
  };
  window.next = (target, name, condition = () => true) => new Promise((resolve, reject) => {
    const stop = new AbortController();
    setTimeout(() => reject(new Error(`no ${name} came`)), 20_000);
    target.addEventListener(name, ({ detail }) => {
      if (!condition(detail)) return;
      stop.abort();
      resolve(detail);
    }, { signal: stop.signal });
  });
  window.show = (id, stream) => {
    const video = document.createElement("video");
    Object.assign(video, { id, autoplay: true, muted: true, srcObject: stream });
    document.body.append(video);
  };
  window.problems = [];
  window.publish = async (tracks, options) => {
    window.publisher = new Publisher({ stream: new MediaStream(tracks), ...options });
    publisher.addEventListener("error", ({ detail }) => problems.push(`publisher: ${detail.message}`));
    await publisher.online({ signal: AbortSignal.timeout(20_000) });
  };
  window.watch = async (options) => {
    window.viewer = new Viewer(options);
    viewer.addEventListener("error", ({ detail }) => problems.push(`viewer: ${detail.message}`));
    window.feeds = [];
    viewer.addEventListener("feed", ({ detail: feed }) => {
      feeds.push(feed);
      show(`feed-${feeds.length}`, feed.stream);
    });
    await viewer.watch({ signal: AbortSignal.timeout(20_000) });
  };
}
"""


async def open_library(chromium: Chromium, pages: str, server: RunningServer) -> Page:
    """Open a page that has nothing but the library of `server`."""
    page = await chromium.open(f"{pages}/blank.html")
    await page.evaluate(SCRIPT, server.http_url)
    return page


async def start_publisher(page: Page, tracks: str = "camera('#0000ff'), tone()", options: str = "") -> None:
    await page.evaluate(f"async () => await publish([{tracks}], {{ {options} }})")


async def start_viewer(page: Page, options: str = "") -> None:
    await page.evaluate(f"async () => await watch({{ {options} }})")


async def wait_feed(page: Page) -> None:
    """Return when the first feed is live and its picture moves."""
    await page.wait_for_function("() => feeds[0]?.state === 'live'")
    await wait_playing(page, "#feed-1")


async def assert_no_problems(*pages: Page) -> None:
    for page in pages:
        assert await page.evaluate("() => problems") == []


async def frames(page: Page) -> int:
    """Return how many pictures have been decoded."""
    return int(await page.evaluate("async () => (await feeds[0].stats()).frames"))


async def wait_async(page: Page, condition: str) -> None:
    """Return when the async function `condition` gives true; Playwright's own wait takes its promise for true."""
    async with asyncio.timeout(WAIT_SECONDS):
        await page.evaluate(
            f"async () => {{ while (!(await ({condition})())) await new Promise((go) => setTimeout(go, 50)); }}"
        )


async def wait_more_frames(page: Page, count: int) -> None:
    before = await frames(page)
    await wait_async(page, f"async () => (await feeds[0].stats())?.frames > {before + count}")


@pytest.fixture
async def lasting() -> AsyncIterator[RunningServer]:
    """Run a server whose sessions outlive their sockets."""
    async with running_server(check_tasks=False, resume_grace=30) as running:
        yield running
        # Clients that say goodbye are gone at once.
        await running.wait_empty()


@pytest.fixture
async def pages() -> AsyncIterator[str]:
    """Serve a user's own page as users would: by a web server of their own."""
    app = web.Application()
    app.router.add_get("/favicon.ico", _no_icon)
    app.router.add_static("/", PAGES)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def _no_icon(_request: web.Request) -> web.Response:
    return web.Response(status=204)


async def test_ten_lines_in_a_page_elsewhere_show_a_camera(server: RunningServer, pages: str) -> None:
    rule = f"MAP 127.0.0.1:{README_PORT} 127.0.0.1:{server.port}"
    async with running_chromium([f"--host-resolver-rules={rule}"]) as chromium:
        device = await start_device(chromium, server.http_url)
        page = await chromium.open(f"{pages}/ten_lines.html")
        await wait_playing(page, "video")
        picture = await read_patch(page, selector="video")
        assert picture["green"] > picture["blue"] + 40
        await device.click("#stop")
        await page.wait_for_selector("video", state="detached")
    await server.wait_empty()


@pytest.mark.parametrize("document", ["README.md", "static/README.md"])
def test_the_ten_lines_are_those_of_the_documentation(document: str) -> None:
    lines = (PAGES / "ten_lines.html").read_text().removeprefix("<!doctype html>\n")
    assert f"```html\n{lines}```\n" in (ROOT / document).read_text()


async def test_numbers_are_plain_and_true(server: RunningServer, chromium: Chromium, pages: str) -> None:
    publisher = await open_library(chromium, pages, server)
    await start_publisher(publisher)
    viewer = await open_library(chromium, pages, server)
    await start_viewer(viewer)
    await wait_feed(viewer)
    await wait_async(viewer, "async () => (window.stats = await feeds[0].stats()).kbps > 0 && stats.fps > 5")
    stats = await viewer.evaluate("() => stats")
    assert (stats["width"], stats["height"]) == (320, 240)
    assert stats["fps"] < 40
    assert stats["lossPercent"] == 0
    assert stats["isRelayed"] is False
    assert stats["transport"] == "udp"
    assert 0 < stats["firstFrameMs"] < 20_000
    assert {track["kind"] for track in stats["tracks"]} == {"audio", "video"}
    assert stats["audioCodec"] == "audio/opus"
    sent = await publisher.evaluate("async () => await publisher.stats()")
    assert sent["frames"] > 0
    assert sent["videoCodec"] == stats["videoCodec"]
    await assert_no_problems(publisher, viewer)


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


async def test_a_restart_of_the_server_keeps_feed_and_element(free_port: int, pages: str) -> None:
    async with running_chromium() as chromium:
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


async def test_tracks_come_and_go(server: RunningServer, chromium: Chromium, pages: str) -> None:
    publisher = await open_library(chromium, pages, server)
    await start_publisher(publisher)
    viewer = await open_library(chromium, pages, server)
    await start_viewer(viewer)
    await wait_feed(viewer)
    await viewer.evaluate("() => { window.more = next(feeds[0], 'track') }")
    second = await publisher.evaluate(
        "async () => { window.second = camera('#ff0000'); await publisher.addTrack(second); return second.id }"
    )
    added = await viewer.evaluate("async () => { const { id, kind } = await more; return { id, kind } }")
    assert added == {"id": second, "kind": "video"}
    await viewer.evaluate("id => show('second', feeds[0].streamOf(id))", second)
    await wait_playing(viewer, "#second")
    red = await read_patch(viewer, selector="#second")
    blue = await read_patch(viewer, selector="#feed-1")
    assert red["red"] > red["blue"] + 100
    assert blue["blue"] > blue["red"] + 100
    assert await viewer.evaluate("() => feeds[0].tracks.length") == 3

    await viewer.evaluate("() => { window.less = next(feeds[0], 'trackremoved') }")
    await publisher.evaluate("async () => await publisher.removeTrack(second)")
    assert await viewer.evaluate("async () => (await less).id") == second
    assert await viewer.evaluate("() => feeds[0].stream.getTracks().length") == 2
    await wait_more_frames(viewer, 5)

    await publisher.evaluate("async () => await publisher.replaceTrack('video', camera('#00c000'))")
    await wait_more_frames(viewer, 20)
    green = await read_patch(viewer, selector="#feed-1")
    assert green["green"] > green["blue"] + 80
    await assert_no_problems(publisher, viewer)


async def test_some_tracks_of_a_feed(server: RunningServer, chromium: Chromium, pages: str) -> None:
    publisher = await open_library(chromium, pages, server)
    await start_publisher(publisher, "camera('#0000ff'), camera('#ff0000'), tone()")
    viewer = await open_library(chromium, pages, server)
    await start_viewer(viewer, "choose: (feed) => [feed.tracks.filter(({ kind }) => kind === 'video')[1].id]")
    await wait_feed(viewer)
    assert await viewer.evaluate("() => feeds[0].received.length") == 1
    red = await read_patch(viewer, selector="#feed-1")
    assert red["red"] > red["blue"] + 100

    await viewer.evaluate(
        "async () => await feeds[0].receive({ tracks: [feeds[0].tracks.find(({ kind }) => kind === 'video').id] })"
    )
    await viewer.evaluate("() => { document.querySelector('#feed-1').probeStart = undefined }")
    await wait_playing(viewer, "#feed-1")
    blue = await read_patch(viewer, selector="#feed-1")
    assert blue["blue"] > blue["red"] + 100

    await viewer.evaluate("() => feeds[0].stop()")
    assert await viewer.evaluate("() => [feeds[0].state, feeds[0].stream.getTracks().length]") == ["idle", 0]
    await viewer.evaluate("async () => await feeds[0].receive()")
    await viewer.wait_for_function("() => feeds[0].received.length === 3")
    await assert_no_problems(publisher, viewer)


async def test_pause_stops_the_camera_over_there(server: RunningServer, chromium: Chromium, pages: str) -> None:
    publisher = await open_library(chromium, pages, server)
    await start_publisher(publisher)
    viewer = await open_library(chromium, pages, server)
    await start_viewer(viewer)
    await wait_feed(viewer)
    await publisher.evaluate(
        """() => {
          const video = publisher.stream.getVideoTracks()[0].id;
          window.unwanted = next(publisher, "wanted", ({ tracks }) => !tracks.includes(video));
          window.rewanted = unwanted.then(() => next(publisher, "wanted", ({ tracks }) => tracks.includes(video)));
        }"""
    )
    assert await viewer.evaluate("async () => await feeds[0].pause('video')") == ["video"]
    assert await publisher.evaluate("async () => (await unwanted).tracks.length") == 1
    await publisher.evaluate(
        """() => {
          window.sends = (kind) => publisher.publication.peerConnection.getSenders()
            .find(({ track }) => track.kind === kind).getParameters().encodings[0].active;
        }"""
    )
    await publisher.wait_for_function("() => !sends('video') && sends('audio')")

    assert await viewer.evaluate("async () => await feeds[0].resume()") == []
    await publisher.evaluate("async () => await rewanted")
    await publisher.wait_for_function("() => sends('video') && sends('audio')")
    await wait_more_frames(viewer, 10)
    assert await viewer.evaluate("() => feeds[0].state") == "live"
    await assert_no_problems(publisher, viewer)


async def test_signals_end_what_they_were_given_to(
    server: RunningServer, chromium: Chromium, free_port: int, pages: str
) -> None:
    chromium.forgive("ERR_CONNECTION_REFUSED")
    page = await open_library(chromium, pages, server)
    # Nobody listens there: only the signal ends the wait.
    with pytest.raises(PageError, match="enough"):
        await page.evaluate(
            """async port => {
              const stop = new AbortController();
              window.viewer = new Viewer({ server: `ws://127.0.0.1:${port}` });
              next(viewer.connection, "state", ({ state }) => state === "waiting")
                .then(() => stop.abort(new Error("enough")));
              await viewer.watch({ signal: stop.signal });
            }""",
            free_port,
        )
    assert await page.evaluate("() => [viewer.state, viewer.connection.state]") == ["idle", "closed"]

    await start_publisher(page)
    await page.evaluate("() => { window.stop = new AbortController() }")
    await start_viewer(page, "signal: stop.signal")
    await wait_feed(page)
    with pytest.raises(PageError, match="AbortError"):
        await page.evaluate(
            """async () => {
              const over = new AbortController();
              const asking = viewer.listDevices({ signal: over.signal });
              over.abort();
              await asking;
            }"""
        )
    await page.evaluate("() => stop.abort()")
    assert await page.evaluate("() => [viewer.state, feeds[0].state, feeds[0].reason]") == ["idle", "ended", "stopped"]
    with pytest.raises(PageError, match="AbortError"):
        await page.evaluate("async () => await viewer.watch()")
    await page.evaluate("() => publisher.offline()")
    await server.wait_empty()


async def test_two_servers_on_one_page(server: RunningServer, chromium: Chromium, pages: str) -> None:
    async with running_server(check_tasks=False) as other:
        page = await open_library(chromium, pages, server)
        colours: dict[str, Any] = {}
        for name, url, colour in (("one", server.server_url, "#0000ff"), ("two", other.server_url, "#ff0000")):
            await page.evaluate(
                """async ([name, server, colour]) => {
                  const device = new Publisher({ server, stream: new MediaStream([camera(colour)]) });
                  const viewer = new Viewer({ server });
                  window[name] = { device, viewer };
                  viewer.addEventListener("feed", ({ detail: feed }) => show(name, feed.stream));
                  await Promise.all([device.online(), viewer.watch()]);
                }""",
                [name, url, colour],
            )
        for name in ("one", "two"):
            await wait_playing(page, f"#{name}")
            colours[name] = await read_patch(page, selector=f"#{name}")
        assert colours["one"]["blue"] > colours["one"]["red"] + 100
        assert colours["two"]["red"] > colours["two"]["blue"] + 100
        # The end of one is nothing to the other.
        await page.evaluate("() => { one.device.offline(); one.viewer.stop(); }")
        await server.wait_empty()
        await page.evaluate("() => { document.querySelector('#two').probeStart = undefined }")
        await wait_playing(page, "#two")
        await page.close()
        await other.wait_empty()


async def test_presence_and_invitations_by_name(server: RunningServer, chromium: Chromium, pages: str) -> None:
    viewer = await open_library(chromium, pages, server)
    await start_viewer(viewer, "devices: []")
    first = await open_library(chromium, pages, server)
    await start_publisher(first, options="clientId: 'cam-1'")
    await viewer.wait_for_function("() => viewer.devices.some(({ device }) => device === 'cam-1')")
    assert await viewer.evaluate("() => [viewer.devices[0].state, feeds.length]") == ["available", 0]
    invited = await viewer.evaluate("async () => await viewer.invite(['cam-1', 'cam-2'])")
    assert invited["invited"] == ["cam-1"]
    assert invited["unavailable"] == ["cam-2"]
    await wait_feed(viewer)
    assert await viewer.evaluate("() => viewer.devices[0].state") == "streaming"

    # Asked for by name before it was there: it is invited when it comes.
    second = await open_library(chromium, pages, server)
    await start_publisher(second, options="clientId: 'cam-2'")
    await viewer.wait_for_function("() => feeds[1]?.state === 'live'")
    await second.evaluate("() => publisher.offline()")
    await viewer.wait_for_function("() => viewer.devices.length === 1 && feeds[1].state === 'ended'")
    await assert_no_problems(viewer, first, second)
