"""What the engine can tell of itself: immutable snapshots, cheap to take and free of references into the engine."""

from __future__ import annotations

from dataclasses import dataclass, fields
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
class EngineTotals:
    """Sums over every track and connection since the start, those that are gone included; `Mapping`s are by kind."""

    packets_received: Mapping[str, int]
    octets_received: Mapping[str, int]
    """Payload bytes."""
    packets_lost: Mapping[str, int]
    """On the way here and not recovered. Goes back a little when a packet comes late after all."""
    packets_recovered: Mapping[str, int]
    packets_given_up: Mapping[str, int]
    packets_nacked: Mapping[str, int]
    keyframes_requested: Mapping[str, int]
    """PLI and FIR sent to publishers."""
    keyframes_received: Mapping[str, int]
    packets_sent: Mapping[str, int]
    """Without retransmissions."""
    octets_sent: Mapping[str, int]
    """Payload bytes, without retransmissions."""
    packets_retransmitted: Mapping[str, int]
    """Second copies included."""
    packets_lost_by_viewers: Mapping[str, int]
    """As their reports have it; goes back a little as `packets_lost` does."""
    keyframes_wanted_by_viewers: Mapping[str, int]
    instant_starts: Mapping[str, int]
    """Viewers that began with a keyframe of the past."""
    drops: Mapping[tuple[str, str], int]
    """By where (`port`, `peer`, `publisher`, `producer`, `subscriber`, `consumer`) and reason."""

    @classmethod
    def by_kind(cls) -> tuple[str, ...]:
        """Return the names of the sums that are by kind."""
        return tuple(field.name for field in fields(cls) if field.name != "drops")


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """Everything."""

    sockets: tuple[SocketStatistics, ...]
    feeds: tuple[FeedStatistics, ...]
    subscriptions: tuple[SubscriptionStatistics, ...]
    drops: Mapping[str, int]
    """Datagrams that belonged to nobody or could not be sent, by reason."""
    faults: Mapping[str, int]
    """Bugs of ours that were kept from what they did not concern, by what failed. The log has each."""
