"""The signalling connection that devices and viewers share: one WebSocket, its requests and its events."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import aiohttp

from signaling.logs import EventLog

from .errors import ClientError, ConnectError, DisconnectedError, RequestTimeoutError, ServerError

if TYPE_CHECKING:
    from collections.abc import Mapping

log = EventLog(__name__)

CONNECT_TIMEOUT_SECONDS = 10.0
"""For TCP, the upgrade and `welcome` together."""
REQUEST_TIMEOUT_SECONDS = 15.0
"""The server answers at once; the rest is for a slow link."""
HEARTBEAT_SECONDS = 10.0
"""Ping interval; a server that does not answer within half of it is gone."""
CLOSE_TIMEOUT_SECONDS = 0.5
"""For the closing handshake: programs are to end within two seconds."""
MAX_MESSAGE_BYTES = 1024 * 1024
"""Largest message taken; an offer with many tracks has some 100 kB."""
MAX_WAITING_EVENTS = 1000
"""Events that may wait for their reader; a server that sends more has gone wrong."""
MAX_WAITING_REQUESTS = 100
"""Requests that may wait for their replies."""

CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True)
class Event:
    """One event from the server."""

    name: str
    data: Mapping[str, Any]
    request_id: str | None = None

    def integer(self, key: str) -> int:
        """Return the integer `data[key]`; raise `ClientError` when the server sent something else."""
        value = self.data.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise ClientError(f"the server's {self.name} has no integer {key}")

    def text(self, key: str) -> str:
        """Return the string `data[key]`; raise `ClientError` when the server sent something else."""
        value = self.data.get(key)
        if isinstance(value, str):
            return value
        raise ClientError(f"the server's {self.name} has no string {key}")

    def error(self) -> ServerError:
        """Return an `error` event as an exception."""
        return ServerError(str(self.data.get("code", "unknown")), str(self.data.get("message", "")))


@dataclass(frozen=True, slots=True)
class Address:
    """Who connects where. Its representation leaves the token out."""

    server: str
    role: str
    client_id: str
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.server)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise ValueError(f"server address {self.server!r}: expected something like ws://127.0.0.1:8002")
        if not CLIENT_ID.fullmatch(self.client_id):
            raise ValueError(
                f"client id {self.client_id!r}: expected 1 to 64 of the letters a-z and A-Z, digits, and . _ ~ -"
            )

    def url(self) -> str:
        """Return the WebSocket's URL; it holds the token."""
        parts = urlsplit(self.server)
        base = f"{_SCHEMES[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}"
        token = f"/{quote(self.token, safe='')}" if self.token else ""
        return f"{base}/ws/connect/{self.role}/{self.client_id}{token}"


def random_client_id(prefix: str) -> str:
    """Return an id that no other client has."""
    return f"{prefix}-{secrets.token_hex(4)}"


@dataclass(slots=True)
class _Request:
    reply: str
    result: asyncio.Future[Event]


