"""What this machine grants the media port, found out without a server: for whoever looks after one."""

from __future__ import annotations

from dataclasses import dataclass

from .transport.port import MediaPort
from .transport.udp import SOCKET_BUFFER_BYTES


@dataclass(frozen=True, slots=True)
class SocketProbe:
    """A media socket as it would be opened."""

    wanted_buffer: int
    """Bytes asked of the kernel for each direction."""
    receive_buffer: int
    """Bytes granted; Linux counts its own overhead in, and so grants up to twice of what was asked."""
    send_buffer: int
    segmentation: bool
    """Whether several packets leave in one system call (UDP_SEGMENT)."""


async def probe_socket(host: str) -> SocketProbe:
    """Open a media socket on a free port of the local address `host` and close it again; raise `OSError`."""
    port = MediaPort()
    try:
        await port.open([host], 0, tcp=False)
        (found,) = port.statistics()
    finally:
        port.close()
    return SocketProbe(SOCKET_BUFFER_BYTES, found.receive_buffer, found.send_buffer, found.segmentation)
