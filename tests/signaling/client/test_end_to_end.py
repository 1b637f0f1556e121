"""Python devices to Python viewers through the real server, over real sockets, with real codecs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiortc import VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from av.video.frame import VideoFrame

from signaling.client import Device, NoFeedError, ServerError, SourceError, Viewer, open_source, open_source_in_thread
from signaling.client.pattern import TestPattern
from tests.helpers.server import running_server, until

from . import media
from .rtsp import rtsp_camera
from .stage import CountingMedia, Program, Statuses, a_device, counters, pictures, sounds

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_picture_and_tone_arrive(codec: str) -> None:
    statuses = Statuses()
    async with running_server() as server:
        async with a_device(server.server_url, statuses, codec=codec), Viewer(server.server_url) as viewer:
            feed = await viewer.next_feed()
            assert feed.device == "cam-1"
            assert {(track.kind, track.codec) for track in feed.tracks} == {("video", codec), ("audio", "opus")}
            frames = await pictures(feed, 45)
            seen = counters(frames)
            assert seen == sorted(set(seen)), "the counter does not advance"
            assert seen[-1] - seen[0] >= 44
            assert (frames[-1].width, frames[-1].height) == (640, 360)
            media.assert_colours(frames[-1])
            assert media.peak_hz((await sounds(feed, 50))[5:]) == pytest.approx(440, abs=5)
            stats = await feed.stats()
            assert (stats.width, stats.height) == (640, 360)
            assert 10 < stats.fps < 40  # 30, on a machine that has the time
            assert stats.bitrate > 50_000
            assert stats.packets_received > 50
            assert stats.packets_lost < 0.05 * stats.packets_received
            assert 0 <= stats.jitter < 0.5
            status = await statuses.until(lambda status: bool(status.bitrate))
            assert (status.state, status.width, status.height) == ("streaming", 640, 360)
            assert status.fps is not None
            assert 10 < status.fps < 40
        await server.wait_empty()


@pytest.mark.parametrize(("name", "codec"), [("vp8.webm", "VP8"), ("h264.mp4", "H264")])
async def test_an_encoded_file_arrives(files: Path, name: str, codec: str) -> None:
    def source() -> Any:
        return open_source(str(files / name), loop=True)

    async with running_server() as server:
        async with a_device(server.server_url, media=source), Viewer(server.server_url) as viewer:
            feed = await viewer.next_feed()
            assert feed.video is not None
            assert feed.video.codec == codec
            frames = await pictures(feed, 40)
            seen = counters(frames)
            assert set(seen) <= set(range(media.SECONDS * media.RATE))
            assert len(set(seen)) > 20
            media.assert_colours(frames[-1])
            assert media.peak_hz((await sounds(feed, 40))[5:]) == pytest.approx(440, abs=5)
        await server.wait_empty()


async def test_two_viewers_and_one_who_comes_late() -> None:
    loop = asyncio.get_running_loop()
    cameras = CountingMedia()
    async with running_server() as server:
        async with a_device(server.server_url, media=cameras):
            async with Viewer(server.server_url) as first, Viewer(server.server_url) as second:
                feeds = await asyncio.gather(first.next_feed(), second.next_feed())
                for frames in await asyncio.gather(*(pictures(feed, 30) for feed in feeds)):
                    counters(frames)
                    media.assert_colours(frames[-1])
                began = loop.time()
                async with Viewer(server.server_url) as late:
                    feed = await late.next_feed()
                    media.assert_colours((await pictures(feed, 1))[0], tolerance=30)  # encoders begin coarsely
                    assert loop.time() - began < 2.0
                assert len(cameras.opened) == 1, "one uplink is to serve all"
                counters(await pictures(feeds[0], 5))
            await until(lambda: cameras.running == 0)
        await server.wait_empty()


async def test_the_camera_rests_while_nobody_watches_and_comes_back() -> None:
    cameras, statuses = CountingMedia(), Statuses()
    async with running_server() as server:
        async with a_device(server.server_url, statuses, media=cameras):
            await statuses.until_state("waiting")
            assert cameras.opened == []
            for visit in range(1, 3):
                async with Viewer(server.server_url) as viewer:
                    counters(await pictures(await viewer.next_feed(), 5))
                    assert (len(cameras.opened), cameras.running) == (visit, 1)
                    mark = len(statuses.seen)
                await statuses.until_state("waiting", after=mark)
                assert cameras.running == 0
        await server.wait_empty()


class Camera(VideoStreamTrack):
    """A camera loop as a user would write it: numpy pictures, as OpenCV gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.pattern = TestPattern(640, 360)
        self.taken = 0
        self.released = False

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        image: np.ndarray[Any, Any] = self.pattern.draw(self.taken, "00:00:00.000").to_ndarray(format="bgr24")
        self.taken += 1
        frame = VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts, frame.time_base = pts, time_base
        return frame

    def stop(self) -> None:
        super().stop()
        self.released = True


