"""MediaPort: the one UDP port that every peer shares; tells datagrams apart and sends them in batches."""

from __future__ import annotations

import asyncio
import errno
import functools
import ipaddress
import logging
import socket
import struct
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

from .dtls import PacketBuffer
from .ice import IceLite, StunError, request_ufrag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sfu.rtp.batch import Run

    from .dtls import MediaTransport

logger = logging.getLogger("aiosfu.port")

MAX_DATAGRAMS_PER_TURN: Final = 128
"""Datagrams read from one socket before the event loop gets its turn: some 2 ms of work, so that signalling and the
other sockets are never starved."""
SOCKET_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""Asked of the kernel for each direction: 300 viewers at 2 Mbit/s for 50 ms. What is granted may be less."""
MAX_DATAGRAM_BYTES: Final = 2048
"""Larger than any path's MTU that WebRTC uses; what does not fit is no packet of ours."""
PORT_ATTEMPTS: Final = 16
"""Tries to find one free port number for all addresses when any will do."""

_UDP_SEGMENT: Final = 103  # linux/udp.h; not in the socket module before Python 3.12
_SEGMENT_SIZE: Final = struct.Struct("@H")
_GSO_REFUSED: Final = frozenset({errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EMSGSIZE})
_AGAIN: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


class PortError(OSError):
    """The media port cannot be opened; the text names address and port."""


class Endpoint(Protocol):
    """What the port needs to know of a peer."""

    ice: IceLite[UdpPath]

    def authentic_check(self, now: float) -> None:
        """Take note that the peer proved to be there, on the path that its ICE agent now has selected."""
        ...

    def handle_dtls(self, data: bytes) -> None:
        """Take one DTLS datagram."""
        ...

    def handle_srtp(self, data: bytes, now: float) -> None:
        """Take one SRTP or SRTCP datagram, as it came."""
        ...


class UdpPath:
    """One remote address as seen through one of our sockets, and what waits to be sent to it."""

    __slots__ = ("address", "pending", "socket")

    def __init__(self, sock: UdpSocket, address: SocketAddress) -> None:
        self.socket = sock
        self.address = address
        self.pending: list[bytes] = []

    @property
    def remote(self) -> tuple[str, int]:
        """The remote IP address and port."""
        return self.address[0], self.address[1]

    def send(self, data: bytes) -> None:
        """Queue one datagram that is not media for the end of this turn of the event loop."""
        if not self.pending:
            self.socket.port.mark_pending(self)
        self.pending.append(data)


class UdpSocket:
    """One bound socket of the port."""

    def __init__(self, port: MediaPort, sock: socket.socket) -> None:
        self.port = port
        self.sock = sock
        self.segmentation = _supports_segmentation(sock)
        # Remote addresses that have proved themselves by a connectivity check, and whose they are.
        self.routes: dict[SocketAddress, tuple[UdpPath, Endpoint]] = {}

    def readable(self) -> None:
        """Read what has come, up to the bound of one turn, then send what that gave rise to."""
        receive = self.sock.recvfrom
        port = self.port
        dispatch = port.dispatch
        port.begin_turn()
        try:
            for _ in range(MAX_DATAGRAMS_PER_TURN):
                data, address = receive(MAX_DATAGRAM_BYTES)
                dispatch(self, data, address, time.monotonic())
        except BlockingIOError:
            pass
        except OSError as exc:
            # An ICMP error of an earlier send; it says nothing about the next datagram.
            self.port.drops[f"receive_{errno.errorcode.get(exc.errno or 0, 'error')}"] += 1
        port.end_turn()

    def send_media(self, address: SocketAddress, transport: MediaTransport, runs: Sequence[Run]) -> int:
        """Encrypt and send runs of RTP packets; return how many packets left.

        After a run that the kernel had no room for, the rest is not tried: it would be the tail of a broken frame.
        """
        sent = 0
        for run in runs:
            count, size = transport.protect_run(run, self.port.buffer)
            if self._send_run(address, count, size, len(run[0]) + transport.tag_bytes):
                sent += count
            else:
                break
        return sent

    def send(self, address: SocketAddress, data: bytes) -> None:
        """Send one datagram; what cannot be sent is counted."""
        try:
            self.sock.sendto(data, address)
        except OSError as exc:
            self._count_failure(exc, 1)

    def _send_run(self, address: SocketAddress, count: int, size: int, segment: int) -> bool:
        """Send `size` bytes of the shared buffer as datagrams of `segment` bytes and a rest; tell if they left."""
        memory = self.port.buffer.memory
        try:
            if count == 1:
                self.sock.sendto(memory[:size], address)
            elif self.segmentation:
                self.sock.sendmsg((memory[:size],), _segment_control(segment), 0, address)
            else:
                for start in range(0, size, segment):
                    self.sock.sendto(memory[start : min(start + segment, size)], address)
        except OSError as exc:
            if count > 1 and self.segmentation and exc.errno in _GSO_REFUSED:
                # The interface cannot cut segments (no checksum offload, say): remember it and send one by one.
                self.segmentation = False
                logger.info("segmentation_refused", extra={"fields": {"error": errno.errorcode[exc.errno]}})
                return self._send_run(address, count, size, segment)
            self._count_failure(exc, count)
            return False
        return True

    def _count_failure(self, exc: OSError, datagrams: int) -> None:
        reason = "send_buffer_full" if exc.errno in _AGAIN else "send_unreachable"
        self.port.drops[reason] += datagrams


