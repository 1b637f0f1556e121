"""Status: what the admin API and the `/status` page show of a service, read when it is asked for.

Media must not wait for it: what takes long is done in slices, between which the event loop gets its turn.
"""

from __future__ import annotations

import asyncio
import heapq
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from signaling.effects import Client
from signaling.protocol import Role
from signaling.state import FeedState, SubscriptionState

from . import models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import sfu
    from signaling.service import Service
    from signaling.state import Feed, Participant, Room

    from .metrics import Metrics

SLICE_ITEMS: Final = 16
"""Made between two turns of the event loop: below half a millisecond, at some 25 us each."""

MadeT = TypeVar("MadeT")
ItemT = TypeVar("ItemT")
KeyT = TypeVar("KeyT", int, Client)

_Direction = Literal["received", "sent"]
_SUMS: Mapping[_Direction, Mapping[str, str]] = {
    "received": {
        "packets": "packets_received",
        "payload_bytes": "octets_received",
        "packets_lost": "packets_lost",
        "packets_retransmitted": "packets_recovered",
        "keyframe_requests": "keyframes_requested",
    },
    "sent": {
        "packets": "packets_sent",
        "payload_bytes": "octets_sent",
        "packets_lost": "packets_lost_by_viewers",
        "packets_retransmitted": "packets_retransmitted",
        "keyframe_requests": "keyframes_wanted_by_viewers",
    },
}
"""By direction: field of `admin_models.MediaSums` to field of `sfu.EngineTotals`."""
_FEED_STATES: Mapping[FeedState, models.FeedState] = {
    FeedState.ANSWERING: "answering",
    FeedState.ANSWERED: "answered",
    FeedState.FLOWING: "flowing",
}
_SUBSCRIPTION_STATES: Mapping[SubscriptionState, models.SubscriptionState] = {
    SubscriptionState.OPENING: "opening",
    SubscriptionState.OFFERED: "offered",
    SubscriptionState.ACCEPTING: "accepting",
    SubscriptionState.ACCEPTED: "accepted",
}


class Status:
    """Look at one service. Whoever is not found is None."""

    def __init__(self, service: Service, metrics: Metrics, version: str) -> None:
        self._service = service
        self._state = service.rooms.state
        self._census = service.engine.census
        self._metrics = metrics
        self._version = version

    @property
    def is_ready(self) -> bool:
        """Whether the server takes new rooms."""
        return not self._service.draining

    def server(self) -> models.Server:
        """Return the server as a whole."""
        state, totals, now = self._state, self._census.totals(), time.time()
        return models.Server(
            version=self._version,
            now=now,
            uptime_seconds=max(0.0, now - self._metrics.started),
            ready=self.is_ready,
            rooms=len(state.rooms),
            webs=len(state.webs),
            devices=len(state.devices),
            absent=self._service.registry.absent,
            feeds=len(state.feeds),
            subscriptions=len(state.subscriptions),
            viewers=len({each.client for each in state.subscriptions.values()}),
            received=_sums(totals, "received"),
            sent=_sums(totals, "sent"),
            drops={f"{where}.{reason}": count for (where, reason), count in sorted(totals.drops.items())},
            cpu_seconds=time.process_time(),
            memory_bytes=resident_bytes(),
            loop_lag_seconds=self._metrics.lag.take_worst(),
        )

    # --- pages: at most `limit` of what comes after `after` ------------------------------------------------------

    async def rooms(self, after: int | None, limit: int) -> models.Rooms:
        """Return a page of rooms."""
        numbers, more = _page(self._state.rooms, after, limit)
        found = await _in_slices(numbers, self.room)
        return models.Rooms(rooms=found, next=more)

    async def feeds(self, after: int | None, limit: int) -> models.Feeds:
        """Return a page of feeds."""
        numbers, more = _page(self._state.feeds, after, limit)
        return models.Feeds(feeds=await _in_slices(numbers, self.feed), next=more)

    async def subscriptions(self, feed: int, after: int | None, limit: int) -> models.Subscriptions | None:
        """Return a page of the subscriptions to a feed."""
        found = self._state.feeds.get(feed)
        if found is None:
            return None
        numbers, more = _page(found.subscriptions, after, limit)
        return models.Subscriptions(subscriptions=await _in_slices(numbers, self._subscription), next=more)

    async def participants(self, after: Client | None, limit: int) -> models.Participants:
        """Return a page of clients."""
        clients, more = _page(self._state.participants, after, limit)
        found = await _in_slices(clients, self.participant)
        return models.Participants(participants=found, next=None if more is None else f"{more.role}/{more.id}")

    # --- one by one ----------------------------------------------------------------------------------------------

    def room(self, number: int) -> models.RoomWithMembers | None:
        """Return a room with its members."""
        room = self._state.rooms.get(number)
        if room is None:
            return None
        feeds = self._feeds_of(room)
        watched = [
            each for feed in feeds for each in feed.subscriptions if self._state.subscriptions[each].room == number
        ]
        sent = [self._census.sent(each) for each in watched]
        return models.RoomWithMembers(
            room_id=room.id,
            creator=room.creator.id,
            age_seconds=_age(room.since),
            webs=len(room.webs()),
            devices=sum(client.role is Role.DEVICE for client in room.members),
            feeds=tuple(feed.id for feed in feeds),
            subscriptions=len(watched),
            sent_packets=sum(packets for packets, _ in sent),
            sent_payload_bytes=sum(octets for _, octets in sent),
            participants=tuple(models.Member(role=client.role, client_id=client.id) for client in room.members),
        )

    def _feeds_of(self, room: Room) -> list[Feed]:
        numbers = [self._state.participants[client].feed for client in room.members]
        return [self._state.feeds[number] for number in numbers if number is not None]

    def feed(self, number: int) -> models.Feed | None:
        """Return a feed with its statistics."""
        feed = self._state.feeds.get(number)
        if feed is None:
            return None
        found = self._census.feed(number)
        return models.Feed(
            feed=feed.id,
            client_id=feed.publisher.id,
            role=feed.publisher.role,
            state=_FEED_STATES[feed.state],
            age_seconds=_age(feed.since),
            rooms=tuple(self._state.participants[feed.publisher].rooms),
            viewers=len(feed.subscriptions),
            peer=None if found is None else _peer(found.peer, found.drops),
            tracks=() if found is None else tuple(_inbound(track) for track in found.producers),
        )

    def participant(self, client: Client) -> models.Participant | None:
        """Return a client."""
        participant, record = self._state.participants.get(client), self._service.registry.record(client)
        if participant is None or record is None:
            return None
        return models.Participant(
            role=client.role,
            client_id=client.id,
            session=record.id,
            online=record.session is not None,
            age_seconds=_age(participant.since),
            rooms=tuple(participant.rooms),
            feed=participant.feed,
            watches=self._watched_by(participant),
        )

    def _watched_by(self, participant: Participant) -> tuple[int, ...]:
        return tuple(self._state.subscriptions[number].feed for number in participant.subscriptions)

    def _subscription(self, number: int) -> models.Subscription | None:
        subscription = self._state.subscriptions.get(number)
        if subscription is None:
            return None
        found = self._census.subscription(number)
        return models.Subscription(
            subscription=subscription.id,
            feed=subscription.feed,
            room_id=subscription.room,
            client_id=subscription.client.id,
            state=_SUBSCRIPTION_STATES[subscription.state],
            age_seconds=_age(subscription.since),
            peer=None if found is None else _peer(found.peer, found.drops),
            tracks=() if found is None else tuple(_outbound(track) for track in found.consumers),
        )


