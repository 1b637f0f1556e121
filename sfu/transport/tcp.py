"""TcpListener and TcpPath: media over TCP for networks that block UDP (ICE-TCP passive, RFC 6544; framing, RFC 4571).

A connection carries what would be datagrams, each after its length in two bytes. What a slow connection has no room
for is dropped as UDP would drop it, by whole frames of video, so that its pictures are late by the buffer at most.
"""

from __future__ import annotations

import asyncio
import struct
import time
from typing import TYPE_CHECKING, Final, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.rtp.batch import Run

    from .dtls import MediaTransport
    from .path import Endpoint
    from .port import MediaPort
    from .source_filter import Flow

MAX_CONNECTIONS: Final = 512
"""Open at once; TCP is the exception, and each costs a descriptor."""
PROOF_TIMEOUT_SECONDS: Final = 10.0
"""In which a connection must pass a connectivity check; a browser sends one at once."""
MAX_UNPROVED_FRAMES: Final = 64
"""Which a connection may send before it passes a check; a browser sends some three. Frames may be empty, so a stranger
could have 130,000 of them looked at for each 256 kB."""
MAX_FRAME_BYTES: Final = 2048
"""As for UDP: what is longer is no packet of WebRTC, and whoever sends it speaks another protocol."""
MAX_BUFFERED_BYTES: Final = 256 * 1024
"""Waiting to be sent on one connection: a second at 2 Mbit/s."""

_LENGTH: Final = struct.Struct("!H")


class TcpPath(asyncio.Protocol):
    """One accepted connection."""

    protocol: Literal["udp", "tcp"] = "tcp"

    def __init__(self, listener: TcpListener) -> None:
        self.endpoint: Endpoint | None = None
        self.remote: tuple[str, int] = ("", 0)
        self._listener = listener
        self._port = listener.port
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._unproved_frames = 0
        self._proof: asyncio.TimerHandle | None = None
        self._resume: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, if there is room for one more."""
        self._transport = cast("asyncio.Transport", transport)
        host, number = transport.get_extra_info("peername")[:2]
        self.remote = (host, number)
        if not self._listener.admit(self):
            self._port.drops["tcp_full"] += 1
            self._transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._proof = loop.call_later(PROOF_TIMEOUT_SECONDS, self._give_up, "tcp_unproved")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        """Forget the connection; its peer may come back on another path."""
        if self.endpoint is not None:
            self.endpoint.ice.forget(self)
        self.detach()

    def data_received(self, data: bytes) -> None:
        """Cut the stream into what would be datagrams."""
        buffer = self._buffer
        buffer += data
        port = self._port
        position = 0
        port.begin_turn()
        try:
            while len(buffer) - position >= 2:
                (length,) = _LENGTH.unpack_from(buffer, position)
                if length > MAX_FRAME_BYTES:
                    self._give_up("tcp_frame_too_long")
                    break
                end = position + 2 + length
                if len(buffer) < end:
                    break
                frame = bytes(buffer[position + 2 : end])
                position = end
                if self.endpoint is None:
                    self._unproved_frames += 1
                    if self._unproved_frames > MAX_UNPROVED_FRAMES:
                        self._give_up("tcp_unproved")
                        break
                    port.dispatch_unknown(self, frame, time.monotonic())
                else:
                    port.dispatch(self, frame, time.monotonic())
            del buffer[:position]
        finally:
            port.end_turn()

    def send(self, data: bytes) -> None:
        """Send one datagram that is not media."""
        if self._transport is None or self._is_full():
            self._port.drops["tcp_buffer_full"] += 1
        else:
            self._transport.write(_LENGTH.pack(len(data)) + data)

    def send_media(self, transport: MediaTransport, runs: Sequence[Run]) -> int:
        """Encrypt and send runs of RTP packets; return how many packets found room."""
        sent = 0
        memory = self._port.buffer.memory
        for run in runs:
            if self._transport is None or self._is_full():
                self._port.drops["tcp_buffer_full"] += len(run)
                break
            count, size = transport.protect_run(run, self._port.buffer)
            segment = len(run[0]) + transport.tag_bytes
            parts: list[bytes | memoryview] = []
            for start in range(0, size, segment):
                end = min(start + segment, size)
                parts += (_LENGTH.pack(end - start), memory[start:end])
            self._transport.write(b"".join(parts))
            sent += count
        return sent

    def outlet(self, transport: MediaTransport) -> None:  # noqa: ARG002  the paths' common interface
        """Return None: `Fanout` sends datagrams."""
        return

    def block(self, flow: Flow, until: float) -> None:  # noqa: ARG002  the paths' common interface
        """Read nothing until a time of `time.monotonic`: a stream can be held up, so nothing of it need be dropped."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._resume is None:
            self._transport.pause_reading()
        else:
            self._resume.cancel()
        loop = asyncio.get_running_loop()
        self._resume = loop.call_later(max(0.0, until - time.monotonic()), self._read_on)

    def attach(self, endpoint: Endpoint) -> None:
        """Let what comes this way reach `endpoint`."""
        self.endpoint = endpoint
        if self._proof is not None:
            self._proof.cancel()
            self._proof = None

    def detach(self) -> None:
        """Close the connection after what is written. Idempotent."""
        self.endpoint = None
        self._listener.forget(self)
        if self._proof is not None:
            self._proof.cancel()
            self._proof = None
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _read_on(self) -> None:
        self._resume = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _is_full(self) -> bool:
        return self._transport is not None and self._transport.get_write_buffer_size() > MAX_BUFFERED_BYTES

    def _give_up(self, reason: str) -> None:
        self._port.drops[reason] += 1
        if self._transport is not None:
            self._transport.abort()


class TcpListener:
    """Accept connections on one address of the port."""

    def __init__(self, port: MediaPort) -> None:
        self.port = port
        self._server: asyncio.Server | None = None
        self._paths: set[TcpPath] = set()

    async def open(self, host: str, number: int) -> None:
        """Listen; raises OSError where that fails."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: TcpPath(self), host, number)

    def close(self) -> None:
        """Stop listening and close every connection. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for path in list(self._paths):
            path.detach()

    @property
    def connections(self) -> int:
        """How many are open, those that have not proved themselves yet included."""
        return len(self._paths)

    def admit(self, path: TcpPath) -> bool:
        """Note a connection, unless there are too many."""
        if len(self._paths) >= MAX_CONNECTIONS:
            return False
        self._paths.add(path)
        return True

    def forget(self, path: TcpPath) -> None:
        """Forget a connection. Idempotent."""
        self._paths.discard(path)
