"""Sockets that break, servers that restart and processes that die, while pictures are to run on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiortc.mediastreams import MediaStreamError

from signaling import tokens
from signaling.client import (
    Device,
    DisconnectedError,
    ReplacedError,
    RoomClosedError,
    ServerError,
    Viewer,
    read_frame_counter,
)
from signaling.client.testsource import PatternTrack
from signaling.client.timeline import Timeline
from signaling.logs import event_counts
from signaling.protocol import Role
from tests.helpers.cuttable_proxy import CuttableProxy
from tests.helpers.server import running_server, until

from . import media
from .stage import CountingMedia, Program, Statuses, a_device, counters, pictures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from av.video.frame import VideoFrame

    from signaling.client import Feed

GRACE_SECONDS = 30.0
RATE = 30


class Camera(PatternTrack):
    """The test picture, which remembers the numbers that it has shown."""

    def __init__(self) -> None:
        super().__init__(640, 360, RATE, Timeline())
        self.shown: list[int] = []

    async def recv(self) -> VideoFrame:
        frame = await super().recv()
        assert frame.pts is not None
        self.shown.append(frame.pts * RATE // 90_000)
        return frame


class Watching:
    """Read a feed's pictures without a pause, so that none is dropped here."""

    def __init__(self, feed: Feed) -> None:
        self.seen: list[int] = []
        self.times: list[tuple[float, float]] = []
        """Arrival and timestamp of each."""
        self.news = asyncio.Event()
        self.feed = feed
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.feed.video is not None
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await self.feed.video.recv()
                number = read_frame_counter(frame)
                assert number is not None
                self.seen.append(number)
                self.times.append((asyncio.get_running_loop().time(), frame.time))
                self.news.set()

    async def more(self, count: int, timeout: float = 15.0) -> None:  # noqa: ASYNC109  a test's own deadline
        """Return when so many more pictures have come."""
        goal = len(self.seen) + count
        async with asyncio.timeout(timeout):
            while len(self.seen) < goal:
                assert not self._task.done(), f"the feed ended: {self.feed.ended}"
                self.news.clear()
                await self.news.wait()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@contextlib.asynccontextmanager
async def watching(feed: Feed) -> AsyncIterator[Watching]:
    watch = Watching(feed)
    try:
        yield watch
    finally:
        await watch.stop()


def assert_no_picture_lost(camera: Camera, watch: Watching) -> None:
    first, last = watch.seen[0], watch.seen[-1]
    assert watch.seen == [number for number in camera.shown if first <= number <= last]


@pytest.mark.parametrize("who", ["device", "viewer"])
async def test_not_one_picture_is_lost_when_a_socket_breaks(who: str) -> None:
    cameras: list[Camera] = []
    statuses = Statuses()

    def open_camera() -> list[Camera]:
        cameras.append(Camera())
        return cameras[-1:]

    async with (
        running_server(resume_grace=GRACE_SECONDS) as server,
        CuttableProxy(server.port) as proxy,
        Device(proxy.url, id="cam-1", media=open_camera, on_status=statuses.take),
        Viewer(proxy.url) as viewer,
        watching(await viewer.next_feed()) as watch,
    ):
        await watch.more(10)
        for visit in range(3):
            accepted = proxy.accepted
            proxy.away = True
            proxy.cut()
            await watch.more(20)
            proxy.away = False
            await until(lambda before=accepted: proxy.accepted == before + 2, timeout=10)
            await watch.more(10)
            assert visit == 0 or any("broke" in (status.error or "") for status in statuses.seen)
        assert watch.feed.ended is None
        assert len(cameras) == 1
        assert_no_picture_lost(cameras[0], watch)
        # The sessions are whole: what is asked now is answered.
        if who == "viewer":
            await viewer.stop(watch.feed)
            assert watch.feed.ended == "stopped"
        else:
            await viewer.pause(watch.feed, "video")
            await viewer.resume(watch.feed, "video")
            await watch.more(10)
            assert (await viewer.list_devices())[0].state == "streaming"


async def test_what_happened_meanwhile_is_told_on_the_return() -> None:
    async with running_server(resume_grace=GRACE_SECONDS) as server, CuttableProxy(server.port) as proxy:
        seen: list[tuple[str, bool]] = []
        async with Viewer(proxy.url, standing=True, on_device=lambda *news: seen.append(news)) as viewer:
            async with a_device(server.server_url, id="cam-1"):
                first = await viewer.next_feed()
                counters(await pictures(first, 3))
                proxy.away = True
                proxy.cut()
                await until(lambda: len(server.service.sessions) == 1)
            # It has left, and another comes and is invited, while the viewer's socket is away.
            statuses = Statuses()
            async with a_device(server.server_url, statuses, id="cam-2"):
                await statuses.until_state("streaming")
                assert first.ended is None, "nobody can have told it yet"
                proxy.away = False
                await until(lambda: first.ended is not None, timeout=10)
                assert first.ended == "left"
                second = await viewer.next_feed()
                assert second.device == "cam-2"
                counters(await pictures(second, 3))
        assert seen[0] == ("cam-1", True)
        assert ("cam-2", True) in seen


