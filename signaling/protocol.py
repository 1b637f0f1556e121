"""Every event of the wire protocol as a value, and the way from and to JSON text.

Pure: no I/O, no clock. A client written against the published document must work with what is accepted and sent
here; events and fields beyond that document are additions which such a client ignores.
"""

from __future__ import annotations

import json
import math
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .candidates import check_candidate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

PROTOCOL_VERSION = 1

MAX_MESSAGE_BYTES = 256 * 1024
"""One frame; an SDP with every codec and sixteen tracks is some 100 kB."""
MAX_REQUEST_ID_CHARS = 128
"""A UUID has 36; the id is repeated in every reply."""
MAX_NAMED_DEVICES = 256
"""Devices one invitation may name."""
MAX_NAMED_TRACKS = 64
"""Tracks one subscription may name; far above what a publication may have."""
MAX_ECHO_CHARS = 64
"""As much of an unknown event's name as an error repeats."""

RequestId = str | int | float


class Role(StrEnum):
    """What a client is: WEB creates rooms and watches, DEVICE publishes when invited."""

    WEB = "WEB"
    DEVICE = "DEVICE"


class ErrorCode(StrEnum):
    """Every error code there is (section 7 of the protocol)."""

    BAD_JSON = "bad_json"
    UNKNOWN_EVENT = "unknown_event"
    BAD_DATA = "bad_data"
    BAD_ROLE = "bad_role"
    BAD_CLIENT_ID = "bad_client_id"
    UNAUTHORIZED = "unauthorized"
    CLIENT_ID_IN_USE = "client_id_in_use"
    SERVER_FULL = "server_full"
    FORBIDDEN = "forbidden"
    ROOM_NOT_FOUND = "room_not_found"
    FEED_NOT_FOUND = "feed_not_found"
    DEVICE_NOT_FOUND = "device_not_found"
    NOT_IN_ROOM = "not_in_room"
    ALREADY_PUBLISHING = "already_publishing"
    ALREADY_SUBSCRIBED = "already_subscribed"
    BAD_SDP = "bad_sdp"
    NO_COMMON_CODEC = "no_common_codec"
    BAD_STATE = "bad_state"
    MESSAGE_TOO_BIG = "message_too_big"
    RATE_LIMITED = "rate_limited"
    INTERNAL = "internal"


