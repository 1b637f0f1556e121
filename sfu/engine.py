"""Engine: the door to the media side."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from .census import Census
from .feed import Feed, Subscription, Uplink, infos
from .negotiation import build_answer, build_offer, parse_answer, parse_offer
from .parameters import Candidate
from .peer import PeerConnection
from .publisher import Publisher
from .relay import MediaRelay
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
    FirstFrameSent,
    Publication,
    SdpError,
    SubscriptionEnded,
    SubscriptionNotFoundError,
    SubscriptionOffer,
    SubscriptionStarted,
    TracksWanted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .parameters import PublisherOffer
    from .publisher import Source
    from .statistics import EngineStatistics
    from .values import EngineEvent, EngineSettings, Kind

logger = logging.getLogger("aiosfu.engine")


class Engine:
    """Terminate WebRTC for publishers and subscribers and forward media from the ones to the others.

    All methods are to be called on the event loop's thread. They are coroutines because an engine may one day live
    elsewhere. News come as `EngineEvent` values to `listener`, called synchronously on the same thread; the listener
    may schedule work but must not raise.
    """

    def __init__(self, settings: EngineSettings, listener: Callable[[EngineEvent], None]) -> None:
        self._settings = settings
        self._port = MediaPort()
        self._shield = self._port.faults.shield
        self._listener = self._shield("listener_failed", listener)
        self._certificate = Certificate()
        self.relay = MediaRelay(self._port.request_flush, self._port.fanout, self._port.faults)
        self._port.before_flush = self.relay.flush
        self._feeds: dict[int, Feed] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self.census = Census(self._feeds, self._subscriptions, self.relay, self._port)
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
        parsed = self._parse_offer(offer)
        self._check_room()
        opened = Feed(feed, self.relay, parsed.stream_id, self._settings.unwanted_hold)
        sources = opened.plan(parsed, same_connection=False)
        opened.uplink = self._uplink(opened, parsed, sources)
        opened.take(sources)
        opened.demand_changed = lambda: self._update_demand(opened)
        self._feeds[feed] = opened
        return self._answer(opened.uplink, parsed, sources)

    async def republish(self, feed: int, offer: str) -> Publication:
        """Answer a further SDP `offer` of the publisher of `feed`, which lives on with its subscriptions.

        The offer may add and remove tracks of its connection or restart ICE. Or it may come from a wholly new one:
        media then changes over once that is connected, the old one is closed, and if it never connects the feed ends.
        Tracks go on for their subscribers by track id or, on a new connection, where there are as many of a kind as
        before, by their order: a phone makes new ids for the same camera, and its viewers need no new offer then, for
        they keep the ids that they were told. Where the set of tracks changes subscribers get a `SubscriptionOffer`.

        Raises `FeedNotFoundError`, `SdpError`, `NoCommonCodecError`; the feed then goes on as it was.
        """
        opened = self._feeds.get(feed)
        if opened is None:
            raise FeedNotFoundError(f"there is no feed {feed}")
        parsed = self._parse_offer(offer, further=True)
        if opened.newest.is_meant_by(parsed):
            return self._republish_same(opened, parsed)
        sources = opened.plan(parsed, same_connection=False)
        self._close_uplink(opened.drop_coming())
        if self._peer_count() >= self._settings.max_peers:
            self._close_uplink(opened.uplink)
        coming = self._uplink(opened, parsed, sources)
        opened.expect(coming, sources)
        return self._answer(coming, parsed, sources)

    def _republish_same(self, feed: Feed, offer: PublisherOffer) -> Publication:
        """Go on over the same connection with other tracks, other ICE credentials, or both."""
        uplink = feed.newest
        sources = feed.plan(offer, same_connection=True)
        if uplink.peer.remote is None or uplink.peer.remote.ufrag != offer.transport.ufrag:
            uplink.peer.restart_ice(offer.transport)
        uplink.note(offer, time.monotonic())
        uplink.publisher.take(sources)
        if uplink is feed.coming:
            feed.coming_sources = sources
        elif feed.take(sources):
            self._tracks_changed(feed)
        return self._answer(uplink, offer, sources)

    def _uplink(self, feed: Feed, offer: PublisherOffer, sources: Sequence[Source]) -> Uplink:
        """Make a connection for a publisher."""
        peer = self._publisher_peer(feed, lambda: uplink)
        publisher = Publisher(sources, peer.send_rtcp, lambda: self._feed_flows(feed))
        peer.media = publisher
        uplink = Uplink(peer, publisher, offer.session_id, offer.open_mids[0])
        return uplink

    def _answer(self, uplink: Uplink, offer: PublisherOffer, sources: Sequence[Source]) -> Publication:
        """Answer for a connection, and begin with it where that has not been done."""
        peer = uplink.peer
        remote = peer.remote
        if remote is not None:
            # The DTLS roles of a connection stay as they were agreed at first (RFC 8842 section 5.5).
            offer = replace(offer, transport=replace(offer.transport, role=remote.role))
        answer = build_answer(offer, peer.local_transport(self._candidates()))
        if remote is None:
            peer.connect(offer.transport)
        return Publication(answer=answer, tracks=infos(sources))

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
        producers = source.select(tracks)
        self._check_room()
        peer = self._subscriber_peer(subscription)
        subscriber = Subscriber(producers, self.relay, f"feed-{feed}", peer.send_rtcp, self._settings.max_sdp_sections)
        peer.media = subscriber
        chosen = None if tracks is None else frozenset(tracks)
        opened = Subscription(subscription, source, peer, subscriber, chosen)
        subscriber.first_frame = lambda: self._first_frame(opened)
        self._subscriptions[subscription] = opened
        source.subscriptions[subscription] = opened
        return self._offer(opened)

    async def accept(self, subscription: int, answer: str) -> None:
        """Take the subscriber's SDP `answer` to its newest offer; media follows once it is connected.

        The answer to a further offer may come from a new connection of the subscriber, as simple clients make one for
        each offer: media then goes on over that.

        Raises `SubscriptionNotFoundError`, `SdpError`, `NoCommonCodecError`, `EngineStateError` (answered already).
        After `SdpError` the subscription is still open and may be answered again.
        """
        opened = self._subscription(subscription)
        if not opened.subscriber.awaits_answer:
            raise EngineStateError(f"subscription {subscription} has been answered already")
        self._check_size(answer)
        parsed = parse_answer(answer, opened.subscriber.offered)
        remote = opened.peer.remote
        if remote is not None and not remote.is_of_same_connection(parsed.transport):
            self._replace_peer(opened)
        opened.subscriber.accept(parsed, time.monotonic())
        if opened.peer.remote is None:
            opened.peer.connect(parsed.transport)
        else:
            opened.peer.wake()
        # Not before whoever awaits this call knows that it went well.
        asyncio.get_running_loop().call_soon(self._shield("offer_failed", self._offer_changes), opened)

    async def pause(self, subscription: int, kinds: frozenset[Kind]) -> tuple[Kind, ...]:
        """Send a subscriber nothing more of these kinds, without renegotiation; return those that are paused now.

        Raises `SubscriptionNotFoundError`.
        """
        return self._subscription(subscription).subscriber.pause(kinds)

    async def resume(self, subscription: int, kinds: frozenset[Kind]) -> tuple[Kind, ...]:
        """Send a subscriber these kinds again, video from a keyframe on; return those that are still paused.

        Raises `SubscriptionNotFoundError`.
        """
        return self._subscription(subscription).subscriber.resume(kinds, time.monotonic())

    async def unsubscribe(self, subscription: int) -> None:
        """End a subscription. Unknown ones are ignored."""
        opened = self._subscriptions.get(subscription)
        if opened is not None:
            self._end_subscription(opened)

    def statistics(self) -> EngineStatistics:
        """Return a snapshot of everything; `census` has parts of it, and sums."""
        return self.census.everything()

    def _new_peer(
        self,
        name: str,
        connected: Callable[[], None],
        closed: Callable[[str], None],
        before: PeerConnection | None = None,
    ) -> PeerConnection:
        return PeerConnection(
            name, self._port, self._certificate, self._settings, connected, closed, self._await_end, before
        )

    def _publisher_peer(
        self, feed: Feed, uplink: Callable[[], Uplink], before: PeerConnection | None = None
    ) -> PeerConnection:
        return self._new_peer(
            f"feed {feed.id}",
            lambda: self._publisher_connected(feed, uplink()),
            lambda reason: self._uplink_lost(feed, uplink(), reason),
            before,
        )

    def _subscriber_peer(self, subscription: int, before: PeerConnection | None = None) -> PeerConnection:
        return self._new_peer(
            f"subscription {subscription}",
            lambda: self._subscriber_connected(subscription),
            lambda reason: self._subscription_lost(subscription, reason),
            before,
        )

    def _replace_peer(self, opened: Subscription) -> None:
        """Go over to another connection of the same viewer, which answers to what the one before was offered."""
        before = opened.peer
        before.media = None
        opened.peer = self._subscriber_peer(opened.id, before)
        opened.subscriber.move(opened.peer.send_rtcp)
        opened.peer.media = opened.subscriber
        self._await_end(before.close())
        self.relay.tally.add_peer(before)

    def _subscription(self, subscription: int) -> Subscription:
        opened = self._subscriptions.get(subscription)
        if opened is None:
            raise SubscriptionNotFoundError(f"there is no subscription {subscription}")
        return opened

    def _peer_count(self) -> int:
        coming = sum(feed.coming is not None for feed in self._feeds.values())
        return len(self._feeds) + coming + len(self._subscriptions)

    def _check_room(self) -> None:
        if self._peer_count() >= self._settings.max_peers:
            raise EngineFullError(f"the server has reached its limit of {self._settings.max_peers} connections")

    def _parse_offer(self, text: str, *, further: bool = False) -> PublisherOffer:
        self._check_size(text)
        limits = self._settings
        return parse_offer(text, max_tracks=limits.max_tracks, max_sections=limits.max_sdp_sections, further=further)

    def _check_size(self, text: str) -> None:
        size = len(text) if text.isascii() else len(text.encode(errors="replace"))
        if size > self._settings.max_sdp_bytes:
            raise SdpError(f"the SDP has {size} bytes, at most {self._settings.max_sdp_bytes} are read")

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

    def _publisher_connected(self, feed: Feed, uplink: Uplink) -> None:
        now = time.monotonic()
        if uplink is feed.coming:
            before, changed = feed.promote()
            self._close_uplink(before)
            if changed:
                self._tracks_changed(feed)
            self._update_demand(feed)
        uplink.publisher.connected(now)
        for producer in feed.received():
            producer.request_keyframe(now)
        logger.info("feed_connected", extra={"fields": {"feed": feed.id, "srtp": uplink.peer.transport.srtp_profile}})

    def _feed_flows(self, feed: Feed) -> None:
        if not feed.started:
            feed.started = True
            self._listener(FeedStarted(feed.id, feed.infos))

    def _uplink_lost(self, feed: Feed, uplink: Uplink, reason: str) -> None:
        """End the feed with its newest connection; the loss of an older one is what the newer was made for."""
        fields = {"feed": feed.id, "reason": reason}
        if uplink is not feed.newest:
            logger.info("feed_connection_lost", extra={"fields": fields})
        elif reason == "closed_by_peer" and time.monotonic() < uplink.may_begin_anew_until:
            self._begin_anew(feed, uplink)
        elif reason != "closed_by_peer" or not feed.await_word(uplink, self._shield("end_failed", self._uplink_lost)):
            self._end_feed(feed)
            logger.info("feed_lost", extra={"fields": fields})
            self._listener(FeedEnded(feed.id, reason))

    def _begin_anew(self, feed: Feed, uplink: Uplink) -> None:
        """Expect another handshake to what the publisher was last answered."""
        uplink.may_begin_anew_until = 0.0
        before = uplink.peer
        assert before.remote is not None  # noqa: S101  it has been connected
        self.relay.tally.add_peer(before)
        peer = self._publisher_peer(feed, lambda: uplink, before)
        peer.media = uplink.publisher
        uplink.publisher.move(peer.send_rtcp)
        uplink.peer = peer
        peer.connect(before.remote)

    def _close_uplink(self, uplink: Uplink | None) -> None:
        if uplink is None:
            return
        self._await_end(uplink.peer.close())
        if not uplink.is_counted:
            uplink.is_counted = True
            self.relay.tally.add_uplink(uplink)

    def _tracks_changed(self, feed: Feed) -> None:
        """Have every subscription follow the feed's new set of tracks."""
        for opened in list(feed.subscriptions.values()):
            opened.subscriber.follow(feed.followed(opened.tracks))
            self._offer_changes(opened)
        self._update_demand(feed)

    def _offer(self, opened: Subscription) -> str:
        local = opened.peer.local_transport(self._candidates())
        return build_offer(opened.subscriber.offered, opened.feed.stream_id, local, opened.subscriber.tag)

    def _offer_changes(self, opened: Subscription) -> None:
        if self._subscriptions.get(opened.id) is opened and opened.subscriber.next_offer():
            self._listener(SubscriptionOffer(opened.id, opened.feed.id, self._offer(opened)))

    def _update_demand(self, feed: Feed) -> None:
        """Tell the publisher which tracks are received if that changed, and look again when a hold ends."""
        if feed.demand_timer is not None:
            feed.demand_timer.cancel()
            feed.demand_timer = None
        if feed.demand_changed is None or feed.coming is not None:
            return  # it has ended, or changes over soon, and the tracks get other names
        now = time.monotonic()
        wanted = feed.demand.update(feed.producers, feed.received(), now)
        deadline = feed.demand.next_deadline()
        if deadline is not None:
            update = self._shield("demand_failed", self._update_demand)
            feed.demand_timer = asyncio.get_running_loop().call_later(max(deadline - now, 0), update, feed)
        if wanted is not None:
            self._listener(TracksWanted(feed.id, feed.own_ids(wanted)))

    def _subscriber_connected(self, subscription: int) -> None:
        opened = self._subscriptions[subscription]
        transport = opened.peer.transport
        opened.subscriber.connected(time.monotonic(), opened.peer)
        fields = {"subscription": subscription, "feed": opened.feed.id, "srtp": transport.srtp_profile}
        logger.info("subscription_connected", extra={"fields": fields})
        if not opened.started:
            opened.started = True
            self._listener(SubscriptionStarted(subscription, opened.feed.id))

    def _first_frame(self, opened: Subscription) -> None:
        if not opened.has_begun:
            opened.has_begun = True
            self._listener(FirstFrameSent(opened.id, opened.feed.id))

    def _subscription_lost(self, subscription: int, reason: str) -> None:
        opened = self._subscriptions[subscription]
        self._end_subscription(opened)
        fields = {"subscription": subscription, "feed": opened.feed.id, "reason": reason}
        logger.info("subscription_lost", extra={"fields": fields})
        self._listener(SubscriptionEnded(subscription, opened.feed.id, reason))

    def _end_feed(self, feed: Feed) -> None:
        """Unlink a feed and what hangs on it, then say goodbye: closing runs downward and awaits nothing."""
        del self._feeds[feed.id]
        feed.demand_changed = None
        self._update_demand(feed)
        for subscription in list(feed.subscriptions.values()):
            self._end_subscription(subscription)
        self._close_uplink(feed.drop_coming())
        self._close_uplink(feed.uplink)
        feed.end()

    def _end_subscription(self, subscription: Subscription) -> None:
        del self._subscriptions[subscription.id]
        del subscription.feed.subscriptions[subscription.id]
        self._await_end(subscription.peer.close())
        self.relay.tally.add_viewer(subscription)