async def test_a_frozen_link_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.client.dial.HEARTBEAT_SECONDS", 0.5)
    cameras = CountingMedia()
    async with running_server(resume_grace=GRACE_SECONDS) as server, CuttableProxy(server.port) as proxy:
        async with (
            a_device(proxy.url, media=cameras),
            Viewer(proxy.url) as viewer,
            watching(await viewer.next_feed()) as watch,
        ):
            accepted = proxy.accepted
            proxy.freeze()
            await until(lambda: proxy.accepted >= accepted + 2, timeout=10)
            await watch.more(10)
            assert (await viewer.list_devices())[0].state == "streaming"
            assert len(cameras.opened) == 1
            await viewer.stop(watch.feed)


async def test_everything_is_made_again_after_the_server_was_restarted() -> None:
    statuses, cameras = Statuses(), CountingMedia()
    told: list[str | None] = []
    async with contextlib.AsyncExitStack() as clients:
        async with running_server(resume_grace=GRACE_SECONDS, check_tasks=False) as server:
            port = server.port
            await clients.enter_async_context(a_device(server.server_url, statuses, media=cameras))
            viewer = await clients.enter_async_context(Viewer(server.server_url, on_connection=told.append))
            feed = await viewer.next_feed()
            counters(await pictures(feed, 5))
        assert feed.ended in {"shutdown", "disconnected"}
        await until(lambda: cameras.running == 0)
        async with running_server(resume_grace=GRACE_SECONDS, port=port, check_tasks=False):
            again = await viewer.next_feed(timeout=20)
            assert again.id != feed.id
            frames = await pictures(again, 10)
            counters(frames)
            media.assert_colours(frames[-1])
            assert told[0] is not None
            assert told[-1] is None
            await clients.aclose()


REFUSED = ("client_error", "bad_state")


async def test_a_viewer_that_comes_while_the_server_ends_begins_on_the_next_one() -> None:
    async with contextlib.AsyncExitStack() as clients:
        async with running_server(check_tasks=False) as server:
            port = server.port
            await clients.enter_async_context(a_device(server.server_url))
            await server.service.drain(0)
            refused = event_counts().get(REFUSED, 0)
            beginning = asyncio.create_task(clients.enter_async_context(Viewer(server.server_url, standing=True)))
            # Not its session, which lasts for some milliseconds.
            await until(lambda: event_counts().get(REFUSED, 0) > refused)
        async with running_server(port=port, check_tasks=False):
            viewer = await beginning
            counters(await pictures(await viewer.next_feed(timeout=20), 3))
            await clients.aclose()


async def test_a_room_that_an_operator_closes_is_the_end_of_its_viewer() -> None:
    async with running_server() as server, a_device(server.server_url), Viewer(server.server_url) as viewer:
        feed = await viewer.next_feed()
        (room,) = server.service.rooms.state.rooms
        assert server.service.close_room(room)
        with pytest.raises(RoomClosedError, match="operator"):
            await viewer.next_feed()
        assert feed.ended == "left"
        with pytest.raises(DisconnectedError):
            await viewer.invite(["cam-1"])
        await until(lambda: [client.role for client in server.service.sessions] == [Role.DEVICE])
        assert not server.service.rooms.state.rooms


@pytest.mark.parametrize("who", ["device", "viewer"])
async def test_everything_is_made_again_after_the_grace_period(who: str) -> None:
    async with running_server(resume_grace=0.5) as server, CuttableProxy(server.port) as proxy:
        urls = {"device": server.server_url, "viewer": server.server_url} | {who: proxy.url}
        cameras = CountingMedia()
        async with a_device(urls["device"], media=cameras), Viewer(urls["viewer"], device="cam-1") as viewer:
            feed = await viewer.next_feed()
            counters(await pictures(feed, 3))
            proxy.away = True
            proxy.cut()
            await until(lambda: not server.service.rooms.state.feeds, timeout=10)
            if who == "device":
                await until(lambda: feed.ended == "disconnected")
            proxy.away = False
            again = await viewer.next_feed(timeout=20)
            assert feed.ended == "disconnected"
            assert again.id != feed.id
            counters(await pictures(again, 3))


async def test_a_device_that_was_away_goes_back_to_its_room_uninvited() -> None:
    async with running_server(resume_grace=0.5) as server, CuttableProxy(server.port) as proxy:
        async with a_device(proxy.url), Viewer(server.server_url) as viewer:
            feed = await viewer.next_feed()
            viewer._known.clear()  # so that it does not invite by itself a device that it knows
            proxy.away = True
            proxy.cut()
            await until(lambda: feed.ended == "disconnected", timeout=10)
            proxy.away = False
            await until(lambda: any(each.id != feed.id for each in viewer.feeds), timeout=20)
            counters(await pictures(viewer.feeds[0], 3))


