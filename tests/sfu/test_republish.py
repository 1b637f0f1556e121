"""A publication that changes while it is watched: tracks come and go, connections are replaced. Stock clients."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription, sdp
from aiortc.mediastreams import AudioStreamTrack

from sfu import (
    Engine,
    EngineStateError,
    FeedEnded,
    FeedNotFoundError,
    FeedStarted,
    SdpError,
    SubscriptionEnded,
    SubscriptionOffer,
    SubscriptionStarted,
)
from tests.helpers.peers import (
    CountingTrack,
    Peer,
    answer,
    frames,
    luma,
    publisher,
    republish,
    running_engine,
    until,
    viewer,
)

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack
    from aiortc.rtp import RtpPacket


DARK, BRIGHT = 40, 200


def camera(brightness: int = DARK) -> CountingTrack:
    return CountingTrack(3, keyframe_only=True, luma=brightness)


async def shows(track: MediaStreamTrack, brightness: int) -> None:
    """Wait for a picture of that brightness; others before it are passed over."""
    async with asyncio.timeout(10):
        while abs(luma((await frames(track, 1))[0]) - brightness) > 8:
            pass


def media(text: str) -> list[tuple[str, int, str]]:
    """Return mid, port and direction of each section."""
    return [(m.rtp.muxId, m.port, m.direction or "") for m in sdp.SessionDescription.parse(text).media]


def assert_continuous(packets: list[RtpPacket], payload_type: int, *, clock: int, longest: float) -> None:
    """Check that one track's packets are one stream: no number missing or used twice, no jump in time."""
    track = [packet for packet in packets if packet.payload_type == payload_type]
    assert len({packet.ssrc for packet in track}) == 1
    numbers = [packet.sequence_number for packet in track]
    assert numbers == [(numbers[0] + step) & 0xFFFF for step in range(len(numbers))]
    steps = [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(track)]
    assert max(steps) < clock * longest


async def test_a_second_camera_comes_and_goes_while_the_first_is_watched() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, camera(DARK)) as device, viewer(engine, 11, 1) as watcher:
            await shows(watcher.tracks[0], DARK)
            device.pc.addTrack(camera(BRIGHT))
            publication = await republish(engine, 1, device)
            assert len(publication.tracks) == 2
            offer = await events.expect(SubscriptionOffer)
            assert (offer.subscription, offer.feed) == (11, 1)
            assert [direction for _, _, direction in media(offer.offer)] == ["sendonly", "sendonly"]
            await answer(engine, 11, watcher, offer.offer)
            await shows(watcher.tracks[1], BRIGHT)
            await shows(watcher.tracks[0], DARK)
            assert [track.id for track in watcher.tracks] == [track.id for track in publication.tracks]

            device.pc.getTransceivers()[1].direction = "inactive"
            publication = await republish(engine, 1, device)
            assert [track.id for track in publication.tracks] == [watcher.tracks[0].id]
            offer = await events.expect(SubscriptionOffer)
            assert [(port > 0, way) for _, port, way in media(offer.offer)] == [(True, "sendonly"), (False, "inactive")]
            assert len(engine._subscriptions[11].subscriber.consumers) == 1
            await answer(engine, 11, watcher, offer.offer)
            await frames(watcher.tracks[0], 5)

            device.pc.getTransceivers()[1].direction = "sendonly"
            publication = await republish(engine, 1, device)
            offer = await events.expect(SubscriptionOffer)
            await answer(engine, 11, watcher, offer.offer)
            mids = [mid for mid, _, _ in media(offer.offer)]
            assert len(set(mids)) == len(mids)
            await shows(watcher.tracks[2], BRIGHT)
            assert not events.waiting(FeedEnded)


async def test_a_feed_may_be_without_tracks_for_a_while() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, camera()) as device, viewer(engine, 11, 1) as watcher:
            await shows(watcher.tracks[0], DARK)
            sender = device.pc.getTransceivers()[0]
            sender.direction = "inactive"
            publication = await republish(engine, 1, device)
            assert publication.tracks == ()
            assert media(publication.answer)[0][1:] == (9, "inactive")
            offer = await events.expect(SubscriptionOffer)
            # The connection hangs on it, so it stays open.
            assert media(offer.offer)[0][1:] == (9, "inactive")
            await answer(engine, 11, watcher, offer.offer)
            sender.direction = "sendonly"
            await republish(engine, 1, device)
            offer = await events.expect(SubscriptionOffer)
            await answer(engine, 11, watcher, offer.offer)
            await shows(watcher.tracks[1], DARK)
            assert not events.waiting(FeedEnded)
            assert not events.waiting(SubscriptionEnded)


