"""The TCP side of HTTP: connections that carry no client are few, and none of them for long.

aiohttp waits an hour for a first request and bounds neither the number of connections nor the time that a peer may
take to send a request or to read a page. So a connection is *pending* from its acceptance until a client is admitted
on it, and pending connections have a limit and a time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from .limits import address_key
from .logs import EventLog

if TYPE_CHECKING:
    from ssl import SSLContext

log = EventLog("signaling.listener")

BACKLOG_CONNECTIONS = 1024
"""After a restart all clients come back within a second or two; the kernel may allow less (somaxconn)."""
LINGER_SECONDS = 0.5
"""For the rest of a request that nobody reads; aiohttp's 10 s would go on after the peer is gone."""


@dataclass(slots=True)
class _Pending:
    transport: asyncio.Transport
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
        self._max_pending = max_pending
        self._timeout_seconds = timeout_seconds
        # Both in the order of `since`: the first is the next to time out, and the first to go.
        self._pending: dict[web.RequestHandler, _Pending] = {}
        self._by_address: dict[str, dict[web.RequestHandler, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def accepted(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take note of a new connection; when there is no room for it another one goes."""
        if len(self._pending) >= self._max_pending:
            self._evict()
        peer = transport.get_extra_info("peername")
        address = address_key(peer[0] if isinstance(peer, tuple) else None)
        self._add(handler, _Pending(transport, address, asyncio.get_running_loop().time()))
        self._arm()

    def request_began(self, handler: web.RequestHandler) -> None:
        """Give a connection its time anew."""
        pending = self._remove(handler)
        if pending is not None:
            pending.since = asyncio.get_running_loop().time()
            self._add(handler, pending)

    def lost(self, handler: web.RequestHandler) -> None:
        """Take note that a connection is gone, or carries a client now: its session looks after it."""
        self._remove(handler)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _add(self, handler: web.RequestHandler, pending: _Pending) -> None:
        self._pending[handler] = pending
        self._by_address.setdefault(pending.address, {})[handler] = None

    def _remove(self, handler: web.RequestHandler) -> _Pending | None:
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
        self._guard.accepted(self, cast("asyncio.Transport", transport))  # uvloop's only looks like one
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.Protocol`."""
        self._guard.lost(self)
        super().connection_lost(exc)


class GuardedSite(web.BaseSite):
    """Listen on a TCP port, as `web.TCPSite` does, with every connection under the guard."""

    __slots__ = ("_guard", "_host", "_port")

    def __init__(
        self,
        runner: web.AppRunner,
        guard: ConnectionGuard,
        host: str,
        port: int,
        *,
        ssl_context: SSLContext | None = None,
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context, backlog=BACKLOG_CONNECTIONS)
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

        self._server = await loop.create_server(
            new_handler,
            self._host,
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            reuse_address=True,
        )
