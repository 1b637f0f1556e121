"""Stock aiortc peers on lossy links: what a viewer decodes, and what the engine's statistics say of the repair."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from av import CodecContext, VideoFrame

from sfu import FeedStarted
from tests.helpers.lossy_proxy import Link, LossyProxy
from tests.helpers.peers import CountingTrack, Events, running_engine, until, viewer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiortc import MediaStreamTrack

    from sfu import Engine

pytestmark = pytest.mark.timeout(60)

ONE_WAY_SECONDS = 0.02
CALM = Link(ONE_WAY_SECONDS)
CALM_FRAMES = 15
"""Decoded before the loss begins, so that joining is not what is measured."""
LOSSY_SECONDS = 6
CLOCK_RATE = 90_000
TICKS_PER_FRAME = CLOCK_RATE // 30
GOP_FRAMES = 30


class NoisyTrack(CountingTrack):
    """Encoded frames of several packets each, a keyframe every second; made once."""

    def __init__(self) -> None:
        super().__init__(frames=1)
        self._packets = _encode_noise()


def _encode_noise() -> list[bytes]:
    codec: Any = CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt = 320, 240, "yuv420p"
    codec.bit_rate = 1_000_000
    codec.framerate = 30
    codec.options = {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0", "lag-in-frames": "0"}
    source = np.random.default_rng(1)
    packets: list[bytes] = []
    for number in range(GOP_FRAMES):
        picture = np.full((360, 320), 128, np.uint8)
        picture[:240] = source.integers(96, 160, (240, 320), np.uint8)
        frame = VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = number
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets


def through(description: str, proxy: LossyProxy) -> str:
    """Let the candidates of a description lead to the proxy, and take away those that lead round it."""
    description = re.sub(r"a=candidate:\S+ \d (?i:tcp) .*\r\n", "", description)
    return re.sub(r"(?m)^(a=candidate:\S+ \d udp \d+ )\S+ \d+", rf"\g<1>127.0.0.1 {proxy.address[1]}", description)


@asynccontextmanager
async def publishing_through(
    proxy: LossyProxy, engine: Engine, events: Events, track: MediaStreamTrack
) -> AsyncIterator[None]:
    """Publish feed 1 with a stock client behind the proxy; entered once media flows."""
    pc = RTCPeerConnection()
    try:
        pc.addTrack(track)
        await pc.setLocalDescription(await pc.createOffer())
        publication = await engine.publish(1, pc.localDescription.sdp)
        await pc.setRemoteDescription(RTCSessionDescription(through(publication.answer, proxy), "answer"))
        await events.expect(FeedStarted)
        yield
    finally:
        await pc.close()


async def decoded_times(track: MediaStreamTrack, until_pts: int | None, count: int = 0) -> list[int]:
    """Return the times of decoded frames: so many, or all up to `until_pts`."""
    times: list[int] = []
    async with asyncio.timeout(3 * LOSSY_SECONDS):
        while len(times) < count or (until_pts is not None and times[-1] < until_pts):
            frame: Any = await track.recv()
            times.append(frame.pts)
    return times


@pytest.mark.parametrize(("loss", "decoded_share"), [(0.02, 0.97), (0.05, 0.95)])
async def test_a_viewer_decodes_what_a_device_sends_though_both_links_lose(loss: float, decoded_share: float) -> None:
    async with running_engine() as (engine, events):
        target = ("127.0.0.1", engine.port)
        with (
            LossyProxy("127.0.0.1", target, up=CALM, down=CALM, seed=1) as first,
            LossyProxy("127.0.0.1", target, up=CALM, down=CALM, seed=3) as second,
        ):
            async with (
                publishing_through(first, engine, events, NoisyTrack()),
                viewer(engine, 11, 1, change=lambda offer: through(offer, second)) as watcher,
            ):
                begin = (await decoded_times(watcher.tracks[0], None, CALM_FRAMES))[-1]
                for proxy in (first, second):
                    proxy.set_links(up=Link(ONE_WAY_SECONDS, loss), down=Link(ONE_WAY_SECONDS, loss))
                times = await decoded_times(watcher.tracks[0], begin + LOSSY_SECONDS * CLOCK_RATE, 1)

                # The device's clock advances by the same step for each frame: what is not there was not decoded.
                sent = (times[-1] - begin) // TICKS_PER_FRAME
                assert len(times) >= decoded_share * sent, f"{len(times)} of {sent} frames decoded"
                assert first.counts["up"]["lost"] > 0
                assert second.counts["down"]["lost"] > 0

                def consumer_round_trip() -> float | None:
                    return engine.statistics().subscriptions[0].consumers[0].round_trip

                await until(lambda: consumer_round_trip() is not None)
                statistics = engine.statistics()
                (producer,), (consumer,) = statistics.feeds[0].producers, statistics.subscriptions[0].consumers
                assert producer.nacked > 0
                assert producer.recovered > 0
                assert producer.round_trip is not None
                assert 2 * ONE_WAY_SECONDS <= producer.round_trip < 0.3
                assert consumer.retransmitted > 0
                assert consumer.round_trip is not None
                assert 0.03 <= consumer.round_trip < 0.3
