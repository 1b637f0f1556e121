"""A client's connection after its upgrade to WebSocket: frames in, frames out, and its closing handshake.

aiohttp takes the request. From the upgrade on the connection is ours alone: aiohttp keeps a request, a response, a
parser, tasks and their queues for every WebSocket: 29 kB for a client that says nothing, where this takes 5.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

from aiohttp import web

from signaling.logs import EventLog

from .frames import (
    NO_STATUS,
    UNFINISHED,
    FrameError,
    FrameReader,
    Message,
    Opcode,
    close_code,
    close_frame,
    frame,
    text_frame,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.http import WebSocketReader

log = EventLog("signaling.websocket")

CLOSE_TIMEOUT_SECONDS = 0.5
"""For the client's half of the closing handshake; the server has two seconds to stop."""
MAX_MESSAGES_PER_TURN = 4
"""Handled in one turn of the event loop: a client's burst must not hold up others' media."""
MAX_EARLY_MESSAGES = 16
MAX_EARLY_BYTES = 64 * 1024
"""That may come before the client is let in; then nothing more is read until it is. A stranger may hold a place for as
long as another's id takes to be free, and a thousand of them sixteen of the largest messages each: 4 GB."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 4.2.2
_KEY_BYTES = 16


class Listener(Protocol):
    """Who has the connection."""

    def message_received(self, message: Message) -> None:
        """Take a message, a ping or a pong."""
        ...

    def writable(self) -> None:
        """Write what waits: the client has read enough for it."""
        ...

    def framing_broken(self, error: FrameError) -> None:
        """Close: nothing that comes can be read any more."""
        ...

    def connection_closing(self, code: int | None) -> None:
        """Take note that the client closes with `code`, or with None that the connection is lost."""
        ...

    def connection_closed(self) -> None:
        """Take note that the connection is gone."""
        ...

    def failed(self, error: Exception) -> None:
        """Close: handling what came has failed, by a bug of ours; nothing more is handed on."""
        ...


class TakenOver(web.StreamResponse):
    """What a handler returns whose connection is no longer aiohttp's: there is nothing left to send."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""


class _Tail:
    """Takes from aiohttp what has come behind the request."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Nothing: the connection's end is told to the connection's own protocol."""


def accept_key(request: web.BaseRequest) -> str:
    """Return the answer to a handshake's key, or raise `HTTPException` (RFC 6455 section 4.2.1)."""
    headers = request.headers
    connection = {word.strip().lower() for word in headers.get("Connection", "").split(",")}
    if headers.get("Upgrade", "").strip().lower() != "websocket" or "upgrade" not in connection:
        raise web.HTTPUpgradeRequired(text="this address speaks WebSocket only")
    if headers.get("Sec-WebSocket-Version") != "13":
        raise web.HTTPUpgradeRequired(text="expected WebSocket version 13", headers={"Sec-WebSocket-Version": "13"})
    key = headers.get("Sec-WebSocket-Key", "").strip()
    try:
        is_key = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except binascii.Error:
        is_key = False
    if not is_key or request.method != "GET":
        raise web.HTTPBadRequest(text="expected GET with a Sec-WebSocket-Key of 16 bytes in base64")
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