async def test_a_device_process_killed_and_started_again() -> None:
    arguments = ("--id", "cam-1", "--source", "testsrc=640x360@30", "--audio", "none")
    async with running_server(resume_grace=GRACE_SECONDS) as server, Viewer(server.server_url) as viewer:
        async with Program("device", "--server", server.server_url, *arguments) as program:
            feed = await viewer.next_feed(timeout=20)
            counters(await pictures(feed, 5))
            program.process.kill()
        async with Program("device", "--server", server.server_url, *arguments):
            again = await viewer.next_feed(timeout=20)
            assert feed.ended == "replaced"
            counters(await pictures(again, 5))


async def test_the_newest_of_two_with_one_id_wins_and_they_do_not_fight() -> None:
    secret = "a secret of at least thirty-two characters"  # noqa: S105  the test's own
    (key,) = tokens.read_secrets(secret)

    def token(role: Role, client_id: str) -> str:
        return tokens.issue(key, client_id=client_id, role=role, now=time.time(), ttl_seconds=60)

    statuses = Statuses()
    async with running_server(resume_grace=GRACE_SECONDS, auth_secret=secret) as server:
        older = a_device(server.server_url, statuses, token=lambda: token(Role.DEVICE, "cam-1"))
        running = asyncio.create_task(older.run())
        await statuses.until_state("waiting")
        async with (
            a_device(server.server_url, token=token(Role.DEVICE, "cam-1")),
            Viewer(server.server_url, id="me", token=token(Role.WEB, "me")) as viewer,
        ):
            with pytest.raises(ReplacedError, match="another client has connected as 'cam-1'"):
                await running
            counters(await pictures(await viewer.next_feed(), 3))
        with pytest.raises(ServerError) as refused:
            await Viewer(server.server_url, id="me", token=token(Role.DEVICE, "me")).__aenter__()
        assert refused.value.code == "unauthorized"


async def test_another_network_is_a_freeze_and_not_an_end() -> None:
    cameras: list[Camera] = []

    def open_camera() -> list[Camera]:
        cameras.append(Camera())
        return cameras[-1:]

    async with (
        running_server(resume_grace=GRACE_SECONDS) as server,
        Device(server.server_url, id="cam-1", media=open_camera) as device,
        Viewer(server.server_url) as viewer,
        watching(await viewer.next_feed()) as watch,
    ):
        await watch.more(10)
        for _ in range(2):
            device.network_changed()
            await watch.more(45)
        assert watch.seen == sorted(set(watch.seen))
        viewer.network_changed()
        await watch.more(45)  # some of them once more: a new subscription begins with the last keyframe
        arrivals, stamps = zip(*watch.times, strict=True)
        assert list(stamps) == sorted(set(stamps)), "a recording would stumble"
        assert stamps[-1] - stamps[0] == pytest.approx(arrivals[-1] - arrivals[0], abs=0.5)
        assert watch.feed.ended is None
        assert len(cameras) == 1
        assert len(server.service.rooms.state.feeds) == 1


async def test_another_address_of_this_machine_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = iter(["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2"])
    monkeypatch.setattr("signaling.client.dial.Dialed.local_host", property(lambda _: next(addresses, "10.0.0.2")))
    async with (
        running_server(resume_grace=GRACE_SECONDS) as server,
        CuttableProxy(server.port) as proxy,
        a_device(proxy.url, Statuses()) as device,
    ):
        moved: list[str] = []
        async with Viewer(proxy.url) as viewer, watching(await viewer.next_feed()) as watch:
            assert device._rooms is not None
            streaming = device._rooms._streaming
            assert streaming is not None
            original = streaming.move

            def move(reason: str) -> None:
                moved.append(reason)
                original(reason)

            monkeypatch.setattr(streaming, "move", move)
            proxy.cut()
            await until(lambda: bool(moved), timeout=10)
            await watch.more(45)
            assert watch.feed.ended is None


@pytest.mark.parametrize("side", ["device", "viewer"])
async def test_media_that_dies_alone_is_replaced(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.client.publication.MEDIA_SILENCE_SECONDS", 2.0)
    async with running_server(resume_grace=GRACE_SECONDS, consent_timeout=3.0) as server:
        cameras = CountingMedia()
        async with (
            a_device(server.server_url, media=cameras) as device,
            Viewer(server.server_url) as viewer,
            watching(await viewer.next_feed()) as watch,
        ):
            await watch.more(5)
            peer: Any = watch.feed.peer
            if side == "device":
                assert device._rooms is not None
                assert device._rooms._streaming is not None
                publication = device._rooms._streaming._publication
                assert publication is not None
                peer = publication._peer
            silence(peer)
            await watch.more(60, timeout=20)
            assert watch.feed.ended is None
            assert len(cameras.opened) == 1


def silence(peer: Any) -> None:
    """Let nothing leave and nothing arrive any more, as a network that is gone without a word."""
    for transceiver in peer.getTransceivers():
        connection = transceiver.receiver.transport.transport._connection
        for protocol in connection._protocols:
            protocol.transport.sendto = lambda *_: None
            protocol.datagram_received = lambda *_: None