async def test_chosen_tracks_are_all_that_a_subscription_follows() -> None:
    async with running_engine() as (engine, events):
        first = camera()
        async with publisher(engine, events, 1, first) as device:
            track = engine._feeds[1].producers[0].id
            await engine.subscribe(11, 1, [track])
            device.pc.addTrack(camera(BRIGHT))
            await republish(engine, 1, device)
            async with viewer(engine, 12, 1) as watcher:
                await frames(watcher.tracks[1], 2)
            assert not events.waiting(SubscriptionOffer)


async def test_a_viewer_that_never_answers_again_goes_on_with_what_it_has() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, camera()) as device, viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 2)
            device.pc.addTrack(camera(BRIGHT))
            await republish(engine, 1, device)
            offer = await events.expect(SubscriptionOffer)
            # Two further changes meanwhile wait, and are then one offer.
            device.pc.addTrack(AudioStreamTrack())
            await republish(engine, 1, device)
            device.pc.getTransceivers()[1].direction = "inactive"
            await republish(engine, 1, device)
            await frames(watcher.tracks[0], 10)
            assert events.waiting(SubscriptionOffer) == []
            await answer(engine, 11, watcher, offer.offer)
            offer = await events.expect(SubscriptionOffer)
            assert [way for _, _, way in media(offer.offer)] == ["sendonly", "inactive", "sendonly"]
            await answer(engine, 11, watcher, offer.offer)
            await frames(next(track for track in watcher.tracks if track.kind == "audio"), 5)
            with pytest.raises(EngineStateError, match="answered already"):
                await engine.accept(11, watcher.pc.localDescription.sdp)
            assert events.waiting(SubscriptionOffer) == []


async def test_a_change_that_is_taken_back_before_the_answer_is_not_offered() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, camera()) as device:
            offer = await engine.subscribe(11, 1)
            device.pc.addTrack(camera(BRIGHT))
            await republish(engine, 1, device)
            device.pc.getTransceivers()[1].direction = "inactive"
            await republish(engine, 1, device)
            watcher = Peer(RTCPeerConnection())
            watcher.pc.on("track", watcher.tracks.append)
            await answer(engine, 11, watcher, offer)
            await frames(watcher.tracks[0], 5)
            assert events.waiting(SubscriptionOffer) == []
            await watcher.pc.close()


async def new_connection(engine: Engine, feed: int, *tracks: MediaStreamTrack) -> Peer:
    """Offer a wholly new connection for a feed; return it once it is taken."""
    peer = Peer(RTCPeerConnection())
    for track in tracks:
        peer.pc.addTrack(track)
    await republish(engine, feed, peer)
    return peer


async def offering(shade: int = DARK) -> Peer:
    """Make a wholly new connection and its offer, which nobody has seen yet."""
    peer = Peer(RTCPeerConnection())
    peer.pc.addTrack(camera(shade))
    await peer.pc.setLocalDescription(await peer.pc.createOffer())
    return peer


async def test_a_new_connection_goes_on_with_the_same_feed_and_its_viewers() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, camera(DARK), AudioStreamTrack()) as device:
            async with viewer(engine, 11, 1) as watcher:
                pictures, sound = sorted(watcher.tracks, key=lambda track: track.kind, reverse=True)
                await asyncio.gather(frames(sound, 5), shows(pictures, DARK))
                before = engine._feeds[1].producers
                began = asyncio.get_running_loop().time()
                device.drop(outgoing=lambda _data: True)  # its network is gone
                again = await new_connection(engine, 1, camera(BRIGHT), AudioStreamTrack())
                await asyncio.gather(frames(sound, 20), shows(pictures, BRIGHT))
                assert engine._feeds[1].producers == before
                assert engine._feeds[1].coming is None
                await frames(pictures, 10)
                # Timestamps count the time without media, and no more.
                longest = asyncio.get_running_loop().time() - began + 1
                video = next(codec.payload_type for codec in before[0].parameters.codecs)
                audio = before[1].parameters.codec.payload_type
                assert_continuous(watcher.received, video, clock=90_000, longest=longest)
                assert_continuous(watcher.received, audio, clock=48_000, longest=longest)
                await again.pc.close()
                ended = await events.expect(FeedEnded)
                assert ended.reason == "closed_by_peer"
    for kind in (SubscriptionOffer, SubscriptionEnded):
        assert not events.waiting(kind)
    assert len(events.waiting(SubscriptionStarted)) == 1
    assert len(events.waiting(FeedStarted)) == 0, "the first one is all there was"


async def test_a_new_connection_with_other_tracks_is_offered() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, camera(DARK)), viewer(engine, 11, 1) as watcher:
            await shows(watcher.tracks[0], DARK)
            again = await new_connection(engine, 1, camera(100), camera(BRIGHT))
            offer = await events.expect(SubscriptionOffer)
            assert [direction for _, _, direction in media(offer.offer)] == ["inactive", "sendonly", "sendonly"]
            await answer(engine, 11, watcher, offer.offer)
            await asyncio.gather(shows(watcher.tracks[1], 100), shows(watcher.tracks[2], BRIGHT))
            await again.pc.close()


