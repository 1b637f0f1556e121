"""The browser library as its users have it: their own page, with a canvas for a camera."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Error as PageError

from tests.e2e.library import (
    assert_no_problems,
    open_library,
    start_publisher,
    start_viewer,
    wait_async,
    wait_feed,
    wait_more_frames,
)
from tests.e2e.probes import read_patch, start_device, wait_playing
from tests.helpers import tokens
from tests.helpers.server import RunningServer, running_server

if TYPE_CHECKING:
    from tests.helpers.browser import Browsers, Chromium

pytestmark = pytest.mark.timeout(90)

ROOT = Path(__file__).parents[2]
PAGES = Path(__file__).parent / "pages"
README_PORT = 8002
"""The README's page has it built in; the browser is told to find this test's server behind it."""


async def test_ten_lines_in_a_page_elsewhere_show_a_camera(
    browsers: Browsers, server: RunningServer, pages: str
) -> None:
    rule = f"MAP 127.0.0.1:{README_PORT} 127.0.0.1:{server.port}"
    async with browsers.chromium([f"--host-resolver-rules={rule}"]) as chromium:
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

    # Taken back: it is received no longer, and not invited when it comes back.
    await viewer.evaluate("() => viewer.uninvite(['cam-1', 'cam-2'])")
    assert await viewer.evaluate("() => [feeds[0].state, viewer.isInviting]") == ["idle", False]
    await first.evaluate("() => publisher.offline()")
    await viewer.wait_for_function("() => viewer.devices.length === 0")
    await viewer.evaluate("() => void (window.online = next(viewer.connection, 'device_online'))")
    await start_publisher(first, options="clientId: 'cam-1'")
    assert (await viewer.evaluate("() => online"))["device"] == "cam-1"
    # Asked after what an invitation would have been.
    assert (await viewer.evaluate("async () => await viewer.listDevices()"))[0]["state"] == "available"
    await assert_no_problems(viewer, first, second)


async def test_a_room_that_an_operator_closes_is_not_opened_again(
    server: RunningServer, chromium: Chromium, pages: str
) -> None:
    page = await open_library(chromium, pages, server)
    await start_publisher(page, "camera('#0000ff')")
    await start_viewer(page)
    await wait_feed(page)
    await page.evaluate("() => void (window.over = next(viewer, 'roomclosed'))")
    room = await page.evaluate("() => viewer.room")
    assert server.service.close_room(room)
    assert await page.evaluate("() => over") == {"room": room, "reason": "operator"}
    assert await page.evaluate("() => [viewer.state, viewer.room, feeds[0].state]") == ["idle", None, "ended"]
    assert not server.service.rooms.state.rooms
    await page.evaluate("async () => await viewer.watch()")  # who asks for another may have one
    await page.wait_for_function("() => feeds[1]?.state === 'live'")
    await page.evaluate("() => viewer.stop()")
    await assert_no_problems(page)


async def test_tokens_stay_out_of_addresses(browsers: Browsers, pages: str) -> None:
    async with running_server(auth_secret=tokens.SECRET, allowed_origin=("*",), check_tasks=False) as server:
        async with browsers.chromium() as chromium:
            page = await open_library(chromium, pages, server)
            addresses: list[str] = []
            page.on("websocket", lambda socket: addresses.append(socket.url))
            good = tokens.token("cam-1", "DEVICE")
            # A function is asked before each attempt, so that it can fetch a fresh one.
            await start_publisher(page, options=f"clientId: 'cam-1', token: async () => '{good}'")
            await start_viewer(page, f"clientId: 'web-1', token: '{tokens.token('web-1')}'")
            await wait_feed(page)
            assert len(addresses) == 2
            assert all(address.rsplit("/", 1)[1] in {"cam-1", "web-1"} for address in addresses)

            bad = tokens.token("web-2", secret=tokens.OTHER_SECRET)
            with pytest.raises(PageError, match="ServerError"):
                await start_viewer(page, f"clientId: 'web-2', token: '{bad}'")
            assert await page.evaluate("() => viewer.state") == "failed"
            await page.close()
            await server.wait_empty()


async def test_a_viewer_sends_too(server: RunningServer, chromium: Chromium, pages: str) -> None:
    caller = await open_library(chromium, pages, server)
    await start_viewer(caller, "devices: []")
    await caller.wait_for_function("() => viewer.room !== null")
    await caller.evaluate("() => { viewer.publish(new MediaStream([camera('#ff0000')])) }")
    await caller.wait_for_function("() => viewer.publication.state === 'live'")

    # Somebody else in the same room, by the protocol alone.
    other = await open_library(chromium, pages, server)
    room = await caller.evaluate("() => viewer.room")
    announced = await other.evaluate(
        """async (room) => {
          window.link = new Connection({ role: "WEB" });
          await link.open();
          const announced = next(link, "start_listening");
          await link.request("join_as_publisher", { room_id: room, inviter: link.clientId });
          return await announced;
        }""",
        room,
    )
    assert announced["device"] == await caller.evaluate("() => viewer.connection.clientId")
    assert [track["kind"] for track in announced["tracks"]] == ["video"]
    await other.evaluate("() => { window.ended = next(link, 'stop_listening'); }")
    await caller.evaluate("() => viewer.unpublish()")
    assert await other.evaluate("async () => (await window.ended).reason") == "unpublished"
    await assert_no_problems(caller)
