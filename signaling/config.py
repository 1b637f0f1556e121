"""Every setting of the server: one model; each field is a flag and an environment variable.

A flag wins over the environment, which wins over the default. Flags and help are made from the fields.
"""

from __future__ import annotations

import argparse
import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args, get_origin
from urllib.parse import unquote

import ifaddr
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sfu import EngineSettings

from . import origins, tokens
from .connect import DoorSettings
from .outbox import OutboxLimits
from .registry import RegistrySettings
from .rooms import RoomLimits
from .session import SessionSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_PREFIX = "AIOSFU_"
MAX_LIST_ITEMS = 64
"""Addresses or ICE servers; each is sent to every client."""

MAX_TURN_TTL_SECONDS = 7 * 24 * 3600
"""A credential that is good for longer than a week is not a short-lived one."""

_ICE_SERVER = re.compile(
    r"(?P<scheme>stuns?|turns?):(?:(?P<user>[^:@]+):(?P<password>.+)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?P<port>:\d{1,5})?(?P<query>\?transport=(?:udp|tcp))?"
)


class ConfigError(Exception):
    """A setting that cannot be used; the text names it, what was given and what is allowed."""


def _split(value: object) -> object:
    """Read one string, as an environment variable is, as a list separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _address(value: object) -> str:
    return str(ipaddress.ip_address(str(value)))


def _network(value: object) -> str:
    return str(ipaddress.ip_network(str(value), strict=False))


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
Bytes = Annotated[int, Field(ge=1024, le=2**30)]

_FILE = "a file that can be read"
_PORT = "an integer from 0 to 65535"
_COUNT = "an integer from 1 to 1000000"
_GRACE = "a number of seconds from 0 to 3600"
_BYTES = "a number of bytes from 1024 to 1073741824"
_SECONDS = "a number of seconds above 0, at most 3600"
_LEEWAY = "a number of seconds from 0 to 600"
_TURN_TTL = f"a number of seconds from 60 to {MAX_TURN_TTL_SECONDS}"
_SECRET = f"at least {tokens.MIN_SECRET_BYTES} bytes; `openssl rand -hex 32` makes a good one"
_TURN = "turn:HOST:PORT or turns:HOST:PORT, with ?transport=udp or tcp if need be"
_ADDRESS = "IP addresses (in the environment separated by commas)"
_NETWORK = "addresses or networks such as 10.0.0.0/8 (in the environment separated by commas)"
_ICE = "stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT, with ?transport=udp or tcp if need be"


def _setting(default: Any, description: str, allowed: str, metavar: str | None = None) -> Any:  # noqa: ANN401  as pydantic.Field itself
    extra: dict[str, Any] = {"allowed": allowed} | ({} if metavar is None else {"metavar": metavar})
    return Field(default=default, description=description, json_schema_extra=extra)


def _secret(description: str, allowed: str) -> Any:  # noqa: ANN401  as above
    """Return a setting whose value is shown nowhere."""
    extra: dict[str, Any] = {"allowed": allowed, "metavar": "SECRET", "secret": True}
    return Field(default=None, description=description, repr=False, json_schema_extra=extra)


class ServerConfig(BaseModel):
    """The settings of `aiosfu serve`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: Annotated[str, Field(min_length=1)] = _setting("127.0.0.1", "address to serve HTTP on", "an address or name")
    port: Port = _setting(8002, "TCP port to serve HTTP on; 0 takes a free one", _PORT)
    media_host: Addresses = _setting(
        (), "local address for media; default: all of this machine's, and 127.0.0.1 when --host is loopback", _ADDRESS
    )
    media_port: Port = _setting(8003, "port for all media, UDP and TCP; 0 takes a free one", _PORT)
    media_tcp: bool = _setting(
        default=True, description="also take media over TCP, on the same port number", allowed="true or false"
    )
    announce: Addresses = _setting(
        (), "address at which clients reach the media port, when behind NAT or in a container", _ADDRESS
    )
    ice_server: IceServers = _setting((), "STUN or TURN server that clients are told to use", _ICE, "SERVER")
    turn_url: TurnUrls = _setting(
        (), "TURN server that clients get short-lived credentials for (coturn: use-auth-secret)", _TURN, "URL"
    )
    turn_secret: Annotated[str, Field(min_length=1)] | None = _secret("secret shared with the TURN server", "a secret")
    turn_secret_file: File | None = _setting(None, "file with that secret; read again when it changes", _FILE, "FILE")
    # Of the draft's scheme; credentials are made at connect, and a page may stay open for a day.
    turn_ttl: LongSeconds = _setting(86_400.0, "how long TURN credentials are good", _TURN_TTL)
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "warning", "how much to log to stderr", "debug, info, warning or error"
    )
    log_format: Literal["pretty", "json"] = _setting(
        "pretty", "how to write it: for people, or one JSON object a line", "pretty or json"
    )
    demo: bool = _setting(default=False, description="also start a device with a test picture", allowed="true or false")

    auth_secret: AuthSecret | None = _secret(
        "secret for tokens (HS256); better given as a file, where other users do not see it", _SECRET
    )
    auth_secret_file: Files = _setting(
        (), "file with secrets for tokens (HS256), one a line; read again when it changes", _FILE, "FILE"
    )
    auth_public_key_file: Files = _setting(
        (), "file with PEM public keys for tokens (RS256, ES256); read again when it changes", _FILE, "FILE"
    )
    auth_audience: Annotated[str, Field(min_length=1)] | None = _setting(
        None, "`aud` that tokens must have; default: tokens must have none", "a text", "TEXT"
    )
    # Phones and single-board computers without a clock battery are off by some seconds after they start.
    auth_leeway: Leeway = _setting(30.0, "how far the clocks of whoever makes tokens may differ", _LEEWAY)
    auth_timeout: Seconds = _setting(5.0, "time for a client to show its token in a first message", _SECONDS)
    allowed_origin: Origins = _setting(
        (),
        "origin of web pages that may connect besides the server's own, or * for all; default: with auth all, without "
        "it those of this host and of localhost",
        "origins such as https://cams.example.org, or *",
        "ORIGIN",
    )

    admin_network: Networks = _setting(
        (),
        "network from which /api/v1 and /status answer without a token, with auth off; default: this machine only",
        _NETWORK,
        "NETWORK",
    )
    metrics_network: Networks = _setting(
        (),
        "network from which /metrics answers without an admin token; default: this machine only",
        _NETWORK,
        "NETWORK",
    )

    max_sessions: Count = _setting(2000, "clients connected at once", _COUNT)
    # One address must not fill the server; many devices may share one behind NAT.
    max_sockets_per_address: Count = _setting(
        1000, "sockets of one address (IPv6: /64) at once; behind a proxy all clients share its address", _COUNT
    )
    # A restarted server gets them all back at once; each waits for its token for some milliseconds.
    max_handshakes: Count = _setting(1000, "clients that may be connecting at once", _COUNT)
    # Each costs a file descriptor and some 10 kB. When there is no room, the greediest address loses its oldest.
    max_pending_connections: Count = _setting(2000, "TCP connections at once that carry no client", _COUNT)
    # A page over a very slow link takes seconds.
    request_timeout: Seconds = _setting(
        30.0, "time after which a TCP connection without a client or a new request is closed", _SECONDS
    )
    max_rooms: Count = _setting(10_000, "rooms at once", _COUNT)
    max_rooms_per_client: Count = _setting(16, "rooms that one WEB may open, or be in", _COUNT)
    max_members_per_room: Count = _setting(1000, "clients in one room", _COUNT)
    max_feeds: Count = _setting(1000, "publications at once", _COUNT)
    max_subscriptions_per_client: Count = _setting(64, "feeds that one WEB may watch at once", _COUNT)
    max_tracks: Annotated[int, Field(ge=1, le=64)] = _setting(
        16, "tracks in one publication", "an integer from 1 to 64"
    )
    max_message_bytes: Bytes = _setting(
        256 * 1024, "bytes of one message of a client; an offer with every codec and many tracks has 100 kB", _BYTES
    )
    max_peers: Count = _setting(2000, "media connections at once", _COUNT)
    rate_limit_per_second: Count = _setting(100, "messages a second that one client may send", _COUNT)
    rate_limit_burst: Count = _setting(400, "messages that one client may send at once", _COUNT)
    outbox_messages: Count = _setting(1024, "messages that may wait for a slow or absent client", _COUNT)
    outbox_bytes: Bytes = _setting(4 * 1024 * 1024, "bytes that may wait for a slow or absent client", _BYTES)
    heartbeat_interval: Seconds = _setting(10.0, "time between pings", _SECONDS)
    heartbeat_timeout: Seconds = _setting(20.0, "time without a pong after which a client is gone", _SECONDS)
    id_in_use_timeout: Seconds = _setting(
        2.0, "time for a client to answer a ping before a newer one takes its id", _SECONDS
    )
    resume_grace: Grace = _setting(
        30.0, "time for a client whose socket closed to come back and be what it was; 0 for none", _GRACE
    )
    # Below the ten seconds after which container managers kill.
    drain_timeout: Grace = _setting(
        5.0, "time for which a server that was told to end streams on while somebody watches; 0 for none", _GRACE
    )
    stop_grace: Grace = _setting(
        5.0, "time for which devices stream on when nobody watches: a page reloads within it; 0 for none", _GRACE
    )
    invitation_timeout: Seconds = _setting(
        20.0, "time for an invited device to publish before it is reported unavailable", _SECONDS
    )
    connect_timeout: Seconds = _setting(20.0, "time from an SDP to a media connection", _SECONDS)
    answer_timeout: Seconds = _setting(30.0, "time for a viewer to answer an offer", _SECONDS)
    consent_timeout: Seconds = _setting(30.0, "time without a packet after which a media connection is gone", _SECONDS)
    unwanted_hold: Seconds = _setting(
        3.0,
        "time that a track still counts as wanted when nobody receives it any more: a reload takes some 2 s",
        _SECONDS,
    )

    def engine_settings(self) -> EngineSettings:
        """Return the media side's share."""
        return EngineSettings(
            hosts=self._media_hosts(),
            port=self.media_port,
            tcp=self.media_tcp,
            announce=self.announce,
            connect_timeout=self.connect_timeout,
            answer_timeout=self.answer_timeout,
            consent_timeout=self.consent_timeout,
            unwanted_hold=self.unwanted_hold,
            max_peers=self.max_peers,
            max_tracks=self.max_tracks,
            max_sdp_bytes=self.max_message_bytes,
        )

    def room_limits(self) -> RoomLimits:
        """Return the rooms' share."""
        return RoomLimits(
            rooms=self.max_rooms,
            rooms_per_client=self.max_rooms_per_client,
            members_per_room=self.max_members_per_room,
            feeds=self.max_feeds,
            subscriptions_per_client=self.max_subscriptions_per_client,
            stop_grace_seconds=self.stop_grace,
            invitation_seconds=self.invitation_timeout,
            resume_grace_seconds=self.resume_grace,
        )

    def registry_settings(self, *, newest_wins: bool = False) -> RegistrySettings:
        """Return what decides who may connect and come back; `newest_wins` where tokens say whose an id is."""
        return RegistrySettings(
            max_sessions=self.max_sessions,
            probe_seconds=self.id_in_use_timeout,
            newest_wins=newest_wins,
            grace_seconds=self.resume_grace,
            outbox=OutboxLimits(self.outbox_messages, self.outbox_bytes, retain=self.resume_grace > 0),
        )

    def session_settings(self) -> SessionSettings:
        """Return the sessions' share."""
        return SessionSettings(
            rate_per_second=self.rate_limit_per_second,
            burst_messages=self.rate_limit_burst,
            max_message_bytes=self.max_message_bytes,
            heartbeat_interval_seconds=self.heartbeat_interval,
            heartbeat_timeout_seconds=self.heartbeat_timeout,
        )

    def door_settings(self) -> DoorSettings:
        """Return the share of the way in."""
        return DoorSettings(
            auth_timeout_seconds=self.auth_timeout,
            max_handshakes=self.max_handshakes,
            max_sockets_per_address=self.max_sockets_per_address,
            allowed_origins=self.allowed_origin,
        )

    @model_validator(mode="after")
    def _turn_is_whole(self) -> Self:
        secrets = [secret for secret in (self.turn_secret, self.turn_secret_file) if secret is not None]
        if len(secrets) != (1 if self.turn_url else 0):
            raise ValueError(
                f"{flag_name('turn_url')}: expected together with either {flag_name('turn_secret')} or "
                f"{flag_name('turn_secret_file')}"
            )
        return self

    def _media_hosts(self) -> tuple[str, ...]:
        given = [host for host in self.media_host if not ipaddress.ip_address(host).is_unspecified]
        if given and len(given) == len(self.media_host):
            return tuple(given)
        found = [*given, *machine_addresses()]
        if is_loopback(self.host) or not found:
            found.insert(0, "127.0.0.1")
        return tuple(dict.fromkeys(found))


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine and nothing else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def machine_addresses() -> list[str]:
    """Return the machine's IPv4 and global IPv6 addresses that another machine could reach."""
    found: list[str] = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            address = ipaddress.ip_address(text)
            unusable = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
            if not unusable and (address.version == 4 or address.is_global):
                found.append(text)
    return found


