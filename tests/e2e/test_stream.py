"""The drone client's stream module, driven by a page that was written only from the original's reference."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiortc import VideoStreamTrack
from av import VideoFrame
from playwright.async_api import Error as PageError

from signaling.client import Device
from tests.e2e.probes import read_patch, wait_playing
from tests.helpers.cuttable_proxy import CuttableProxy
from tests.helpers.server import running_server, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

    from tests.helpers.browser import Chromium
    from tests.helpers.server import RunningServer

pytestmark = pytest.mark.timeout(90)

PAGE = Path(__file__).parent / "pages" / "drone.html"
BACK_MS = 40_000
"""A page waits up to ten seconds between attempts, and so does a drone."""

FRONT = "FPV Camera"
BELLY = "belly camera"
RED, GREEN, BLUE = (65, 100, 212), (112, 72, 58), (35, 212, 114)
"""Y, Cb, Cr at 75 % (ITU-R BT.601, limited range)."""


class Camera(VideoStreamTrack):
    """A picture of one colour, and a track id made of the camera's name as the drone's side makes it."""

    def __init__(self, name: str, colour: tuple[int, int, int]) -> None:
        super().__init__()
        self._id = name.replace(" ", "_").lower()
        self._frame = VideoFrame(320, 240, "yuv420p")
        for plane, value in zip(self._frame.planes, colour, strict=True):
            plane.update(bytes([value]) * plane.buffer_size)

    async def recv(self) -> VideoFrame:
        self._frame.pts, self._frame.time_base = await self.next_timestamp()
        return self._frame


@contextlib.asynccontextmanager
async def running_drone(url: str, number: str, **cameras: tuple[int, int, int]) -> AsyncIterator[Device]:
    """Run a drone for the block; it has a camera of each name."""
    names = {"front": FRONT, "belly": BELLY}
    device = Device(url, id=number, media=lambda: [Camera(names[name], colour) for name, colour in cameras.items()])
    task = asyncio.create_task(device.run())
    try:
        yield device
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving_page() -> AsyncIterator[str]:
    """Serve the page by a web server of its own."""

    async def page(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE)

    async def no_icon(_request: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/favicon.ico", no_icon)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def open_page(chromium: Chromium, server: RunningServer) -> AsyncIterator[Page]:
    async with serving_page() as url:
        page = await chromium.open(f"{url}?server={server.http_url}")
        await page.wait_for_function("() => window.js_webrtcstream !== undefined")
        yield page
        await page.evaluate(
            "() => { for (const talk of Object.values(js_webrtcstream.conversations)) talk.hangup(true) }"
        )


async def join(page: Page, number: str, track: str = FRONT) -> None:
    await page.evaluate("([number, track]) => fn_WEBRTC_login(number, track)", [number, track])


def video(number: str, track: str = FRONT) -> str:
    return f"#{number}-{track.replace(' ', '-')}"


async def colour(page: Page, number: str, track: str = FRONT) -> str:
    """Return the name of the colour that is shown, once the picture moves on."""
    await page.evaluate(
        "id => { const it = document.querySelector(id); if (it) it.probeStart = undefined }", video(number, track)
    )
    await wait_playing(page, video(number, track))
    patch = await read_patch(page, selector=video(number, track))
    shown = {"red": patch["red"], "green": patch["green"], "blue": patch["blue"]}
    return max(shown, key=lambda name: shown[name])


async def statuses(page: Page, number: str, track: str = FRONT) -> list[str]:
    seen: list[str] = await page.evaluate("id => statuses[id]", video(number, track)[1:])
    return seen


async def log(page: Page) -> list[Any]:
    return [tuple(entry) for entry in await page.evaluate("() => log")]


async def test_two_drones_with_a_camera_of_the_same_name(server: RunningServer, chromium: Chromium) -> None:
    async with (
        running_drone(server.server_url, "drone-1", front=RED) as first,
        running_drone(server.server_url, "drone-2", front=BLUE),
        open_page(chromium, server) as page,
    ):
        for number in ("drone-1", "drone-2"):
            await join(page, number)
        assert await colour(page, "drone-1") == "red"
        assert await colour(page, "drone-2") == "blue"
        for number in ("drone-1", "drone-2"):
            assert await statuses(page, number) == ["connecting", "routing", "connected"]
            assert ("started", video(number)[1:], "connected") in await log(page)
        talks = await page.evaluate(
            """() => Object.values(js_webrtcstream.conversations).map((talk) => ({
              number: talk.number, targetVideoTrack: talk.targetVideoTrack, isClosed: talk.isClosed,
              dialed: talk.dialed, hasReceivedSdp: talk.hasReceivedSdp, pc: talk.pc.connectionState,
              VideoStreaming: talk.VideoStreaming,
              tracks: talk.stream.getVideoTracks().map(({ id }) => id), sinceStart: Date.now() - talk.startedAt,
            }))"""
        )
        assert [(talk["number"], talk["targetVideoTrack"], talk["tracks"]) for talk in talks] == [
            ("drone-1", FRONT, ["fpv_camera"]),
            ("drone-2", FRONT, ["fpv_camera"]),
        ]
        for talk in talks:
            assert (talk["isClosed"], talk["hasReceivedSdp"], talk["dialed"]) == (False, True, True)
            assert (talk["pc"], talk["VideoStreaming"]) == ("connected", 1)
            assert 0 < talk["sinceStart"] < 60_000

        # Statistics of each, by the page's own emitter, its name for the event and its objects for the drones.
        await page.wait_for_function(
            """() => ["drone-1", "drone-2"].every((id) => statistics.some(({ unit, fps, rx, track_id: track }) =>
                unit === units.get(id) && fps > 5 && rx > 0 && track === "fpv_camera"))"""
        )
        total = await page.evaluate("() => units.get('drone-1').m_Video.m_total_transfer_bytes")
        assert (
            0
            < total
            <= await page.evaluate("() => statistics.filter(({ unit }) => unit.partyID === 'drone-1').at(-1).rx")
        )

        await page.evaluate(
            """([number, track]) => {
              const talk = js_webrtcstream.getConversation(number, track);
              talk.onClosing = () => log.push(["closing", talk.status]);
              talk.hangup(true);
              log.push(["after", talk.status, talk.isClosed, talk.closed]);
            }""",
            ["drone-1", FRONT],
        )
        assert (await log(page))[-3:] == [
            ("closing", "closing"),
            ("stopped", video("drone-1")[1:]),
            ("after", "closed", True, True),
        ]
        await until(lambda: not first.status.wanted)
        assert await colour(page, "drone-2") == "blue"
        # And again, without a new invitation: the drone is still in the room.
        await join(page, "drone-1")
        assert await colour(page, "drone-1") == "red"
        assert [entry for entry in await log(page) if entry[0] == "error"] == []


async def test_two_cameras_of_one_drone(server: RunningServer, chromium: Chromium) -> None:
    async with (
        running_drone(server.server_url, "drone-1", front=RED, belly=GREEN) as drone,
        open_page(chromium, server) as page,
    ):
        await join(page, "drone-1", BELLY)
        assert await colour(page, "drone-1", BELLY) == "green"
        await join(page, "drone-1", FRONT)
        assert await colour(page, "drone-1", FRONT) == "red"
        assert await colour(page, "drone-1", BELLY) == "green"
        await page.evaluate("track => js_webrtcstream.closeConversation(track)", BELLY)
        assert await statuses(page, "drone-1", BELLY) == [
            *("connecting", "routing", "connected", "routing", "connected", "closing", "closed")
        ]
        assert await colour(page, "drone-1", FRONT) == "red"
        assert await page.evaluate("() => Object.keys(js_webrtcstream.conversations)") == [f"drone-1/{FRONT}"]

        # A name that no camera has: told with those there are, and the rest goes on.
        await join(page, "drone-1", "tail")
        await page.wait_for_function("() => log.some(([what]) => what === 'error')")
        (error,) = [entry[1] for entry in await log(page) if entry[0] == "error"]
        assert 'Drone drone-1 has no camera "tail" now; its cameras: fpv_camera, belly_camera.' in error
        assert await statuses(page, "drone-1", "tail") == ["connecting", "routing"]
        assert await colour(page, "drone-1", FRONT) == "red"
        assert drone.status.state == "streaming"


async def test_a_second_join_is_never_a_silent_no_op(server: RunningServer, chromium: Chromium) -> None:
    async with open_page(chromium, server) as page:
        # The drone is not there: it is said once, and it is shown when it comes.
        await join(page, "drone-1")
        await page.wait_for_function("() => log.some(([what]) => what === 'error')")
        assert "Drone drone-1 is not online" in (await log(page))[0][1]
        await page.evaluate("() => { window.before = Object.values(js_webrtcstream.conversations)[0] }")
        await join(page, "drone-1")
        assert await page.evaluate("() => [before.status, before.isClosed]") == ["cancelled", True]
        async with running_drone(server.server_url, "drone-1", front=RED):
            assert await colour(page, "drone-1") == "red"
            # Joined already: the same conversation, and the page gets its picture once more.
            await page.evaluate("() => { window.now = Object.values(js_webrtcstream.conversations)[0] }")
            await join(page, "drone-1")
            await page.wait_for_function("() => log.filter(([what]) => what === 'started').length === 2")
            assert await page.evaluate("() => Object.values(js_webrtcstream.conversations)[0] === now")
            assert await page.evaluate("() => before === now") is False
        # The drone has gone for good.
        await page.wait_for_function("() => now.status === 'closed'")
        assert (await log(page))[-1] == ("stopped", video("drone-1")[1:])
        assert await page.evaluate("() => Object.keys(js_webrtcstream.conversations)") == []
        await server.wait_empty()


async def test_the_rest_of_the_reference(server: RunningServer, chromium: Chromium) -> None:
    async with open_page(chromium, server) as page:
        assert await page.evaluate(
            """() => AndruavStream.getInstance() === js_webrtcstream && new AndruavStream() === js_webrtcstream
              && js_webrtcstream.IceCandidate === RTCIceCandidate && js_webrtcstream.rtcConfig !== undefined"""
        )
        with pytest.raises(PageError, match=r'"number" must be the drone\'s party id, .*it is undefined'):
            await page.evaluate("() => js_webrtcstream.joinStream({})")
        async with (
            running_drone(server.server_url, "drone-1", front=RED),
            running_drone(server.server_url, "drone-2", front=BLUE),
        ):
            await join(page, "drone-2")
            await page.evaluate(
                """([track]) => {
                  const told = (what) => (talk, more) => log.push([what, talk.number ?? talk, more ?? null]);
                  js_webrtcstream.joinStream({
                    number: "drone-1", targetVideoTrack: track, onConnect: told("connect"), onAddStream: told("add"),
                    onClosing: told("closing"), onFrameRateUpdate: told("rate"), onOrphanDisconnect: told("own orphan"),
                    onDisplayVideo: () => { throw new Error("the page's own mistake") },
                  });
                }""",
                [FRONT],
            )
            chromium.forgive("the page's own mistake")
            await page.wait_for_function("() => log.some(([what, , fps]) => what === 'rate' && fps > 5)")
            assert {("connect", "drone-1", None), ("add", "drone-1", None)} <= set(await log(page))

            # Signals of the drone client's own server: a hangup counts, offers and candidates are ignored and counted.
            await page.evaluate(
                """async (channel) => {
                  const unit = { partyID: "drone-1" };
                  const client = js_globals.v_andruavClient;
                  const signal = (packet) => client.EVT_andruavSignalling(unit, { channel, packet });
                  await signal({ type: "offer", sdp: "v=0" });
                  await signal({ candidate: "candidate:1" });
                  window.ignored = js_webrtcstream.ignoredSignals;
                  await signal({ hangup: true });
                }""",
                FRONT,
            )
            assert await page.evaluate("() => ignored") == 2
            assert ("closing", "drone-1", None) in await log(page)
            assert await page.evaluate("() => Object.keys(js_webrtcstream.conversations)") == [f"drone-2/{FRONT}"]
            assert await colour(page, "drone-2") == "blue"
        await page.wait_for_function("() => Object.keys(js_webrtcstream.conversations).length === 0")


async def test_the_drone_stops_after_the_page_has_hung_up(server: RunningServer, chromium: Chromium) -> None:
    async with open_page(chromium, server) as page, running_drone(server.server_url, "drone-2", front=BLUE):
        await join(page, "drone-2")
        async with running_drone(server.server_url, "drone-1", front=RED):
            await join(page, "drone-1")
            await colour(page, "drone-1")
            await page.evaluate("key => js_webrtcstream.hangup(key)", f"drone-1/{FRONT}")
        await page.wait_for_function("() => log.some(([what]) => what === 'orphan')")
        assert ("orphan", "drone-1") in await log(page)
        assert await colour(page, "drone-2") == "blue"


async def test_conversations_outlive_the_link_and_the_server(free_port: int, chromium: Chromium) -> None:
    chromium.forgive("ERR_CONNECTION_REFUSED")
    chromium.forgive("WebSocket connection to")
    async with (
        serving_page() as url,
        CuttableProxy(free_port) as proxy,
        running_drone(f"ws://127.0.0.1:{free_port}", "drone-1", front=RED),
    ):
        async with running_server(check_tasks=False, port=free_port, resume_grace=30) as server:
            page = await chromium.open(f"{url}?server={server.http_url}")
            await page.wait_for_function("() => window.js_webrtcstream !== undefined")
            await page.evaluate("server => js_webrtcstream.configure({ server })", proxy.url)
            await join(page, "drone-1")
            assert await colour(page, "drone-1") == "red"
            await page.evaluate(
                """() => {
                  [window.talk] = Object.values(js_webrtcstream.conversations);
                  window.stream = talk.stream;
                }"""
            )
            # The socket is cut: the conversation does not notice.
            proxy.cut()
            assert await colour(page, "drone-1") == "red"
            assert await statuses(page, "drone-1") == ["connecting", "routing", "connected"]
        await page.wait_for_function("() => talk.status === 'routing'")
        async with running_server(check_tasks=False, port=free_port) as server:
            await page.wait_for_function("() => talk.status === 'connected'", timeout=BACK_MS)
            assert await colour(page, "drone-1") == "red"
            assert await page.evaluate("() => talk.stream === stream && stream.getVideoTracks().length === 1")
            assert [entry[0] for entry in await log(page) if entry[0] != "error"] == ["started"]
            # An operator closes the room: that is the end, also of a conversation that still waits for its drone.
            await page.evaluate("() => void js_webrtcstream.joinStream({ number: 'drone-9' })")
            (room,) = server.service.rooms.state.rooms
            assert server.service.close_room(room)
            await page.wait_for_function("() => Object.keys(js_webrtcstream.conversations).length === 0")
            assert await page.evaluate("() => talk.status") == "closed"
            await page.close()
