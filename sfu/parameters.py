"""What offers and answers come down to: the parameters of tracks and transports, as values."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from aiortc import sdp

    from .values import Kind

Role = Literal["client", "server"]


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec of one track, as in its rtpmap, fmtp and rtcp-fb lines."""

    name: str
    kind: Kind
    clock_rate: int
    channels: int | None
    payload_type: int
    parameters: tuple[tuple[str, int | str | None], ...] = ()
    feedback: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Return the codec as an error message names it."""
        detail = dict(self.parameters).get("profile-level-id")
        return f"{self.name} (profile-level-id {detail})" if detail else self.name


@dataclass(frozen=True)
class TrackParameters:
    """One published track: what its publisher and we agreed on."""

    mid: str
    kind: Kind
    track_id: str
    codecs: tuple[Codec, ...]
    """The codec that is sent and, for audio, the RED that may wrap it, in the publisher's order."""
    rtx: Codec | None
    extensions: dict[str, int]
    """Header extension ids by URI."""
    ssrc: int | None
    """None where the publisher named none: then it is learnt from MID or payload type (RFC 9143 section 9.2)."""
    rtx_ssrc: int | None
    cname: str | None

    @functools.cached_property
    def codec(self) -> Codec:
        """The codec proper, not its RED wrapping."""
        return next(codec for codec in self.codecs if codec.name.lower() != "red")

    @property
    def feedback(self) -> frozenset[str]:
        """RTCP feedback messages that may be sent to the publisher, such as `nack pli`."""
        return self.codec.feedback


@dataclass(frozen=True, slots=True)
class RemoteTransport:
    """The other side's half of ICE and DTLS."""

    ufrag: str
    fingerprints: tuple[tuple[str, str], ...]
    role: Role
    """The DTLS role that is ours."""

    def is_of_same_connection(self, later: RemoteTransport) -> bool:
        """Tell whether `later`, of an answer, is of the same connection: only an offer can change the credentials."""
        return self.ufrag == later.ufrag and set(self.fingerprints) == set(later.fingerprints)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address where a peer can reach us."""

    host: str
    port: int
    protocol: Literal["udp", "tcp"] = "udp"


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Our half of ICE and DTLS, as it goes into a description."""

    session_id: int
    version: int
    """Of the description: each has a higher one than that before (RFC 8829 section 5.2.2)."""
    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]
    candidates: tuple[Candidate, ...]
    """The preferred one first."""


@dataclass(frozen=True, slots=True)
class PublisherOffer:
    """A publisher's offer, understood, section by section."""

    transport: RemoteTransport
    session_id: str
    """The sess-id of its o= line; browsers keep it for a connection's life."""
    stream_id: str
    tracks: tuple[TrackParameters | None, ...]
    """What is sent; None where a section sends nothing or is refused."""
    idle: tuple[TrackParameters | None, ...]
    """What is not sent now but may be by a later offer, such as a camera that is off: answered as inactive."""
    sections: tuple[sdp.MediaDescription, ...]

    @property
    def open_mids(self) -> tuple[str, ...]:
        """The mids of the sections that are not rejected; the first is whose transport the bundle has."""
        pairs = zip(self.tracks, self.idle, strict=True)
        return tuple(track.mid for sent, idle in pairs if (track := sent or idle) is not None)

    @property
    def accepted(self) -> tuple[TrackParameters, ...]:
        """The tracks that will be received."""
        return tuple(track for track in self.tracks if track is not None)


Use = Literal["live", "idle", "gone"]
"""Of a section that is offered to a subscriber: sent; inactive, but still there to carry the bundle; rejected."""


@dataclass(frozen=True, slots=True)
class SentTrack:
    """One track as it is offered to a subscriber."""

    parameters: TrackParameters
    ssrc: int
    rtx_ssrc: int
    cname: str
    rtx: Codec | None = None
    """How lost packets are sent again; None for audio."""
    use: Use = "live"


@dataclass(frozen=True, slots=True)
class AcceptedTrack:
    """What a subscriber's answer makes of one offered track."""

    mid: str
    payload_types: dict[int, int]
    """The offered payload types that it takes, and the number that it wants each under."""
    rtx_payload_type: int | None


@dataclass(frozen=True, slots=True)
class SubscriberAnswer:
    """A subscriber's answer, understood; tracks that it refused are missing."""

    transport: RemoteTransport
    tracks: tuple[AcceptedTrack, ...]
    rejected: frozenset[str] = frozenset()
    """The mids of sections with port 0; one that both sides rejected may be used anew (RFC 8829 section 5.2.2)."""
    starts_early: bool = False
    """Whether its receivers run before the handshake ends, as those of browsers do and stock aiortc's do not."""