class SignalingSocket(asyncio.Protocol):
    """One client's WebSocket."""

    __slots__ = (
        "_early",
        "_handler",
        "_is_broken",
        "_is_closing",
        "_is_paused",
        "_is_pumping",
        "_is_reading",
        "_listener",
        "_reader",
        "_timer",
        "_transport",
        "_waiter",
    )

    def __init__(self, max_message_bytes: int) -> None:
        self._reader = FrameReader(max_message_bytes)
        self._transport: asyncio.Transport | None = None
        self._handler: web.RequestHandler | None = None
        """aiohttp's protocol, which accounts for the connection until the client is let in."""
        self._listener: Listener | None = None
        self._early: deque[Message | FrameError] | None = deque()
        """What has come before there is a listener."""
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = False
        """Whether the client is too slow for what was written."""
        self._is_closing = False
        """Whether our close frame is sent."""
        self._is_broken = False
        """Whether what comes can no longer be read."""
        self._is_pumping = False
        """Whether messages that have come wait for a turn."""
        self._is_reading = True
        """Whether the transport is asked to; it may be asked once only."""

    # --- its beginning --------------------------------------------------------------------------------------------

    def upgrade(self, request: web.BaseRequest) -> None:
        """Answer the upgrade and take the connection; raise `HTTPException` where it is none."""
        accept = accept_key(request)
        handler, transport = request.protocol, request.transport
        if transport is None:
            raise ConnectionResetError("the connection was lost before its upgrade")
        transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
        )
        tail = _Tail()
        handler.set_parser(cast("WebSocketReader", tail))  # it has the two methods that aiohttp calls
        self._handler, self._transport = handler, transport
        transport.set_protocol(self)
        if tail.data:
            self.data_received(tail.data)

    def attach(self, listener: Listener) -> None:
        """Hand the connection to a listener, with what has come so far; aiohttp forgets it."""
        self._listener = listener
        self.release()
        asyncio.get_running_loop().call_soon(self._pump)
        if self._transport is None:
            listener.connection_closing(None)
            listener.connection_closed()

    def release(self) -> None:
        """Have aiohttp forget the connection. Idempotent."""
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.transport = None  # or it would close it
            handler.connection_lost(None)

    async def receive(self) -> Message | None:
        """Return the next message while there is no listener, None at the end; raise `FrameError`."""
        if self._early is None:
            raise AssertionError("a listener takes the messages")
        while not self._early:
            if self._transport is None or self._transport.is_closing():
                return None
            await self._wait()
        message = self._early.popleft()
        self._resume()
        if isinstance(message, FrameError):
            raise message
        return message

    async def wait_closed(self) -> None:
        """Return when the connection is gone; for a connection without a listener."""
        while self._transport is not None:
            await self._wait()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- writing --------------------------------------------------------------------------------------------------

    @property
    def is_writable(self) -> bool:
        """Whether what is written now leaves now, or soon."""
        transport = self._transport
        return not (self._is_paused or self._is_closing or transport is None or transport.is_closing())

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone."""
        return self._transport is None

    def send_text(self, text: str) -> None:
        """Write a text message; what is written on a closing connection is lost."""
        self._write(text_frame(text))

    def ping(self, payload: bytes) -> None:
        """Write a ping of at most 125 bytes."""
        self._write(frame(Opcode.PING, payload))

    def pong(self, payload: bytes) -> None:
        """Write a pong of at most 125 bytes."""
        self._write(frame(Opcode.PONG, payload))

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is not None and not self._is_closing and not transport.is_closing():
            transport.write(data)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; a client that does not end it in time is cut off. Idempotent."""
        if self._is_closing or self._transport is None:
            return
        self._write(close_frame(code, reason))
        self._is_closing = True
        self._cut_off_later(self._transport)
        self._resume()

    def abort(self) -> None:
        """Cut the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def _cut_off_later(self, transport: asyncio.Transport) -> None:
        """Bound the end: a client that does not read, or does not answer, would keep the connection for ever."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_SECONDS, transport.abort)

    # --- reading --------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if not self._is_broken:
            self._reader.feed(data)
            if not self._is_pumping:
                self._pump()

    def _pump(self) -> None:
        """Hand on messages that have come; what a bug of ours makes of one costs nobody else anything."""
        self._guard(self._hand_on)

    def _guard(self, call: Callable[..., None], *args: object) -> None:
        try:
            call(*args)
        except Exception as error:  # noqa: BLE001  any bug is meant; raised further it would leave the client hanging
            self._is_broken = True
            if self._listener is None:
                log.bug("connection_failed", error)
                self.abort()
                self._wake()
            else:
                self._listener.failed(error)

    def _hand_on(self) -> None:
        """Hand on some messages now, the others in the loop's next turns."""
        self._is_pumping = False
        early = self._early
        if self._listener is not None and early is not None:
            self._early = None
            for came in early:
                self._deliver(came)
        for _ in range(MAX_MESSAGES_PER_TURN):
            if self._is_early_full(0):
                self._pause()
                return
            message = self._next()
            if message is None:
                if self._is_early_full(self._reader.held):
                    self._pause()
                else:
                    self._resume()
                return
            if message is UNFINISHED:
                break
            self._deliver(message)
        self._pause()
        self._is_pumping = True
        asyncio.get_running_loop().call_soon(self._pump)

    def _is_early_full(self, held: int) -> bool:
        """Return whether as much as may has come before the client is let in, `held` bytes of a message among it."""
        if self._early is None:
            return False
        size = held + sum(len(message.payload) for message in self._early if isinstance(message, Message))
        return len(self._early) >= MAX_EARLY_MESSAGES or size >= MAX_EARLY_BYTES

    def _next(self) -> Message | FrameError | None:
        if self._is_broken:
            return None
        try:
            message = self._reader.next()
            if message is not None and message.opcode is Opcode.CLOSE:
                self._take_close(close_code(message.payload))
                return None
        except FrameError as error:
            self._is_broken = True
            return error
        return message

    def _deliver(self, message: Message | FrameError) -> None:
        if self._listener is None:
            if self._early is not None:
                self._early.append(message)
                self._wake()
        elif isinstance(message, FrameError):
            self._listener.framing_broken(message)
        elif not self._is_closing:
            self._listener.message_received(message)

    def _take_close(self, code: int) -> None:
        """Answer the client's close frame, or take it as the answer to ours; nothing comes after it."""
        self._is_broken = True
        self._write(close_frame(1000 if code == NO_STATUS else code, ""))
        self._is_closing = True
        if self._transport is not None:
            self._cut_off_later(self._transport)
            self._transport.close()
        self._wake()
        if self._listener is not None:
            self._listener.connection_closing(code)

    def _pause(self) -> None:
        if self._transport is not None and self._is_reading and not self._transport.is_closing():
            self._is_reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        transport = self._transport
        if transport is not None and not self._is_reading and not transport.is_closing():
            self._is_reading = True
            transport.resume_reading()
            if not self._is_pumping:
                self._is_pumping = True
                asyncio.get_running_loop().call_soon(self._pump)

    # --- what the transport says ----------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._is_paused = False
        if self._listener is not None:
            self._guard(self._listener.writable)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.connection_lost(exc)
        self._wake()
        if self._listener is not None:
            self._guard(self._listener.connection_closing, None)
            self._guard(self._listener.connection_closed)
