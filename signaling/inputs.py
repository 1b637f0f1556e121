"""What goes into `Rooms`: events of clients, of the engine and of the service. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .effects import Client
    from .protocol import EndReason, ErrorCode, Kind, RequestId, Track

# --- from clients; `request_id` is repeated in what answers ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientConnected:
    """A client has a socket and may ask for things."""

    client: Client
    serves: frozenset[int] | None = None
    """The rooms that it may publish to; None for every one."""


@dataclass(frozen=True, slots=True)
class ClientGone:
    """A client is gone for good: a leave of every room, with `reason`."""

    client: Client
    reason: EndReason = "disconnected"


@dataclass(frozen=True, slots=True)
class ClientAbsent:
    """A client's socket is closed; it may come back within the grace period."""

    client: Client


@dataclass(frozen=True, slots=True)
class ClientResumed:
    """A client has come back, or moved to a new socket, and is what it was."""

    client: Client
    serves: frozenset[int] | None = None
    """The rooms that it may publish to now, at least those of before; None for every one."""


@dataclass(frozen=True, slots=True)
class RoomRequested:
    """`create_room`."""

    client: Client
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class JoinRequested:
    """`join_as_publisher`."""

    client: Client
    room: int
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class InviteRequested:
    """`invite_devices`; `devices` None means every one, `standing` also those of them that come later."""

    client: Client
    room: int
    devices: tuple[str, ...] | None = None
    request_id: RequestId | None = None
    standing: bool = False


@dataclass(frozen=True, slots=True)
class DevicesRequested:
    """`list_devices`."""

    client: Client
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """`offer_from_device`."""

    client: Client
    sdp: str
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class SubscribeRequested:
    """`join_as_subscriber`; `tracks` None means all of them."""

    client: Client
    room: int
    feed: int
    tracks: tuple[str, ...] | None = None
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class AnswerReceived:
    """`start_receiving`; `feed` None means the client's oldest unanswered offer."""

    client: Client
    sdp: str
    feed: int | None = None
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class StopReceivingRequested:
    """`stop_receiving`."""

    client: Client
    feed: int
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """`pause_receiving`, or with `paused` False `resume_receiving`."""

    client: Client
    feed: int
    kinds: frozenset[Kind]
    paused: bool = True
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class UnpublishRequested:
    """`unpublish`."""

    client: Client
    request_id: RequestId | None = None


@dataclass(frozen=True, slots=True)
class LeaveRequested:
    """`leave`; `room` None means every room."""

    client: Client
    room: int | None = None
    request_id: RequestId | None = None


# --- from the engine: how an effect went, and news ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublishDone:
    """A `Publish` went well."""

    feed: int
    answer: str
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class PublishFailed:
    """A `Publish` was refused; the engine has no such feed."""

    feed: int
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class SubscribeDone:
    """A `Subscribe` went well."""

    subscription: int
    offer: str


@dataclass(frozen=True, slots=True)
class SubscribeFailed:
    """A `Subscribe` was refused; the engine has no such subscription."""

    subscription: int
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class AnswerDone:
    """An `Accept` went well."""

    subscription: int


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    """An `Accept` was refused; unless `final` another answer may be tried."""

    subscription: int
    code: ErrorCode
    message: str
    final: bool


@dataclass(frozen=True, slots=True)
class RepublishDone:
    """A `Republish` went well."""

    feed: int
    answer: str
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class RepublishFailed:
    """A `Republish` was refused; the feed is what it was."""

    feed: int
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class PauseDone:
    """A `Pause` went well; these kinds are paused now."""

    subscription: int
    paused: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class PauseFailed:
    """A `Pause` was refused."""

    subscription: int
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class OfferChanged:
    """A subscription's tracks have changed: the engine offers them anew."""

    subscription: int
    offer: str


@dataclass(frozen=True, slots=True)
class WantedTracksChanged:
    """Other tracks of a feed are received by somebody now."""

    feed: int
    tracks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeedFlowing:
    """Media of a feed flows."""

    feed: int
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class FeedLost:
    """A feed's media died; its subscriptions have died with it."""

    feed: int


@dataclass(frozen=True, slots=True)
class SubscriptionLost:
    """A subscription's media died."""

    subscription: int


@dataclass(frozen=True, slots=True)
class ServerDraining:
    """The server will end within `seconds`: everybody is to be told, and no room opens any more."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ServerStopping:
    """Everybody is to be told; sockets close next."""


@dataclass(frozen=True, slots=True)
class RoomCloseOrdered:
    """An operator closes a room."""

    room: int


@dataclass(frozen=True, slots=True)
class PublicationStopOrdered:
    """An operator ends a publication."""

    feed: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: `Rooms.deadline` has come."""


_RoomRequest = RoomRequested | JoinRequested | InviteRequested | DevicesRequested | LeaveRequested
_PublisherRequest = OfferReceived | UnpublishRequested
_SubscriberRequest = SubscribeRequested | AnswerReceived | StopReceivingRequested | PauseRequested
ClientRequest = _RoomRequest | _PublisherRequest | _SubscriberRequest
RoomsEvent = (
    ClientConnected
    | ClientAbsent
    | ClientResumed
    | ClientGone
    | ClientRequest
    | PublishDone
    | PublishFailed
    | RepublishDone
    | RepublishFailed
    | SubscribeDone
    | SubscribeFailed
    | AnswerDone
    | AnswerFailed
    | PauseDone
    | PauseFailed
    | OfferChanged
    | WantedTracksChanged
    | FeedFlowing
    | FeedLost
    | SubscriptionLost
    | ServerDraining
    | ServerStopping
    | RoomCloseOrdered
    | PublicationStopOrdered
    | Tick
)
