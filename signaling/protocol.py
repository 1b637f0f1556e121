"""The wire protocol: every event as a value (`inbound`, `outbound`), and the way from and to JSON text.

Pure: no I/O, no clock. A client written against the published document must work with what is accepted and sent
here; events and fields beyond that document are additions which such a client ignores.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError

from .events.codes import (
    MAX_ECHO_CHARS,
    MAX_MESSAGE_BYTES,
    MAX_NAMED_DEVICES,
    MAX_NAMED_TRACKS,
    MAX_REQUEST_ID_BITS,
    MAX_REQUEST_ID_CHARS,
    PROTOCOL_VERSION,
    ErrorCode,
    Kind,
    RequestId,
    Role,
)
from .events.inbound import (
    EVENTS,
    Auth,
    CreateRoom,
    Ice,
    Inbound,
    InviteDevices,
    JoinAsPublisher,
    JoinAsSubscriber,
    Leave,
    ListDevices,
    OfferFromDevice,
    PauseReceiving,
    Ping,
    ResumeReceiving,
    StartReceiving,
    StopReceiving,
    Unpublish,
    json_type,
)
from .events.outbound import (
    AnswerToClient,
    ConnectionLost,
    DeviceOffline,
    DeviceOnline,
    Devices,
    DevicesInvited,
    DeviceStatus,
    DevicesUnavailable,
    EndReason,
    Error,
    JoinedAsPublisher,
    Left,
    OfferToSubscriber,
    Outbound,
    Pong,
    ReceivingChanged,
    Resumed,
    RoomClosed,
    RoomCreated,
    RoomFeeds,
    ServerDraining,
    StartListening,
    StartStreaming,
    StopListening,
    StoppedReceiving,
    StopStreaming,
    Track,
    TracksChanged,
    TracksWanted,
    Unpublished,
    Welcome,
)

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "EVENTS",
    "MAX_ECHO_CHARS",
    "MAX_MESSAGE_BYTES",
    "MAX_NAMED_DEVICES",
    "MAX_NAMED_TRACKS",
    "MAX_REQUEST_ID_CHARS",
    "PROTOCOL_VERSION",
    "AnswerToClient",
    "Auth",
    "ConnectionLost",
    "CreateRoom",
    "DeviceOffline",
    "DeviceOnline",
    "DeviceStatus",
    "Devices",
    "DevicesInvited",
    "DevicesUnavailable",
    "EndReason",
    "Error",
    "ErrorCode",
    "Ice",
    "Inbound",
    "InviteDevices",
    "JoinAsPublisher",
    "JoinAsSubscriber",
    "JoinedAsPublisher",
    "Kind",
    "Leave",
    "Left",
    "ListDevices",
    "OfferFromDevice",
    "OfferToSubscriber",
    "Outbound",
    "PauseReceiving",
    "Ping",
    "Pong",
    "ProtocolError",
    "ReceivingChanged",
    "RequestId",
    "ResumeReceiving",
    "Resumed",
    "Role",
    "RoomClosed",
    "RoomCreated",
    "RoomFeeds",
    "ServerDraining",
    "StartListening",
    "StartReceiving",
    "StartStreaming",
    "StopListening",
    "StopReceiving",
    "StopStreaming",
    "StoppedReceiving",
    "Track",
    "TracksChanged",
    "TracksWanted",
    "Unpublish",
    "Unpublished",
    "Welcome",
    "decode",
    "encode",
]


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


def encode(event: Outbound, request_id: RequestId | None = None) -> str:
    """Return the JSON text of `event`, with the `id` of the request that it answers, if it had one."""
    if isinstance(event, Error):
        data = json.dumps(_error_data(event, request_id), separators=(",", ":"))
    else:  # pydantic's own JSON: a list of ten thousand devices takes milliseconds
        data = event.model_dump_json(exclude_none=event.omits_none)
    end = "" if request_id is None else f',"id":{json.dumps(request_id)}'
    return f'{{"event":"{event.event}","data":{data}{end}}}'


def _error_data(event: Error, request_id: RequestId | None) -> dict[str, Any]:
    data: dict[str, Any] = {"code": event.code, "message": event.message}
    if event.failed is not None:
        data["event"] = event.failed
    if request_id is not None:
        data["id"] = request_id
    return data


def decode(role: Role, text: str) -> tuple[RequestId | None, Inbound]:
    """Return the request id and the event of one text frame, or raise `ProtocolError`."""
    message = _parse(text)
    name = message.get("event")
    if not isinstance(name, str):
        raise ProtocolError(ErrorCode.BAD_JSON, f"event: expected a string, got {json_type(name)}")
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
        raise ProtocolError(ErrorCode.BAD_DATA, f"data: expected an object, got {json_type(data)}", name, request_id)
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
        raise ProtocolError(ErrorCode.BAD_JSON, f"the message: expected a JSON object, got {json_type(message)}")
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
    elif isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() <= MAX_REQUEST_ID_BITS:
            return value
        got = f"an integer of {value.bit_length()} bits, more than {MAX_REQUEST_ID_BITS}"
    elif isinstance(value, float) and math.isfinite(value):
        return value
    else:
        got = json_type(value)
    expected = f"a number or a string of at most {MAX_REQUEST_ID_CHARS} characters"
    raise ProtocolError(ErrorCode.BAD_DATA, f"id: expected {expected}, got {got}", event)


def _explain(model: type[Inbound], error: ErrorDetails) -> str:
    """Return pydantic's finding in the protocol's words: which field, what was expected, what came."""
    field = str(error["loc"][0])
    where = field + "".join(f"[{part}]" for part in error["loc"][1:] if isinstance(part, int))
    if error["type"] == "value_error":
        return f"{where}: {error['ctx']['error']}"
    if error["type"] == "string_unicode":
        return f"{where}: expected text, got half of a surrogate pair"
    if error["type"] == "literal_error" and where != field:
        return f"{where}: expected {error['ctx']['expected']}, got {json_type(error['input'])}"
    if where != field:
        return f"{where}: expected a string, got {json_type(error['input'])}"
    if error["type"] in {"greater_than_equal", "less_than_equal"}:
        return f"{field}: expected an integer of at most {MAX_REQUEST_ID_BITS} bits, got a larger one"
    got = "nothing" if error["type"] == "missing" else json_type(error["input"])
    if error["type"] == "too_long":
        got = f"{got} of {len(error['input'])}"
    return f"{field}: expected {model.model_fields[field].description}, got {got}"
