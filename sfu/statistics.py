"""What the engine can tell of itself: immutable snapshots, cheap to take and free of references into the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .transport.udp import SocketStatistics
    from .values import TrackInfo


@dataclass(frozen=True, slots=True)
class PeerStatistics:
    """One peer connection's transport."""

    state: str
    srtp_profile: str | None
    remote_address: str | None
    protocol: str | None
    """`udp` or `tcp`."""
    drops: Mapping[str, int]
    """Datagrams dropped, by reason."""


@dataclass(frozen=True, slots=True)
class ProducerStatistics:
    """One inbound track."""

    track: TrackInfo
    subscribers: int
    packets: int
    octets: int
    """Payload bytes."""
    packets_lost: int
    """RFC 3550 section 6.4.1: may be negative with duplicates."""
    recovered: int
    """Packets that came by retransmission."""
    given_up: int
    """Lost packets that were asked for in vain."""
    nacked: int
    """Packets asked for again, repeats included."""
    keyframe_requests: int
    """PLI or FIR sent to the publisher."""
    keyframes: int
    jitter: float
    """Seconds."""
    round_trip: float | None
    """Seconds; None before a retransmission has told it."""
    width: int | None
    height: int | None
    drops: Mapping[str, int]
    """Packets dropped, by reason."""


@dataclass(frozen=True, slots=True)
class ConsumerStatistics:
    """One outbound track to one viewer, and what the viewer says of it."""

    track: TrackInfo
    packets: int
    octets: int
    """Payload bytes."""
    retransmitted: int
    """Packets sent again because the viewer asked."""
    second_copies: int
    """Of these, those sent once more without being asked."""
    keyframe_requests: int
    """PLI and FIR from the viewer, and its first wish."""
    instant_start: bool
    """Whether it began with a keyframe of the past."""
    fraction_lost: float
    """In its last report's interval, 0 to 1."""
    packets_lost: int
    jitter: float
    """Seconds."""
    round_trip: float | None
    """Seconds; None before its first answer to a sender report."""
    bitrate_estimate: int | None
    """Its REMB in bit/s; None without."""
    transport_fraction_lost: float | None
    """Loss on its whole transport by transport-wide feedback, 0 to 1; None without."""
    drops: Mapping[str, int]
    """Packets dropped, by reason."""


@dataclass(frozen=True, slots=True)
class FeedStatistics:
    """One feed with its publisher's transport."""

    feed: int
    peer: PeerStatistics
    producers: tuple[ProducerStatistics, ...]
    drops: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SubscriptionStatistics:
    """One subscription with its viewer's transport."""

    subscription: int
    feed: int
    peer: PeerStatistics
    consumers: tuple[ConsumerStatistics, ...]
    drops: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """Everything."""

    sockets: tuple[SocketStatistics, ...]
    feeds: tuple[FeedStatistics, ...]
    subscriptions: tuple[SubscriptionStatistics, ...]
    drops: Mapping[str, int]
    """Datagrams that belonged to nobody or could not be sent, by reason."""
