"""MediaPort: the one port number that every peer shares; tells what comes apart and sends at the end of each turn."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections import Counter
from typing import TYPE_CHECKING, Final

from sfu.faults import Faults

from .dtls import PacketBuffer
from .fanout import Fanout
from .ice import StunError, request_ufrag
from .tcp import TcpListener
from .udp import SocketStatistics, UdpPath, UdpSocket, bind_udp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .path import Endpoint, Path

PORT_ATTEMPTS: Final = 16
"""Tries to find one number that is free for every address, UDP and TCP, when any number will do."""


class PortError(OSError):
    """The media port cannot be opened; the text names protocol, address and port."""


class MediaPort:
    """Own the sockets, all on one port number; route what comes to peers by proven path.

    A datagram from an address that has not proved itself by an authentic connectivity check is dropped and counted
    unless it is such a check.
    """

    def __init__(self) -> None:
        self.number = 0
        self.drops: Counter[str] = Counter()
        self.faults = Faults()
        self.buffer = PacketBuffer()
        self.fanout = Fanout(self.drops) if Fanout.available() else None
        self.before_flush: Callable[[], None] | None = None
        """Called first by `flush`; the relay hands its batches round then."""
        self._sockets: list[UdpSocket] = []
        self._listeners: list[TcpListener] = []
        self._endpoints: dict[str, Endpoint] = {}
        self._pending: list[UdpPath] = []
        self._in_turn = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flush_handle: asyncio.Handle | None = None

    async def open(self, hosts: Sequence[str], number: int, *, tcp: bool) -> None:
        """Bind every host to one port number (any free one for 0); raise `PortError` where that fails."""
        self._loop = asyncio.get_running_loop()
        attempts = 1 if number else PORT_ATTEMPTS
        for attempt in range(1, attempts + 1):
            try:
                await self._open_all(hosts, number, tcp=tcp)
            except PortError as exc:
                self.close()
                self.number = 0
                if attempt == attempts or exc.errno != errno.EADDRINUSE:
                    raise
            else:
                return

    def close(self) -> None:
        """Send what waits, then close the sockets. Idempotent."""
        self.flush()
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        for udp in self._sockets:
            udp.close()
        for listener in self._listeners:
            listener.close()
        self._sockets.clear()
        self._listeners.clear()
        self._endpoints.clear()

    def statistics(self) -> tuple[SocketStatistics, ...]:
        """Return a snapshot of the UDP sockets."""
        return tuple(udp.statistics() for udp in self._sockets)

    @property
    def tcp_connections(self) -> int:
        """How many connections there are, over all addresses."""
        return sum(listener.connections for listener in self._listeners)

    def register(self, endpoint: Endpoint) -> None:
        """Let connectivity checks that name the endpoint's ufrag reach it, and no longer who had that ufrag before."""
        for ufrag in endpoint.ice.local_ufrags:
            self._endpoints[ufrag] = endpoint

    def restart(self, endpoint: Endpoint) -> None:
        """Give the endpoint new ICE credentials, beside those that it has."""
        self._forget_ufrags(endpoint)
        endpoint.ice.restart()
        self.register(endpoint)

    def unregister(self, endpoint: Endpoint) -> None:
        """Forget the endpoint and every path of it. Idempotent."""
        self._forget_ufrags(endpoint)
        self.flush()
        for path in endpoint.ice.paths:
            if path.endpoint is endpoint:
                path.detach()

    def dispatch(self, path: Path, data: bytes, now: float) -> None:
        """Hand what came on a proven path to its peer, told apart by its first byte (RFC 7983)."""
        first = data[0] if data else 255
        endpoint = path.endpoint
        try:
            if first < 4 or endpoint is None:
                self._handle_check(path, data, now)
            elif 128 <= first <= 191:
                endpoint.handle_srtp([data], now)
            elif 20 <= first <= 63:
                endpoint.handle_dtls(data)
            else:
                self.drops["unknown_protocol"] += 1
        except Exception as exc:  # noqa: BLE001  what one peer sends must not cost the others their datagrams
            self._failed(path, exc)

    def dispatch_media(self, path: Path, datagrams: Sequence[bytes], now: float) -> None:
        """Hand SRTP and SRTCP that came on a path in one turn to its peer."""
        if path.endpoint is None:
            self.drops["unknown_address"] += len(datagrams)  # the path was given up in this very turn
        else:
            path.endpoint.handle_srtp(datagrams, now)  # raises nothing: it ends its peer by itself

    def dispatch_unknown(self, path: Path, data: bytes, now: float) -> None:
        """Look at what came from an address that has not proved itself: only a connectivity check can change that."""
        if not data or data[0] >= 4:
            self.drops["unknown_address"] += 1
            return
        try:
            self._handle_check(path, data, now)
        except Exception as exc:  # noqa: BLE001  as above
            self._failed(path, exc)

    def begin_turn(self) -> None:
        """Note that datagrams are being read: what they give rise to is sent by `end_turn`."""
        self._in_turn = True

    def end_turn(self) -> None:
        """Send what the datagrams of the turn gave rise to."""
        self._in_turn = False
        self.flush()

    def request_flush(self) -> None:
        """Have `flush` called before this turn of the event loop ends, or in the next where none has begun."""
        if not self._in_turn and self._flush_handle is None and self._loop is not None:
            self._flush_handle = self._loop.call_soon(self._flush_later)

    def mark_pending(self, path: UdpPath) -> None:
        """Have the path's queue sent with the next flush."""
        self._pending.append(path)
        self.request_flush()

    def flush(self) -> None:
        """Send everything that waits: media that came in this turn, then what else is queued."""
        if self.before_flush is not None:
            self.before_flush()
        pending, self._pending = self._pending, []
        for path in pending:
            try:
                path.flush()
            except Exception as exc:  # noqa: BLE001  the other paths would never be flushed again
                self._failed(path, exc)

    def _forget_ufrags(self, endpoint: Endpoint) -> None:
        for ufrag in endpoint.ice.local_ufrags:
            if self._endpoints.get(ufrag) is endpoint:
                del self._endpoints[ufrag]

    def _failed(self, path: Path, error: Exception) -> None:
        """End the peer at whose datagram we failed; there may be none yet."""
        if path.endpoint is None:
            self.faults.report("datagram_failed", error)
        else:
            path.endpoint.crashed(error)

    def _flush_later(self) -> None:
        self._flush_handle = None
        self.flush()

    def _handle_check(self, path: Path, data: bytes, now: float) -> None:
        try:
            endpoint = self._endpoints.get(request_ufrag(data))
            if endpoint is None:
                self.drops["stun_unknown_ufrag"] += 1
                return
            reply = endpoint.ice.handle_request(data, path)
        except StunError:
            self.drops["stun_malformed"] += 1
            return
        if reply.response is not None:
            path.send(reply.response)
        if not reply.authentic:
            self.drops["stun_unauthorized"] += 1
            return
        if path.endpoint is not endpoint:
            if path.endpoint is not None:
                # The same address, a newer peer: a page was reloaded or a client reconnected from the same socket.
                path.endpoint.ice.forget(path)
            path.attach(endpoint)
        if reply.forgotten is not None:
            reply.forgotten.detach()
        endpoint.authentic_check(now)

    async def _open_all(self, hosts: Sequence[str], number: int, *, tcp: bool) -> None:
        for host in hosts:
            with _named_errors("UDP", host, number or self.number):
                self._sockets.append(UdpSocket(self, bind_udp(host, number or self.number)))
            self.number = self._sockets[0].sock.getsockname()[1]
        for host in hosts if tcp else ():
            listener = TcpListener(self)
            with _named_errors("TCP", host, self.number):
                await listener.open(host, self.number)
            self._listeners.append(listener)


@contextlib.contextmanager
def _named_errors(protocol: str, host: str, number: int) -> Iterator[None]:
    """Say in an error which socket could not be opened."""
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise PortError(exc.errno, f"cannot open {protocol} {host} port {number or 'any'}: {reason}") from exc
