"""What the admin API answers, as models: the JSON, and its description in OpenAPI, follow from them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from signaling.events.codes import ErrorCode, Kind, Role  # noqa: TC001  pydantic reads them

Count = Annotated[int, Field(ge=0)]
Id = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seconds = Annotated[float, Field(ge=0)]
Drops = Mapping[str, Count]
ClientId = str
FeedState = Literal["answering", "answered", "flowing"]
SubscriptionState = Literal["opening", "offered", "accepting", "accepted"]


class Answer(BaseModel):
    """Anything that the API answers."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Problem(Answer):
    """Why a request was refused."""

    code: ErrorCode | Literal["method_not_allowed", "not_found", "bad_request"]
    message: str


class Failure(Answer):
    """A refusal."""

    error: Problem


class MediaSums(Answer):
    """Sums of one direction since the start, over both kinds of media."""

    packets: Count
    payload_bytes: Count
    packets_lost: Count
    packets_retransmitted: Count
    keyframe_requests: Count


class Server(Answer):
    """The server as a whole."""

    version: str
    now: float
    """Seconds since 1970."""
    uptime_seconds: Seconds
    ready: bool
    """Whether it takes new rooms; false while it is about to end."""
    rooms: Count
    webs: Count
    devices: Count
    absent: Count
    """Clients without a socket, within the grace period; they are counted above too."""
    feeds: Count
    subscriptions: Count
    viewers: Count
    """Clients that watch at least one feed."""
    received: MediaSums
    """From devices."""
    sent: MediaSums
    """To viewers."""
    drops: Mapping[str, Count]
    """By place and reason, such as `peer.packet_rate`."""
    cpu_seconds: Seconds
    """Of the whole process since its start."""
    memory_bytes: Count
    """Resident."""
    loop_lag_seconds: Seconds
    """By how much the event loop was late at worst since this was last asked."""


class Peer(Answer):
    """One media connection."""

    state: str
    protocol: str | None
    """`udp` or `tcp`; null before there is a path."""
    remote_address: str | None
    """IP address and port."""
    srtp_profile: str | None
    drops: Drops


class InboundTrack(Answer):
    """One track as it comes from its publisher."""

    id: str
    kind: Kind
    codec: str
    label: str
    subscribers: Count
    packets: Count
    payload_bytes: Count
    packets_lost: int
    """May be negative with duplicates (RFC 3550 section 6.4.1)."""
    packets_recovered: Count
    packets_nacked: Count
    keyframes: Count
    keyframe_requests: Count
    jitter_seconds: Seconds
    round_trip_seconds: Seconds | None
    width: Count | None
    height: Count | None
    drops: Drops


class OutboundTrack(Answer):
    """One track as it goes to one viewer, and what the viewer reports."""

    id: str
    kind: Kind
    codec: str
    label: str
    packets: Count
    payload_bytes: Count
    packets_retransmitted: Count
    packets_lost: int
    fraction_lost: Annotated[float, Field(ge=0, le=1)]
    """In the viewer's last report."""
    keyframe_requests: Count
    jitter_seconds: Seconds
    round_trip_seconds: Seconds | None
    bitrate_estimate: Count | None
    """Bits a second that the viewer can take, by its REMB; null without."""
    instant_start: bool
    """Whether it began with a keyframe of the past."""
    drops: Drops


class Feed(Answer):
    """What one client publishes."""

    feed: Id
    client_id: ClientId
    role: Role
    state: FeedState
    age_seconds: Seconds
    rooms: tuple[Id, ...]
    viewers: Count
    peer: Peer | None
    """null while the engine works on the offer."""
    tracks: tuple[InboundTrack, ...]


class Subscription(Answer):
    """One viewer of one feed."""

    subscription: Id
    feed: Id
    room_id: Id
    client_id: ClientId
    """Of the viewer."""
    state: SubscriptionState
    age_seconds: Seconds
    peer: Peer | None
    tracks: tuple[OutboundTrack, ...]


class Room(Answer):
    """One room."""

    room_id: Id
    creator: ClientId
    age_seconds: Seconds
    webs: Count
    devices: Count
    feeds: tuple[Id, ...]
    subscriptions: Count
    sent_packets: Count
    """To those who watch in it now, since they began."""
    sent_payload_bytes: Count


class Member(Answer):
    """Who is in a room."""

    role: Role
    client_id: ClientId


class RoomWithMembers(Room):
    """One room and who is in it."""

    participants: tuple[Member, ...]


class Participant(Answer):
    """One client."""

    role: Role
    client_id: ClientId
    session: str
    """By which its lines are found in the log."""
    online: bool
    """Whether it has a socket; it may come back within the grace period."""
    age_seconds: Seconds
    rooms: tuple[Id, ...]
    feed: Id | None
    """What it publishes."""
    watches: tuple[Id, ...]
    """The feeds that it watches."""


class Rooms(Answer):
    """A page of rooms, in the order of their ids."""

    rooms: tuple[Room, ...]
    next: Id | None
    """`after` of the next page; null where this is the last."""


class Participants(Answer):
    """A page of clients, in the order of role and id."""

    participants: tuple[Participant, ...]
    next: str | None
    """`after` of the next page; null where this is the last."""


class Feeds(Answer):
    """A page of feeds, in the order of their ids."""

    feeds: tuple[Feed, ...]
    next: Id | None
    """`after` of the next page; null where this is the last."""


class Subscriptions(Answer):
    """A page of the subscriptions to a feed, in the order of their ids."""

    subscriptions: tuple[Subscription, ...]
    next: Id | None
    """`after` of the next page; null where this is the last."""
