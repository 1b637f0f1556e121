"""Tracks that come, go and rest while viewers watch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from signaling.client import Device, SourceError, Viewer, open_source
from signaling.client.feed import ReceivedTrack
from signaling.client.testsource import ToneTrack
from signaling.client.timeline import Timeline
from tests.helpers.server import running_server, until

from . import media
from .stage import SOURCE, CountingMedia, Statuses, a_device, counters, pictures, sounds

if TYPE_CHECKING:
    from signaling.client import Feed


def second_camera() -> Any:
    return open_source("testsrc=384x216@15", audio="none")


def paused(feed: Feed) -> tuple[str, ...]:
    return feed.paused


def kinds(feed: Feed) -> list[str]:
    return [track.kind for track in feed.tracks]


async def test_a_camera_added_and_removed_live() -> None:
    cameras = CountingMedia()
    async with (
        running_server() as server,
        a_device(server.server_url, media=cameras) as device,
        Viewer(server.server_url) as viewer,
    ):
        feed = await viewer.next_feed()
        counters(await pictures(feed, 5))
        kept = feed.video
        for _ in range(2):
            device.add_source("second", second_camera)
            await until(lambda: kinds(feed).count("video") == 2, timeout=10)
            added = next(track for track in feed.tracks if track.kind == "video" and track is not kept)
            async with asyncio.timeout(10):
                frames = [await added.recv() for _ in range(5)]
            assert (frames[-1].width, frames[-1].height) == (384, 216)
            media.assert_colours(frames[-1], tolerance=30)
            assert added.codec == "VP8"
            counters(await pictures(feed, 5))
            device.remove_source("second")
            await until(lambda: kinds(feed).count("video") == 1, timeout=10)
            await until(lambda track=added: track.readyState == "ended")
            counters(await pictures(feed, 5))
        assert feed.video is kept, "what was not touched goes on"
        assert feed.ended is None
        assert len(cameras.opened) == 1


async def test_sound_added_to_a_silent_camera() -> None:
    async with (
        running_server() as server,
        a_device(server.server_url, media=lambda: open_source(SOURCE, audio="none")) as device,
        Viewer(server.server_url) as viewer,
    ):
        feed = await viewer.next_feed()
        assert kinds(feed) == ["video"]
        device.add_source("microphone", lambda: [ToneTrack(Timeline())])
        await until(lambda: feed.audio is not None, timeout=10)
        assert media.peak_hz((await sounds(feed, 40))[5:]) == pytest.approx(440, abs=5)
        counters(await pictures(feed, 3))


async def test_one_camera_that_fails_takes_no_other_with_it() -> None:
    attempts: list[str] = []

    def unplugged() -> Any:
        attempts.append("")
        if len(attempts) < 3:
            raise SourceError("the second camera is unplugged")
        return second_camera()

    statuses = Statuses()
    async with running_server() as server:
        device = a_device(server.server_url, statuses)
        device.add_source("second", unplugged)
        async with device, Viewer(server.server_url) as viewer:
            feed = await viewer.next_feed()
            counters(await pictures(feed, 3))
            assert kinds(feed).count("video") == 1
            failing = await statuses.until(lambda status: status.state == "streaming" and status.error is not None)
            assert failing.error == "the second camera is unplugged"
            await until(lambda: kinds(feed).count("video") == 2, timeout=10)
            assert feed.ended is None


def test_sources_have_names_and_a_limit() -> None:
    device = Device("ws://127.0.0.1:1", media=second_camera)
    assert device.sources == ("main",)
    with pytest.raises(ValueError, match="'main': there is one"):
        device.add_source("main", second_camera)
    with pytest.raises(ValueError, match="'other': expected one of main"):
        device.remove_source("other")
    for number in range(7):
        device.add_source(str(number), second_camera)
    with pytest.raises(ValueError, match="at most 8"):
        device.add_source("too many", second_camera)
    device.remove_source("main")
    assert "main" not in device.sources


async def test_what_nobody_receives_is_not_encoded() -> None:
    statuses, cameras = Statuses(), CountingMedia()
    async with (
        running_server() as server,
        a_device(server.server_url, statuses, media=cameras),
        Viewer(server.server_url) as viewer,
    ):
        feed = await viewer.next_feed()
        counters(await pictures(feed, 5))
        await viewer.pause(feed, "video")
        assert paused(feed) == ("video",)
        mark = len(statuses.seen)
        resting = await statuses.until(lambda status: status.fps == 0, after=mark)
        assert resting.wanted, "the sound is still received"
        assert (await sounds(feed, 20))[-1].sample_rate == 48_000
        await viewer.pause(feed)
        assert paused(feed) == ("audio", "video")
        await statuses.until(lambda status: not status.wanted, after=mark)
        assert cameras.running == 1, "the camera stays open"
        mark = len(statuses.seen)
        await viewer.resume(feed, "video")
        assert paused(feed) == ("audio",)
        assert feed.video is not None
        before = feed.video.frames
        await until(lambda: feed.video is not None and feed.video.frames >= before + 10, timeout=10)
        media.assert_colours((await pictures(feed, 15))[-1], tolerance=30)
        await statuses.until(lambda status: status.wanted and bool(status.fps), after=mark)
        await viewer.resume(feed)
        assert paused(feed) == ()
        await sounds(feed, 20)
        assert len(cameras.opened) == 1


async def test_a_viewer_chooses_tracks() -> None:
    def video_only(feed: Feed) -> list[str]:
        return [str(track["id"]) for track in feed.offered if track["kind"] == "video"]

    async with (
        running_server() as server,
        a_device(server.server_url) as device,
        Viewer(server.server_url, choose=video_only) as viewer,
    ):
        feed = await viewer.next_feed()
        assert kinds(feed) == ["video"]
        counters(await pictures(feed, 3))
        device.add_source("second", second_camera)
        await until(lambda: len(feed.offered) == 3, timeout=10)
        assert kinds(feed) == ["video"]
        await viewer.stop(feed)
        assert feed.ended == "stopped"


async def test_presence_is_told() -> None:
    seen: list[tuple[str, bool]] = []
    async with running_server() as server:
        async with Viewer(server.server_url, standing=True, on_device=lambda *news: seen.append(news)) as viewer:
            assert await viewer.list_devices() == ()
            async with a_device(server.server_url, id="cam-1"):
                feed = await viewer.next_feed()
                counters(await pictures(feed, 3))
                (device,) = await viewer.list_devices()
                assert (device.id, device.state, device.feed) == ("cam-1", "streaming", feed.id)
                assert {track["kind"] for track in device.tracks} == {"video", "audio"}
                async with a_device(server.server_url, id="cam-2"):
                    assert (await viewer.next_feed()).device == "cam-2"
                    assert await viewer.invite(["cam-3"]) == ("cam-3",)
            await until(lambda: ("cam-1", False) in seen)
        assert seen[:2] == [("cam-1", True), ("cam-2", True)]
        await server.wait_empty()


class TwoAtOnce(MediaStreamTrack):
    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.left = [VideoFrame(16, 16), VideoFrame(16, 16)]
        for number, frame in enumerate(self.left):
            frame.pts, frame.time_base = number * 3000, media.VIDEO_TIME_BASE

    async def recv(self) -> VideoFrame:
        if not self.left:
            raise MediaStreamError
        return self.left.pop(0)


async def test_frames_that_come_at_the_same_time_have_no_rate_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    # uvloop counts in whole milliseconds, so `aiosfu view` met this when it began with two pictures.
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0)
    track = ReceivedTrack(TwoAtOnce(), id="camera", codec=None, label=None)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(track.recv())
        tasks.create_task(track.recv())
    assert track.frames == 2
    assert track.fps(1000.0) == 0.0
    track.stop()
