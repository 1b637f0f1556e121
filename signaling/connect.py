"""The way in: from a WebSocket upgrade to an admitted session, or to a refusal that the client can read."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

from . import protocol
from .auth import OpenAuthenticator, UnauthorizedError
from .events.codes import CLIENT_ID, CLIENT_ID_EXPECTED
from .logs import EventLog, internal_error
from .protocol import ErrorCode, ProtocolError, Role
from .registry import CLOSE_CODES, ConnectionRefused, ResumeRequest
from .session import TOO_BIG_LINGER_SECONDS, Session, frame_words
from .sockets import limits, origins, proxies
from .sockets.frames import FrameError, Opcode
from .sockets.heartbeat import Heartbeat
from .sockets.websocket import SignalingSocket, TakenOver

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from aiohttp import web

    from .auth import Authenticator, Grant
    from .service import Service
    from .session import SessionSettings

log = EventLog("signaling.connect")

PATH = "/ws/connect/"
MESSAGE_COUNT = re.compile(r"[0-9]{1,15}")
MAX_FRAMES_BEFORE_AUTH = 16
"""Pings and pongs that may come before the token; browsers send none."""

_AUTH_EXPECTED = 'token: expected {"event":"auth","data":{"token":"..."}} as the first message'


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """Who may come in, and how many at once."""

    auth_timeout_seconds: float = 5.0
    max_handshakes: int = 1000
    max_sockets_per_address: int = 1000
    allowed_origins: Collection[str] = ()


class Door:
    """Serve `/ws/connect/{role}/{client_id}[/{token}]`.

    A browser cannot read the HTTP status of a failed upgrade, so a refusal comes after it: an `error` event and a
    close code.
    """

    def __init__(
        self,
        service: Service,
        authenticator: Authenticator,
        settings: DoorSettings,
        session_settings: SessionSettings,
        trusted_proxies: proxies.TrustedProxies,
    ) -> None:
        self._proxies = trusted_proxies
        self._service = service
        self._authenticator = authenticator
        self._is_open = isinstance(authenticator, OpenAuthenticator)
        self._settings = settings
        self._session_settings = session_settings
        self._handshakes = limits.Places(settings.max_handshakes, "clients connecting")
        self._sockets = limits.Places(settings.max_sockets_per_address, "sockets from this address")
        self._heartbeat = Heartbeat(session_settings.heartbeat_interval_seconds)
        self._warned_of_plain_token = False

    def reconfigure(self, settings: DoorSettings, session_settings: SessionSettings) -> None:
        """Take other settings, for clients that connect from now on; the heartbeat's interval stays."""
        self._settings, self._session_settings = settings, session_settings
        self._handshakes.limit = settings.max_handshakes
        self._sockets.limit = settings.max_sockets_per_address

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Upgrade and let one client in; its session goes on by itself."""
        socket = SignalingSocket(self._session_settings.max_message_bytes)
        socket.upgrade(request)
        try:
            await self._let_in(request, socket)
        except limits.NoPlaceError as error:
            await _refuse(socket, request, self._proxies, ConnectionRefused(ErrorCode.SERVER_FULL, str(error)))
        except ConnectionRefused as refusal:
            await _refuse(socket, request, self._proxies, refusal)
        except FrameError as error:
            await _hang_up(socket, error)
        except Exception as error:  # noqa: BLE001  aiohttp would answer a socket that is not its own any more
            reference = log.bug("connection_failed", error)
            await _refuse(
                socket, request, self._proxies, ConnectionRefused(ErrorCode.INTERNAL, internal_error(reference))
            )
        except BaseException:
            socket.abort()  # nobody would look after it
            raise
        return TakenOver()

    async def _let_in(self, request: web.Request, socket: SignalingSocket) -> None:
        address = client_address(request, self._proxies)
        self._sockets.take(address)
        try:
            with self._handshakes.hold():
                session = await self._admit(request, socket, partial(self._sockets.leave, address))
        except BaseException:
            self._sockets.leave(address)
            raise
        session.start()

    async def _admit(self, request: web.Request, socket: SignalingSocket, leave: Callable[[], None]) -> Session:
        grant = await self._grant(request, socket)
        session = Session(socket, grant, self._service, self._session_settings, self._heartbeat, leave)
        await self._service.admit(session, _resume_request(request))
        return session

    async def _grant(self, request: web.Request, socket: SignalingSocket) -> Grant:
        # The raw path: a token may hold an encoded slash.
        role, client_id, token = _split_path(request.rel_url.raw_path)
        self._check_origin(request)
        token = token or bearer_token(request.headers.get("Authorization", ""))
        if not self._is_open:
            self._warn_of_plain_token(request)
            if token is None:
                token = await self._first_frame(socket, role)
        try:
            return self._authenticator.authenticate(role, client_id, token, time.time())
        except UnauthorizedError as error:
            raise ConnectionRefused(ErrorCode.UNAUTHORIZED, f"token: {error}") from None

    def _warn_of_plain_token(self, request: web.Request) -> None:
        """Say once that tokens cross a network unencrypted: whoever reads one on the way may use it."""
        client = proxies.client_of(request, self._proxies)
        if self._warned_of_plain_token or client is None or client.is_loopback:
            return
        if not proxies.is_secure(request, self._proxies):
            self._warned_of_plain_token = True
            log.warning("token_without_tls", address=client, remedy="--tls-cert, or a proxy named by --trusted-proxy")

    def _check_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        host = request.headers.get("Host", "")
        if origins.is_allowed(origin, host, self._settings.allowed_origins, is_open=self._is_open):
            return
        log.info("origin_refused", origin=origin, host=host)
        raise ConnectionRefused(
            ErrorCode.FORBIDDEN,
            "origin: pages from this page's address may not connect here; the server's --allowed-origin allows them",
        )

    async def _first_frame(self, socket: SignalingSocket, role: Role) -> str:
        """Return the token of the first message; nothing else is handled before it."""
        seconds = self._settings.auth_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                for _ in range(MAX_FRAMES_BEFORE_AUTH):
                    message = await socket.receive()
                    if message is not None and message.opcode is Opcode.TEXT:
                        return _token_of(role, message.text)
                    if message is None or message.opcode is Opcode.BINARY:
                        break
        except TimeoutError:
            raise ConnectionRefused(ErrorCode.UNAUTHORIZED, f"{_AUTH_EXPECTED} within {seconds:g} s") from None
        raise ConnectionRefused(ErrorCode.UNAUTHORIZED, _AUTH_EXPECTED)


def client_address(request: web.Request, trusted: proxies.TrustedProxies) -> str:
    """Return the key by which a client's sockets are counted; behind a proxy that is not trusted, one for all."""
    client = proxies.client_of(request, trusted)
    return "" if client is None else limits.address_key(str(client))


