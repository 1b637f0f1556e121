"""Fuzz the event decoder: whatever a client sends as a text frame is an event or a `ProtocolError`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from signaling import protocol
from signaling.protocol import EVENTS, ErrorCode, ProtocolError, Role

from .harness import Target
from .mutators import SCALARS, mutate_json

if TYPE_CHECKING:
    from random import Random

MAX_ERROR_CHARS = 600
"""Of an error's text: what a client sends must not come back whole."""
NAMES = (
    *("event", "data", "id", "room_id", "feed", "sdp", "candidate", "sdpMid", "sdpMLineIndex", "typ", "inviter"),
    *("devices", "tracks", "token", "kinds", "standing", "pub", "sub", *sorted(EVENTS[Role.WEB])),
    "candidate:1 1 udp 2130706431 127.0.0.1 50000 typ host",
)


def one_input(data: bytes) -> None:
    """Decode for both roles. Documented: `ProtocolError`, whose text is short and can be sent."""
    if len(data) > protocol.MAX_MESSAGE_BYTES:
        return  # closed by the socket, unread
    text = data.decode("utf-8", "replace")
    for role in Role:
        try:
            request_id, event = protocol.decode(role, text)
        except ProtocolError as error:
            _check_error(error)
        else:
            _check_event(role, event, request_id)


def _check_error(error: ProtocolError) -> None:
    assert len(error.message) <= MAX_ERROR_CHARS, error.message
    assert error.code in {ErrorCode.BAD_JSON, ErrorCode.BAD_DATA, ErrorCode.UNKNOWN_EVENT}
    reply = protocol.Error(code=error.code, message=error.message, failed=error.event)
    _check_sent(protocol.encode(reply, error.request_id), error.request_id)


def _check_event(role: Role, event: protocol.Inbound, request_id: protocol.RequestId | None) -> None:
    """Send again what came from a client, as it goes to others and back."""
    assert type(event) is EVENTS[role][event.event]
    if isinstance(event, protocol.JoinAsPublisher):
        streaming = protocol.StartStreaming(room_id=event.room_id, inviter=str(event.inviter))
        _check_sent(protocol.encode(streaming, request_id), request_id)
    elif isinstance(event, protocol.InviteDevices):
        named = tuple(map(str, event.devices or ()))
        invited = protocol.DevicesInvited(room_id=event.room_id, invited=(), attached=(), unavailable=named)
        _check_sent(protocol.encode(invited, request_id), request_id)


def _check_sent(text: str, request_id: object) -> None:
    text.encode()  # what a socket does
    assert json.loads(text).get("id") == request_id


def mutate(rng: Random, corpus: list[bytes]) -> bytes:
    """Change values in a client's event."""
    return mutate_json(rng, corpus, NAMES)[: protocol.MAX_MESSAGE_BYTES]


_values: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, len(SCALARS) - 1).map(SCALARS.__getitem__)
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
_events = st.fixed_dictionaries(
    {"event": st.sampled_from(sorted(EVENTS[Role.WEB]))},
    optional={"data": st.dictionaries(st.sampled_from(NAMES), _values, max_size=6) | _values, "id": _values},
)
TARGET = Target("events", one_input, mutate, (_events | _values).map(lambda value: json.dumps(value).encode()))