class Connection:
    """An open signalling connection: `open` it, `request` and `notify`, read `next_event`, `close` it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, welcome: Event) -> None:
        self.welcome = welcome
        self._socket = socket
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(MAX_WAITING_EVENTS)
        self._requests: dict[str, _Request] = {}
        self._request_ids = itertools.count(1)
        self._end = "the connection was closed"
        self._closed = False
        self._reader = asyncio.create_task(self._read(), name="signalling-reader")

    @classmethod
    async def open(cls, http: aiohttp.ClientSession, address: Address) -> Connection:
        """Connect and wait for `welcome`.

        Raises `ServerError` when the server refuses (its code says why) and `ConnectError` when it cannot be reached.
        """
        where = urlsplit(address.server).netloc.rpartition("@")[2]
        socket: aiohttp.ClientWebSocketResponse | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                socket = await http.ws_connect(
                    address.url(),
                    heartbeat=HEARTBEAT_SECONDS,
                    max_msg_size=MAX_MESSAGE_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_SECONDS),
                )
                welcome = await _first_event(socket, where)
            return cls(socket, welcome)
        except BaseException as error:
            if socket is not None:
                await socket.close()
            # aiohttp's own texts repeat the URL, and with it the token.
            if isinstance(error, aiohttp.WSServerHandshakeError):
                raise ConnectError(f"{where} answered with HTTP status {error.status}: not an aiosfu server?") from None
            if isinstance(error, TimeoutError):
                raise ConnectError(f"{where} did not answer within {CONNECT_TIMEOUT_SECONDS:.0f} s") from None
            if isinstance(error, aiohttp.ClientError | OSError | ValueError):
                raise ConnectError(f"cannot connect to {where}: {_network_reason(error)}") from None
            raise

    async def request(self, event: str, data: Mapping[str, object], reply: str) -> Event:
        """Send `event` and return the server's `reply` to it.

        Raises `ServerError` when the server refuses, `DisconnectedError`, `RequestTimeoutError`.
        """
        if len(self._requests) >= MAX_WAITING_REQUESTS:
            raise RequestTimeoutError(f"{MAX_WAITING_REQUESTS} requests wait for their answers already")
        request_id = str(next(self._request_ids))
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._requests[request_id] = _Request(reply, future)
        try:
            await self._send(event, data, request_id)
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                return await future
        except TimeoutError:
            raise RequestTimeoutError(
                f"the server did not answer {event} within {REQUEST_TIMEOUT_SECONDS:.0f} s"
            ) from None
        finally:
            del self._requests[request_id]

    async def notify(self, event: str, data: Mapping[str, object]) -> str:
        """Send an event that has no reply; return its id, which an `error` event about it repeats."""
        request_id = str(next(self._request_ids))
        await self._send(event, data, request_id)
        return request_id

    async def next_event(self) -> Event:
        """Return the next event that answers no request; raise `DisconnectedError` at the end."""
        if not self._closed or not self._events.empty():
            event = await self._events.get()
            if event is not None:
                return event
        raise DisconnectedError(self._end)

    async def close(self) -> None:
        """Close the socket. Idempotent."""
        await self._socket.close()
        # The reader ends with the socket; a peer that never answers the closing handshake must not hold it up.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await asyncio.shield(self._reader)
        self._reader.cancel()

    async def _send(self, event: str, data: Mapping[str, object], request_id: str) -> None:
        if self._closed:
            raise DisconnectedError(self._end)
        text = json.dumps({"event": event, "data": data, "id": request_id})
        try:
            await self._socket.send_str(text)
        except (aiohttp.ClientError, OSError) as error:
            raise DisconnectedError(f"the connection broke: {_network_reason(error)}") from None

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._route(_parse(message.data))
        except ClientError as error:
            self._end = str(error)
        finally:
            self._finish()

    def _finish(self) -> None:
        self._closed = True
        code = self._socket.close_code
        if code not in {None, 1000, 1001}:
            self._end = f"the server closed the connection (code {code})"
        for request in self._requests.values():
            if not request.result.done():
                request.result.set_exception(DisconnectedError(self._end))
        with contextlib.suppress(asyncio.QueueFull):  # then a reader is not waiting and sees `_closed` in the end
            self._events.put_nowait(None)

    def _route(self, event: Event) -> None:
        request = self._request_answered_by(event)
        if request is not None:
            if event.name == "error":
                request.result.set_exception(event.error())
            else:
                request.result.set_result(event)
            return
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            raise ClientError(f"more than {MAX_WAITING_EVENTS} events wait to be read") from None

    def _request_answered_by(self, event: Event) -> _Request | None:
        if event.request_id is not None:
            request = self._requests.get(event.request_id)
            return request if request is not None and not request.result.done() else None
        # Servers of the original protocol repeat no id; the oldest request that expects this event is meant.
        waiting = (request for request in self._requests.values() if not request.result.done())
        return next((request for request in waiting if request.reply == event.name), None)


def _parse(text: str) -> Event:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise ClientError("the server sent something that is not JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("event"), str):
        raise ClientError("the server sent a message without an event")
    data = message.get("data")
    request_id = message.get("id")
    return Event(
        message["event"], data if isinstance(data, dict) else {}, None if request_id is None else str(request_id)
    )


async def _first_event(socket: aiohttp.ClientWebSocketResponse, where: str) -> Event:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise ConnectError(f"{where} closed the connection at once (code {socket.close_code})")
    try:
        event = _parse(message.data)
    except ClientError as error:
        raise ConnectError(f"{where}: {error}") from None
    if event.name == "error":
        raise event.error()
    if event.name != "welcome":
        raise ConnectError(f"{where} began with {event.name!r} instead of 'welcome': not an aiosfu server?")
    return event


def _network_reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # asyncio's own text is about its calls
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # such as that of a name that does not resolve
    return type(error).__name__
