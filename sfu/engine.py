"""Engine: the door to the media side."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .negotiation import build_answer, build_offer, parse_answer, parse_offer
from .parameters import Candidate
from .peer import PeerConnection
from .publisher import Publisher
from .relay import MediaRelay
from .statistics import EngineStatistics, FeedStatistics, SubscriptionStatistics
from .subscriber import Subscriber
from .transport.dtls import Certificate
from .transport.port import MediaPort, PortError
from .values import (
    EngineFullError,
    EngineStartError,
    EngineStateError,
    FeedEnded,
    FeedNotFoundError,
    FeedStarted,
    Publication,
    SdpError,
    SubscriptionEnded,
    SubscriptionNotFoundError,
    SubscriptionStarted,
    TrackNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .producer import Producer
    from .values import EngineEvent, EngineSettings

logger = logging.getLogger("aiosfu.engine")


@dataclass(slots=True, eq=False)
class Feed:
    """What one client publishes: its producers under one id."""

    id: int
    peer: PeerConnection
    publisher: Publisher
    subscriptions: dict[int, Subscription] = field(default_factory=dict)

    @property
    def stream_id(self) -> str:
        """The MediaStream id that subscribers see: the publisher's own where it gave one."""
        return self.publisher.stream_id or f"feed-{self.id}"


@dataclass(slots=True, eq=False)
class Subscription:
    """One viewer's connection to one feed."""

    id: int
    feed: Feed
    peer: PeerConnection
    subscriber: Subscriber