async def test_a_users_own_camera_loop() -> None:
    cameras: list[Camera] = []

    def open_camera() -> list[Camera]:
        cameras.append(Camera())
        return cameras[-1:]

    async with running_server() as server:
        async with Device(server.server_url, id="mine", media=open_camera):
            for _ in range(2):
                async with Viewer(server.server_url, device="mine") as viewer:
                    frames = await pictures(await viewer.next_feed(), 10)
                    assert counters(frames)[0] < 30
                    media.assert_colours(frames[-1])
                await until(lambda: cameras[-1].released)
        assert len(cameras) == 2
        await server.wait_empty()


async def test_one_track_object_survives_publications_and_is_not_hurried() -> None:
    camera, statuses = Camera(), Statuses()
    async with running_server() as server:
        async with Device(server.server_url, id="mine", tracks=[camera], on_status=statuses.take):
            await _watch_some(server.server_url, statuses)
            resting = camera.taken
            pause = 1.0
            with pytest.raises(TimeoutError):  # time has to pass, in which nothing may happen
                async with asyncio.timeout(pause):
                    await statuses.until(lambda _: False, timeout=2 * pause)
            assert camera.taken == resting
            taken = await _watch_some(server.server_url, statuses)
            assert taken < 60, "the pause was made up for in a burst"
        assert not camera.released
        await server.wait_empty()


async def _watch_some(url: str, statuses: Statuses) -> int:
    async with Viewer(url) as viewer:
        frames = await pictures(await viewer.next_feed(), 15)
        mark = len(statuses.seen)
    await statuses.until_state("waiting", after=mark)
    return max(counters(frames)) - min(counters(frames))


async def test_a_file_that_ends_ends_the_feed(files: Path) -> None:
    statuses = Statuses()
    async with running_server() as server:
        async with (
            a_device(server.server_url, statuses, media=lambda: open_source(str(files / "vp8.webm"))),
            Viewer(server.server_url) as viewer,
        ):
            feed = await viewer.next_feed()
            with pytest.raises(MediaStreamError):
                await pictures(feed, 1000)
            assert feed.ended == "unpublished"
            await statuses.until_state("waiting", after=statuses.seen.index(await statuses.until_state("streaming")))
            again = await viewer.next_feed()
            assert again.id != feed.id, "the viewer invites again, and the file plays once more"
        await server.wait_empty()


async def test_a_source_that_fails_is_reported_and_nothing_else_suffers() -> None:
    statuses, attempts = Statuses(), 0

    def flaky() -> Any:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise SourceError("the camera is unplugged")
        if attempts == 2:
            raise RuntimeError("a bug in the user's own code")
        return open_source("testsrc=640x360", audio="none")

    async with running_server() as server:
        async with a_device(server.server_url, statuses, media=flaky):
            for message in ("the camera is unplugged", "RuntimeError: a bug in the user's own code"):
                async with Viewer(server.server_url) as viewer:
                    await statuses.until(lambda status, text=message: text in (status.error or ""))  # type: ignore[misc]
                    with pytest.raises(NoFeedError, match="cam-1 was invited but sent nothing"):
                        await viewer.next_feed(timeout=0.2)
            async with Viewer(server.server_url) as viewer:
                counters(await pictures(await viewer.next_feed(), 3))
        await server.wait_empty()


async def test_a_track_that_breaks_is_published_again() -> None:
    class Breaking(Camera):
        async def recv(self) -> VideoFrame:
            if self.taken == 20:
                raise OSError("the cable was pulled")
            return await super().recv()

    statuses = Statuses()
    async with running_server() as server:
        async with (
            a_device(server.server_url, statuses, media=lambda: [Breaking()]),
            Viewer(server.server_url) as viewer,
        ):
            first = await viewer.next_feed()
            second = await viewer.next_feed()
            assert first.ended is not None
            assert second.id != first.id
            assert await statuses.until(lambda status: "the cable was pulled" in (status.error or ""))
        await server.wait_empty()


