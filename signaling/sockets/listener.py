"""The TCP side of HTTP: connections that carry no client are few, and none of them for long.

aiohttp waits an hour for a first request and bounds neither the number of connections nor the time that a peer may
take to send a request or to read a page. So a connection is *pending* from its acceptance until a client is admitted
on it, and pending connections have a limit and a time. Under TLS that begins before the handshake, which asyncio
would do for any number of connections at once, each for a minute.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from signaling.logs import EventLog

from .limits import address_key

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Hashable

log = EventLog("signaling.listener")

BACKLOG_CONNECTIONS = 1024
"""After a restart all clients come back within a second or two; the kernel may allow less (somaxconn)."""
TLS_HANDSHAKE_TIMEOUT_SECONDS = 10.0
"""Two round trips; a phone on a bad link takes some seconds."""
TLS_SHUTDOWN_TIMEOUT_SECONDS = 1.0
"""For a client's half of TLS's goodbye: many send none, and each would keep its descriptor for asyncio's 30 s."""
WRITE_BUFFER_BYTES = 64 * 1024
"""That may wait in a connection for a slow client, besides its outbox: a TCP transport's default; TLS's is 512 kB."""
LINGER_SECONDS = 0.5
"""For the rest of a request that nobody reads; aiohttp's 10 s would go on after the peer is gone."""

_NO_HTTP = (
    "400: this cannot be read as HTTP; its request line and headers have 8190 bytes each at most, and no odd bytes"
)


class Abortable(Protocol):
    """A transport, or what has one."""

    def abort(self) -> None:
        """Cut the connection off."""
        ...


@dataclass(slots=True)
class _Pending:
    transport: Abortable
    address: str
    since: float
    """Acceptance, or the beginning of its latest request; loop time."""