class Engine:
    """Terminate WebRTC for publishers and subscribers and forward media from the ones to the others.

    All methods are to be called on the event loop's thread. They are coroutines because an engine may one day live
    elsewhere. News come as `EngineEvent` values to `listener`, called synchronously on the same thread; the listener
    may schedule work but must not raise.
    """

    def __init__(self, settings: EngineSettings, listener: Callable[[EngineEvent], None]) -> None:
        self._settings = settings
        self._listener = listener
        self._port = MediaPort()
        self._certificate = Certificate()
        self.relay = MediaRelay(self._port.request_flush, self._port.fanout)
        self._port.before_flush = self.relay.flush
        self._feeds: dict[int, Feed] = {}
        self._subscriptions: dict[int, Subscription] = {}
        # Cancelled tasks of closed peers that have not run to their end yet.
        self._ending: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Open the media port; raise `EngineStartError` when it cannot be had."""
        try:
            await self._port.open(self._settings.hosts, self._settings.port, tcp=self._settings.tcp)
        except PortError as exc:
            raise EngineStartError(exc.strerror) from exc
        except ValueError as exc:
            raise EngineStartError(str(exc)) from exc

    async def stop(self) -> None:
        """Close every peer and the port; leave no task behind. Idempotent."""
        for feed in list(self._feeds.values()):
            self._end_feed(feed)
        self._port.close()
        if self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)

    @property
    def port(self) -> int:
        """The UDP port in use."""
        return self._port.number

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that candidates carry."""
        if not self._settings.announce:
            return self._settings.hosts
        loopback = tuple(host for host in self._settings.hosts if ipaddress.ip_address(host).is_loopback)
        return (*self._settings.announce, *loopback)

    async def publish(self, feed: int, offer: str) -> Publication:
        """Answer a publisher's SDP `offer` as the new feed `feed`.

        Raises `SdpError`, `NoCommonCodecError`, `EngineStateError` (the feed exists), `EngineFullError`.
        """
        if feed in self._feeds:
            raise EngineStateError(f"feed {feed} exists already")
        self._check_size(offer)
        parsed = parse_offer(offer, max_tracks=self._settings.max_tracks)
        peer = self._new_peer(
            f"feed {feed}", lambda: self._publisher_connected(feed), lambda reason: self._feed_lost(feed, reason)
        )
        publisher = Publisher(parsed, self.relay, peer.send_rtcp, peer.wake, lambda: self._feed_flows(feed))
        peer.media = publisher
        self._feeds[feed] = Feed(feed, peer, publisher)
        answer = build_answer(parsed, peer.local_transport(_session_id(), self._candidates()))
        peer.connect(parsed.transport)
        return Publication(answer=answer, tracks=tuple(producer.info for producer in publisher.producers))

    async def unpublish(self, feed: int) -> None:
        """End a feed and every subscription to it. Unknown feeds are ignored."""
        found = self._feeds.get(feed)
        if found is not None:
            self._end_feed(found)

    async def subscribe(self, subscription: int, feed: int, tracks: Sequence[str] | None = None) -> str:
        """Open `subscription` to `feed` (or to some of its `tracks`, by track id) and return the SDP offer for it.

        Raises `FeedNotFoundError`, `TrackNotFoundError`, `EngineStateError`, `EngineFullError`.
        """
        if subscription in self._subscriptions:
            raise EngineStateError(f"subscription {subscription} exists already")
        source = self._feeds.get(feed)
        if source is None:
            raise FeedNotFoundError(f"there is no feed {feed}")
        producers = _select(source.publisher.producers, tracks)
        peer = self._new_peer(
            f"subscription {subscription}",
            lambda: self._subscriber_connected(subscription),
            lambda reason: self._subscription_lost(subscription, reason),
        )
        subscriber = Subscriber(producers, self.relay, f"feed-{feed}", peer.send_rtcp)
        peer.media = subscriber
        opened = Subscription(subscription, source, peer, subscriber)
        self._subscriptions[subscription] = opened
        source.subscriptions[subscription] = opened
        local = peer.local_transport(_session_id(), self._candidates())
        return build_offer(subscriber.offered, source.stream_id, local)

    async def accept(self, subscription: int, answer: str) -> None:
        """Take the subscriber's SDP `answer`; media follows once it is connected.

        Raises `SubscriptionNotFoundError`, `SdpError`, `NoCommonCodecError`, `EngineStateError` (answered already).
        After `SdpError` the subscription is still open and may be answered again.
        """
        opened = self._subscriptions.get(subscription)
        if opened is None:
            raise SubscriptionNotFoundError(f"there is no subscription {subscription}")
        if opened.subscriber.answered:
            raise EngineStateError(f"subscription {subscription} has been answered already")
        self._check_size(answer)
        parsed = parse_answer(answer, opened.subscriber.offered)
        opened.subscriber.accept(parsed, time.monotonic())
        opened.peer.connect(parsed.transport)

    async def unsubscribe(self, subscription: int) -> None:
        """End a subscription. Unknown ones are ignored."""
        opened = self._subscriptions.get(subscription)
        if opened is not None:
            self._end_subscription(opened)

    def statistics(self) -> EngineStatistics:
        """Return a snapshot of everything: plain values, some 10 us a peer."""
        return EngineStatistics(
            sockets=self._port.statistics(),
            feeds=tuple(
                FeedStatistics(
                    feed=feed.id,
                    peer=feed.peer.statistics(),
                    producers=tuple(producer.statistics() for producer in feed.publisher.producers),
                    drops=dict(feed.publisher.drops),
                )
                for feed in self._feeds.values()
            ),
            subscriptions=tuple(
                SubscriptionStatistics(
                    subscription=opened.id,
                    feed=opened.feed.id,
                    peer=opened.peer.statistics(),
                    consumers=tuple(consumer.statistics() for consumer in opened.subscriber.consumers),
                    drops=dict(opened.subscriber.drops),
                )
                for opened in self._subscriptions.values()
            ),
            drops=dict(self._port.drops),
        )

    def _new_peer(
        self,
        name: str,
        connected: Callable[[], None],
        closed: Callable[[str], None],
    ) -> PeerConnection:
        if len(self._feeds) + len(self._subscriptions) >= self._settings.max_peers:
            raise EngineFullError(f"the server has reached its limit of {self._settings.max_peers} connections")
        return PeerConnection(name, self._port, self._certificate, self._settings, connected, closed, self._await_end)

    def _check_size(self, text: str) -> None:
        if len(text) > self._settings.max_sdp_bytes:
            raise SdpError(f"the SDP has {len(text)} characters, at most {self._settings.max_sdp_bytes} are read")

    def _candidates(self) -> tuple[Candidate, ...]:
        """Return where peers can reach us, best first: UDP anywhere before TCP anywhere."""
        protocols: tuple[Literal["udp", "tcp"], ...] = ("udp", "tcp") if self._settings.tcp else ("udp",)
        return tuple(
            Candidate(address, self._port.number, protocol) for protocol in protocols for address in self.addresses
        )

    def _await_end(self, tasks: list[asyncio.Future[None]]) -> None:
        for task in tasks:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _publisher_connected(self, feed: int) -> None:
        found = self._feeds[feed]
        found.publisher.connected(time.monotonic())
        logger.info("feed_connected", extra={"fields": {"feed": feed, "srtp": found.peer.transport.srtp_profile}})

    def _feed_flows(self, feed: int) -> None:
        infos = tuple(producer.info for producer in self._feeds[feed].publisher.producers)
        self._listener(FeedStarted(feed, infos))

    def _feed_lost(self, feed: int, reason: str) -> None:
        found = self._feeds[feed]
        self._end_feed(found)
        logger.info("feed_lost", extra={"fields": {"feed": feed, "reason": reason}})
        self._listener(FeedEnded(feed, reason))

    def _subscriber_connected(self, subscription: int) -> None:
        opened = self._subscriptions[subscription]
        transport = opened.peer.transport
        opened.subscriber.connected(time.monotonic(), opened.peer)
        fields = {"subscription": subscription, "feed": opened.feed.id, "srtp": transport.srtp_profile}
        logger.info("subscription_connected", extra={"fields": fields})
        self._listener(SubscriptionStarted(subscription, opened.feed.id))

    def _subscription_lost(self, subscription: int, reason: str) -> None:
        opened = self._subscriptions[subscription]
        self._end_subscription(opened)
        fields = {"subscription": subscription, "feed": opened.feed.id, "reason": reason}
        logger.info("subscription_lost", extra={"fields": fields})
        self._listener(SubscriptionEnded(subscription, opened.feed.id, reason))

    def _end_feed(self, feed: Feed) -> None:
        """Unlink a feed and what hangs on it, then say goodbye: closing runs downward and awaits nothing."""
        del self._feeds[feed.id]
        for subscription in list(feed.subscriptions.values()):
            self._end_subscription(subscription)
        self._await_end(feed.peer.close())

    def _end_subscription(self, subscription: Subscription) -> None:
        del self._subscriptions[subscription.id]
        del subscription.feed.subscriptions[subscription.id]
        self._await_end(subscription.peer.close())


def _session_id() -> int:
    """Return a fresh SDP session id; RFC 8829 section 5.2.1 asks for 63 random bits."""
    return secrets.randbits(63)


def _select(producers: Sequence[Producer], tracks: Sequence[str] | None) -> list[Producer]:
    if tracks is None:
        return list(producers)
    known = {producer.id for producer in producers}
    unknown = [track for track in tracks if track not in known]
    if unknown or not tracks:
        asked = repr(unknown[0]) if unknown else "none at all"
        raise TrackNotFoundError(f"tracks: {asked} was asked for, the feed has {', '.join(sorted(known))}")
    return [producer for producer in producers if producer.id in tracks]
