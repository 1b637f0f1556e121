"""The engine between stock aiortc clients: what a viewer gets, and what strangers and the unlucky do not cost."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import socket
import weakref
from typing import TYPE_CHECKING

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay as StockRelay
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtp import RtpPacket

from sfu import (
    EngineFullError,
    EngineStartError,
    EngineStateError,
    FeedEnded,
    FeedNotFoundError,
    SdpError,
    SubscriptionEnded,
    SubscriptionNotFoundError,
    SubscriptionStarted,
    TrackNotFoundError,
)
from tests.helpers.peers import CountingTrack, Events, frames, publisher, running_engine, until, viewer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfu import Engine
    from sfu.producer import Producer

VP8_DESCRIPTOR_STARTS = 0x10


def video_of(engine: Engine, feed: int) -> Producer:
    return next(p for p in engine._feeds[feed].producers if p.kind == "video")


async def test_payloads_reach_the_viewer_byte_for_byte_and_in_order() -> None:
    async with running_engine() as (engine, events), publisher(engine, events, 1, CountingTrack()) as device:
        async with viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 30)
            got = [packet.payload for packet in watcher.received]
            sent = [packet.payload for packet in device.sent]
            first = sent.index(got[0])
            assert got[0][0] & VP8_DESCRIPTOR_STARTS
            assert got == sent[first : first + len(got)]
            numbers = [packet.sequence_number for packet in watcher.received]
            assert numbers == [(numbers[0] + step) & 0xFFFF for step in range(len(numbers))]
            assert len({packet.ssrc for packet in watcher.received}) == 1
            assert watcher.received[0].ssrc == video_of(engine, 1).ssrc


async def test_two_viewers_of_audio_and_video_get_the_same_and_a_part_is_a_part() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, CountingTrack(), AudioStreamTrack()) as device:
            track_ids = {sender.track.id for sender in device.pc.getSenders()}
            async with viewer(engine, 11, 1) as first, viewer(engine, 12, 1) as second:
                assert {track.id for track in first.tracks} == track_ids
                for watcher in (first, second):
                    for track in watcher.tracks:
                        await frames(track, 10)
            audio_id = next(sender.track.id for sender in device.pc.getSenders() if sender.kind == "audio")
            offer = await engine.subscribe(13, 1, [audio_id])
            assert "m=audio" in offer
            assert "m=video" not in offer
            with pytest.raises(TrackNotFoundError, match="'nope' was asked for"):
                await engine.subscribe(14, 1, ["nope"])


async def test_a_new_viewer_begins_at_once_with_a_recent_keyframe_of_a_device_that_sends_no_other() -> None:
    async with running_engine() as (engine, events), publisher(engine, events, 1, CountingTrack(frames=300)) as device:
        await until(lambda: len(device.sent) > 10)
        async with viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 15)
            (consumer,) = engine.statistics().subscriptions[0].consumers
            assert consumer.instant_start
            assert consumer.keyframe_requests == 0
            assert not consumer.drops
            sent = [packet.payload for packet in device.sent]
            assert [packet.payload for packet in watcher.received] == sent[: len(watcher.received)]
            numbers = [packet.sequence_number for packet in watcher.received]
            assert numbers == [(numbers[0] + step) & 0xFFFF for step in range(len(numbers))]


async def test_a_viewer_of_a_stale_picture_waits_for_the_keyframe_that_it_asked_for() -> None:
    async with running_engine() as (engine, events), publisher(engine, events, 1, CountingTrack(frames=300)) as device:
        await until(lambda: len(device.sent) > 75)
        async with viewer(engine, 11, 1) as watcher:
            # The track repeats its frames; only its 300th is a keyframe again, so the packets must wait for the gate.
            await until(lambda: video_of(engine, 1).keyframes.pending)
            await events.expect(SubscriptionStarted)
            subscriber = engine._subscriptions[11].subscriber
            await until(lambda: any(consumer.drops["before_keyframe"] for consumer in subscriber.consumers))
            assert watcher.received == []


def every(number: int) -> Callable[[bytes], bool]:
    """Choose every so many-th RTP packet, never RTCP."""
    count = 0

    def choose(data: bytes) -> bool:
        nonlocal count
        if 192 <= data[1] <= 223:
            return False
        count += 1
        return count % number == 0

    return choose


async def test_what_a_device_loses_is_asked_for_again() -> None:
    async with running_engine() as (engine, events):
        async with publisher(
            engine, events, 1, CountingTrack(), prepare=lambda peer: peer.drop(outgoing=every(7))
        ) as device:
            producer = video_of(engine, 1)
            await until(lambda: producer.packets > 100)
            assert producer.stats.lost <= 2
            # Retransmissions came on the RTX stream, whose payloads begin with the original number.
            assert len({packet.ssrc for packet in device.sent}) == 2


async def test_a_track_that_begins_anew_goes_on_for_its_viewers() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, CountingTrack(keyframe_only=True)) as device:
            async with viewer(engine, 11, 1) as watcher:
                await frames(watcher.tracks[0], 5)
                sender = device.pc.getSenders()[0]
                old, sender._ssrc = sender._ssrc, (sender._ssrc + 1) & 0xFFFFFFFF
                await frames(watcher.tracks[0], 30)
                numbers = [packet.sequence_number for packet in watcher.received]
                assert numbers == [(numbers[0] + step) & 0xFFFF for step in range(len(numbers))]
                assert {packet.ssrc for packet in watcher.received} == {video_of(engine, 1).ssrc}
                assert {packet.ssrc for packet in device.sent} == {old, sender._ssrc}
                steps = [b.timestamp - a.timestamp for a, b in itertools.pairwise(watcher.received)]
                assert all(0 <= step < 90_000 for step in steps)


@pytest.mark.parametrize("rtx", [True, False])
async def test_what_a_viewer_loses_is_sent_again(rtx: bool) -> None:  # noqa: FBT001
    def without_rtx(sdp: str) -> str:
        lines = [line for line in sdp.splitlines() if not any(word in line for word in ("rtx", "apt=", "FID"))]
        return "\r\n".join(lines) + "\r\n"

    async with (
        running_engine() as (engine, events),
        publisher(engine, events, 1, CountingTrack()),
        viewer(
            engine,
            11,
            1,
            prepare=lambda peer: peer.drop(incoming=every(7)),
            change=(lambda sdp: sdp) if rtx else without_rtx,
        ) as watcher,
    ):
        await frames(watcher.tracks[0], 40)
        consumer = engine._subscriptions[11].subscriber.consumers[0]
        await until(lambda: consumer.retransmitted > 2)
        ssrcs = {packet.ssrc for packet in watcher.received}
        assert ssrcs == ({consumer.sent.ssrc, consumer.sent.rtx_ssrc} if rtx else {consumer.sent.ssrc})


async def test_reports_carry_the_publishers_clocks_so_that_audio_and_video_keep_together() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, CountingTrack(), AudioStreamTrack()):
            async with viewer(engine, 11, 1):
                await until(
                    lambda: 11 in engine._subscriptions and len(engine._subscriptions[11].subscriber.consumers) == 2
                )
                consumers = engine._subscriptions[11].subscriber.consumers
                await until(lambda: all(consumer.estimate.round_trip is not None for consumer in consumers))
                for consumer in consumers:
                    clock = consumer.producer.clock
                    assert clock is not None
                    rate = consumer.producer.parameters.codec.clock_rate
                    # One second later is one second of ticks later, by the publisher's wall clock.
                    before, after = clock.at(clock.arrival, rate), clock.at(clock.arrival + 1, rate)
                    assert before[0] == clock.ntp_time
                    assert after[0] - before[0] == 1 << 32
                    assert (after[1] - before[1]) & 0xFFFFFFFF == rate
                    assert consumer.estimate.round_trip is not None
                    assert 0 <= consumer.estimate.round_trip < 1


async def test_python_consumers_get_decoded_frames_and_pay_only_while_they_ask() -> None:
    async with running_engine() as (engine, events), publisher(engine, events, 1, CountingTrack(keyframe_only=True)):
        producer = video_of(engine, 1)
        assert engine.relay.subscribers(producer) == 0
        assert isinstance(engine.relay, StockRelay)
        first, second = engine.relay.subscribe(producer), engine.relay.subscribe(producer)
        pictures = await frames(first, 5)
        assert {(picture.width, picture.height) for picture in pictures} == {(320, 240)}
        await frames(second, 5)
        assert engine.relay.subscribers(producer) == 1
        first.stop()
        assert engine.relay.subscribers(producer) == 1
        second.stop()
        assert engine.relay.subscribers(producer) == 0
        again = engine.relay.subscribe(producer)
        await frames(again, 2)
        again.stop()


async def test_a_publisher_that_leaves_ends_its_feed_and_everything_of_it_is_freed() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, CountingTrack()), viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 2)
            references: list[weakref.ref[object]] = [
                weakref.ref(engine._feeds[1].newest.peer),
                weakref.ref(video_of(engine, 1)),
                weakref.ref(engine._subscriptions[11].peer),
                weakref.ref(engine._subscriptions[11].subscriber.consumers[0]),
            ]
        ended = await events.expect(FeedEnded)
        assert (ended.feed, ended.reason) == (1, "closed_by_peer")
        del watcher
        await until(lambda: gc.collect() >= 0 and all(reference() is None for reference in references))


async def test_a_viewer_that_leaves_is_told_of_and_costs_the_others_nothing() -> None:
    async with running_engine() as (engine, events), publisher(engine, events, 1, CountingTrack()):
        async with viewer(engine, 12, 1) as stays:
            async with viewer(engine, 11, 1) as leaves:
                await frames(leaves.tracks[0], 2)
            ended = await events.expect(SubscriptionEnded)
            assert (ended.subscription, ended.feed, ended.reason) == (11, 1, "closed_by_peer")
            await frames(stays.tracks[0], 10)


async def test_strangers_on_the_media_port_are_dropped_and_counted() -> None:
    async with running_engine() as (engine, events), publisher(engine, events, 1, CountingTrack()) as device:
        producer = video_of(engine, 1)
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stranger.connect(("127.0.0.1", engine.port))
        try:
            rtp = RtpPacket(payload_type=97, sequence_number=1, timestamp=1, payload=b"\x10hello")
            rtp.ssrc = device.sent[0].ssrc
            for data in (b"", b"\xff" * 50, os.urandom(1400), b"\x16\xfe\xfd" + bytes(50), rtp.serialize(), bytes(20)):
                stranger.send(data)
            drops = engine._port.drops
            await until(lambda: sum(drops.values()) >= 5)
            assert drops["unknown_address"] >= 2
            assert drops["stun_malformed"] >= 1
            before = producer.packets
            await until(lambda: producer.packets > before + 30)
            assert not engine._feeds[1].newest.peer.transport.drops
            assert not producer.drops
        finally:
            stranger.close()


async def test_replayed_and_forged_packets_from_a_peers_own_address_are_refused() -> None:
    async with running_engine() as (engine, events), publisher(engine, events, 1, CountingTrack()) as device:
        ice = device.pc.getTransceivers()[0].receiver.transport.transport
        datagrams: list[bytes] = []
        send = ice._send

        async def keep(data: bytes) -> None:
            datagrams.append(data)
            await send(data)

        ice._send = keep
        await until(lambda: any(128 <= data[0] <= 191 and data[1] & 0x7F == 97 for data in datagrams))
        media = next(data for data in datagrams if 128 <= data[0] <= 191 and data[1] & 0x7F == 97)
        await send(media)
        ahead = (int.from_bytes(media[2:4], "big") + 500) & 0xFFFF
        await send(media[:2] + ahead.to_bytes(2, "big") + media[4:])
        drops = engine._feeds[1].newest.peer.transport.drops
        await until(lambda: drops["srtp_replayed"] == 1 and drops["srtp_refused"] == 1)


async def test_who_never_answers_and_who_dies_mid_handshake_is_forgotten() -> None:
    async with running_engine(answer_timeout=0.1, connect_timeout=0.2) as (engine, events):
        async with publisher(engine, events, 1, CountingTrack()):
            await engine.subscribe(11, 1)
            ended = await events.expect(SubscriptionEnded)
            assert (ended.subscription, ended.reason) == (11, "not_answered")
        await events.expect(FeedEnded)
        dead = RTCPeerConnection()
        dead.addTrack(CountingTrack())
        await dead.setLocalDescription(await dead.createOffer())
        await engine.publish(2, dead.localDescription.sdp)
        await dead.close()
        lost = await events.expect(FeedEnded)
        assert (lost.feed, lost.reason) == (2, "not_connected")


async def test_a_peer_that_falls_silent_is_given_up() -> None:
    async with running_engine(consent_timeout=0.5) as (engine, events):
        async with publisher(engine, events, 1, CountingTrack()) as device:
            device.drop(outgoing=lambda _data: True)
            ended = await events.expect(FeedEnded)
            assert ended.reason == "consent_expired"


async def test_a_wrong_certificate_fails_the_handshake() -> None:
    async with running_engine() as (engine, events):
        pc = RTCPeerConnection()
        pc.addTrack(CountingTrack())
        await pc.setLocalDescription(await pc.createOffer())
        sdp = pc.localDescription.sdp
        for line in [line for line in sdp.splitlines() if line.startswith("a=fingerprint")]:
            algorithm, value = line.split(" ")
            sdp = sdp.replace(line, f"{algorithm} {'00' + value[2:]}")
        publication = await engine.publish(1, sdp)
        await pc.setRemoteDescription(RTCSessionDescription(publication.answer, "answer"))
        ended = await events.expect(FeedEnded)
        assert ended.reason == "handshake_failed"
        await pc.close()


async def test_refused_calls_say_why_and_change_nothing() -> None:
    async with running_engine(max_peers=2, max_sdp_bytes=50_000) as (engine, events):
        with pytest.raises(SdpError, match="at most 50000 are read"):
            await engine.publish(1, "v=0\r\n" + "a" * 60_000)
        with pytest.raises(FeedNotFoundError, match="no feed 1"):
            await engine.subscribe(11, 1)
        with pytest.raises(SubscriptionNotFoundError, match="no subscription 11"):
            await engine.accept(11, "v=0")
        async with publisher(engine, events, 1, CountingTrack()) as device:
            with pytest.raises(EngineStateError, match="feed 1 exists"):
                await engine.publish(1, device.pc.localDescription.sdp)
            async with viewer(engine, 11, 1) as watcher:
                with pytest.raises(EngineStateError, match="answered already"):
                    await engine.accept(11, watcher.pc.localDescription.sdp)
                with pytest.raises(EngineStateError, match="subscription 11 exists"):
                    await engine.subscribe(11, 1)
                with pytest.raises(EngineFullError, match="limit of 2"):
                    await engine.subscribe(12, 1)
                await engine.unsubscribe(11)
                await engine.unsubscribe(11)
            await engine.unpublish(1)
            await engine.unpublish(1)


async def test_candidates_name_the_announced_address_and_loopback() -> None:
    async with running_engine(announce=("203.0.113.7",)) as (engine, _events):
        assert engine.addresses == ("203.0.113.7", "127.0.0.1")


async def test_a_taken_port_is_named() -> None:
    async with running_engine() as (engine, _events):
        with pytest.raises(EngineStartError, match=f"UDP 127.0.0.1 port {engine.port}: Address already in use"):
            async with running_engine(port=engine.port):
                pass


async def test_several_addresses_share_one_port_number() -> None:
    async with running_engine(hosts=("127.0.0.1", "127.0.0.2", "::1")) as (engine, events):
        assert len({udp.sock.getsockname()[1] for udp in engine._port._sockets}) == 1
        async with publisher(engine, events, 1, CountingTrack()), viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 3)


async def test_stopping_twice_is_stopping_once() -> None:
    events = Events()
    async with running_engine() as (engine, _), publisher(engine, _, 1, CountingTrack()):
        await engine.stop()
        await engine.stop()
    assert events.queue.empty()
    await asyncio.sleep(0)
