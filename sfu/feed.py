"""Feed: what one client publishes, its producers under one id, over one connection after another."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .forwarding.demand import Demand
from .numbering import Numbering, match_tracks, translation
from .producer import Producer
from .publisher import Source
from .statistics import FeedStatistics, SubscriptionStatistics
from .values import TrackNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .parameters import PublisherOffer, TrackParameters
    from .peer import PeerConnection
    from .publisher import Publisher
    from .relay import MediaRelay
    from .subscriber import Subscriber
    from .values import TrackInfo

BEGIN_ANEW_SECONDS: Final = 5.0
"""For an answer to reach the publisher, and for its goodbye to come back."""
GOODBYE_GRACE_SECONDS: Final = 0.5
"""A client that closes its connection says why by signalling, or offers a new one, and the network may swap the two."""
_GENERATED_ID: Final = re.compile(r"\{?[0-9a-f-]{32,36}\}?|(audio|video)-.*", re.IGNORECASE)
"""A UUID, as browsers and aiortc make them, or what negotiation puts where the publisher names nothing."""


@dataclass(slots=True, eq=False)
class Uplink:
    """One of a publisher's connections."""

    peer: PeerConnection
    publisher: Publisher
    session_id: str
    """Of its newest offer's o= line."""
    tag: str
    """The mid of the section that carries the bundle."""
    is_counted: bool = False
    """Whether it is closed and its drops are in the relay's tally."""
    said_goodbye: bool = False
    """Whether the publisher has closed it."""
    may_begin_anew_until: float = 0.0
    """When another section has come to carry the bundle, libwebrtc gives up DTLS and makes it anew, where others just
    go on. Until then a goodbye is taken for that."""

    def is_meant_by(self, offer: PublisherOffer) -> bool:
        """Tell whether the offer is a further one on this connection, and not that of a new one.

        A new connection has a certificate of its own, unless the client keeps one for all; then it has other ICE
        credentials under another session id, where an ICE restart keeps the session (RFC 8829 section 5.2.2).
        """
        remote = self.peer.remote
        if remote is None or set(remote.fingerprints) != set(offer.transport.fingerprints):
            return False
        return remote.ufrag == offer.transport.ufrag or self.session_id == offer.session_id

    def note(self, offer: PublisherOffer, now: float) -> None:
        """Take note of a further offer on this connection."""
        self.session_id = offer.session_id
        if self.tag != offer.open_mids[0]:
            self.tag = offer.open_mids[0]
            self.may_begin_anew_until = now + BEGIN_ANEW_SECONDS


