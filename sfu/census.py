"""Census: snapshots of what an engine has, whole or in part. Plain values; nothing here changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .statistics import EngineStatistics
from .tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .feed import Feed, Subscription
    from .relay import MediaRelay
    from .statistics import EngineTotals, FeedStatistics, SubscriptionStatistics
    from .transport.port import MediaPort
    from .transport.udp import SocketStatistics


class Census:
    """Look at the engine's tables, which stay the engine's."""

    def __init__(
        self, feeds: Mapping[int, Feed], subscriptions: Mapping[int, Subscription], relay: MediaRelay, port: MediaPort
    ) -> None:
        self._feeds = feeds
        self._subscriptions = subscriptions
        self._relay = relay
        self._port = port

    def everything(self) -> EngineStatistics:
        """Return a snapshot of everything: some 10 us a track, too much at once for a server that is busy."""
        return EngineStatistics(
            sockets=self._port.statistics(),
            feeds=tuple(feed.statistics() for feed in self._feeds.values()),
            subscriptions=tuple(opened.statistics() for opened in self._subscriptions.values()),
            drops=dict(self._port.drops),
            faults=self.faults(),
        )

    def faults(self) -> Mapping[str, int]:
        """Return how many bugs of ours were kept from what they did not concern, by what failed."""
        return dict(self._port.faults.counts)

    def sockets(self) -> tuple[SocketStatistics, ...]:
        """Return a snapshot of the media sockets."""
        return self._port.statistics()

    def tcp_connections(self) -> int:
        """Return how many clients' connections for media over TCP are open."""
        return self._port.tcp_connections

    def feed(self, feed: int) -> FeedStatistics | None:
        """Return a snapshot of one feed; None where there is no such."""
        found = self._feeds.get(feed)
        return None if found is None else found.statistics()

    def subscription(self, subscription: int) -> SubscriptionStatistics | None:
        """Return a snapshot of one subscription; None where there is no such."""
        opened = self._subscriptions.get(subscription)
        return None if opened is None else opened.statistics()

    def sent(self, subscription: int) -> tuple[int, int]:
        """Return how many packets and payload bytes a subscription has been sent, by what it has now; some 1 us."""
        opened = self._subscriptions.get(subscription)
        consumers = () if opened is None else opened.subscriber.consumers
        return sum(consumer.packets for consumer in consumers), sum(consumer.octets for consumer in consumers)

    def totals(self) -> EngineTotals:
        """Return sums over everything since the start: some 2 us a track, for who asks every second."""
        tally = Tally(self._relay.tally)
        for feed in self._feeds.values():
            tally.add_feed(feed)
        for opened in self._subscriptions.values():
            tally.add_subscription(opened)
        tally.add_drops("port", self._port.drops)
        return tally.totals()
