"""A source's track while nobody wants it, and while connections come and go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiortc.mediastreams import MediaStreamError, VideoStreamTrack
from av.packet import Packet

from signaling.client import open_source
from signaling.client.tracks import BorrowedTrack, SourceTrack
from tests.helpers.server import until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["h264.mp4", "vp8.webm"])
async def test_an_encoded_picture_is_wanted_again_from_a_keyframe_on(files: Path, name: str) -> None:
    media = open_source(str(files / name), audio="none", loop=True)
    assert media.video is not None
    track = SourceTrack(media.video, lambda: None)
    first = await track.read()
    assert isinstance(first, Packet)
    track.wanted = False
    reading = asyncio.create_task(track.read())
    await until(lambda: track.unwanted >= 4)  # it is read at its own pace: 30 a second
    assert not reading.done()
    track.wanted = True
    again = await reading
    assert again.is_keyframe
    assert again.pts > first.pts
    assert track.frames == 2
    assert (await track.read()).pts > again.pts
    await media.close()


class Counting(VideoStreamTrack):
    def __init__(self) -> None:
        super().__init__()
        self.readers = 0
        self.taken = 0

    async def recv(self) -> Any:
        self.readers += 1
        assert self.readers == 1, "cameras are read by one at a time"
        await asyncio.sleep(0.001)
        self.readers -= 1
        self.taken += 1
        return self.taken


async def test_a_connection_that_rests_leaves_the_source_to_the_next() -> None:
    camera = Counting()
    source = SourceTrack(camera, lambda: None)
    old, new = BorrowedTrack(source), BorrowedTrack(source)
    assert (old.id, new.id) == (camera.id, camera.id)
    assert await old.recv() == 1
    last = asyncio.create_task(old.recv())
    await asyncio.sleep(0)
    old.rest()
    assert await new.recv() == 3, "what was being read belonged to the old one"
    assert await last == 2
    resting = asyncio.create_task(old.recv())
    assert [await new.recv() for _ in range(3)] == [4, 5, 6]
    assert not resting.done()
    resting.cancel()
    new.stop()
    with pytest.raises(MediaStreamError):
        await new.recv()
    assert camera.readyState == "live", "a connection's end is not the camera's"
    assert source.frames == 6


async def test_the_end_of_a_source_is_told() -> None:
    class Broken(VideoStreamTrack):
        async def recv(self) -> Any:
            raise OSError("the cable was pulled")

    ends: list[str] = []
    source = SourceTrack(Broken(), lambda: ends.append("end"))
    track = BorrowedTrack(source)
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert ends == ["end"]
    assert source.exhausted
    assert source.failure == "the video track failed: OSError: the cable was pulled"
    assert track.readyState == "ended"
    with pytest.raises(MediaStreamError):
        await source.read()
