"""Open one WebSocket to the server: who connects where, and what the server says first."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import aiohttp

from signaling.events.codes import CLIENT_ID

from .errors import CertificateError, ClientError, ConnectError
from .event import Event, parse_event

CONNECT_TIMEOUT_SECONDS = 10.0
"""For TCP, the upgrade and `welcome` together."""
HEARTBEAT_SECONDS = 10.0
"""Ping interval. A server that does not answer within half of it is gone, so a dead one is noticed in 15 s."""
CLOSE_TIMEOUT_SECONDS = 0.5
"""For the closing handshake: programs are to end within two seconds."""
MAX_MESSAGE_BYTES = 1024 * 1024
"""Largest message taken; an offer with many tracks has some 100 kB."""

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_MARK = b"resumed?"

Token = str | Callable[[], str]
"""An auth token, or a function that returns one for each attempt to connect: tokens expire."""


@dataclass(frozen=True, slots=True)
class Address:
    """Who connects where. Its representation leaves the token out."""

    server: str
    role: str
    client_id: str
    token: Token = field(default="", repr=False)
    token_in_url: bool = False
    """For servers that know the token in the path only; proxies on the way will log it."""

    tls_fingerprint: str = ""
    """SHA-256 of the only certificate that is accepted, as hexadecimal digits; "" takes what the system trusts."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.server)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise ValueError(f"server address {self.server!r}: expected something like ws://127.0.0.1:8002")
        if not CLIENT_ID.fullmatch(self.client_id):
            raise ValueError(
                f"client id {self.client_id!r}: expected 1 to 64 of the letters a-z and A-Z, digits, and . _ ~ -"
            )

        digits = self.tls_fingerprint.replace(":", "")
        if digits and not re.fullmatch("[0-9A-Fa-f]{64}", digits):
            raise ValueError(
                f"TLS fingerprint {self.tls_fingerprint!r}: expected the 64 hexadecimal digits of a SHA-256"
            )

    @property
    def tls(self) -> bool | aiohttp.Fingerprint:
        """What aiohttp calls `ssl`."""
        digits = self.tls_fingerprint.replace(":", "")
        return aiohttp.Fingerprint(bytes.fromhex(digits)) if digits else True

    @property
    def where(self) -> str:
        """The server's host and port, for people."""
        return urlsplit(self.server).netloc.rpartition("@")[2]

    def url(self, resume: Resume | None = None) -> str:
        """Return the WebSocket's URL."""
        parts = urlsplit(self.server)
        base = f"{_SCHEMES[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}"
        token = self._token() if self.token_in_url else ""
        tail = f"/{quote(token, safe='')}" if token else ""
        query = f"?resume={quote(resume.secret, safe='')}&received={resume.received}" if resume is not None else ""
        return f"{base}/ws/connect/{self.role}/{self.client_id}{tail}{query}"

    def headers(self) -> dict[str, str]:
        """Return the request headers, with the token where it belongs into one."""
        token = "" if self.token_in_url else self._token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _token(self) -> str:
        return self.token() if callable(self.token) else self.token


class Resume(NamedTuple):
    """What takes a session over on a new socket."""

    secret: str
    """The `resume` of the last `welcome`."""
    received: int
    """Messages that came on the session so far, so that the server knows what was lost with the old socket."""


@dataclass(frozen=True, slots=True)
class Dialed:
    """A socket that the server has welcomed."""

    socket: aiohttp.ClientWebSocketResponse
    welcome: Event
    resumed: Event | None = None
    """Set when the session that was asked for goes on."""
    first: Event | None = None
    """What came where `resumed` was expected, to be handled before anything else."""

    @property
    def local_host(self) -> str | None:
        """The address on this machine that the socket uses: it changes with the network."""
        name = self.socket.get_extra_info("sockname")
        return name[0] if isinstance(name, tuple) and name else None


def random_client_id(prefix: str) -> str:
    """Return an id that no other client has."""
    return f"{prefix}-{secrets.token_hex(4)}"


async def dial(http: aiohttp.ClientSession, address: Address, resume: Resume | None = None) -> Dialed:
    """Connect and wait for `welcome`, and for `resumed` if a session is to be taken over.

    Raises `ServerError` when the server refuses (its code says why) and `ConnectError` when it cannot be reached.
    """
    socket: aiohttp.ClientWebSocketResponse | None = None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            socket = await http.ws_connect(
                address.url(resume),
                ssl=address.tls,
                headers=address.headers(),
                heartbeat=HEARTBEAT_SECONDS,
                autoping=False,  # a pong tells that all the server had to say before it has come
                max_msg_size=MAX_MESSAGE_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_SECONDS),
            )
            welcome = await _welcome(socket, address.where)
            if resume is None:
                return Dialed(socket, welcome)
            await socket.ping(_MARK)
            first = await _next_event(socket, address.where)
            if first is not None and first.name == "resumed":
                return Dialed(socket, welcome, resumed=first)
            return Dialed(socket, welcome, first=first)
    except BaseException as error:
        if socket is not None:
            await socket.close()
        # aiohttp's own texts repeat the URL, and with it the secrets in it.
        where = address.where
        if isinstance(error, aiohttp.WSServerHandshakeError):
            raise ConnectError(f"{where} answered with HTTP status {error.status}: not an aiosfu server?") from None
        if isinstance(error, aiohttp.ServerFingerprintMismatch):
            raise CertificateError(f"{where} has another certificate than the one with the given fingerprint") from None
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            why = getattr(error.certificate_error, "verify_message", None) or "it does not verify"
            raise CertificateError(f"the certificate of {where} is not to be trusted: {why}") from None
        if isinstance(error, TimeoutError):
            raise ConnectError(f"{where} did not answer within {CONNECT_TIMEOUT_SECONDS:.0f} s") from None
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):
            raise ConnectError(f"cannot connect to {where}: {network_reason(error)}") from None
        raise


async def _welcome(socket: aiohttp.ClientWebSocketResponse, where: str) -> Event:
    event = await _next_event(socket, where)
    if event is None or event.name != "welcome":
        said = "a pong" if event is None else repr(event.name)
        raise ConnectError(f"{where} began with {said} instead of 'welcome': not an aiosfu server?")
    return event


async def _next_event(socket: aiohttp.ClientWebSocketResponse, where: str) -> Event | None:
    """Return the next event, or None for the answer to our ping; raise what refuses us."""
    while True:
        message = await socket.receive()
        if message.type is aiohttp.WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is aiohttp.WSMsgType.PONG:
            if message.data == _MARK:
                return None
        elif message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectError(f"{where} closed the connection at once (code {socket.close_code})")
        else:
            break
    try:
        event = parse_event(message.data)
    except ClientError as error:
        raise ConnectError(f"{where}: {error}") from None
    if event.name == "error":
        raise event.error()
    return event


def network_reason(error: BaseException) -> str:
    """Return in plain words why the network failed; the libraries' own texts are about their calls."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # such as that of a name that does not resolve
    return type(error).__name__
