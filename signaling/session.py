"""Session: one client's WebSocket: a reader, a writer for the session's outbox, and a heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web

from . import protocol
from .effects import Client
from .limits import TokenBucket
from .logs import EventLog
from .outbox import Outbox, OutboxLimits
from .protocol import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .auth import Grant
    from .service import Service

log = EventLog("signaling.session")

CLOSE_TIMEOUT_SECONDS = 0.5
"""For the client's half of the closing handshake; the server has two seconds to stop."""
FLUSH_TIMEOUT_SECONDS = 0.5
"""For what is still in the outbox when a session ends."""
TOO_BIG_LINGER_SECONDS = 0.5
"""A close with unread data resets the connection, and the client might never read why: drain for a moment."""
ABUSE_RATE_PER_SECOND = 5.0
ABUSE_BURST_MESSAGES = 200.0
"""Messages over the rate limit that are answered before the socket is closed."""
GOODBYE = 4000
"""Close code of a client that will not come back: its session ends with the socket instead of waiting for it."""
HEARTBEAT_LOST = 4408
"""Close code when no pong comes; the client will hardly see it."""

MAX_CONTROL_FRAMES = 256
"""Pongs that may wait for a client that pings and does not read."""
MAX_COUNT_DIGITS = 15
"""Of a count of messages; a heartbeat's ping carries one and gets it back."""

_PROBE = b"probe"