def _resume_request(request: web.Request) -> ResumeRequest | None:
    """Return what the address asks to resume; what does not make sense in it counts as absent."""
    secret, count = request.query.get("resume"), request.query.get("received", "")
    if not secret:
        return None
    return ResumeRequest(secret, int(count) if MESSAGE_COUNT.fullmatch(count) else None)


def _split_path(raw_path: str) -> tuple[Role, str, str | None]:
    parts = [unquote(part) for part in raw_path.removeprefix(PATH).split("/", 2)]
    role, client_id, token = (*parts, None, None)[:3]
    if role is None or role not in Role.__members__:
        raise ConnectionRefused(
            ErrorCode.BAD_ROLE, "role: expected WEB or DEVICE, as in /ws/connect/WEB/my-id/my-token"
        )
    if client_id is None or not CLIENT_ID.fullmatch(client_id):
        raise ConnectionRefused(ErrorCode.BAD_CLIENT_ID, f"client_id: expected {CLIENT_ID_EXPECTED}")
    return Role(role), client_id, token or None


def bearer_token(header: str) -> str | None:
    """Return the token of an `Authorization` header (RFC 6750); another scheme may be a proxy's and is no token."""
    scheme, _, token = header.strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _token_of(role: Role, text: str) -> str:
    try:
        _, event = protocol.decode(role, text)
    except ProtocolError as error:
        raise ConnectionRefused(ErrorCode.UNAUTHORIZED, f"{_AUTH_EXPECTED}; {error.message}") from None
    if not isinstance(event, protocol.Auth):
        raise ConnectionRefused(ErrorCode.UNAUTHORIZED, f"{_AUTH_EXPECTED}, got {event.event}")
    return event.token


def _claimed(request: web.Request, trusted: proxies.TrustedProxies) -> dict[str, object]:
    """Return who somebody says to be, as far as it can be somebody's name, and where from: for the log."""
    found: dict[str, object] = {"address": proxies.client_of(request, trusted)}
    with contextlib.suppress(ConnectionRefused):
        role, client_id, _ = _split_path(request.rel_url.raw_path)
        found |= {"role": role, "client": client_id}
    return found


async def _refuse(
    socket: SignalingSocket, request: web.Request, trusted: proxies.TrustedProxies, refusal: ConnectionRefused
) -> None:
    log.info("connection_refused", code=refusal.code, **_claimed(request, trusted))
    socket.send_text(protocol.encode(protocol.Error(code=refusal.code, message=refusal.message)))
    socket.close(CLOSE_CODES[refusal.code], refusal.code)
    await socket.wait_closed()


async def _hang_up(socket: SignalingSocket, error: FrameError) -> None:
    """Close a connection whose framing is broken before its client was let in."""
    words = frame_words(error)
    if words is not None:
        socket.send_text(protocol.encode(words))
        await asyncio.sleep(TOO_BIG_LINGER_SECONDS)
    socket.close(error.code, error.message)
    await socket.wait_closed()
