"""Sums that never go back: what ends has been counted, once, and goes on counting. Stock clients."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sfu import EngineTotals, FeedEnded, FirstFrameSent, SubscriptionOffer, SubscriptionStarted
from tests.helpers.peers import CountingTrack, answer, frames, publisher, republish, running_engine, viewer

if TYPE_CHECKING:
    from sfu import Engine

MONOTONE = set(EngineTotals.by_kind()) - {"packets_lost", "packets_lost_by_viewers"}


def sums(engine: Engine) -> dict[Any, int]:
    """Return every sum that may not go back, by its name and labels."""
    totals = asdict(engine.census.totals())
    drops: dict[Any, int] = totals.pop("drops")
    by_kind: dict[Any, int] = {(name, kind): value for name in MONOTONE for kind, value in totals[name].items()}
    return by_kind | drops


def assert_kept(before: dict[Any, int], after: dict[Any, int]) -> None:
    assert {name: (value, after.get(name)) for name, value in before.items() if after.get(name, 0) < value} == {}


async def test_what_ends_stays_counted_and_is_counted_once() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, CountingTrack()) as device:
            async with viewer(engine, 11, 1) as first, viewer(engine, 12, 1) as second:
                await asyncio.gather(frames(first.tracks[0], 10), frames(second.tracks[0], 10))
                living = sums(engine)
                assert living["packets_received", "video"] >= 10
                consumers = [one.consumers[0] for one in engine.statistics().subscriptions]
                assert living["packets_sent", "video"] == sum(consumer.packets for consumer in consumers)
                assert living["octets_sent", "video"] == sum(consumer.octets for consumer in consumers)
                await engine.unsubscribe(12)
                one_left = sums(engine)
                assert_kept(living, one_left)
                sent = engine.statistics().subscriptions[0].consumers[0].packets
                assert one_left["packets_sent", "video"] - sent == consumers[1].packets
            # A track that is taken away, with the viewers' connections gone too.
            device.pc.getTransceivers()[0].direction = "inactive"
            before = sums(engine)
            await republish(engine, 1, device)
            assert_kept(before, sums(engine))
            await engine.unpublish(1)
            ended = sums(engine)
            assert_kept(before, ended)
        await engine.stop()
        stopped = sums(engine)
        assert_kept(ended, stopped)
        assert [stopped[name, "video"] for name in sorted(MONOTONE)] == [
            ended[name, "video"] for name in sorted(MONOTONE)
        ]


async def test_a_first_picture_is_told_once_for_each_viewer() -> None:
    async with running_engine() as (engine, events):
        async with publisher(engine, events, 1, CountingTrack()) as device, viewer(engine, 11, 1) as watcher:
            await frames(watcher.tracks[0], 3)
            assert events.waiting(FirstFrameSent) == [FirstFrameSent(11, 1)]
            assert events.waiting(SubscriptionStarted) == [SubscriptionStarted(11, 1)]
            device.pc.addTrack(CountingTrack(3, keyframe_only=True))
            await republish(engine, 1, device)
            await answer(engine, 11, watcher, (await events.expect(SubscriptionOffer)).offer)
            await frames(watcher.tracks[1], 3)
            assert events.waiting(FirstFrameSent) == [FirstFrameSent(11, 1)]
            assert not events.waiting(FeedEnded)
