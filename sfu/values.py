"""The values that pass through the engine's door: settings, results, events and errors.

Everything here is plain and immutable, so that an engine could be moved to another process without its callers
noticing. Nothing here holds a socket, a task or a reference to the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["audio", "video"]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What an engine needs to know before it starts; every limit of the media side is here or a named constant."""

    hosts: tuple[str, ...] = ("127.0.0.1",)
    """Local addresses to bind, IPv4 or IPv6 literals; each gets a socket, all on one port number."""
    port: int = 0
    """UDP port for all media; 0 takes any free one."""
    tcp: bool = True
    """Whether media is also taken over TCP (ICE-TCP) on the same port number, for networks that block UDP."""
    announce: tuple[str, ...] = ()
    """Addresses to put into candidates instead of the non-loopback hosts (NAT, containers)."""
    connect_timeout: float = 20.0
    """Seconds a peer may take from its SDP to finished DTLS. A phone on a bad link needs some 10 s."""
    answer_timeout: float = 30.0
    """Seconds a subscriber may take to answer its offer."""
    consent_timeout: float = 30.0
    """Seconds without any authentic packet before a peer counts as gone (RFC 7675 section 5.1)."""
    max_peers: int = 2000
    """Peer connections at once; far above what one core can forward to."""
    max_packet_rate: int = 5_000
    """RTP packets a second that one peer may send: twice those of 25 Mbit/s. More is dropped undecrypted."""
    max_rtcp_rate: int = 200
    """RTCP datagrams a second from one peer; a browser sends some 30, and up to 100 under loss."""
    max_sdp_bytes: int = 200_000
    """Of one description; a browser's offer with every codec is some 10 kB a track."""
    max_sdp_sections: int = 32
    """m-lines of one description, those of no use and of tracks that are gone included."""
    max_tracks: int = 16
    """m-lines of audio or video in one publication."""
    unwanted_hold: float = 3.0
    """Seconds that a track which nobody receives any more still counts as wanted: a reload takes some two."""


@dataclass(frozen=True, slots=True)
class TrackInfo:
    """One published track as its publisher described it."""

    id: str
    """The publisher's msid track id, as of when the track was added; it stays when a new connection renames it."""
    kind: Kind
    codec: str
    """Codec name as in SDP, such as `VP8` or `opus`."""
    label: str
    """Something to show a person: the track id, or `video 1` where that is only a UUID."""


@dataclass(frozen=True, slots=True)
class Publication:
    """The answer to a publisher's offer, and the tracks that the feed will then have."""

    answer: str
    tracks: tuple[TrackInfo, ...]


@dataclass(frozen=True, slots=True)
class FeedStarted:
    """Media of a feed flows: the first authentic RTP packet has come. Sent once for each feed."""

    feed: int
    tracks: tuple[TrackInfo, ...]


@dataclass(frozen=True, slots=True)
class FeedEnded:
    """A feed ended by itself; its subscriptions have ended with it. Not sent for `Engine.unpublish`."""

    feed: int
    reason: str


@dataclass(frozen=True, slots=True)
class SubscriptionStarted:
    """A subscriber is connected and receives media. Sent once for each subscription."""

    subscription: int
    feed: int


@dataclass(frozen=True, slots=True)
class FirstFrameSent:
    """A subscriber is sent the first packet of the first picture that it can decode. Once for each subscription."""

    subscription: int
    feed: int


@dataclass(frozen=True, slots=True)
class SubscriptionEnded:
    """A subscription ended by itself. Not sent for `Engine.unsubscribe`, nor when its feed ends."""

    subscription: int
    feed: int
    reason: str


@dataclass(frozen=True, slots=True)
class SubscriptionOffer:
    """The tracks of a subscription changed: `offer` is for the subscriber, its answer for `Engine.accept`.

    Not sent while an earlier offer is unanswered: what changes meanwhile is offered together after the answer. A
    subscriber that never answers goes on with what it has.
    """

    subscription: int
    feed: int
    offer: str


@dataclass(frozen=True, slots=True)
class TracksWanted:
    """Other tracks of a feed than before are received by anybody; the publisher may stop to send the rest.

    First sent when somebody first receives something. `tracks` are track ids of the publisher's newest offer, which
    after a change of its connection need not be those of `TrackInfo`.
    """

    feed: int
    tracks: tuple[str, ...]


EngineEvent = (
    FeedStarted
    | FeedEnded
    | SubscriptionStarted
    | FirstFrameSent
    | SubscriptionEnded
    | SubscriptionOffer
    | TracksWanted
)


class EngineError(Exception):
    """Base of what the engine refuses; the text is fit for the remote party to read."""


class SdpError(EngineError):
    """A session description that does not parse or cannot be negotiated; the text says what and where."""


class NoCommonCodecError(EngineError):
    """Both sides support codecs, but none is shared; the text names both sides'."""


class FeedNotFoundError(EngineError):
    """No such feed, or it has ended."""


class TrackNotFoundError(EngineError):
    """The feed has no track of that id."""


class SubscriptionNotFoundError(EngineError):
    """No such subscription, or it has ended."""


class EngineStateError(EngineError):
    """A call that does not fit the state, such as a second answer."""


class EngineFullError(EngineError):
    """A limit of `EngineSettings` is reached."""


class EngineStartError(EngineError):
    """The media port cannot be opened; the text names address and port."""