class MediaPort:
    """Own the sockets, one an address and all on one port number; route datagrams to peers by proven address.

    A datagram from an address that has not proved itself by an authentic connectivity check is dropped and counted
    unless it is such a check.
    """

    def __init__(self) -> None:
        self.number = 0
        self.drops: Counter[str] = Counter()
        self._sockets: list[UdpSocket] = []
        self._endpoints: dict[str, Endpoint] = {}
        self._pending: list[UdpPath] = []
        self._in_turn = False
        self.buffer = PacketBuffer()
        self.before_flush: Callable[[], None] | None = None
        """Called first by `flush`; the relay hands its batches round then."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flush_handle: asyncio.Handle | None = None

    def open(self, hosts: Sequence[str], number: int) -> None:
        """Bind every host to one port number (any free one for 0); raise `PortError` where that fails."""
        self._loop = asyncio.get_running_loop()
        bound = _bind_all(hosts, number)
        self.number = bound[0].getsockname()[1]
        for sock in bound:
            udp = UdpSocket(self, sock)
            self._sockets.append(udp)
            self._loop.add_reader(sock.fileno(), udp.readable)

    def close(self) -> None:
        """Send what waits, then close the sockets. Idempotent."""
        self.flush()
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        for udp in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(udp.sock.fileno())
            udp.sock.close()
            udp.routes.clear()
        self._sockets.clear()
        self._endpoints.clear()

    def register(self, endpoint: Endpoint) -> None:
        """Let connectivity checks that name the endpoint's ufrag reach it."""
        self._endpoints[endpoint.ice.local_ufrag] = endpoint

    def unregister(self, endpoint: Endpoint) -> None:
        """Forget the endpoint and every address of it. Idempotent."""
        self._endpoints.pop(endpoint.ice.local_ufrag, None)
        for path in endpoint.ice.paths:
            self._unroute(path, endpoint)

    def dispatch(self, udp: UdpSocket, data: bytes, address: SocketAddress, now: float) -> None:
        """Hand one datagram to whom it belongs, told apart by its first byte (RFC 7983)."""
        first = data[0] if data else 255
        if first < 4:
            self._handle_check(udp, data, address, now)
            return
        route = udp.routes.get(address)
        if route is None:
            self.drops["unknown_address"] += 1
        elif 128 <= first <= 191:
            route[1].handle_srtp(data, now)
        elif 20 <= first <= 63:
            route[1].handle_dtls(data)
        else:
            self.drops["unknown_protocol"] += 1

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
            batch, path.pending = path.pending, []
            for data in batch:
                path.socket.send(path.address, data)

    def _flush_later(self) -> None:
        self._flush_handle = None
        self.flush()

    def _handle_check(self, udp: UdpSocket, data: bytes, address: SocketAddress, now: float) -> None:
        try:
            endpoint = self._endpoints.get(request_ufrag(data))
            if endpoint is None:
                self.drops["stun_unknown_ufrag"] += 1
                return
            route = udp.routes.get(address)
            path = route[0] if route is not None else UdpPath(udp, address)
            reply = endpoint.ice.handle_request(data, path)
        except StunError:
            self.drops["stun_malformed"] += 1
            return
        if reply.response is not None:
            path.send(reply.response)
        if not reply.authentic:
            self.drops["stun_unauthorized"] += 1
            return
        if route is not None and route[1] is not endpoint:
            # The same address, a newer peer: a page was reloaded or a client reconnected from the same socket.
            route[1].ice.forget(path)
        if reply.forgotten is not None:
            self._unroute(reply.forgotten, endpoint)
        if endpoint.ice.selected is not None:
            udp.routes[address] = (path, endpoint)
            endpoint.authentic_check(now)

    def _unroute(self, path: UdpPath, endpoint: Endpoint) -> None:
        route = path.socket.routes.get(path.address)
        if route is not None and route[1] is endpoint:
            del path.socket.routes[path.address]


@functools.lru_cache(maxsize=MAX_DATAGRAM_BYTES)
def _segment_control(segment: int) -> tuple[tuple[int, int, bytes]]:
    """Return the control message that has the kernel cut a send into datagrams of `segment` bytes."""
    return ((socket.IPPROTO_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(segment)),)


def _supports_segmentation(sock: socket.socket) -> bool:
    try:
        sock.getsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT)
    except OSError:
        return False
    return True


def _bind_all(hosts: Sequence[str], number: int) -> list[socket.socket]:
    """Bind one socket a host, all on one number, which is searched for where `number` is 0."""
    attempts = 1 if number else PORT_ATTEMPTS
    for attempt in range(1, attempts + 1):
        bound: list[socket.socket] = []
        try:
            for host in hosts:
                bound.append(_bind(host, number if number or not bound else bound[0].getsockname()[1]))
        except OSError as exc:
            for sock in bound:
                sock.close()
            if attempt == attempts or exc.errno != errno.EADDRINUSE:
                raise PortError(f"cannot open UDP {host} port {number or 'any'}: {exc.strerror or exc}") from exc
        else:
            return bound
    raise AssertionError("unreachable: the last attempt returns or raises")


def _bind(host: str, number: int) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)  # noqa: FBT003  the standard library's signature
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, number))
    except BaseException:
        sock.close()
        raise
    return sock
