"""Session: one client on its WebSocket: its messages in, its outbox out, its rate and its signs of life."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from . import protocol
from .effects import Client
from .faults import INTERNAL_ERROR
from .logs import EventLog, internal_error
from .protocol import ErrorCode
from .sockets import frames
from .sockets.frames import FrameError, Message, Opcode
from .sockets.limits import TokenBucket
from .sockets.outbox import Outbox, OutboxLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from .auth import Grant
    from .service import Service
    from .sockets.heartbeat import Heartbeat
    from .sockets.websocket import SignalingSocket

log = EventLog("signaling.session")

FLUSH_TIMEOUT_SECONDS = 0.5
"""For what is still in the outbox when a session ends."""
TOO_BIG_LINGER_SECONDS = 0.5
"""A close with unread data resets the connection, and the client might never read why: drain for a moment."""
ABUSE_RATE_PER_SECOND = 5.0
ABUSE_BURST_MESSAGES = 200.0
"""Messages over the rate limit that are answered before the socket is closed."""
OK = 1000
TOO_SLOW = 1008
"""Close codes of RFC 6455 section 7.4.1."""
GOODBYE = 4000
"""Close code of a client that will not come back: its session ends with the socket instead of waiting for it."""
HEARTBEAT_LOST = 4408
"""Close code when no pong comes; the client will hardly see it."""

MAX_CONTROL_FRAMES = 256
"""Pongs that may wait for a client that pings and does not read."""
MAX_COUNT_DIGITS = 15
"""Of a count of messages; a heartbeat's ping carries one and gets it back."""

_PROBE = b"probe"


def _now() -> float:
    return asyncio.get_running_loop().time()