class ProtocolError(Exception):
    """A message that cannot be understood; `message` is fit for the client to read."""

    def __init__(
        self, code: ErrorCode, message: str, event: str | None = None, request_id: RequestId | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.event = event
        self.request_id = request_id


# --- from clients -----------------------------------------------------------------------------------------------
# A field's description is what an error says was expected of it.


class Inbound(BaseModel):
    """What a client asks for."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    event: ClassVar[str]


RoomId = Annotated[int, Field(description="an integer")]
FeedId = Annotated[int, Field(description="an integer")]
Sdp = Annotated[str, Field(min_length=1, description="a non-empty string")]


class Auth(Inbound):
    """Show a token that the address does not hold: the first frame, before anything else is handled."""

    event = "auth"
    token: Annotated[str, Field(min_length=1, repr=False, description="a token")]


class CreateRoom(Inbound):
    """Open a room; `room_created` answers."""

    event = "create_room"


class JoinAsPublisher(Inbound):
    """Become a member of a room; `joined_as_publisher` answers."""

    event = "join_as_publisher"
    room_id: RoomId
    inviter: Annotated[str | int | None, Field(description="a string or an integer")] = None


class InviteDevices(Inbound):
    """Ask devices, or those named, to publish to a room; `devices_invited` answers."""

    event = "invite_devices"
    room_id: RoomId
    devices: Annotated[
        tuple[str | int, ...] | None,
        Field(strict=False, max_length=MAX_NAMED_DEVICES, description=f"at most {MAX_NAMED_DEVICES} device ids"),
    ] = None


class JoinAsSubscriber(Inbound):
    """Subscribe to a feed, or to some of its tracks; `offer_to_subscriber` answers."""

    event = "join_as_subscriber"
    room_id: RoomId
    feed: FeedId
    tracks: Annotated[
        tuple[str, ...] | None,
        Field(strict=False, min_length=1, max_length=MAX_NAMED_TRACKS, description=f"1 to {MAX_NAMED_TRACKS} ids"),
    ] = None


class StartReceiving(Inbound):
    """Answer an offer; without `feed` the client's oldest unanswered one. Media is the reply."""

    event = "start_receiving"
    sdp: Sdp
    feed: Annotated[int | None, Field(description="an integer")] = None


class Ice(Inbound):
    """A candidate, or the end of them. Checked and then ignored: an ICE-lite server learns addresses from checks."""

    event = "ice"
    candidate: Annotated[
        str | dict[str, Any] | None, Field(description="a candidate line, an object with one, or null")
    ] = None
    typ: Annotated[Literal["pub", "sub"] | None, Field(description='"pub" or "sub"')] = None

    @field_validator("candidate")
    @classmethod
    def _is_candidate(cls, value: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
        line = value.get("candidate") if isinstance(value, dict) else value
        if line is None or line == "":
            return value
        if not isinstance(line, str):
            raise ValueError(f"expected a candidate line, got {_json_type(line)}")  # noqa: TRY004  pydantic's way
        check_candidate(line)
        return value


class OfferFromDevice(Inbound):
    """Publish; `answer_to_client` answers."""

    event = "offer_from_device"
    sdp: Sdp


class Unpublish(Inbound):
    """End the client's publication; `unpublished` answers."""

    event = "unpublish"


class Leave(Inbound):
    """Leave one room or, without `room_id`, every room; `left` answers for each."""

    event = "leave"
    room_id: Annotated[int | None, Field(description="an integer")] = None


_BOTH = (JoinAsPublisher, OfferFromDevice, Ice, Unpublish, Leave, Auth)
_WEB = (CreateRoom, InviteDevices, JoinAsSubscriber, StartReceiving)

EVENTS: Mapping[Role, Mapping[str, type[Inbound]]] = {
    Role.WEB: {model.event: model for model in (*_WEB, *_BOTH)},
    Role.DEVICE: {model.event: model for model in _BOTH},
}
"""Which events each role has; any other is `unknown_event`."""


# --- to clients -------------------------------------------------------------------------------------------------


class Outbound(BaseModel):
    """What a client is told."""

    model_config = ConfigDict(frozen=True)
    event: ClassVar[str]


class Welcome(Outbound):
    """The first event on every socket."""

    event = "welcome"
    client_id: str
    role: Role
    resume: str | None
    """For taking the session over on a new socket; null while the server has no such thing."""
    ice_servers: tuple[dict[str, str], ...]
    protocol: int = PROTOCOL_VERSION
    server: str


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


class Track(BaseModel):
    """One track of a feed, as its publisher described it."""

    model_config = ConfigDict(frozen=True)
    id: str
    kind: Literal["audio", "video"]
    codec: str
    label: str


class StartListening(Outbound):
    """A feed's media flows and may be subscribed to. Sent once for each feed, room and WEB."""

    event = "start_listening"
    feed: int
    room_id: int
    device: str
    tracks: tuple[Track, ...]


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
    """Nobody watches a DEVICE any more: it should stop its camera."""

    event = "stop_streaming"
    room_id: int
    reason: Literal["no_viewers", "shutdown"]


class OfferToSubscriber(Outbound):
    """Answers `join_as_subscriber`."""

    event = "offer_to_subscriber"
    type: Literal["offer"] = "offer"
    sdp: str
    feed: int


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


class ConnectionLost(Outbound):
    """A media connection died while the socket lives: offer (`pub`) or subscribe (`sub`) again."""

    event = "connection_lost"
    typ: Literal["pub", "sub"]
    feed: int


class Error(Outbound):
    """What went wrong; `failed` is the event that did, on the wire `event`."""

    event = "error"
    code: ErrorCode
    message: str
    failed: str | None = None


def encode(event: Outbound, request_id: RequestId | None = None) -> str:
    """Return the JSON text of `event`, with the `id` of the request that it answers, if it had one."""
    data = event.model_dump(mode="json")
    if isinstance(event, Error):
        failed = data.pop("failed")
        if failed is not None:
            data["event"] = failed
        if request_id is not None:
            data["id"] = request_id
    message: dict[str, Any] = {"event": event.event, "data": data}
    if request_id is not None:
        message["id"] = request_id
    return json.dumps(message, separators=(",", ":"))


def decode(role: Role, text: str) -> tuple[RequestId | None, Inbound]:
    """Return the request id and the event of one text frame, or raise `ProtocolError`."""
    message = _parse(text)
    name = message.get("event")
    if not isinstance(name, str):
        raise ProtocolError(ErrorCode.BAD_JSON, f"event: expected a string, got {_json_type(name)}")
    shown = name[:MAX_ECHO_CHARS].encode("utf-8", "replace").decode()
    request_id = _request_id(message.get("id"), shown)
    model = EVENTS[role].get(name)
    if model is None:
        known = ", ".join(EVENTS[role])
        raise ProtocolError(
            ErrorCode.UNKNOWN_EVENT, f"{role} has no event {shown!r}; it has {known}", shown, request_id
        )
    data = message.get("data")
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ProtocolError(ErrorCode.BAD_DATA, f"data: expected an object, got {_json_type(data)}", name, request_id)
    try:
        return request_id, model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ProtocolError(ErrorCode.BAD_DATA, _explain(model, first), name, request_id) from None


def _parse(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ProtocolError(ErrorCode.BAD_JSON, "the message is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, or an integer with thousands of digits
        raise ProtocolError(ErrorCode.BAD_JSON, f"the message is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise ProtocolError(ErrorCode.BAD_JSON, f"the message: expected a JSON object, got {_json_type(message)}")
    return message


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _request_id(value: object, event: str) -> RequestId | None:
    """Return a request's `id`; null counts as none, as it does for `data`."""
    if value is None:
        return None
    if isinstance(value, str):
        if len(value) <= MAX_REQUEST_ID_CHARS:
            return value
        got = f"a string of {len(value)} characters"
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return value
    else:
        got = _json_type(value)
    expected = f"a number or a string of at most {MAX_REQUEST_ID_CHARS} characters"
    raise ProtocolError(ErrorCode.BAD_DATA, f"id: expected {expected}, got {got}", event)


def _explain(model: type[Inbound], error: ErrorDetails) -> str:
    """Return pydantic's finding in the protocol's words: which field, what was expected, what came."""
    field = str(error["loc"][0])
    where = field + "".join(f"[{part}]" for part in error["loc"][1:] if isinstance(part, int))
    if error["type"] == "value_error":
        return f"{where}: {error['ctx']['error']}"
    if where != field:
        return f"{where}: expected a string, got {_json_type(error['input'])}"
    got = "nothing" if error["type"] == "missing" else _json_type(error["input"])
    return f"{field}: expected {model.model_fields[field].description}, got {got}"


def _json_type(value: object) -> str:
    if isinstance(value, (str, list, dict)) and not value:
        return f"an empty {_TYPE_NAMES[type(value)].split()[-1]}"
    return _TYPE_NAMES[type(value)]


_TYPE_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a fractional number",
    str: "a string",
    list: "a list",
    dict: "an object",
}
