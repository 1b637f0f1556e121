"""LightPeer: the part that light publishers and light viewers share. Real ICE, DTLS and SRTP on a socket of its own."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
from typing import TYPE_CHECKING

from aioice import stun

from sfu.transport.dtls import Certificate, MediaTransport

from . import sdp

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

RECEIVE_BUFFER_BYTES = 1 << 20
"""A load that is away for a moment must not lose packets that the server did send: a second of one viewer's media."""
MAX_DATAGRAMS_PER_TURN = 64
"""Of one peer, before the others and the publisher get their turn."""
MAX_DATAGRAM_BYTES = 2048
CHECK_RETRY_SECONDS = 0.1
CHECK_ATTEMPTS = 100
CONSENT_SECONDS = 5.0
"""Between checks once connected (RFC 7675)."""
REPORT_SECONDS = 1.0
CONNECT_TIMEOUT_SECONDS = 20.0

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h: beyond rmem_max, for those who may
_SO_MEMINFO = 55  # asm-generic/socket.h
_MEMINFO = struct.Struct("@9I")
"""Nine counters, the last of them SK_MEMINFO_DROPS (linux/sock_diag.h)."""
_PRIORITY = 1853824767
"""Of a peer-reflexive candidate (RFC 8445 section 5.1.2); nothing here depends on it."""


class LightPeerError(Exception):
    """A light peer that could not do its part; the benchmark ends."""