def frame_words(error: FrameError) -> protocol.Error | None:
    """Return what to say to a client before its socket is closed for `error`, None where its close code says all."""
    if error.code == frames.MESSAGE_TOO_BIG:
        return protocol.Error(code=ErrorCode.MESSAGE_TOO_BIG, message=error.message)
    if error.code == frames.INVALID_TEXT:
        return protocol.Error(code=ErrorCode.BAD_JSON, message=error.message)
    return None


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What a session allows its client."""

    rate_per_second: float = 100.0
    burst_messages: int = 400
    max_message_bytes: int = protocol.MAX_MESSAGE_BYTES
    heartbeat_interval_seconds: float = 10.0
    heartbeat_timeout_seconds: float = 20.0


class _Ending(NamedTuple):
    code: int
    reason: str
    flush: bool
    resumable: bool


_NOTHING = OutboxLimits(messages=0, retain=False)
_NO_CONTROL: deque[tuple[Opcode, bytes | str]] = deque(maxlen=0)
"""Stands for the queue of the many sessions that have nothing in it."""


class Session:
    """One client's socket, from its admission to its end. It has no task: what comes and what leaves is a call."""

    __slots__ = (
        *("_abuse", "_closed", "_control", "_ending", "_heartbeat", "_is_draining", "_is_ended", "_last_pong"),
        *("_leave", "_outbox", "_probe", "_rate", "_service", "_settings", "_socket", "_timer"),
        *("client", "dropped_messages", "grant", "received"),
    )

    def __init__(
        self,
        socket: SignalingSocket,
        grant: Grant,
        service: Service,
        settings: SessionSettings,
        heartbeat: Heartbeat,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self.grant = grant
        self.client = Client(grant.role, grant.client_id)
        self.dropped_messages = 0
        """Messages over the rate limit."""
        self.received = 0
        self._socket = socket
        self._service = service
        self._settings = settings
        self._heartbeat = heartbeat
        self._leave = leave
        """Called once, when the socket is closed."""
        self._outbox = Outbox(_NOTHING)
        self._control = _NO_CONTROL
        """What goes before the outbox: the greeting as text, pings and pongs."""
        self._ending: _Ending | None = None
        self._is_draining = False
        self._is_ended = False
        """Whether the service was told of the end."""
        now = _now()
        self._rate = TokenBucket(settings.rate_per_second, settings.burst_messages, now)
        self._abuse: TokenBucket | None = None
        """Set with the first message over the rate."""
        self._last_pong = now
        self._probe: asyncio.Event | None = None
        self._closed: asyncio.Event | None = None
        """Set when the socket is closed; there is one when somebody waits for that."""
        self._timer: asyncio.TimerHandle | None = None
        """Of its end."""

    # --- what the service asks of it ------------------------------------------------------------------------------

    def open(self, outbox: Outbox, greeting: list[str]) -> None:
        """Begin to write: first `greeting`, which counts as none of the session's messages, then the outbox."""
        self._outbox = outbox
        for text in greeting:
            self._put(Opcode.TEXT, text)
        self.flush()

    def send(self, text: str) -> None:
        """Queue one message; never blocks. A client that is too slow for its outbox is closed."""
        if self._outbox.put(text):
            self._service.pacer.wake(self)
        elif self._ending is None:
            log.warning("outbox_full", role=self.client.role, client=self.client.id, messages=len(self._outbox))
            self.stop(TOO_SLOW, "this client reads too slowly", resumable=False)

    def send_event(self, event: protocol.Outbound) -> None:
        """Queue what concerns this socket alone."""
        self.send(protocol.encode(event))

    def stop(self, code: int, reason: str, *, flush: bool = False, resumable: bool = True) -> None:
        """Close soon, after what is queued if `flush`. The first call decides."""
        if self._ending is None:
            self._ending = _Ending(code, reason, flush, resumable)
            asyncio.get_running_loop().call_soon(self._end)

    def detach(self) -> None:
        """Take nothing more from the outbox: another socket does."""
        self._outbox = Outbox(_NOTHING)

    async def is_alive(self, timeout: float) -> bool:  # noqa: ASYNC109  the wait is the question
        """Return whether the client answers a ping within `timeout` seconds."""
        if self._ending is not None:
            return False
        probe = self._probe
        if probe is None:
            probe = self._probe = asyncio.Event()
            self._put(Opcode.PING, _PROBE)
            self.flush()
        waits = [asyncio.create_task(probe.wait()), asyncio.create_task(self.wait_closed())]
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return probe.is_set()

    async def wait_closed(self) -> None:
        """Return when the socket is closed."""
        if self._closed is None:
            self._closed = asyncio.Event()
            if self._socket.is_lost:
                self._closed.set()
        await self._closed.wait()

    # --- its life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take over the socket."""
        self._heartbeat.add(self)
        self._socket.attach(self)

    def _end(self) -> None:
        try:
            self._finish()
        except Exception as error:  # noqa: BLE001  nobody else would close the socket
            self.failed(error)

    def _finish(self) -> None:
        """Tell the service, then close; with `flush` only when all is written, or does not leave in time."""
        ending = self._ending
        if ending is None or self._is_ended:
            return
        self._is_ended = True
        self._heartbeat.remove(self)
        self._service.lost(self, resumable=ending.resumable)
        if ending.flush:
            self._is_draining = True
            self._timer = asyncio.get_running_loop().call_later(FLUSH_TIMEOUT_SECONDS, self._close)
            self.flush()
        else:
            self._close()

    def _close(self) -> None:
        self._is_draining = False
        if self._timer is not None:
            self._timer.cancel()
        if self._ending is not None:
            self._socket.close(self._ending.code, self._ending.reason)

    def failed(self, error: Exception) -> None:
        """End the session: handling it has failed, by a bug of ours. It is no state to come back to."""
        reference = log.bug("session_failed", error, role=self.client.role, client=self.client.id)
        if self._ending is not None:
            self._socket.abort()  # the end itself has failed
        self.stop(INTERNAL_ERROR, internal_error(reference), resumable=False)

    # --- what the socket says -------------------------------------------------------------------------------------

    def message_received(self, message: Message) -> None:
        """See `websocket.Listener`."""
        opcode = message.opcode
        if opcode is Opcode.PONG:
            self._take_pong(message.payload)
        elif self._ending is not None or not self._is_within_rate(opcode):
            pass
        elif opcode is Opcode.TEXT:
            self._service.receive(self, message.text)
        elif opcode is Opcode.BINARY:
            self._fail(ErrorCode.BAD_JSON, "expected a text frame, got a binary one")
        else:
            self._put(Opcode.PONG, message.payload)
            self.flush()

    def framing_broken(self, error: FrameError) -> None:
        """See `websocket.Listener`. A browser shows its page a bare close code: say in our words what it means."""
        words = frame_words(error)
        if words is None:
            self.stop(error.code, error.message)
        elif self._ending is None:
            self.send_event(words)
            self._timer = asyncio.get_running_loop().call_later(TOO_BIG_LINGER_SECONDS, self.stop, error.code, "")

    def writable(self) -> None:
        """See `websocket.Listener`."""
        self.flush()

    def connection_closing(self, code: int | None) -> None:
        """See `websocket.Listener`."""
        self.stop(OK, "goodbye" if code == GOODBYE else "", resumable=code != GOODBYE)

    def connection_closed(self) -> None:
        """See `websocket.Listener`."""
        self._end()
        if self._timer is not None:
            self._timer.cancel()
        if self._closed is not None:
            self._closed.set()
        self._leave()
        log.debug("session_closed", client=self.client.id, dropped=self.dropped_messages)

    # --- writing --------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what waits, as far as the client reads it."""
        socket, outbox = self._socket, self._outbox
        while socket.is_writable:
            if self._control:
                opcode, payload = self._control.popleft()
                self._write_control(opcode, payload)
            elif (text := outbox.take()) is not None:
                socket.send_text(text)
            else:
                self._control = _NO_CONTROL
                if self._is_draining:
                    self._close()
                return

    def _write_control(self, opcode: Opcode, payload: bytes | str) -> None:
        if isinstance(payload, str):
            self._socket.send_text(payload)
        elif opcode is Opcode.PING:
            self._socket.ping(payload or self._count())
        else:
            self._socket.pong(payload)

    def _count(self) -> bytes:
        """Return what a heartbeat's ping carries and brings back: how many messages were written before it."""
        return b"%d" % self._outbox.written

    def _put(self, opcode: Opcode, payload: bytes | str) -> None:
        if self._control is _NO_CONTROL:
            self._control = deque()
        if len(self._control) < MAX_CONTROL_FRAMES:
            self._control.append((opcode, payload))
        else:
            log.warning("control_frames_full", client=self.client.id, frames=len(self._control))
            self.stop(TOO_SLOW, "this client reads too slowly", resumable=False)

    def _is_within_rate(self, opcode: Opcode) -> bool:
        now = _now()
        self.received += opcode is not Opcode.PING
        if self._rate.take(now):
            return True
        self.dropped_messages += 1
        log.count("message_dropped", ErrorCode.RATE_LIMITED)
        if self._abuse is None:
            self._abuse = TokenBucket(ABUSE_RATE_PER_SECOND, ABUSE_BURST_MESSAGES, now)
        if self._abuse.take(now):
            rate = self._settings.rate_per_second
            self._fail(ErrorCode.RATE_LIMITED, f"at most {rate:g} messages a second; this one was dropped")
        else:
            log.warning(
                "rate_limit_abused", role=self.client.role, client=self.client.id, dropped=self.dropped_messages
            )
            self.stop(TOO_SLOW, "too many messages", flush=True, resumable=False)
        return False

    def _fail(self, code: ErrorCode, message: str) -> None:
        self.send_event(protocol.Error(code=code, message=message))

    def _take_pong(self, payload: bytes) -> None:
        self._last_pong = _now()
        if payload == _PROBE:
            if self._probe is not None:
                self._probe.set()
                self._probe = None
        elif len(payload) <= MAX_COUNT_DIGITS and payload.isdigit():
            self._outbox.acknowledge(int(payload))

    def beat(self, now: float) -> float:
        """Send a ping; return after how many seconds to do so again, 0 for never. See `heartbeat`."""
        silent = now - self._last_pong
        left = self._settings.heartbeat_timeout_seconds - silent
        if left <= 0:
            log.info("heartbeat_lost", role=self.client.role, client=self.client.id, seconds=round(silent, 1))
            self.stop(HEARTBEAT_LOST, "no pong")
            return 0
        if self._control or len(self._outbox) or not self._socket.is_writable:
            self._put(Opcode.PING, b"")
            self.flush()
        else:
            self._socket.ping(self._count())
        return min(self._settings.heartbeat_interval_seconds, left)
