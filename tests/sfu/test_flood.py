"""A peer that floods is dropped before it costs a decryption, and its neighbours notice nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sfu.rtp.rtcp import PictureLossIndication
from tests.helpers.peers import CountingTrack, frames, publisher, running_engine, until, viewer

if TYPE_CHECKING:
    from sfu import Engine


def kernel_drops(engine: Engine) -> int:
    """Return what the kernel has dropped for us: how much of a flood that is depends on how fast it comes."""
    return sum(sock.kernel_drops for sock in engine.statistics().sockets)


async def test_a_device_that_floods_is_policed() -> None:
    async with running_engine(max_packet_rate=200) as (engine, events):
        async with (
            publisher(engine, events, 1, CountingTrack()) as device,
            publisher(engine, events, 2, CountingTrack()),
        ):
            transport = device.pc.getTransceivers()[0].receiver.transport
            last = bytes(device.sent[-1].serialize())
            # On an SSRC of its own, whose numbers are not the track's, so that the client's SRTP takes them.
            stranger = ((device.sent[-1].ssrc + 1) & 0xFFFFFFFF).to_bytes(4, "big")
            for number in range(500):
                await transport._send_rtp(last[:2] + number.to_bytes(2, "big") + last[4:8] + stranger + last[12:])
            peer = engine._feeds[1].newest.peer
            await until(lambda: peer.drops["packet_rate"] + kernel_drops(engine) > 400)
            assert peer.drops["packet_blocks"] > 0
            assert not engine._feeds[2].newest.peer.drops
            async with viewer(engine, 12, 2) as watcher:
                await frames(watcher.tracks[0], 5)


async def test_a_viewer_that_floods_rtcp_costs_the_device_one_keyframe_request_a_while() -> None:
    async with running_engine(max_rtcp_rate=200) as (engine, events), publisher(engine, events, 1, CountingTrack()):
        async with viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 3)
            ssrc = watcher.received[0].ssrc
            transport = watcher.pc.getTransceivers()[0].receiver.transport
            for _ in range(300):
                await transport._send_rtp(PictureLossIndication(1, ssrc).encode())
            peer = engine._subscriptions[11].peer
            await until(lambda: peer.drops["rtcp_rate"] + kernel_drops(engine) > 200)
            (producer,) = engine.statistics().feeds[0].producers
            assert producer.keyframe_requests <= 2
            await frames(watcher.tracks[0], 10)


async def test_a_flooding_viewer_is_silenced_in_the_kernel_and_still_watches() -> None:
    async with running_engine(max_rtcp_rate=200) as (engine, events), publisher(engine, events, 1, CountingTrack()):
        async with viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 3)
            transport = watcher.pc.getTransceivers()[0].receiver.transport
            request = PictureLossIndication(1, watcher.received[0].ssrc).encode()
            peer = engine._subscriptions[11].peer
            while peer.drops["rtcp_blocks"] < 3:
                await transport._send_rtp(request)
                await asyncio.sleep(0)  # the client's send does not yield
            await asyncio.sleep(0)  # for the turn in which the filter is set
            # Blocked thrice in a row it is for 0.4 s: what comes now is dropped before we read it.
            before = kernel_drops(engine)
            for _ in range(100):
                await transport._send_rtp(request)
            assert kernel_drops(engine) == before + 100
            await frames(watcher.tracks[0], 10)