# --- from the command line and the environment ----------------------------------------------------------------------


def flag_name(field: str) -> str:
    """Return a field's flag, such as `--media-port`."""
    return "--" + field.replace("_", "-")


def env_name(field: str) -> str:
    """Return a field's environment variable, such as `AIOSFU_MEDIA_PORT`."""
    return ENV_PREFIX + field.upper()


_NEVER_EMPTY = ("auth_secret", "auth_secret_file", "auth_public_key_file")
"""An empty variable counts as none; for these a typing error elsewhere (`$UNSET`) would open the server to all."""
_METAVARS: Mapping[object, str] = {int: "NUMBER", float: "SECONDS", str: "ADDRESS"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every field. What is not given is absent from the result."""
    for name, field in ServerConfig.model_fields.items():
        options: dict[str, Any] = {
            "dest": name,
            "default": argparse.SUPPRESS,
            "help": f"{field.description} ({_default_text(field.default)}{env_name(name)})",
        }
        if field.annotation is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif get_origin(field.annotation) is tuple:
            options |= {"action": "append", "metavar": _extra(name).get("metavar", "ADDRESS")}
        elif get_origin(field.annotation) is Literal:
            options["metavar"] = "|".join(get_args(field.annotation))
        else:
            options["metavar"] = _extra(name).get("metavar") or _METAVARS.get(field.annotation, "VALUE")
        parser.add_argument(flag_name(name), **options)


def load(flags: Mapping[str, object], environ: Mapping[str, str]) -> ServerConfig:
    """Return the settings, or raise `ConfigError` for the first that cannot be used."""
    values: dict[str, object] = {}
    for name in ServerConfig.model_fields:
        if name in flags:
            values[name] = flags[name]
        elif environ.get(env_name(name)):
            values[name] = environ[env_name(name)]
        elif env_name(name) in environ and name in _NEVER_EMPTY:
            raise ConfigError(f"{env_name(name)}: it is empty, which would turn auth off; unset it if that is meant")
    try:
        return ServerConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            raise ConfigError(str(first["ctx"]["error"])) from None
        raise ConfigError(_explain(str(first["loc"][0]), first["input"])) from None


def _explain(name: str, given: object) -> str:
    extra = _extra(name)
    # A password must not end up on a screen or in a log.
    shown = "***" if "secret" in extra else re.sub(r"(turns?:).*@", r"\1***@", str(given))
    return f"{flag_name(name)} ({env_name(name)}): got {shown!r}, expected {extra['allowed']}"


def _extra(name: str) -> Mapping[str, Any]:
    extra = ServerConfig.model_fields[name].json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _default_text(default: object) -> str:
    return "" if default in ((), False, None) else f"default {default}; "
