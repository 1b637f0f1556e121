"""The signalling connection that devices and viewers share: one session, its requests and its events.

A session outlives its socket. When that breaks, the connection opens another and takes the session over; requests
wait, events that came meanwhile follow, and media, which has its own path, runs on. Only when the server has given
the session up does the connection end; its owner then begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from signaling.logs import EventLog

from .backoff import Backoff
from .dial import CLOSE_TIMEOUT_SECONDS, Resume, dial
from .errors import (
    ClientError,
    ConnectError,
    DisconnectedError,
    ReplacedError,
    RequestTimeoutError,
    ServerEndsError,
    ServerError,
)
from .event import Event, parse_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .dial import Address, Dialed

log = EventLog(__name__)

REQUEST_TIMEOUT_SECONDS = 15.0
"""The server answers at once; the rest is for a slow link. Counts only while there is a socket."""
RESUME_SECONDS = 60.0
"""For how long a broken socket is tried anew with the session in hand: twice the server's usual grace period. Media
goes on for as long, and nobody would see more of it."""
MAX_WAITING_EVENTS = 1000
"""Events that may wait for their reader; a server that sends more has gone wrong."""
MAX_WAITING_REQUESTS = 100
"""Requests that may wait for their replies."""
MAX_UNCONFIRMED_MESSAGES = 256
"""Messages kept in case a broken socket has swallowed them."""

INTERRUPTED = "client:interrupted"
"""Our own event: the socket broke, the session may go on. `resumed` follows, or the connection's end."""
MOVED = "client:moved"
"""Our own event, after `resumed`: this machine now has another address, so media needs a new path."""

GOING_AWAY = 1001
"""Close code: the server ends (RFC 6455 section 7.4.1)."""
REPLACED = 4409
"""Close code: another client has connected under this id."""
BROKEN = 1006
"""Close code, made up by the library: the socket ended without one (RFC 6455 section 7.1.5)."""
PASSING_CODES = frozenset({"client_id_in_use", "server_full", "rate_limited", "internal"})
"""Refusals that may pass within seconds."""


@dataclass(slots=True)
class _Request:
    reply: str
    result: asyncio.Future[Event]


class _Message(NamedTuple):
    number: int
    text: str


