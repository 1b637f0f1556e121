"""A stream of our own through a server: how soon the first picture comes, what is lost, how late pictures are."""

from __future__ import annotations

import asyncio
import statistics
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .device import Device
from .errors import NoFeedError
from .pattern import COUNTER_MODULO, read_frame_counter
from .testsource import PatternTrack
from .timeline import Timeline
from .viewer import Viewer

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from .feed import Feed

WIDTH, HEIGHT, FRAMES_PER_SECOND = 640, 360, 15
"""Some 500 kbit/s: enough to show loss, and light on a small machine."""
MAX_REMEMBERED_FRAMES = 300
"""Pictures on their way: 20 s of them."""
SETTLE_SECONDS = 0.3
"""For the first pictures' burst, which says nothing about the delay of those after."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a stream through the server was like."""

    first_frame_seconds: float
    """From the viewer's connecting to its first picture."""
    pictures: int
    packets: int
    packets_lost: int
    delay_seconds: float
    """Median, from a picture's drawing to its having been decoded: encoder, network, server and decoder together."""


class _StampedTrack(PatternTrack):
    """The test picture, remembering when each number was drawn."""

    def __init__(self) -> None:
        super().__init__(WIDTH, HEIGHT, FRAMES_PER_SECOND, Timeline())
        self.drawn: OrderedDict[int, float] = OrderedDict()

    async def recv(self) -> VideoFrame:
        frame = await super().recv()
        number = self._next_number - 1
        self.drawn[number % COUNTER_MODULO] = asyncio.get_running_loop().time()
        if len(self.drawn) > MAX_REMEMBERED_FRAMES:
            self.drawn.popitem(last=False)
        return frame


async def measure(
    server: str,
    *,
    device_id: str,
    viewer_id: str,
    device_token: str = "",
    viewer_token: str = "",
    tls_fingerprint: str = "",
    seconds: float = 5.0,
    timeout: float = 15.0,  # noqa: ASYNC109 - it can say what was missing
) -> Measured:
    """Publish a test picture and watch it for `seconds`; raise `ClientError` when nothing comes within `timeout`."""
    loop = asyncio.get_running_loop()
    track = _StampedTrack()
    device = Device(server, id=device_id, token=device_token, tls_fingerprint=tls_fingerprint, tracks=[track])
    viewer = Viewer(server, id=viewer_id, device=device_id, token=viewer_token, tls_fingerprint=tls_fingerprint)
    try:
        async with device:
            began = loop.time()
            async with viewer:
                feed = await viewer.next_feed(timeout)
                return await _watch(feed, track, began, seconds, timeout)
    finally:
        track.stop()


async def _watch(feed: Feed, track: _StampedTrack, began: float, seconds: float, timeout: float) -> Measured:  # noqa: ASYNC109 - as above
    video = feed.video
    if video is None:
        raise NoFeedError("the feed of the test picture has no video")
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            await video.recv()
    except TimeoutError:
        raise NoFeedError(f"the media connection stands, but no picture came within {timeout:g} s") from None
    first = loop.time()
    delays: list[float] = []
    pictures = 1
    while loop.time() < first + SETTLE_SECONDS + seconds:
        frame = await video.recv()
        now = loop.time()
        pictures += 1
        number = read_frame_counter(frame) if now > first + SETTLE_SECONDS else None
        drawn = None if number is None else track.drawn.get(number)
        if drawn is not None:
            delays.append(now - drawn)
    stats = await feed.stats()
    return Measured(
        first_frame_seconds=first - began,
        pictures=pictures,
        packets=stats.packets_received,
        packets_lost=stats.packets_lost,
        delay_seconds=statistics.median(delays) if delays else float("nan"),
    )