class SignalingSocket(web.WebSocketResponse):
    """A WebSocket that says in the protocol's own words why a bad frame closes it.

    aiohttp itself closes on an oversized or undecodable frame; a browser would see a bare close code.
    """

    def __init__(self, max_message_bytes: int = protocol.MAX_MESSAGE_BYTES) -> None:
        super().__init__(
            timeout=CLOSE_TIMEOUT_SECONDS,
            autoping=False,  # the session times pongs itself
            compress=False,  # SDP is small, and a bomb needs no defusing where nothing is inflated
            max_msg_size=max_message_bytes + 1,  # aiohttp refuses this size and above
        )
        self._last_words: Mapping[int, protocol.Error] = {
            WSCloseCode.MESSAGE_TOO_BIG: protocol.Error(
                code=ErrorCode.MESSAGE_TOO_BIG, message=f"a message has at most {max_message_bytes} bytes"
            ),
            WSCloseCode.INVALID_TEXT: protocol.Error(code=ErrorCode.BAD_JSON, message="the message is not UTF-8"),
        }
        self.say: Callable[[protocol.Outbound], None] | None = None
        """How a session sends; set when there is one."""

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """Close, with an `error` event first where the client broke the framing."""
        words = self._last_words.get(code)
        if words is not None and not self.closed:
            with contextlib.suppress(ConnectionError):
                if self.say is None:
                    await self.send_str(protocol.encode(words))
                else:
                    self.say(words)  # in its turn: the session's messages are counted
                await asyncio.sleep(TOO_BIG_LINGER_SECONDS)
        return await super().close(code=code, message=message, drain=drain)


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What a session allows its client."""

    rate_per_second: float = 100.0
    burst_messages: int = 400
    max_message_bytes: int = protocol.MAX_MESSAGE_BYTES
    heartbeat_interval_seconds: float = 10.0
    heartbeat_timeout_seconds: float = 20.0


class _Control(Enum):
    TEXT = auto()
    """What belongs to the socket and not to the session, such as `welcome`."""
    BEAT = auto()
    PROBE = auto()
    PONG = auto()


class _Frame(NamedTuple):
    kind: _Control
    text: str = ""
    payload: bytes = b""


class _Ending(NamedTuple):
    code: int
    reason: str
    flush: bool
    resumable: bool


_NOTHING = OutboxLimits(messages=0, retain=False)


class Session:
    """One client's socket, from its admission to its end."""

    def __init__(
        self,
        socket: SignalingSocket,
        transport: asyncio.Transport | None,
        grant: Grant,
        service: Service,
        settings: SessionSettings,
    ) -> None:
        self.grant = grant
        self.client = Client(grant.role, grant.client_id)
        self.dropped_messages = 0
        """Messages over the rate limit."""
        self.received = 0
        self._socket = socket
        socket.say = self.send_event
        self._transport = transport
        self._service = service
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[_Ending] = self._loop.create_future()
        self._closed = asyncio.Event()
        self._outbox = Outbox(_NOTHING)
        self._control: deque[_Frame] = deque()
        """Frames that go before the outbox's."""
        self._work = asyncio.Event()
        """Set when there may be something to write."""
        self._is_draining = False
        now = self._loop.time()
        self._rate = TokenBucket(settings.rate_per_second, settings.burst_messages, now)
        self._abuse = TokenBucket(ABUSE_RATE_PER_SECOND, ABUSE_BURST_MESSAGES, now)
        self._last_pong = now
        self._probe: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- what the service asks of it ------------------------------------------------------------------------------

    def open(self, outbox: Outbox, greeting: list[str]) -> None:
        """Begin to write: first `greeting`, which counts as none of the session's messages, then the outbox."""
        self._outbox = outbox
        self._control.extend(_Frame(_Control.TEXT, text=text) for text in greeting)
        self._work.set()

    def send(self, text: str) -> None:
        """Queue one message; never blocks. A client that is too slow for its outbox is closed."""
        if self._outbox.put(text):
            self._service.pacer.wake(self._work)
        elif not self._ending.done():
            log.warning("outbox_full", client=self.client.id, messages=len(self._outbox))
            self.stop(WSCloseCode.POLICY_VIOLATION, "this client reads too slowly", resumable=False)

    def send_event(self, event: protocol.Outbound) -> None:
        """Queue what concerns this socket alone."""
        self.send(protocol.encode(event))

    def stop(self, code: int, reason: str, *, flush: bool = False, resumable: bool = True) -> None:
        """Close soon, after what is queued if `flush`. The first call decides."""
        if not self._ending.done():
            self._ending.set_result(_Ending(code, reason, flush, resumable))

    def detach(self) -> None:
        """Take nothing more from the outbox: another socket does."""
        self._outbox = Outbox(_NOTHING)

    async def is_alive(self, timeout: float) -> bool:  # noqa: ASYNC109  the wait is the question
        """Return whether the client answers a ping within `timeout` seconds."""
        if self._ending.done():
            return False
        probe = self._probe
        if probe is None:
            probe = self._probe = asyncio.Event()
            self._put(_Frame(_Control.PROBE))
        waits = [asyncio.create_task(probe.wait()), asyncio.create_task(self._closed.wait())]
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return probe.is_set()

    async def wait_closed(self) -> None:
        """Return when the socket is closed and the tasks have ended."""
        await self._closed.wait()

    # --- its life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the client until its socket or the service ends it."""
        reader = asyncio.create_task(self._read(), name=f"session-read-{self.client.id}")
        writer = asyncio.create_task(self._write(), name=f"session-write-{self.client.id}")
        self._timer = self._loop.call_later(self._settings.heartbeat_interval_seconds, self._beat)
        ends: set[asyncio.Future[Any]] = {reader, writer, self._ending}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.stop(WSCloseCode.OK, "")
            self._timer.cancel()
            self._service.lost(self, resumable=self._ending.result().resumable)
            try:
                await self._finish(reader, writer, self._ending.result())
            finally:
                self._closed.set()

    async def _finish(self, reader: asyncio.Task[None], writer: asyncio.Task[None], ending: _Ending) -> None:
        reader.cancel()
        if ending.flush:
            self._is_draining = True
            self._work.set()
            await asyncio.wait({writer}, timeout=FLUSH_TIMEOUT_SECONDS)
        writer.cancel()
        for result in await asyncio.gather(reader, writer, return_exceptions=True):
            if isinstance(result, Exception):
                log.bug("session_task_failed", result, client=self.client.id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await self._socket.close(code=ending.code, message=ending.reason.encode())
        if self._transport is not None and self._transport.get_write_buffer_size() > 0:
            self._transport.abort()  # a peer that does not read would keep the socket for ever
        log.debug("session_closed", client=self.client.id, code=ending.code, dropped=self.dropped_messages)

    def _put(self, frame: _Frame) -> None:
        if len(self._control) < MAX_CONTROL_FRAMES:
            self._control.append(frame)
            self._work.set()
        else:
            log.warning("control_frames_full", client=self.client.id, frames=len(self._control))
            self.stop(WSCloseCode.POLICY_VIOLATION, "this client reads too slowly", resumable=False)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                if self._control:
                    await self._write_control(self._control.popleft())
                elif (text := self._outbox.take()) is not None:
                    await self._write_text(text)
                elif self._is_draining:
                    return
                else:
                    self._work.clear()
                    await self._work.wait()

    async def _write_text(self, text: str) -> None:
        outbox = self._outbox
        try:
            await self._socket.send_str(text)
        except ConnectionError:
            if outbox is self._outbox:
                outbox.put_back(text)  # the socket was closed already; the next one takes it
            raise

    async def _write_control(self, frame: _Frame) -> None:
        match frame.kind:
            case _Control.TEXT:
                await self._socket.send_str(frame.text)
            case _Control.BEAT:
                await self._socket.ping(str(self._outbox.written).encode())
            case _Control.PROBE:
                await self._socket.ping(_PROBE)
            case _Control.PONG:
                await self._socket.pong(frame.payload)

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG):
                if message.type is WSMsgType.CLOSE and message.data == GOODBYE:
                    self.stop(WSCloseCode.OK, "goodbye", resumable=False)
                return
            if message.type is WSMsgType.PONG:
                self._take_pong(message.data)
            elif self._is_within_rate(message.type):
                if message.type is WSMsgType.TEXT:
                    self._service.receive(self, message.data)
                elif message.type is WSMsgType.BINARY:
                    self._fail(ErrorCode.BAD_JSON, "expected a text frame, got a binary one")
                else:
                    self._put(_Frame(_Control.PONG, payload=message.data))
            # aiohttp hands out what is buffered without a pause; a burst must not hold up others' media.
            await asyncio.sleep(0)

    def _is_within_rate(self, kind: WSMsgType) -> bool:
        now = self._loop.time()
        self.received += kind is not WSMsgType.PING
        if self._rate.take(now):
            return True
        self.dropped_messages += 1
        if self._abuse.take(now):
            rate = self._settings.rate_per_second
            self._fail(ErrorCode.RATE_LIMITED, f"at most {rate:g} messages a second; this one was dropped")
        else:
            log.warning("rate_limit_abused", client=self.client.id, dropped=self.dropped_messages)
            self.stop(WSCloseCode.POLICY_VIOLATION, "too many messages", flush=True, resumable=False)
        return False

    def _fail(self, code: ErrorCode, message: str) -> None:
        self.send_event(protocol.Error(code=code, message=message))

    def _take_pong(self, payload: bytes) -> None:
        self._last_pong = self._loop.time()
        if payload == _PROBE:
            if self._probe is not None:
                self._probe.set()
                self._probe = None
        elif len(payload) <= MAX_COUNT_DIGITS and payload.isdigit():
            self._outbox.acknowledge(int(payload))

    def _beat(self) -> None:
        silent = self._loop.time() - self._last_pong
        left = self._settings.heartbeat_timeout_seconds - silent
        if left <= 0:
            log.info("heartbeat_lost", client=self.client.id, seconds=round(silent, 1))
            self.stop(HEARTBEAT_LOST, "no pong")
            return
        self._put(_Frame(_Control.BEAT))
        self._timer = self._loop.call_later(min(self._settings.heartbeat_interval_seconds, left), self._beat)