class Connection:
    """A signalling session: `open` it, `request` and `notify`, read `next_event`, `close` it."""

    def __init__(self, http: aiohttp.ClientSession, address: Address, dialed: Dialed) -> None:
        self.welcome = dialed.welcome
        self._http = http
        self._address = address
        self._socket = dialed.socket
        self._local_host = dialed.local_host
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(MAX_WAITING_EVENTS)
        self._requests: dict[str, _Request] = {}
        self._numbers = itertools.count(1)
        self._unconfirmed: deque[_Message] = deque(maxlen=MAX_UNCONFIRMED_MESSAGES)
        self._written = 0
        """Number of the last message that a socket has taken."""
        self._received = 0
        """Messages of the session that have come, `welcome` and `resumed` not counted: each socket has its own."""
        self._online = asyncio.Event()
        self._online.set()
        self._resumed_at = 0.0
        self._end = DisconnectedError("the connection was closed")
        self._draining = False
        """Whether the server has said that it will end; a proxy may keep its close code from us."""
        self._closing = False
        self._closed = False
        self._successor: Dialed | None = None
        if dialed.first is not None:
            self._take(dialed.first)
        self._runner = asyncio.create_task(self._run(), name="signalling-reader")

    @classmethod
    async def open(cls, http: aiohttp.ClientSession, address: Address, successor: Dialed | None = None) -> Connection:
        """Connect and wait for `welcome`; `successor` is what `take_successor` of the last connection returned.

        Raises `ServerError` when the server refuses (its code says why) and `ConnectError` when it cannot be reached.
        """
        return cls(http, address, successor or await dial(http, address))

    @property
    def online(self) -> bool:
        """Whether there is a socket at this moment."""
        return self._online.is_set() and not self._closed

    @property
    def draining(self) -> bool:
        """Whether the server has said, on the socket of now, that it will end; it opens no rooms any more."""
        return self._draining

    def take_successor(self) -> Dialed | None:
        """Return the socket on which the server began a new session instead of resuming ours, once."""
        successor, self._successor = self._successor, None
        return successor

    async def request(self, event: str, data: Mapping[str, object], reply: str) -> Event:
        """Send `event` and return the server's `reply` to it, waiting for the socket if it is away.

        Raises `ServerError` when the server refuses, `DisconnectedError`, `RequestTimeoutError`.
        """
        await self._online.wait()
        if len(self._requests) >= MAX_WAITING_REQUESTS:
            raise RequestTimeoutError(f"{MAX_WAITING_REQUESTS} requests wait for their answers already")
        number = next(self._numbers)
        request_id = str(number)
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._requests[request_id] = _Request(reply, future)
        try:
            await self._send(event, data, number)
            while not future.done():
                await asyncio.wait([future], timeout=REQUEST_TIMEOUT_SECONDS)
                if not future.done() and self._was_online():
                    raise RequestTimeoutError(
                        f"the server did not answer {event} within {REQUEST_TIMEOUT_SECONDS:.0f} s"
                    )
            return future.result()
        finally:
            del self._requests[request_id]
            future.cancel()

    def _was_online(self) -> bool:
        """Return whether there was a socket for as long as a request waits."""
        now = asyncio.get_running_loop().time()
        return self._online.is_set() and now - self._resumed_at >= REQUEST_TIMEOUT_SECONDS

    async def notify(self, event: str, data: Mapping[str, object]) -> str:
        """Send an event that has no reply; return its id, which an `error` event about it repeats."""
        await self._online.wait()
        number = next(self._numbers)
        await self._send(event, data, number)
        return str(number)

    async def next_event(self) -> Event:
        """Return the next event that answers no request; raise `DisconnectedError` at the end."""
        if not self._closed or not self._events.empty():
            event = await self._events.get()
            if event is not None:
                return event
        raise self._ended()

    async def close(self) -> None:
        """Close the socket. Idempotent."""
        self._closing = True
        if not self._online.is_set():
            self._runner.cancel()
        await self._socket.close()
        # The reader ends with the socket; a peer that never answers the closing handshake must not hold it up.
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await asyncio.shield(self._runner)
        self._runner.cancel()
        successor = self.take_successor()
        if successor is not None:
            await successor.socket.close()

    # --- sending --------------------------------------------------------------------------------------------------

    async def _send(self, event: str, data: Mapping[str, object], number: int) -> None:
        if self._closed:
            raise self._ended()
        message = _Message(number, json.dumps({"event": event, "data": data, "id": str(number)}))
        self._unconfirmed.append(message)
        await self._write(message)

    async def _write(self, message: _Message) -> None:
        # What a broken socket does not take is sent again by the next one.
        with contextlib.suppress(aiohttp.ClientError, OSError):
            self._written = max(self._written, message.number)
            await self._socket.send_str(message.text)

    def _confirm(self, request_id: str | None) -> None:
        """Forget what the server must have had: it reads in order, so a reply confirms all that went before."""
        if request_id is not None and request_id.isdecimal():
            while self._unconfirmed and self._unconfirmed[0].number <= int(request_id):
                self._unconfirmed.popleft()

    # --- receiving ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                await self._read()
                if self._closing or not await self._resume():
                    return
        except ClientError as error:
            self._end = DisconnectedError(str(error))
        finally:
            self._finish()

    async def _read(self) -> None:
        """Take what the socket brings until it ends; note why it did."""
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._take(parse_event(message.data))
            elif message.type is aiohttp.WSMsgType.PING:
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    await self._socket.pong(message.data)
        code = self._socket.close_code
        if code == REPLACED:
            self._end = ReplacedError(f"another client has connected as {self._address.client_id!r}")
        elif code == GOING_AWAY or self._draining:
            self._draining = False
            self._end = ServerEndsError("the server has ended")
        elif code == BROKEN:
            self._end = DisconnectedError("the connection broke")
        elif code not in {None, 1000}:
            self._end = DisconnectedError(f"the server closed the connection (code {code})")
        else:
            self._end = DisconnectedError("the connection was closed")

    def _take(self, event: Event) -> None:
        self._received += 1
        self._confirm(event.request_id)
        self._draining = self._draining or event.name == "server_draining"
        request = self._request_answered_by(event)
        if request is None:
            self._put(event)
        elif event.name == "error":
            request.result.set_exception(event.error())
        else:
            request.result.set_result(event)

    def _put(self, event: Event) -> None:
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            raise ClientError(f"more than {MAX_WAITING_EVENTS} events wait to be read") from None

    def _request_answered_by(self, event: Event) -> _Request | None:
        if event.request_id is not None:
            request = self._requests.get(event.request_id)
            return request if request is not None and not request.result.done() else None
        if "protocol" in self.welcome.data:
            return None  # it repeats ids, so this answers nothing: an offer, say, that nobody asked for
        # Servers of the original protocol repeat no id; the oldest request that expects this event is meant.
        waiting = (request for request in self._requests.values() if not request.result.done())
        return next((request for request in waiting if request.reply == event.name), None)

    # --- resuming -------------------------------------------------------------------------------------------------

    async def _resume(self) -> bool:
        """Take the session over on a new socket; return False when it is lost for good."""
        secret = self.welcome.data.get("resume")
        if not isinstance(secret, str) or not secret or isinstance(self._end, ReplacedError):
            return False
        self._online.clear()
        self._put(Event(INTERRUPTED, {"reason": str(self._end)}))
        log.info("signalling_interrupted", client=self._address.client_id, reason=self._end)
        loop = asyncio.get_running_loop()
        deadline, backoff = loop.time() + RESUME_SECONDS, Backoff()
        if isinstance(self._end, ServerEndsError):
            backoff.expect_restart()
        while loop.time() < deadline:
            await asyncio.sleep(backoff.next())
            try:
                dialed = await dial(self._http, self._address, Resume(secret, self._received))
            except (ConnectError, ServerError) as error:
                self._end = DisconnectedError(str(error))
                if isinstance(error, ServerError) and error.code not in PASSING_CODES:
                    return False
                log.debug("signalling_resume_failed", client=self._address.client_id, reason=error)
                continue
            if dialed.resumed is None:
                self._successor = dialed
                self._end = DisconnectedError("the server has forgotten this session")
                return False
            await self._go_on(dialed, dialed.resumed)
            return True
        return False

    async def _go_on(self, dialed: Dialed, resumed: Event) -> None:
        self.welcome, self._socket = dialed.welcome, dialed.socket
        log.info("signalling_resumed", client=self._address.client_id)
        self._put(resumed)
        if dialed.local_host != self._local_host:
            self._local_host = dialed.local_host
            self._put(Event(MOVED, {}))
        # What the server has had of us it says; one that does not say it gets only what no socket has taken.
        had = resumed.data.get("received")
        had = had if isinstance(had, int) else self._written
        for message in list(self._unconfirmed):
            if message.number > had:
                await self._write(message)
        self._resumed_at = asyncio.get_running_loop().time()
        self._online.set()

    def _ended(self) -> ClientError:
        """Return why the connection is over; a new one each time, since exceptions collect the stacks they pass."""
        return type(self._end)(str(self._end))

    def _finish(self) -> None:
        self._closed = True
        self._online.set()  # whoever waits for it learns of the end
        for request in self._requests.values():
            if not request.result.done():
                request.result.set_exception(self._ended())
        with contextlib.suppress(asyncio.QueueFull):  # then a reader is not waiting and sees `_closed` in the end
            self._events.put_nowait(None)
