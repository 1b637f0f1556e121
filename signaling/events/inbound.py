"""Every event that a client may send, as a value. Pure.

A field's description is what an error says was expected of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .candidates import check_candidate
from .codes import MAX_NAMED_DEVICES, MAX_NAMED_TRACKS, MAX_REQUEST_ID_BITS, Kind, Role

if TYPE_CHECKING:
    from collections.abc import Mapping


class Inbound(BaseModel):
    """What a client asks for."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    event: ClassVar[str]


# Lists fail_fast: an error made of each of 100,000 wrong items takes 0.2 s.
_LOWEST, _HIGHEST = -(1 << MAX_REQUEST_ID_BITS - 1), (1 << MAX_REQUEST_ID_BITS - 1) - 1
RoomId = Annotated[int, Field(ge=_LOWEST, le=_HIGHEST, description="an integer")]
"""Bounded, as an error repeats a room that is not there, and JSON's integers may have thousands of digits."""
FeedId = Annotated[int, Field(ge=_LOWEST, le=_HIGHEST, description="an integer")]
Kinds = Annotated[
    tuple[Kind, ...] | None,
    Field(strict=False, min_length=1, max_length=2, fail_fast=True, description='a list of "audio", "video" or both'),
]
Sdp = Annotated[str, Field(min_length=1, description="a non-empty string")]
Name = Annotated[str, Field(min_length=0)]
"""With any constraint pydantic refuses half a surrogate pair, which could be sent to nobody."""


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
    inviter: Annotated[Name | int | None, Field(description="a string or an integer")] = None


class InviteDevices(Inbound):
    """Ask devices, or those named, to publish to a room; `devices_invited` answers."""

    event = "invite_devices"
    room_id: RoomId
    devices: Annotated[
        tuple[Name | int, ...] | None,
        Field(
            strict=False,
            max_length=MAX_NAMED_DEVICES,
            fail_fast=True,
            description=f"at most {MAX_NAMED_DEVICES} device ids",
        ),
    ] = None
    standing: Annotated[bool, Field(description="true or false")] = False
    """Also those of them that come online later, for as long as the room lives."""


class ListDevices(Inbound):
    """Ask which devices are online; `devices` answers."""

    event = "list_devices"


class JoinAsSubscriber(Inbound):
    """Subscribe to a feed, or to some of its tracks; `offer_to_subscriber` answers."""

    event = "join_as_subscriber"
    room_id: RoomId
    feed: FeedId
    tracks: Annotated[
        tuple[Name, ...] | None,
        Field(
            strict=False,
            min_length=1,
            max_length=MAX_NAMED_TRACKS,
            fail_fast=True,
            description=f"1 to {MAX_NAMED_TRACKS} track ids",
        ),
    ] = None


class StartReceiving(Inbound):
    """Answer an offer; without `feed` the client's oldest unanswered one. Media is the reply."""

    event = "start_receiving"
    sdp: Sdp
    feed: Annotated[FeedId | None, Field(description="an integer")] = None


class StopReceiving(Inbound):
    """End the client's subscription to a feed; `stopped_receiving` answers."""

    event = "stop_receiving"
    feed: FeedId


class PauseReceiving(Inbound):
    """Send no more of a feed's sound, picture or both, without renegotiation; `receiving_changed` answers."""

    event = "pause_receiving"
    feed: FeedId
    kinds: Kinds = None


class ResumeReceiving(Inbound):
    """Send again what was paused; `receiving_changed` answers."""

    event = "resume_receiving"
    feed: FeedId
    kinds: Kinds = None


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
            raise ValueError(f"expected a candidate line, got {json_type(line)}")  # noqa: TRY004  pydantic's way
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
    room_id: Annotated[RoomId | None, Field(description="an integer")] = None


class Ping(Inbound):
    """Ask for a sign of life; `pong` answers. For browsers, whose scripts can send no WebSocket ping."""

    event = "ping"


_BOTH = (JoinAsPublisher, OfferFromDevice, Ice, Unpublish, Leave, Auth, Ping)
_WEB = (
    CreateRoom,
    InviteDevices,
    ListDevices,
    JoinAsSubscriber,
    StartReceiving,
    StopReceiving,
    PauseReceiving,
    ResumeReceiving,
)

EVENTS: Mapping[Role, Mapping[str, type[Inbound]]] = {
    Role.WEB: {model.event: model for model in (*_WEB, *_BOTH)},
    Role.DEVICE: {model.event: model for model in _BOTH},
}
"""Which events each role has; any other is `unknown_event`."""


def json_type(value: object) -> str:
    """Return what JSON calls a value, with its article."""
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