async def test_the_newest_connection_is_the_one_that_counts() -> None:
    async with running_engine(connect_timeout=1.5) as (engine, events):
        async with publisher(engine, events, 1, camera(DARK)), viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 2)
            lost = await offering()
            again = await offering(BRIGHT)
            await engine.republish(1, lost.pc.localDescription.sdp)
            # A second one takes the place of the first that never came.
            publication = await engine.republish(1, again.pc.localDescription.sdp)
            await lost.pc.close()
            await again.pc.setRemoteDescription(RTCSessionDescription(publication.answer, "answer"))
            await shows(watcher.tracks[0], BRIGHT)
            assert not events.waiting(FeedEnded)
            assert len(engine._port._endpoints) == 2

            lost = await offering()
            await engine.republish(1, lost.pc.localDescription.sdp)
            await lost.pc.close()
            ended = await events.expect(FeedEnded)
            assert (ended.feed, ended.reason) == (1, "not_connected")
            await again.pc.close()


async def test_the_old_connection_may_die_while_the_new_one_is_made() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, camera(DARK)) as device, viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 2)
            again = await offering(BRIGHT)
            publication = await engine.republish(1, again.pc.localDescription.sdp)
            old = engine._feeds[1].uplink
            assert old is not None
            await device.pc.close()
            await until(lambda: old.peer.state.value == "closed")
            await again.pc.setRemoteDescription(RTCSessionDescription(publication.answer, "answer"))
            await shows(watcher.tracks[0], BRIGHT)
            assert not events.waiting(FeedEnded)
            await again.pc.close()


async def test_at_the_limit_of_connections_the_old_one_makes_room() -> None:
    async with running_engine(max_peers=1) as (engine, events):
        async with publisher(engine, events, 1, camera()):
            again = await new_connection(engine, 1, camera())
            await until(lambda: engine._feeds[1].coming is None)
            assert not events.waiting(FeedEnded)
            await again.pc.close()


async def test_further_offers_that_cannot_be_taken_change_nothing() -> None:
    async with running_engine(max_tracks=1, max_sdp_bytes=50_000) as (engine, events):
        with pytest.raises(FeedNotFoundError, match="no feed 1"):
            await engine.republish(1, "v=0")
        async with publisher(engine, events, 1, camera()) as device, viewer(engine, 11, 1) as watcher:
            for bad, words in (("v=0\r\n", "sends no audio or video"), ("v=0" + "a" * 60_000, "50000 are read")):
                with pytest.raises(SdpError, match=words):
                    await engine.republish(1, bad)
            device.pc.addTrack(camera())
            await device.pc.setLocalDescription(await device.pc.createOffer())
            with pytest.raises(SdpError, match="at most 1 are taken"):
                await engine.republish(1, device.pc.localDescription.sdp)
            await frames(watcher.tracks[0], 5)
            assert engine._feeds[1].coming is None


async def test_a_simple_viewer_may_answer_a_further_offer_from_a_new_connection() -> None:
    """As the example of the published document does: it makes a connection for each offer."""
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, camera(DARK)) as device, viewer(engine, 11, 1) as watcher:
            await shows(watcher.tracks[0], DARK)
            device.pc.addTrack(camera(BRIGHT))
            await republish(engine, 1, device)
            offer = await events.expect(SubscriptionOffer)
            again = Peer(RTCPeerConnection())
            again.pc.on("track", again.tracks.append)
            await answer(engine, 11, again, offer.offer)
            await asyncio.gather(shows(again.tracks[0], DARK), shows(again.tracks[1], BRIGHT))
            await until(lambda: watcher.pc.connectionState == "closed")
            assert not events.waiting(SubscriptionEnded)
            assert len(engine._port._endpoints) == 2
            await again.pc.close()
            await events.expect(SubscriptionEnded)


async def test_a_goodbye_leaves_time_for_word_of_what_comes_next() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, camera(DARK)) as device:
            async with viewer(engine, 11, 1) as watcher:
                await shows(watcher.tracks[0], DARK)
                uplink = engine._feeds[1].newest
                # The word is ready when the goodbye goes: the network swapped the two, no more.
                again = await offering(BRIGHT)
                closing = asyncio.create_task(device.pc.close())
                await until(lambda: uplink.said_goodbye)
                publication = await engine.republish(1, again.pc.localDescription.sdp)
                await again.pc.setRemoteDescription(RTCSessionDescription(publication.answer, "answer"))
                await closing
                await shows(watcher.tracks[0], BRIGHT)
                await again.pc.close()
                assert (await events.expect(FeedEnded)).reason == "closed_by_peer"