class ConnectionGuard:
    """Close pending connections that take too long, and the greediest address's oldest when there are too many."""

    def __init__(self, max_pending: int, timeout_seconds: float) -> None:
        self.timed_out = 0
        """Connections closed for having taken too long."""
        self.evicted = 0
        """Connections closed to make room for newer ones."""
        self.handshakes_failed = 0
        """Connections that did not get through TLS's handshake."""
        self._max_pending = max_pending
        self._timeout_seconds = timeout_seconds
        # Both in the order of `since`: the first is the next to time out, and the first to go.
        self._pending: dict[Hashable, _Pending] = {}
        self._by_address: dict[str, dict[Hashable, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def accepted(self, handler: Hashable, transport: Abortable, peer: object) -> None:
        """Take note of a new connection from the socket address `peer`; when there is no room another one goes."""
        if len(self._pending) >= self._max_pending:
            self._evict()
        address = address_key(peer[0] if isinstance(peer, tuple) else None)
        self._add(handler, _Pending(transport, address, asyncio.get_running_loop().time()))
        self._arm()

    def request_began(self, handler: Hashable) -> None:
        """Give a connection its time anew."""
        pending = self._remove(handler)
        if pending is not None:
            pending.since = asyncio.get_running_loop().time()
            self._add(handler, pending)

    def lost(self, handler: Hashable) -> None:
        """Take note that a connection is gone, or carries a client now: its session looks after it."""
        self._remove(handler)

    def reconfigure(self, max_pending: int, timeout_seconds: float) -> None:
        """Take other limits, for connections that come or go on from now."""
        self._max_pending, self._timeout_seconds = max_pending, timeout_seconds

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _add(self, handler: Hashable, pending: _Pending) -> None:
        self._pending[handler] = pending
        self._by_address.setdefault(pending.address, {})[handler] = None

    def _remove(self, handler: Hashable) -> _Pending | None:
        pending = self._pending.pop(handler, None)
        if pending is not None:
            of_address = self._by_address[pending.address]
            del of_address[handler]
            if not of_address:
                del self._by_address[pending.address]
        return pending

    def _evict(self) -> None:
        greediest = max(self._by_address.values(), key=len)
        pending = self._remove(next(iter(greediest)))
        if pending is not None:
            self.evicted += 1
            log.info("connection_evicted", address=pending.address, pending=len(self._pending))
            pending.transport.abort()

    def _arm(self) -> None:
        if self._timer is None and self._pending:
            first = next(iter(self._pending.values()))
            self._timer = asyncio.get_running_loop().call_at(first.since + self._timeout_seconds, self._expire)

    def _expire(self) -> None:
        self._timer = None
        latest = asyncio.get_running_loop().time() - self._timeout_seconds
        for handler, pending in list(self._pending.items()):
            if pending.since > latest:
                break
            self._remove(handler)
            self.timed_out += 1
            log.info("connection_timed_out", address=pending.address)
            pending.transport.abort()
        self._arm()


class _Handler(web.RequestHandler):
    """aiohttp's protocol for one connection, which reports to the guard."""

    __slots__ = ("_guard",)

    def __init__(self, guard: ConnectionGuard, manager: web.Server, **options: Any) -> None:  # noqa: ANN401  aiohttp's
        super().__init__(manager, **options)
        self._guard = guard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        accepted = cast("asyncio.Transport", transport)  # uvloop's only looks like one
        accepted.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        self._guard.accepted(self, accepted, transport.get_extra_info("peername"))
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.Protocol`."""
        self._guard.lost(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP without repeating it.

        aiohttp quotes the offending bytes in the answer and, as an error with its traceback, in the log: the address or
        the header with a token among them, and as often as a stranger likes.
        """
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.info("bad_request", address=request.remote, problem=type(exc).__name__)
        answer = web.Response(status=status, text=_NO_HTTP)
        answer.force_close()
        return answer


class _Handshake:
    """One connection's TLS handshake, under the guard; HTTP gets what comes of it."""

    def __init__(self, guard: ConnectionGuard, context: ssl.SSLContext, new_handler: Callable[[], _Handler]) -> None:
        self._guard = guard
        self._context = context
        self._new_handler = new_handler
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False

    def begin(self, connection: socket.socket) -> asyncio.Task[None]:
        """Begin; `connection` is then the handshake's. Raises `OSError` when the client has gone already."""
        peer = connection.getpeername()
        self._task = asyncio.get_running_loop().create_task(self._run(connection), name="tls-handshake")
        self._task.add_done_callback(lambda _task: self._ended(connection))
        self._guard.accepted(self, self, peer)
        return self._task

    def abort(self) -> None:
        """Cut it off."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self, connection: socket.socket) -> None:
        self._has_begun = True
        problem = "cut off"
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                self._new_handler,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_SECONDS,
                ssl_shutdown_timeout=TLS_SHUTDOWN_TIMEOUT_SECONDS,
            )
            # asyncio raises nothing when the connection is lost in its handshake.
            problem = "connection lost" if transport.is_closing() else ""
        except OSError as error:  # which SSL's errors and a handshake's timeout are: no news
            problem = str(getattr(error, "reason", None) or type(error).__name__)
        finally:
            self._guard.lost(self)
            if problem:
                self._guard.handshakes_failed += 1
                log.debug("tls_handshake_failed", problem=problem)

    def _ended(self, connection: socket.socket) -> None:
        if not self._has_begun:  # it was cut off before its first step, and nobody else has closed it
            self._guard.lost(self)
            connection.close()


class _Acceptor(asyncio.Protocol):
    """Takes the socket out of a new connection's transport, before that has read from it, for a handshake.

    `loop.start_tls` would do without the detour, but uvloop reads before a task can call it, and loses what it read.
    """

    def __init__(self, new_handshake: Callable[[], _Handshake], tasks: set[asyncio.Task[None]]) -> None:
        self._new_handshake = new_handshake
        self._tasks = tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        accepted = cast("asyncio.Transport", transport)  # uvloop's only looks like one
        try:
            own = accepted.get_extra_info("socket")
            connection = socket.socket(own.family, own.type, own.proto, fileno=os.dup(own.fileno()))
            connection.settimeout(0)
            task = self._new_handshake().begin(connection)
        except OSError as error:  # no descriptor left, or the client has gone already
            log.info("tls_connection_dropped", problem=error)
            return
        finally:
            accepted.abort()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class GuardedSite(web.BaseSite):
    """Listen on a TCP port, as `web.TCPSite` does, with every connection under the guard."""

    __slots__ = ("_guard", "_handshakes", "_host", "_port")

    def __init__(
        self,
        runner: web.AppRunner,
        guard: ConnectionGuard,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context, backlog=BACKLOG_CONNECTIONS)
        self._handshakes: set[asyncio.Task[None]] = set()
        self._guard = guard
        self._host = host
        self._port = port

    @property
    def name(self) -> str:
        """The address, as aiohttp shows it."""
        return f"{'https' if self._ssl_context else 'http'}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen; raise `OSError` when the port cannot be had."""
        await super().start()
        loop = asyncio.get_running_loop()
        manager = self._runner.server
        if manager is None:
            raise AssertionError("a site is made after its runner's setup")

        def new_handler() -> _Handler:
            # No access log: its lines would hold tokens, which are part of the path.
            return _Handler(self._guard, manager, loop=loop, access_log=None, lingering_time=LINGER_SECONDS)

        context = self._ssl_context

        def new_protocol() -> asyncio.Protocol:
            if context is None:
                return new_handler()
            return _Acceptor(lambda: _Handshake(self._guard, context, new_handler), self._handshakes)

        self._server = await loop.create_server(
            new_protocol, self._host, self._port, backlog=self._backlog, reuse_address=True
        )

    async def stop(self) -> None:
        """Listen no more, and end handshakes that are under way."""
        await super().stop()
        handshakes = list(self._handshakes)
        for task in handshakes:
            task.cancel()
        await asyncio.gather(*handshakes, return_exceptions=True)
