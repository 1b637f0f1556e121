"""Tally: what tracks and connections have counted, kept when they are gone, so that sums over all never go back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .statistics import EngineTotals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .consumer import Consumer
    from .feed import Feed, Subscription, Uplink
    from .peer import PeerConnection
    from .producer import Producer


class Tally:
    """Sums by kind of media, and drops by where and why. Adding costs some 2 us a track: it builds no values."""

    def __init__(self, before: Tally | None = None) -> None:
        """Begin with nothing, or with all that is in another tally."""
        self.media: Counter[tuple[str, str]] = Counter() if before is None else Counter(before.media)
        """By name of a field of `EngineTotals` and kind."""
        self.drops: Counter[tuple[str, str]] = Counter() if before is None else Counter(before.drops)

    def add_producer(self, producer: Producer) -> None:
        """Count an inbound track in."""
        kind, sums = producer.kind, self.media
        sums["packets_received", kind] += producer.packets
        sums["octets_received", kind] += producer.octets
        sums["packets_lost", kind] += max(0, producer.packets_lost)
        sums["packets_recovered", kind] += producer.recovered
        sums["packets_given_up", kind] += producer.given_up
        sums["packets_nacked", kind] += producer.nacked
        sums["keyframes_requested", kind] += producer.keyframe_requests
        sums["keyframes_received", kind] += producer.keyframe_count
        self.add_drops("producer", producer.drops)

    def add_feed(self, feed: Feed) -> None:
        """Count in what a living feed has now; what ended before has been counted in then."""
        for producer in {*feed.producers, *(source.producer for source in feed.coming_sources)}:
            self.add_producer(producer)
        for uplink in (feed.uplink, feed.coming):
            if uplink is not None and not uplink.is_counted:
                self.add_uplink(uplink)

    def add_uplink(self, uplink: Uplink) -> None:
        """Count in what a publisher's connection dropped."""
        self.add_peer(uplink.peer)
        self.add_drops("publisher", uplink.publisher.drops)

    def add_subscription(self, subscription: Subscription) -> None:
        """Count a living subscription in."""
        for consumer in subscription.subscriber.consumers:
            self.add_consumer(consumer)
        self.add_viewer(subscription)

    def add_viewer(self, subscription: Subscription) -> None:
        """Count in what a viewer's connection dropped, without its tracks."""
        self.add_peer(subscription.peer)
        self.add_drops("subscriber", subscription.subscriber.drops)

    def add_consumer(self, consumer: Consumer) -> None:
        """Count an outbound track in."""
        kind, sums = consumer.producer.kind, self.media
        sums["packets_sent", kind] += consumer.packets
        sums["octets_sent", kind] += consumer.octets
        sums["packets_retransmitted", kind] += consumer.retransmitted + consumer.second_copies
        sums["packets_lost_by_viewers", kind] += max(0, consumer.estimate.packets_lost)
        sums["keyframes_wanted_by_viewers", kind] += consumer.keyframe_requests
        sums["instant_starts", kind] += consumer.instant_start
        self.add_drops("consumer", consumer.drops)

    def add_peer(self, peer: PeerConnection) -> None:
        """Count in what a connection dropped."""
        self.add_drops("peer", peer.drops)
        self.add_drops("peer", peer.transport.drops)

    def add_drops(self, where: str, drops: Mapping[str, int]) -> None:
        """Count drops in by their reasons."""
        for reason, count in drops.items():
            self.drops[where, reason] += count

    def totals(self) -> EngineTotals:
        """Return the sums as plain values."""
        by_name: dict[str, dict[str, int]] = {name: {} for name in EngineTotals.by_kind()}
        for (name, kind), count in self.media.items():
            by_name[name][kind] = count
        return EngineTotals(drops=dict(self.drops), **by_name)
