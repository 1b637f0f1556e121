"""Every setting of the server: one model. Each field is a flag, an environment variable and a name in a TOML file.

`config_types` has what the fields may hold, `config_sources` reads them, `config_text` shows them. Flags, help, the
example file and the table in the documentation are made from the fields.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import ifaddr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sfu import EngineSettings
from signaling.connect import DoorSettings
from signaling.registry import RegistrySettings
from signaling.rooms import RoomLimits
from signaling.session import SessionSettings
from signaling.sockets.outbox import OutboxLimits

from .types import (
    A_COUNT,
    A_FILE,
    A_GRACE,
    A_LEEWAY,
    A_PORT,
    A_SECRET,
    A_TURN_TTL,
    A_TURN_URL,
    ADDRESSES,
    AN_ICE_SERVER,
    NETWORKS,
    SOME_BYTES,
    SOME_SECONDS,
    SOME_SECTIONS,
    SOME_TRACKS,
    Addresses,
    AuthSecret,
    Bytes,
    Count,
    File,
    Files,
    Grace,
    IceServers,
    Leeway,
    LongSeconds,
    Networks,
    Origins,
    Port,
    Seconds,
    Sections,
    Tracks,
    TurnUrls,
    secret,
    setting,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_PREFIX = "AIOSFU_"


class ServerConfig(BaseModel):
    """The settings of `aiosfu serve`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: Annotated[str, Field(min_length=1)] = setting("127.0.0.1", "address to serve HTTP on", "an address or name")
    port: Port = setting(8002, "TCP port to serve HTTP on; 0 takes a free one", A_PORT)
    tls_cert: File | None = setting(
        None,
        "certificate in PEM with its chain, to serve https and wss; read again when it changes",
        A_FILE,
        "FILE",
        reload=True,
    )
    tls_key: File | None = setting(
        None, "its key in PEM; default: the certificate's file holds it, too", A_FILE, "FILE", reload=True
    )
    tls_self_signed: bool = setting(
        default=False,
        description="serve https with a certificate of the server's own, for a first try on a LAN: browsers warn once",
        allowed="true or false",
    )
    media_host: Addresses = setting(
        (), "local address for media; default: all of this machine's, and 127.0.0.1 when --host is loopback", ADDRESSES
    )
    media_port: Port = setting(8003, "port for all media, UDP and TCP; 0 takes a free one", A_PORT)
    media_tcp: bool = setting(
        default=True, description="also take media over TCP, on the same port number", allowed="true or false"
    )
    announce: Addresses = setting(
        (), "address at which clients reach the media port, when behind NAT or in a container", ADDRESSES
    )
    trusted_proxy: Networks = setting(
        (),
        "reverse proxy whose X-Forwarded-For and X-Forwarded-Proto are believed; per-address limits then count clients",
        NETWORKS,
        "NETWORK",
        reload=True,
    )
    ice_server: IceServers = setting(
        (), "STUN or TURN server that clients are told to use", AN_ICE_SERVER, "SERVER", reload=True
    )
    turn_url: TurnUrls = setting(
        (),
        "TURN server that clients get short-lived credentials for (coturn: use-auth-secret)",
        A_TURN_URL,
        "URL",
        reload=True,
    )
    turn_secret: Annotated[str, Field(min_length=1)] | None = secret("secret shared with the TURN server", "a secret")
    turn_secret_file: File | None = setting(
        None, "file with that secret; read again when it changes", A_FILE, "FILE", reload=True
    )
    # Of the draft's scheme; credentials are made at connect, and a page may stay open for a day.
    turn_ttl: LongSeconds = setting(86_400.0, "how long TURN credentials are good", A_TURN_TTL, reload=True)
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "warning", "how much to log to stderr", "debug, info, warning or error", reload=True
    )
    log_format: Literal["pretty", "json"] = setting(
        "pretty", "how to write it: for people, or one JSON object a line", "pretty or json"
    )
    demo: bool = setting(default=False, description="also start a device with a test picture", allowed="true or false")

    auth_secret: AuthSecret | None = secret(
        "secret for tokens (HS256); better given as a file, where other users do not see it", A_SECRET
    )
    auth_secret_file: Files = setting(
        (), "file with secrets for tokens (HS256), one a line; read again when it changes", A_FILE, "FILE", reload=True
    )
    auth_public_key_file: Files = setting(
        (),
        "file with PEM public keys for tokens (RS256, ES256); read again when it changes",
        A_FILE,
        "FILE",
        reload=True,
    )
    auth_audience: Annotated[str, Field(min_length=1)] | None = setting(
        None, "`aud` that tokens must have; default: tokens must have none", "a text", "TEXT", reload=True
    )
    # Phones and single-board computers without a clock battery are off by some seconds after they start.
    auth_leeway: Leeway = setting(30.0, "how far the clocks of whoever makes tokens may differ", A_LEEWAY, reload=True)
    auth_timeout: Seconds = setting(
        5.0, "time for a client to show its token in a first message", SOME_SECONDS, reload=True
    )
    allowed_origin: Origins = setting(
        (),
        "origin of web pages that may connect besides the server's own, or * for all; default: with auth all, without "
        "it those of this host and of localhost",
        "origins such as https://cams.example.org, or *",
        "ORIGIN",
        reload=True,
    )

    admin_network: Networks = setting(
        (),
        "network from which /api/v1 and /status answer without a token, with auth off; default: this machine only",
        NETWORKS,
        "NETWORK",
        reload=True,
    )
    metrics_network: Networks = setting(
        (),
        "network from which /metrics answers without an admin token; default: this machine only",
        NETWORKS,
        "NETWORK",
        reload=True,
    )

    max_sessions: Count = setting(2000, "clients connected at once", A_COUNT)
    # One address must not fill the server; many devices may share one behind NAT.
    max_sockets_per_address: Count = setting(
        1000,
        "sockets of one address (IPv6: /64) at once; all clients share that of a proxy which is not trusted",
        A_COUNT,
        reload=True,
    )
    # A restarted server gets them all back at once; each waits for its token for some milliseconds.
    max_handshakes: Count = setting(1000, "clients that may be connecting at once", A_COUNT, reload=True)
    # Each costs a file descriptor and some 10 kB. When there is no room, the greediest address loses its oldest.
    max_pending_connections: Count = setting(2000, "TCP connections at once that carry no client", A_COUNT, reload=True)
    # A page over a very slow link takes seconds.
    request_timeout: Seconds = setting(
        30.0, "time after which a TCP connection without a client or a new request is closed", SOME_SECONDS, reload=True
    )
    max_rooms: Count = setting(10_000, "rooms at once", A_COUNT, reload=True)
    max_rooms_per_client: Count = setting(16, "rooms that one WEB may open, or be in", A_COUNT, reload=True)
    max_members_per_room: Count = setting(1000, "clients in one room", A_COUNT, reload=True)
    max_feeds: Count = setting(1000, "publications at once", A_COUNT, reload=True)
    max_subscriptions_per_client: Count = setting(64, "feeds that one WEB may watch at once", A_COUNT, reload=True)
    max_tracks: Tracks = setting(16, "tracks in one publication", SOME_TRACKS)
    # Below what a message may have; 16 tracks with every codec of a browser have 160 kB.
    max_sdp_bytes: Bytes = setting(200_000, "bytes of one SDP", SOME_BYTES)
    # A track that ends leaves its m-line behind: a camera that is switched a dozen times needs as many.
    max_sdp_sections: Sections = setting(
        32, "m-lines of one SDP, those of tracks that have ended included", SOME_SECTIONS
    )
    max_message_bytes: Bytes = setting(
        256 * 1024, "bytes of one message of a client; an offer with every codec and many tracks has 100 kB", SOME_BYTES
    )
    max_peers: Count = setting(2000, "media connections at once", A_COUNT)
    rate_limit_per_second: Count = setting(100, "messages a second that one client may send", A_COUNT, reload=True)
    rate_limit_burst: Count = setting(400, "messages that one client may send at once", A_COUNT, reload=True)
    outbox_messages: Count = setting(1024, "messages that may wait for a slow or absent client", A_COUNT)
    outbox_bytes: Bytes = setting(4 * 1024 * 1024, "bytes that may wait for a slow or absent client", SOME_BYTES)
    heartbeat_interval: Seconds = setting(10.0, "time between pings", SOME_SECONDS)
    heartbeat_timeout: Seconds = setting(20.0, "time without a pong after which a client is gone", SOME_SECONDS)
    id_in_use_timeout: Seconds = setting(
        2.0, "time for a client to answer a ping before a newer one takes its id", SOME_SECONDS
    )
    resume_grace: Grace = setting(
        30.0, "time for a client whose socket closed to come back and be what it was; 0 for none", A_GRACE
    )
    # Below the ten seconds after which container managers kill.
    drain_timeout: Grace = setting(
        5.0, "time for which a server that was told to end streams on while somebody watches; 0 for none", A_GRACE
    )
    stop_grace: Grace = setting(
        5.0,
        "time for which devices stream on when nobody watches: a page reloads within it; 0 for none",
        A_GRACE,
        reload=True,
    )
    invitation_timeout: Seconds = setting(
        20.0, "time for an invited device to publish before it is reported unavailable", SOME_SECONDS, reload=True
    )
    connect_timeout: Seconds = setting(20.0, "time from an SDP to a media connection", SOME_SECONDS)
    answer_timeout: Seconds = setting(30.0, "time for a viewer to answer an offer", SOME_SECONDS)
    consent_timeout: Seconds = setting(
        30.0, "time without a packet after which a media connection is gone", SOME_SECONDS
    )
    unwanted_hold: Seconds = setting(
        3.0,
        "time that a track still counts as wanted when nobody receives it any more: a reload takes some 2 s",
        SOME_SECONDS,
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
            max_sdp_bytes=self.max_sdp_bytes,
            max_sdp_sections=self.max_sdp_sections,
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

    @model_validator(mode="after")
    def _tracks_have_sections(self) -> Self:
        if self.max_tracks > self.max_sdp_sections:
            raise ValueError(
                f"{flag_name('max_tracks')}: expected at most {flag_name('max_sdp_sections')}, "
                f"{self.max_sdp_sections}: each track has an m-line"
            )
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError(f"{flag_name('tls_key')}: expected together with {flag_name('tls_cert')}")
        if self.tls_self_signed and self.tls_cert is not None:
            raise ValueError(f"{flag_name('tls_self_signed')}: expected without {flag_name('tls_cert')}, got both")
        return self

    @property
    def serves_tls(self) -> bool:
        """Whether HTTP is https."""
        return self.tls_self_signed or self.tls_cert is not None

    def local_url(self, port: int) -> str:
        """Return what a browser on this machine opens when the server has `port`."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  compared
        return f"http{'s' if self.serves_tls else ''}://{f'[{host}]' if ':' in host else host}:{port}/"

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


def flag_name(field: str) -> str:
    """Return a field's flag, such as `--media-port`."""
    return "--" + field.replace("_", "-")


def env_name(field: str) -> str:
    """Return a field's environment variable, such as `AIOSFU_MEDIA_PORT`."""
    return ENV_PREFIX + field.upper()


def extra(field: str) -> Mapping[str, Any]:
    """Return what `config_types.setting` has noted of a field."""
    found = ServerConfig.model_fields[field].json_schema_extra
    return found if isinstance(found, dict) else {}