def resident_bytes() -> int:
    """Return how much memory this process has in use; where the system does not tell, the most that it ever had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


async def _in_slices(items: Sequence[ItemT], make: Callable[[ItemT], MadeT | None]) -> tuple[MadeT, ...]:
    """Return what is made of each; what has gone meanwhile is left out."""
    made: list[MadeT] = []
    for start in range(0, len(items), SLICE_ITEMS):
        if start:
            await asyncio.sleep(0)
        made += [one for item in items[start : start + SLICE_ITEMS] if (one := make(item)) is not None]
    return tuple(made)


def _page(keys: Iterable[KeyT], after: KeyT | None, limit: int) -> tuple[list[KeyT], KeyT | None]:
    """Return the `limit` smallest keys above `after`, and the last of them where there are more."""
    found = heapq.nsmallest(limit + 1, (key for key in keys if after is None or key > after))
    return found[:limit], found[limit - 1] if len(found) > limit else None


def _age(since: float) -> float:
    return max(0.0, asyncio.get_running_loop().time() - since)


def _sums(totals: sfu.EngineTotals, direction: _Direction) -> models.MediaSums:
    return models.MediaSums(
        **{name: max(0, sum(getattr(totals, field).values())) for name, field in _SUMS[direction].items()}
    )


def _peer(peer: sfu.PeerStatistics, drops: Mapping[str, int]) -> models.Peer:
    return models.Peer(
        state=peer.state,
        protocol=peer.protocol,
        remote_address=peer.remote_address,
        srtp_profile=peer.srtp_profile,
        drops={**peer.drops, **drops},
    )


def _inbound(track: sfu.ProducerStatistics) -> models.InboundTrack:
    return models.InboundTrack(
        id=track.track.id,
        kind=track.track.kind,
        codec=track.track.codec,
        label=track.track.label,
        subscribers=track.subscribers,
        packets=track.packets,
        payload_bytes=track.octets,
        packets_lost=track.packets_lost,
        packets_recovered=track.recovered,
        packets_nacked=track.nacked,
        keyframes=track.keyframes,
        keyframe_requests=track.keyframe_requests,
        jitter_seconds=track.jitter,
        round_trip_seconds=track.round_trip,
        width=track.width,
        height=track.height,
        drops=track.drops,
    )


def _outbound(track: sfu.ConsumerStatistics) -> models.OutboundTrack:
    return models.OutboundTrack(
        id=track.track.id,
        kind=track.track.kind,
        codec=track.track.codec,
        label=track.track.label,
        packets=track.packets,
        payload_bytes=track.octets,
        packets_retransmitted=track.retransmitted + track.second_copies,
        packets_lost=track.packets_lost,
        fraction_lost=track.fraction_lost,
        keyframe_requests=track.keyframe_requests,
        jitter_seconds=track.jitter,
        round_trip_seconds=track.round_trip,
        bitrate_estimate=track.bitrate_estimate,
        instant_start=track.instant_start,
        drops=track.drops,
    )
