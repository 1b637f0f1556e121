"""What a setting may hold: the types of `config.ServerConfig`'s fields, and how one is described. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field

from signaling import tokens
from signaling.sockets import origins

MAX_LIST_ITEMS = 64
"""Addresses or ICE servers; each is sent to every client."""

MAX_TURN_TTL_SECONDS = 7 * 24 * 3600
"""A credential that is good for longer than a week is not a short-lived one."""

_ICE_SERVER = re.compile(
    r"(?P<scheme>stuns?|turns?):(?:(?P<user>[^:@]+):(?P<password>.+)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?P<port>:\d{1,5})?(?P<query>\?transport=(?:udp|tcp))?"
)


def _split(value: object) -> object:
    """Read one string, as an environment variable is, as a list separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _address(value: object) -> str:
    return str(ipaddress.ip_address(str(value)))


def _origin(value: object) -> str:
    return origins.read_origin(str(value))


def _turn_url(value: object) -> str:
    match = _ICE_SERVER.fullmatch(str(value))
    if match is None or not match["scheme"].startswith("turn") or match["user"] is not None:
        raise ValueError("not a TURN URL")
    return str(value)


def _auth_secret(value: str) -> str:
    tokens.secret_key(value)
    return value


def _ice_server(value: object) -> dict[str, str]:
    """Return an RTCIceServer dictionary (W3C WebRTC section 4.2.3) for `stun:...` or `turn:user:password@...`."""
    match = _ICE_SERVER.fullmatch(str(value))
    if match is None or match["scheme"].startswith("turn") != (match["user"] is not None):
        raise ValueError("not an ICE server")
    server = {"urls": f"{match['scheme']}:{match['host']}{match['port'] or ''}{match['query'] or ''}"}
    if match["user"] is not None:
        server |= {"username": unquote(match["user"]), "credential": unquote(match["password"])}
    return server


def _network(value: object) -> str:
    return str(ipaddress.ip_network(str(value), strict=False))


Addresses = Annotated[
    tuple[Annotated[str, BeforeValidator(_address)], ...], BeforeValidator(_split), Field(max_length=MAX_LIST_ITEMS)
]
Networks = Annotated[
    tuple[Annotated[str, BeforeValidator(_network)], ...], BeforeValidator(_split), Field(max_length=MAX_LIST_ITEMS)
]
IceServers = Annotated[
    tuple[Annotated[dict[str, str], BeforeValidator(_ice_server)], ...],
    BeforeValidator(_split),
    Field(max_length=MAX_LIST_ITEMS, repr=False),
]
Origins = Annotated[
    tuple[Annotated[str, BeforeValidator(_origin)], ...], BeforeValidator(_split), Field(max_length=MAX_LIST_ITEMS)
]
TurnUrls = Annotated[
    tuple[Annotated[str, BeforeValidator(_turn_url)], ...], BeforeValidator(_split), Field(max_length=MAX_LIST_ITEMS)
]
Files = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_split),
    Field(min_length=1, max_length=tokens.MAX_KEYS),
]
File = Annotated[str, Field(min_length=1)]
AuthSecret = Annotated[str, AfterValidator(_auth_secret)]
Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Leeway = Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]
LongSeconds = Annotated[float, Field(ge=60, le=MAX_TURN_TTL_SECONDS, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Grace = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Tracks = Annotated[int, Field(ge=1, le=64)]
Sections = Annotated[int, Field(ge=1, le=128)]
Bytes = Annotated[int, Field(ge=1024, le=2**30)]

A_FILE = "a file that can be read"
A_PORT = "an integer from 0 to 65535"
A_COUNT = "an integer from 1 to 1000000"
A_GRACE = "a number of seconds from 0 to 3600"
SOME_BYTES = "a number of bytes from 1024 to 1073741824"
SOME_TRACKS = "an integer from 1 to 64"
SOME_SECTIONS = "an integer from 1 to 128"
SOME_SECONDS = "a number of seconds above 0, at most 3600"
A_LEEWAY = "a number of seconds from 0 to 600"
A_TURN_TTL = f"a number of seconds from 60 to {MAX_TURN_TTL_SECONDS}"
A_SECRET = f"at least {tokens.MIN_SECRET_BYTES} bytes; `openssl rand -hex 32` makes a good one"
A_TURN_URL = "turn:HOST:PORT or turns:HOST:PORT, with ?transport=udp or tcp if need be"
ADDRESSES = "IP addresses (in the environment separated by commas)"
NETWORKS = "addresses or networks such as 10.0.0.0/8 (in the environment separated by commas)"
AN_ICE_SERVER = "stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT, with ?transport=udp or tcp if need be"


def setting(
    default: Any,  # noqa: ANN401  as pydantic.Field itself
    description: str,
    allowed: str,
    metavar: str | None = None,
    *,
    reload: bool = False,
) -> Any:  # noqa: ANN401  as above
    """Return a field; `allowed` is what an error says is expected, `reload` that SIGHUP changes it."""
    extra: dict[str, Any] = {"allowed": allowed, "reload": reload} | ({} if metavar is None else {"metavar": metavar})
    return Field(default=default, description=description, json_schema_extra=extra)


def secret(description: str, allowed: str) -> Any:  # noqa: ANN401  as above
    """Return a field whose value is shown nowhere."""
    extra: dict[str, Any] = {"allowed": allowed, "metavar": "SECRET", "secret": True, "reload": True}
    return Field(default=None, description=description, repr=False, json_schema_extra=extra)
