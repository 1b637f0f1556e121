"""UdpSocket and UdpPath: datagrams in by bounded turns, media out in as few system calls as their sizes allow."""

from __future__ import annotations

import asyncio
import errno
import functools
import ipaddress
import logging
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from .fanout import Outlet
from .kernel import NO_ROOM, SEGMENTATION_REFUSED, UDP_SEGMENT
from .source_filter import SourceFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.rtp.batch import Run

    from .dtls import MediaTransport
    from .path import Endpoint
    from .port import MediaPort
    from .source_filter import Flow, SocketAddress

logger = logging.getLogger("aiosfu.udp")

MAX_DATAGRAMS_PER_TURN: Final = 128
"""Datagrams read from one socket before the event loop gets its turn: some 2 ms of work, so that signalling and the
other sockets are never starved."""
SOCKET_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""Asked of the kernel for each direction: 300 viewers at 2 Mbit/s for 50 ms. What is granted may be less."""
MAX_DATAGRAM_BYTES: Final = 2048
"""Larger than any path's MTU that WebRTC uses; what does not fit is no packet of ours."""

_SEGMENT_SIZE: Final = struct.Struct("@H")


@dataclass(frozen=True, slots=True)
class SocketStatistics:
    """One socket of the media port."""

    address: str
    receive_buffer: int
    """Bytes that the kernel granted; it counts its own overhead in."""
    send_buffer: int
    segmentation: bool
    """Whether several packets leave in one system call (UDP_SEGMENT)."""
    kernel_drops: int
    """Datagrams that the kernel dropped: from sources that were blocked for their rate, and what found no room."""


class UdpPath:
    """One remote address as seen through one of our sockets, and what waits to be sent to it."""

    __slots__ = ("address", "endpoint", "pending", "socket")

    protocol: Literal["udp", "tcp"] = "udp"

    def __init__(self, sock: UdpSocket, address: SocketAddress) -> None:
        self.socket = sock
        self.address = address
        self.endpoint: Endpoint | None = None
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

    def flush(self) -> None:
        """Send what waits."""
        batch, self.pending = self.pending, []
        for data in batch:
            self.socket.send(self.address, data)

    def send_media(self, transport: MediaTransport, runs: Sequence[Run]) -> int:
        """Encrypt and send runs of RTP packets at once; return how many packets left."""
        return self.socket.send_media(self.address, transport, runs)

    def outlet(self, transport: MediaTransport) -> Outlet | None:
        """Return what `Fanout` needs to send this way, or None where the system lacks something for it."""
        return Outlet(self, transport) if self.socket.segmentation else None

    def block(self, flow: Flow, until: float) -> None:
        """Have the kernel drop one flow of what comes this way until a time of `time.monotonic`, where it can."""
        self.socket.filter.block(self.address, flow, until)

    def attach(self, endpoint: Endpoint) -> None:
        """Let what comes this way reach `endpoint`."""
        self.socket.filter.unblock(self.address)
        self.endpoint = endpoint
        self.socket.paths[self.address] = self

    def detach(self) -> None:
        """Forget the path. Idempotent."""
        self.endpoint = None
        self.socket.filter.unblock(self.address)
        self.socket.paths.pop(self.address, None)


class UdpSocket:
    """One bound socket of the port."""

    def __init__(self, port: MediaPort, sock: socket.socket) -> None:
        self.port = port
        self.sock = sock
        self.segmentation = _supports_segmentation(sock)
        # Remote addresses that have proved themselves by a connectivity check.
        self.paths: dict[SocketAddress, UdpPath] = {}
        self.filter = SourceFilter(sock)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable)

    def close(self) -> None:
        """Close the socket."""
        self._loop.remove_reader(self.sock.fileno())
        self.filter.close()
        self.sock.close()
        self.paths.clear()

    def _readable(self) -> None:
        """Read what has come, up to the bound of one turn, then send what that gave rise to."""
        self.port.begin_turn()
        media: dict[UdpPath, list[bytes]] = {}
        try:
            self._read(media)
        except BlockingIOError:
            pass
        except OSError as exc:
            # An ICMP error of an earlier send; it says nothing about the next datagram.
            self.port.drops[f"receive_{errno.errorcode.get(exc.errno or 0, 'error')}"] += 1
        try:
            now = time.monotonic()
            for path, datagrams in media.items():
                self.port.dispatch_media(path, datagrams, now)
        finally:
            self.port.end_turn()

    def _read(self, media: dict[UdpPath, list[bytes]]) -> None:
        """Read what has come; what is media is put into `media`, by path, the rest is dispatched.

        Each peer's packets are then handled together, as long as the processor's caches hold what is its own.
        """
        receive = self.sock.recvfrom
        port, paths = self.port, self.paths
        for _ in range(MAX_DATAGRAMS_PER_TURN):
            data, address = receive(MAX_DATAGRAM_BYTES)
            path = paths.get(address)
            if path is None:
                port.dispatch_unknown(UdpPath(self, address), data, time.monotonic())
            elif data and 128 <= data[0] <= 191:
                datagrams = media.get(path)
                if datagrams is None:
                    media[path] = [data]
                else:
                    datagrams.append(data)
            else:
                port.dispatch(path, data, time.monotonic())

    def statistics(self) -> SocketStatistics:
        """Return a snapshot of what the kernel granted."""
        host, number = self.sock.getsockname()[:2]
        return SocketStatistics(
            address=f"[{host}]:{number}" if ":" in host else f"{host}:{number}",
            receive_buffer=self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
            send_buffer=self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
            segmentation=self.segmentation,
            kernel_drops=self.filter.drops(),
        )

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
            if count > 1 and self.segmentation and exc.errno in SEGMENTATION_REFUSED:
                # The interface cannot cut segments (no checksum offload, say): remember it and send one by one.
                self.segmentation = False
                logger.info("segmentation_refused", extra={"fields": {"error": errno.errorcode[exc.errno]}})
                return self._send_run(address, count, size, segment)
            self._count_failure(exc, count)
            return False
        return True

    def _count_failure(self, exc: OSError, datagrams: int) -> None:
        reason = "send_buffer_full" if exc.errno in NO_ROOM else "send_unreachable"
        self.port.drops[reason] += datagrams


def bind_udp(host: str, number: int) -> socket.socket:
    """Return a bound non-blocking socket; raises OSError where that fails."""
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


@functools.lru_cache(maxsize=MAX_DATAGRAM_BYTES)
def _segment_control(segment: int) -> tuple[tuple[int, int, bytes]]:
    """Return the control message that has the kernel cut a send into datagrams of `segment` bytes."""
    return ((socket.IPPROTO_UDP, UDP_SEGMENT, _SEGMENT_SIZE.pack(segment)),)


def _supports_segmentation(sock: socket.socket) -> bool:
    try:
        sock.getsockopt(socket.IPPROTO_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return True
