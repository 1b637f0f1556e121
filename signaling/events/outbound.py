"""Every event that a client is told, as a value. Pure."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from .codes import PROTOCOL_VERSION, ErrorCode, Kind, Role


class Outbound(BaseModel):
    """What a client is told."""

    model_config = ConfigDict(frozen=True)
    event: ClassVar[str]
    omits_none: ClassVar[bool] = False
    """Whether a field without a value is left out instead of being null."""


class Welcome(Outbound):
    """The first event on every socket."""

    event = "welcome"
    client_id: str
    role: Role
    resume: str | None
    """Secret for taking the session over on a new socket; null where the server keeps no absent client's session."""
    ice_servers: tuple[dict[str, str], ...]
    protocol: int = PROTOCOL_VERSION
    server: str


class RoomFeeds(BaseModel):
    """A room that a client is in and the feeds in it that it was told of."""

    model_config = ConfigDict(frozen=True)
    room_id: int
    feeds: tuple[int, ...]


class Resumed(Outbound):
    """Follows `welcome` on a socket that took a session over: what the client still has, as of now."""

    event = "resumed"
    omits_none = True
    rooms: tuple[RoomFeeds, ...]
    publication: int | None = None
    """The feed that it publishes."""
    subscriptions: tuple[int, ...]
    """The feeds that it watches, or has an offer for."""
    missed: int
    """How many messages follow that the client has missed."""
    received: int
    """How many messages of the client this session has got, over all its sockets: later ones are to be sent again."""


class RoomCreated(Outbound):
    """Answers `create_room`."""

    event = "room_created"
    room_id: int


class JoinedAsPublisher(Outbound):
    """Answers `join_as_publisher`."""

    event = "joined_as_publisher"
    room_id: int


class DevicesInvited(Outbound):
    """Answers `invite_devices`: who was asked, whose live feed is shared, who cannot be had."""

    event = "devices_invited"
    room_id: int
    invited: tuple[str, ...]
    attached: tuple[str, ...]
    unavailable: tuple[str, ...]


class DevicesUnavailable(Outbound):
    """No media of devices that were invited has come within the limit, or they left before; they may still come."""

    event = "devices_unavailable"
    room_id: int
    devices: tuple[str, ...]


class Track(BaseModel):
    """One track of a feed, as its publisher described it."""

    model_config = ConfigDict(frozen=True)
    id: str
    kind: Kind
    codec: str
    label: str


class StartListening(Outbound):
    """A feed's media flows and may be subscribed to. Sent once for each feed, room and WEB."""

    event = "start_listening"
    feed: int
    room_id: int
    device: str
    tracks: tuple[Track, ...]


class TracksChanged(Outbound):
    """A feed that was announced has other tracks now. Its subscribers are offered them."""

    event = "tracks_changed"
    feed: int
    room_id: int
    device: str
    tracks: tuple[Track, ...]


class DeviceStatus(BaseModel):
    """One device that is online; `feed` and `tracks` while it streams."""

    model_config = ConfigDict(frozen=True)
    device: str
    state: Literal["available", "invited", "streaming"]
    feed: int | None = None
    tracks: tuple[Track, ...] | None = None


class Devices(Outbound):
    """Answers `list_devices`."""

    event = "devices"
    omits_none = True
    devices: tuple[DeviceStatus, ...]


class DeviceOnline(Outbound):
    """A device has connected."""

    event = "device_online"
    device: str


class DeviceOffline(Outbound):
    """A device is gone: it has not come back within the grace period, or another has taken its id."""

    event = "device_offline"
    device: str


EndReason = Literal["unpublished", "left", "disconnected", "replaced", "shutdown"]


class StopListening(Outbound):
    """A feed that was announced is no longer in the room."""

    event = "stop_listening"
    room_id: int
    feed: int
    device: str
    reason: EndReason


class StartStreaming(Outbound):
    """Invites a DEVICE; `inviter` is a string."""

    event = "start_streaming"
    room_id: int
    inviter: str


class StopStreaming(Outbound):
    """Nobody watches a DEVICE any more, or an operator stops it: it should stop its camera."""

    event = "stop_streaming"
    room_id: int
    reason: Literal["no_viewers", "shutdown", "operator"]


class RoomClosed(Outbound):
    """A room has ended under a WEB that was in it; it is in it no more."""

    event = "room_closed"
    room_id: int
    reason: Literal["operator"]


class OfferToSubscriber(Outbound):
    """Answers `join_as_subscriber`; sent again when the feed's tracks have changed, and answered again."""

    event = "offer_to_subscriber"
    type: Literal["offer"] = "offer"
    sdp: str
    feed: int


class StoppedReceiving(Outbound):
    """Answers `stop_receiving`."""

    event = "stopped_receiving"
    feed: int


class ReceivingChanged(Outbound):
    """Answers `pause_receiving` and `resume_receiving`: what of the feed is paused now."""

    event = "receiving_changed"
    feed: int
    paused: tuple[Kind, ...]


class TracksWanted(Outbound):
    """Tells a publisher which of its tracks somebody receives: it may stop sending the others until they are named."""

    event = "tracks_wanted"
    feed: int
    tracks: tuple[str, ...]


class AnswerToClient(Outbound):
    """Answers `offer_from_device`."""

    event = "answer_to_client"
    type: Literal["answer"] = "answer"
    sdp: str


class Unpublished(Outbound):
    """Answers `unpublish`."""

    event = "unpublished"
    feed: int


class Left(Outbound):
    """Answers `leave`, once for each room."""

    event = "left"
    room_id: int


class Pong(Outbound):
    """Answers `ping`."""

    event = "pong"


class ServerDraining(Outbound):
    """The server will end, within so many seconds: it opens no more rooms, and what streams goes on until then."""

    event = "server_draining"
    seconds: float


class ConnectionLost(Outbound):
    """A media connection died while the socket lives: offer (`pub`) or subscribe (`sub`) again."""

    event = "connection_lost"
    typ: Literal["pub", "sub"]
    feed: int


class Error(Outbound):
    """What went wrong and, on the wire as `event`, which event did."""

    event = "error"
    code: ErrorCode
    message: str
    failed: str | None = None