class Feed:
    """Keep what viewers know of a publisher while its connections and tracks come and go."""

    def __init__(self, feed: int, relay: MediaRelay, stream_id: str, unwanted_hold: float) -> None:
        # Set once.
        self.id = feed
        self.stream_id = stream_id or f"feed-{feed}"
        """The MediaStream id that subscribers see: the publisher's own where it gave one at first."""
        self._relay = relay
        self._numbering = Numbering()
        # Changes with what is published.
        self.sources: tuple[Source, ...] = ()
        self.started = False
        """Whether media has come."""
        self.uplink: Uplink | None = None
        """The connection that media comes over; None before the first."""
        self.coming: Uplink | None = None
        """A new connection that takes its place once it is connected."""
        self.coming_sources: tuple[Source, ...] = ()
        self._numbers: Counter[str] = Counter()
        # Who wants which producer. `demand_changed` is set by the engine.
        self.demand: Demand[Producer] = Demand(unwanted_hold)
        self.demand_changed: Callable[[], None] | None = None
        self.demand_timer: asyncio.TimerHandle | None = None
        self.subscriptions: dict[int, Subscription] = {}
        self._goodbye_timer: asyncio.TimerHandle | None = None

    @property
    def newest(self) -> Uplink:
        """The connection that the publisher's newest offer was for."""
        uplink = self.coming or self.uplink
        assert uplink is not None  # noqa: S101  a feed is linked up before anybody knows it
        return uplink

    @property
    def producers(self) -> tuple[Producer, ...]:
        """The producers of the tracks that the feed has now."""
        return tuple(source.producer for source in self.sources)

    @property
    def infos(self) -> tuple[TrackInfo, ...]:
        """The tracks that the feed has now."""
        return infos(self.sources)

    def plan(self, offer: PublisherOffer, *, same_connection: bool) -> tuple[Source, ...]:
        """Return the sources of an offer's tracks: with the producers that go on, and new ones for what is added.

        Raises `SdpError` when the numbers do not suffice. Nothing of the feed changes but for numbers being given.
        """
        # What a connection that never came up would have added is not there yet.
        base = self.coming_sources if self.coming is not None and same_connection else self.sources
        matches = match_tracks([source.parameters for source in base], offer.accepted, same_connection=same_connection)
        added = [track for track, match in zip(offer.accepted, matches, strict=True) if match is None]
        numbered = iter(self._numbering.assign(added))
        sources = []
        for track, match in zip(offer.accepted, matches, strict=True):
            producer = self._producer(next(numbered)) if match is None else base[match].producer
            sources.append(Source(track, producer, translation(track, producer.parameters)))
        return tuple(sources)

    def take(self, sources: Sequence[Source]) -> bool:
        """Have these tracks from now on; those that are not among them end. Return whether the set changed."""
        before = self.producers
        self.sources = tuple(sources)
        now = self.producers
        for producer in before:
            if producer not in now:
                self._end(producer)
        for source in sources:
            source.producer.hear(source.parameters.feedback)
            source.producer.on_demand(self._demand_changed)
        return set(before) != set(now)

    def expect(self, uplink: Uplink, sources: Sequence[Source]) -> None:
        """Have `uplink` and its tracks take the place of the present ones once it is connected."""
        self.coming, self.coming_sources = uplink, tuple(sources)

    def drop_coming(self) -> Uplink | None:
        """Give up the connection that was to come and what only it would have brought; return it."""
        coming, self.coming = self.coming, None
        kept = self.producers
        for source in self.coming_sources:
            if source.producer not in kept:
                self._end(source.producer)
        self.coming_sources = ()
        return coming

    def promote(self) -> tuple[Uplink | None, bool]:
        """Go over to the connection that has come; return the one before, and whether the set of tracks changed."""
        before, self.uplink = self.uplink, self.coming
        self.coming = None
        sources, self.coming_sources = self.coming_sources, ()
        kept = self.producers
        changed = self.take(sources)
        for producer in self.producers:
            if producer in kept:
                producer.begin_source()
        self.demand.forget()
        return before, changed

    def followed(self, tracks: frozenset[str] | None) -> list[Producer]:
        """Return the producers of those tracks that are there, by track id; None for all."""
        return [producer for producer in self.producers if tracks is None or producer.id in tracks]

    def select(self, tracks: Sequence[str] | None) -> list[Producer]:
        """Return the producers that a new subscription gets; raise `TrackNotFoundError` where one is not there."""
        known = {producer.id for producer in self.producers}
        if not known:
            raise TrackNotFoundError(f"feed {self.id} has no tracks at present: its publisher sends none")
        if tracks is None:
            return list(self.producers)
        unknown = [track for track in tracks if track not in known]
        if unknown or not tracks:
            asked = repr(unknown[0]) if unknown else "none at all"
            raise TrackNotFoundError(f"tracks: {asked} was asked for, the feed has {', '.join(sorted(known))}")
        return self.followed(frozenset(tracks))

    def received(self) -> list[Producer]:
        """Return the producers that anybody receives."""
        return [producer for producer in self.producers if self._relay.subscribers(producer)]

    def statistics(self) -> FeedStatistics:
        """Return a snapshot: plain values."""
        return FeedStatistics(
            feed=self.id,
            peer=self.newest.peer.statistics(),
            producers=tuple(producer.statistics() for producer in self.producers),
            drops=dict(self.newest.publisher.drops),
        )

    def own_ids(self, wanted: frozenset[Producer]) -> tuple[str, ...]:
        """Return the publisher's own ids of some producers, in the order of its offer."""
        return tuple(source.parameters.track_id for source in self.sources if source.producer in wanted)

    def end(self) -> None:
        """End the tracks; whoever awaits a frame of them learns it. Idempotent."""
        self.demand_changed = None
        self.drop_coming()
        if self._goodbye_timer is not None:
            self._goodbye_timer.cancel()
        for producer in self.producers:
            self._end(producer)

    def await_word(self, uplink: Uplink, lost: Callable[[Feed, Uplink, str], None]) -> bool:
        """Wait a moment for signalling after a goodbye, then call `lost` again; False when that has been done."""
        if uplink.said_goodbye:
            return False
        uplink.said_goodbye = True
        loop = asyncio.get_running_loop()
        self._goodbye_timer = loop.call_later(GOODBYE_GRACE_SECONDS, lost, self, uplink, "closed_by_peer")
        return True

    def _producer(self, parameters: TrackParameters) -> Producer:
        """Make a producer, labelled by its track's id where a person chose that, else by kind and number."""
        self._numbers[parameters.kind] += 1
        generated = _GENERATED_ID.fullmatch(parameters.track_id)
        label = f"{parameters.kind} {self._numbers[parameters.kind]}" if generated else parameters.track_id
        return Producer(parameters, self._relay, label, self._wake)

    def _end(self, producer: Producer) -> None:
        """End a track; what it counted goes on to count."""
        producer.on_demand(None)
        if producer.readyState == "live":
            producer.stop()
            self._relay.tally.add_producer(producer)

    def _wake(self) -> None:
        if self.uplink is not None:
            self.uplink.peer.wake()

    def _demand_changed(self) -> None:
        if self.demand_changed is not None:
            self.demand_changed()


@dataclass(slots=True, eq=False)
class Subscription:
    """One viewer's connection to one feed."""

    id: int
    feed: Feed
    peer: PeerConnection
    subscriber: Subscriber
    tracks: frozenset[str] | None
    """The ids of the tracks that it follows; None for all."""
    started: bool = False
    """Whether it was ever connected."""
    has_begun: bool = False
    """Whether a first picture has been sent."""

    def statistics(self) -> SubscriptionStatistics:
        """Return a snapshot: plain values."""
        return SubscriptionStatistics(
            subscription=self.id,
            feed=self.feed.id,
            peer=self.peer.statistics(),
            consumers=tuple(consumer.statistics() for consumer in self.subscriber.consumers),
            drops=dict(self.subscriber.drops),
        )


def infos(sources: Sequence[Source]) -> tuple[TrackInfo, ...]:
    """Return what viewers are told of the tracks."""
    return tuple(source.producer.info for source in sources)
