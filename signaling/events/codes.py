"""The words that both directions of the wire protocol share: roles, error codes, sizes. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Literal

PROTOCOL_VERSION = 1

MAX_MESSAGE_BYTES = 256 * 1024
"""One frame; an SDP with every codec and sixteen tracks is some 100 kB."""
MAX_REQUEST_ID_CHARS = 128
"""A UUID has 36; the id is repeated in every reply."""
MAX_REQUEST_ID_BITS = 64
"""Of an id that is an integer; JavaScript's have 53. One of thousands of bits is no float and cannot be sent back."""
MAX_NAMED_DEVICES = 256
"""Devices one invitation may name."""
MAX_NAMED_TRACKS = 64
"""Tracks one subscription may name; far above what a publication may have."""
CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
CLIENT_ID_EXPECTED = "1 to 64 letters, digits, dots, underscores, tildes or dashes"
MAX_ECHO_CHARS = 64
"""As much of an unknown event's name as an error repeats."""

RequestId = str | int | float
Kind = Literal["audio", "video"]


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
