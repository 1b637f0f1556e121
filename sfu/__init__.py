"""The media engine: terminates WebRTC and forwards packets. It knows nothing of rooms, users or HTTP.

`Engine` is the only door; the other names are the values that pass through it.

Imports point one way: the files of this room -> `transport`, `forwarding` -> `rtp` -> the standard library.

    engine        the door: owns port, certificate, feeds and subscriptions
    peer          one remote endpoint: ICE, DTLS, its one timer
    feed          what one client publishes, over one connection after another; numbering: what viewers know it by
    publisher     the inbound half of a peer, with its producers; producer: one inbound track
    subscriber    the outbound half of a peer, with its consumers; consumer: one outbound track; slots: its m-lines
    relay         the one fan-out; frames: decoded frames for whoever asks the relay for them
    negotiation   offers and answers, by way of descriptions (SDP as text) and parameters (what it comes down to)
    faults                bugs, kept from what they do not concern
    tally, census         what was counted, for good; snapshots of what there is
    probe         what this machine grants a media socket
    statistics, values    what passes through the door
    transport/    path, port, udp, tcp: the sockets; ice, dtls; fanout: the same packets to many viewers
    forwarding/   decisions: nack, history, keyframes, receive_stats, bandwidth, rewriter. Pure, every call takes `now`
    rtp/          the wire: bytes in, values out
"""

from .engine import Engine
from .probe import SocketProbe, probe_socket
from .statistics import (
    ConsumerStatistics,
    EngineStatistics,
    EngineTotals,
    FeedStatistics,
    PeerStatistics,
    ProducerStatistics,
    SubscriptionStatistics,
)
from .values import (
    EngineError,
    EngineEvent,
    EngineFullError,
    EngineSettings,
    EngineStartError,
    EngineStateError,
    FeedEnded,
    FeedNotFoundError,
    FeedStarted,
    FirstFrameSent,
    NoCommonCodecError,
    Publication,
    SdpError,
    SubscriptionEnded,
    SubscriptionNotFoundError,
    SubscriptionOffer,
    SubscriptionStarted,
    TrackInfo,
    TrackNotFoundError,
    TracksWanted,
)

__all__ = [
    "ConsumerStatistics",
    "Engine",
    "EngineError",
    "EngineEvent",
    "EngineFullError",
    "EngineSettings",
    "EngineStartError",
    "EngineStateError",
    "EngineStatistics",
    "EngineTotals",
    "FeedEnded",
    "FeedNotFoundError",
    "FeedStarted",
    "FeedStatistics",
    "FirstFrameSent",
    "NoCommonCodecError",
    "PeerStatistics",
    "ProducerStatistics",
    "Publication",
    "SdpError",
    "SocketProbe",
    "SubscriptionEnded",
    "SubscriptionNotFoundError",
    "SubscriptionOffer",
    "SubscriptionStarted",
    "SubscriptionStatistics",
    "TrackInfo",
    "TrackNotFoundError",
    "TracksWanted",
    "probe_socket",
]
