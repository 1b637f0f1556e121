"""Pause, resume and which tracks are wanted, with stock aiortc clients over real sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiortc.mediastreams import AudioStreamTrack

from sfu import FeedEnded, SubscriptionNotFoundError, TracksWanted
from tests.helpers.peers import CountingTrack, Peer, frames, publisher, republish, running_engine, until, viewer

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack

    from sfu import Engine
    from sfu.values import Kind
    from tests.helpers.peers import Events

VIDEO: frozenset[Kind] = frozenset({"video"})
AUDIO: frozenset[Kind] = frozenset({"audio"})
HOLD = 0.4


def track(peer: Peer, kind: str) -> MediaStreamTrack:
    return next(each for each in peer.tracks if each.kind == kind)


def received(peer: Peer, engine: Engine, kind: str) -> list[int]:
    """Return the sequence numbers that reached a viewer of feed 1's track of a kind, retransmissions left out."""
    ssrc = next(producer.ssrc for producer in engine._feeds[1].producers if producer.kind == kind)
    return [packet.sequence_number for packet in peer.received if packet.ssrc == ssrc]


async def test_a_pause_stops_one_kind_and_a_resume_goes_on_without_a_gap() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, CountingTrack(15), AudioStreamTrack()):
            async with viewer(engine, 11, 1) as watcher, viewer(engine, 12, 1) as other:
                picture, sound = track(watcher, "video"), track(watcher, "audio")
                await asyncio.gather(frames(picture, 5), frames(sound, 5))
                assert await engine.pause(11, VIDEO) == ("video",)
                await until(lambda: bool(watcher.received) and watcher.received[-1].payload_type != 97)
                before = received(watcher, engine, "video")
                await asyncio.gather(frames(sound, 30), frames(track(other, "video"), 30))
                assert received(watcher, engine, "video") == before
                video = next(p for p in engine._feeds[1].producers if p.kind == "video")
                assert await engine.resume(11, VIDEO) == ()
                consumer = next(c for c in engine._subscriptions[11].subscriber.consumers if c.producer is video)
                sent = consumer.packets
                await until(lambda: consumer.packets > sent)
                await until(lambda: len(received(watcher, engine, "video")) > len(before) + 20)
                after = received(watcher, engine, "video")
                assert after == [(after[0] + step) & 0xFFFF for step in range(len(after))]
                # What it shows first is a keyframe: the P bit of the VP8 header is 0.
                first = next(p for p in watcher.received if p.sequence_number == after[len(before)])
                assert first.payload[first.payload.index(b"\x9d\x01\x2a") - 3] & 1 == 0
                await frames(picture, 5)


async def test_several_pauses_of_both_kinds() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, CountingTrack(15), AudioStreamTrack()):
            async with viewer(engine, 11, 1) as watcher:
                # Before the viewer is connected, too.
                assert await engine.pause(11, VIDEO | AUDIO) == ("audio", "video")
                assert await engine.pause(11, frozenset()) == ("audio", "video")
                await until(lambda: len(engine._subscriptions[11].subscriber.consumers) == 2)
                assert engine._subscriptions[11].subscriber.consumers[0].packets == 0
                assert await engine.resume(11, AUDIO) == ("video",)
                await frames(track(watcher, "audio"), 5)
                assert received(watcher, engine, "video") == []
                for _ in range(3):
                    assert await engine.resume(11, VIDEO) == ()
                    await frames(track(watcher, "video"), 4)
                    assert await engine.pause(11, VIDEO) == ("video",)
                await engine.resume(11, VIDEO)
                await frames(track(watcher, "video"), 4)
                numbers = received(watcher, engine, "video")
                assert numbers == [(numbers[0] + step) & 0xFFFF for step in range(len(numbers))]
        with pytest.raises(SubscriptionNotFoundError, match="no subscription 99"):
            await engine.pause(99, VIDEO)
        with pytest.raises(SubscriptionNotFoundError, match="no subscription 99"):
            await engine.resume(99, VIDEO)


async def wanted(events: Events, *ids: str) -> None:
    event = await events.expect(TracksWanted)
    assert (event.feed, event.tracks) == (1, ids)


async def test_the_publisher_is_told_which_tracks_are_wanted() -> None:
    async with running_engine(unwanted_hold=HOLD) as (engine, events):
        async with publisher(engine, events, 1, CountingTrack(), AudioStreamTrack()) as device:
            video, audio = (producer.id for producer in engine._feeds[1].producers)
            loop = asyncio.get_running_loop()
            assert not events.waiting(TracksWanted)
            async with viewer(engine, 11, 1) as watcher:
                await wanted(events, video, audio)
                await asyncio.gather(*(frames(each, 3) for each in watcher.tracks))
                began = loop.time()
                await engine.pause(11, VIDEO)
                await wanted(events, audio)
                assert loop.time() - began >= HOLD
                # The device may stop sending it now; the feed lives on.
                began = loop.time()
                await engine.resume(11, VIDEO)
                await wanted(events, video, audio)
                assert loop.time() - began < HOLD
                # A pause that is shorter than the hold is no news.
                await engine.pause(11, VIDEO)
                await engine.resume(11, VIDEO)
                await frames(track(watcher, "video"), 3)
                assert not events.waiting(TracksWanted)
            await wanted(events)
            # A Python consumer counts as much as a viewer.
            frame_reader = engine.relay.subscribe(engine._feeds[1].producers[0])
            await wanted(events, video)
            frame_reader.stop()
            await wanted(events)
            # What is added is wanted until viewers have had the time to answer.
            device.pc.addTrack(CountingTrack())
            publication = await republish(engine, 1, device)
            await wanted(events, publication.tracks[2].id)
            await wanted(events)
            assert not events.waiting(FeedEnded)


async def test_silence_of_unwanted_tracks_does_not_end_a_feed() -> None:
    async with running_engine(unwanted_hold=HOLD, consent_timeout=6) as (engine, events):
        async with publisher(engine, events, 1, CountingTrack()) as device:
            async with viewer(engine, 11, 1) as watcher:
                await frames(watcher.tracks[0], 3)
            await events.expect(TracksWanted)
            await wanted(events)
            sender = device.pc.getSenders()[0]
            sender.replaceTrack(None)
            peer = engine._feeds[1].newest.peer
            heard = peer._last_seen
            # Connectivity checks keep it: stock aioice sends one every five seconds or so.
            await until(lambda: peer._last_seen > heard + 5)
            sender.replaceTrack(CountingTrack(15))
            async with viewer(engine, 12, 1) as watcher:
                await frames(watcher.tracks[0], 3)
            assert not events.waiting(FeedEnded)