async def test_an_rtsp_camera_is_passed_on_and_found_again(files: Path) -> None:
    statuses = Statuses()
    async with running_server() as server, rtsp_camera(files / "raw.h264") as camera:
        async with (
            a_device(server.server_url, statuses, media=lambda: open_source_in_thread(camera.url)),
            Viewer(server.server_url) as viewer,
        ):
            feed = await viewer.next_feed()
            assert feed.video is not None
            assert feed.video.codec == "H264"
            seen = counters(await pictures(feed, 40))
            assert len(set(seen)) >= media.RATE - 2
            assert camera.viewers == 1
            camera.unplug()
            again = await viewer.next_feed()
            assert feed.ended == "unpublished"
            media.assert_colours((await pictures(again, 10))[-1])
            assert camera.viewers == 2
            assert any("the live source ended" in (status.error or "") for status in statuses.seen)
        assert not any("secret" in repr(status) for status in statuses.seen)
        await server.wait_empty()


async def test_the_device_comes_back_after_the_server_was_away() -> None:
    statuses = Statuses()
    async with running_server(check_tasks=False) as server:  # the device outlives it
        port = server.port
        device = a_device(server.server_url, statuses)
        running = asyncio.create_task(device.run())
        async with Viewer(server.server_url) as viewer:
            counters(await pictures(await viewer.next_feed(), 3))
        mark = len(statuses.seen)
        async with Viewer(server.server_url) as viewer:
            feed = await viewer.next_feed()
            await server.server.stop()
            await statuses.until_state("reconnecting", after=mark)
            await until(lambda: feed.ended is not None)
            assert feed.ended in {"shutdown", "disconnected"}
    async with running_server(port=port) as server:
        async with Viewer(server.server_url) as viewer:
            counters(await pictures(await viewer.next_feed(timeout=15), 3))
        running.cancel()
        await asyncio.wait([running])
        await server.wait_empty()


async def test_a_device_killed_and_started_again() -> None:
    arguments = ("--id", "cam-1", "--source", "testsrc=640x360@30", "--audio", "none")
    async with running_server() as server, Viewer(server.server_url) as viewer:
        async with Program("device", "--server", server.server_url, *arguments) as program:
            feed = await viewer.next_feed(timeout=20)
            counters(await pictures(feed, 5))
            program.process.kill()
            await until(lambda: feed.ended is not None)
            assert feed.ended == "disconnected"
            with pytest.raises(MediaStreamError):
                await pictures(feed, 100)
        async with Program("device", "--server", server.server_url, *arguments):
            again = await viewer.next_feed(timeout=20)
            counters(await pictures(again, 5))


async def test_a_viewer_killed_leaves_nothing_running() -> None:
    cameras, statuses = CountingMedia(), Statuses()
    async with running_server() as server:
        async with a_device(server.server_url, statuses, media=cameras):
            async with Program("view", "--server", server.server_url) as program:
                await statuses.until_state("streaming", timeout=20)
                await program.line("640x360")
                mark = len(statuses.seen)
                program.process.kill()
                await statuses.until_state("waiting", after=mark)
                assert cameras.running == 0
        await server.wait_empty()


async def test_what_is_missing_is_said() -> None:
    async with running_server() as server:
        async with Viewer(server.server_url) as viewer:
            with pytest.raises(NoFeedError, match="no device is connected"):
                await viewer.next_feed(timeout=0.2)
        async with Viewer(server.server_url, device="cam-9") as viewer:
            with pytest.raises(NoFeedError, match="'cam-9' is not connected"):
                await viewer.next_feed(timeout=0.2)
        await server.wait_empty()


async def test_a_viewer_watches_the_device_it_names() -> None:
    async with running_server() as server:
        async with (
            a_device(server.server_url, id="cam-1"),
            a_device(server.server_url, id="cam-2"),
            Viewer(server.server_url, device="cam-2") as viewer,
        ):
            assert (await viewer.next_feed()).device == "cam-2"
            with pytest.raises(NoFeedError):
                await viewer.next_feed(timeout=0.5)
        await server.wait_empty()


async def test_an_id_in_use_is_a_clear_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.client.viewer.CONNECT_SECONDS", 0.0)
    statuses = Statuses()
    async with running_server() as server:
        async with Viewer(server.server_url, id="me"):
            with pytest.raises(ServerError) as caught:
                await Viewer(server.server_url, id="me").__aenter__()
            assert caught.value.code == "client_id_in_use"
        async with a_device(server.server_url, id="cam"):
            await until(lambda: len(server.service.sessions) == 1)
            async with a_device(server.server_url, statuses, id="cam"):
                refused = await statuses.until_state("reconnecting")
                assert "client_id_in_use" in (refused.error or "")
        await server.wait_empty()


async def test_a_device_that_stops_says_so() -> None:
    async with running_server() as server:
        async with Viewer(server.server_url) as viewer:
            async with a_device(server.server_url):
                feed = await viewer.next_feed()
                counters(await pictures(feed, 3))
            await until(lambda: feed.ended is not None)
            assert feed.ended == "left"
        await server.wait_empty()