class LightPeer:
    """One connection to a server: connectivity checks as the controlling side, DTLS, SRTP, reports each second.

    `address` is ours. `via`, where given, is where to send instead of the server's candidate (a proxy).
    """

    def __init__(self, host: str, certificate: Certificate, *, via: tuple[str, int] | None = None) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)  # noqa: FBT003  the standard library's signature
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        except PermissionError:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.sock.bind((host, 0))
        self.transport = MediaTransport(certificate, self.send)
        self.local = sdp.LocalDescription(
            secrets.token_hex(4), secrets.token_hex(12), certificate.fingerprints[0][1], self.sock.getsockname()
        )
        self.ssrc = secrets.randbits(32)
        """Our own, as the sender of reports."""
        self.send_errors = 0
        self.closed = False
        self.astray: socket.socket | None = None
        """Where RTCP and floods go instead of to the server, for a control: the same work, and nobody to hear it."""
        self._via = via
        self._remote: sdp.RemoteDescription | None = None
        self._checked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        self._checks = 0

    async def connect(self, remote: sdp.RemoteDescription, *, offered: bool) -> None:
        """Check, shake hands, then begin to report; `offered` tells whether ours was the offer."""
        self._remote = remote
        self.sock.connect(self._via or remote.address)
        self._loop.add_reader(self.sock.fileno(), self.readable)
        self._check()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await self._checked.wait()
                # Answering we are `active`; offering we take what the server leaves.
                role: Literal["server", "client"] = "server" if offered and remote.setup == "active" else "client"
                if not await self.transport.connect(remote.fingerprints, role):
                    raise LightPeerError(f"DTLS failed: {self.transport.state}")
        except TimeoutError:
            step = "DTLS" if self._checked.is_set() else "ICE"
            raise LightPeerError(f"{step} with {remote.address} took more than {CONNECT_TIMEOUT_SECONDS} s") from None
        self._every(REPORT_SECONDS, self.report)
        self.connected()

    def connected(self) -> None:
        """Do what is to be done once media can pass."""

    def report(self) -> None:
        """Send the reports of a second."""

    def handle_media(self, data: memoryview) -> None:
        """Take one SRTP or SRTCP datagram; the memory is overwritten by the next."""

    def send(self, data: bytes) -> None:
        """Send one datagram; what the kernel does not take is counted."""
        try:
            self.sock.send(data)
        except OSError:
            self.send_errors += 1

    def vanish(self) -> None:
        """Be gone without a word: no goodbye, no more checks, no socket."""
        self._let_go()
        self.sock.close()

    def stop_reading(self) -> None:
        """Read nothing more and leave the kernel as little room as it knows; checks and reports go on."""
        self._loop.remove_reader(self.sock.fileno())
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)

    @property
    def overflows(self) -> int:
        """Datagrams that our own socket had no room for."""
        values = self.sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(values)[-1])

    def send_rtcp(self, data: bytes) -> None:
        """Encrypt and send one compound RTCP packet."""
        if self.transport.connected and not self.closed:
            self.send_flooding(self.transport.protect_rtcp(data))

    def send_flooding(self, data: bytes) -> None:
        """Send one datagram that may go astray."""
        if self.astray is None:
            self.send(data)
        else:
            self.astray.send(data)

    async def close(self) -> None:
        """Say goodbye and let go of the socket. Idempotent."""
        self._let_go()
        ending = self.transport.close()
        self.sock.close()
        if ending:
            await asyncio.wait(ending)

    def _let_go(self) -> None:
        """End the timers and the reading."""
        self.closed = True
        for timer in self._timers:
            timer.cancel()
        if self.sock.fileno() >= 0:
            self._loop.remove_reader(self.sock.fileno())

    def readable(self) -> None:
        """Read what has come."""
        buffer = bytearray(MAX_DATAGRAM_BYTES)
        view = memoryview(buffer)
        receive = self.sock.recv_into
        try:
            for _ in range(MAX_DATAGRAMS_PER_TURN):
                length = receive(buffer)
                self.dispatch(view[:length])
                if self.closed:
                    return
        except BlockingIOError:
            return
        except OSError:
            return  # an ICMP error of an earlier send

    def dispatch(self, data: memoryview) -> None:
        """Tell datagrams apart by their first byte (RFC 7983)."""
        first = data[0] if data else 255
        if 128 <= first <= 191:
            self.handle_media(data)
        elif 20 <= first <= 63:
            self.transport.handle_datagram(bytes(data))
        elif first < 4:
            self._handle_stun(bytes(data))

    def _every(self, seconds: float, call: Callable[[], None]) -> None:
        """Call again and again from a random moment on, so that many peers spread over the interval."""
        place = len(self._timers)

        def run() -> None:
            if not self.closed:
                self._timers[place] = self._loop.call_later(seconds, run)
                call()

        self._timers.append(self._loop.call_later(seconds * secrets.randbelow(1000) / 1000, run))

    def _check(self) -> None:
        """Send a connectivity check, and the next in time."""
        if self._remote is None or self.closed:
            return
        request = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.REQUEST,
            transaction_id=secrets.token_bytes(12),
            attributes={
                "USERNAME": f"{self._remote.ufrag}:{self.local.ufrag}",
                "PRIORITY": _PRIORITY,
                "ICE-CONTROLLING": 1,
                "USE-CANDIDATE": None,
            },
        )
        request.add_message_integrity(self._remote.password.encode())
        self.send(bytes(request))
        self._checks += 1
        settled = self._checked.is_set() or self._checks > CHECK_ATTEMPTS
        delay = CONSENT_SECONDS if settled else CHECK_RETRY_SECONDS
        timer = self._loop.call_later(delay, self._check)
        if self._timers:
            self._timers[0] = timer
        else:
            self._timers.append(timer)

    def _handle_stun(self, data: bytes) -> None:
        with contextlib.suppress(ValueError):
            message = stun.parse_message(data)
            if message.message_class is stun.Class.RESPONSE:
                self._checked.set()
            elif message.message_class is stun.Class.REQUEST and self._remote is not None:
                # A full ICE agent checks us too.
                response = stun.Message(
                    message_method=stun.Method.BINDING,
                    message_class=stun.Class.RESPONSE,
                    transaction_id=message.transaction_id,
                    attributes={"XOR-MAPPED-ADDRESS": self._via or self._remote.address},
                )
                response.add_message_integrity(self.local.password.encode())
                self.send(bytes(response))
