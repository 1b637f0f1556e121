"""MediaTransport: aiortc's DTLS and SRTP over our port.

This is the only file that uses private names of aiortc and pylibsrtp; `tests/sfu/test_aiortc_pins.py` lists them, so
that an upgrade fails there and not in production.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, cast

import pylibsrtp
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    SRTP_PROFILES,
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
)
from OpenSSL import SSL
from pylibsrtp._binding import ffi, lib

from .alerts import Alerts

__all__ = ["Certificate", "MediaTransport", "PacketBuffer", "ffi", "lib"]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal

    from aiortc import RTCIceTransport

MAX_QUEUED_DATAGRAMS: Final = 32
"""DTLS datagrams waiting for the handshake: a flight is four at most, and each may come twice."""
SRTP_BUFFER_BYTES: Final = 2048
"""pylibsrtp's own 1,500 bytes hold packets up to 1,356 only, and GStreamer sends 1,400 by default."""
PROTECT_BUFFER_BYTES: Final = 65_536
"""One UDP_SEGMENT send."""
MAX_TRAILER_BYTES: Final = 16 + 128
"""libsrtp's SRTP_MAX_TRAILER_LEN."""
SRTP_PREFERENCE: Final = (SRTP_AEAD_AES_128_GCM, SRTP_AEAD_AES_256_GCM, SRTP_AES128_CM_SHA1_80)
"""AES-128-GCM first: 1.4 us a packet against 2.2 us for CM with SHA-1, and no weaker."""

_REPLAY_ERRORS: Final = ("replay check failed (bad index)", "replay check failed (index too old)")
_REPLAYS: Final = frozenset(pylibsrtp.ERRORS.index(text) for text in _REPLAY_ERRORS)


class PacketBuffer:
    """Memory that libsrtp works in, and the length that it changes.

    The port has one for runs of encrypted packets, shared by all viewers: it is sent before the next run is written.
    """

    def __init__(self, size: int = PROTECT_BUFFER_BYTES) -> None:
        self.start = ffi.new("char[]", size)
        self.view = ffi.buffer(self.start)
        self.length = ffi.new("int *")
        self.memory = memoryview(self.view)


_RECEIVE_BUFFER: Final = PacketBuffer(SRTP_BUFFER_BYTES)  # for one packet at a time: everything is on one thread


class Certificate:
    """The server's one certificate, with the one TLS context that every handshake shares."""

    def __init__(self) -> None:
        self._certificate = _SharedContextCertificate.generateCertificate()
        self.fingerprints: tuple[tuple[str, str], ...] = tuple(
            (fingerprint.algorithm, fingerprint.value)
            for fingerprint in self._certificate.getFingerprints()
            if fingerprint.algorithm == "sha-256"
        )
        """(algorithm, value) pairs for SDP; SHA-256 alone, which RFC 8122 has every client know."""

    @property
    def rtc_certificate(self) -> RTCCertificate:
        """The certificate as aiortc wants it."""
        return self._certificate


class _SharedContextCertificate(RTCCertificate):
    """Build the OpenSSL context once: 0.3 ms and 40 kB that each handshake would spend again."""

    _context: SSL.Context | None = None

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
            # Nobody resumes a DTLS session of WebRTC, so a cache would only grow.
            self._context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            # After the handshake a connection is idle but for its end; its 34 kB of buffers need not wait with it.
            self._context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        return self._context


class _DatagramQueue:
    """Stand where RTCDtlsTransport expects its ICE transport: a bounded queue of DTLS datagrams in, a callable out."""

    role = "controlled"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.dropped = 0
        self.transmit = send
        self._queue: asyncio.Queue[bytes] | None = asyncio.Queue(MAX_QUEUED_DATAGRAMS)

    def put(self, data: bytes) -> None:
        try:
            if self._queue is not None:
                self._queue.put_nowait(data)
        except asyncio.QueueFull:
            self.dropped += 1  # DTLS retransmits

    def release(self) -> None:
        self._queue = None

    async def _recv(self) -> bytes:
        if self._queue is None:
            raise ConnectionError
        return await self._queue.get()

    async def _send(self, data: bytes) -> None:
        self.transmit(data)


class MediaTransport(RTCDtlsTransport):
    """Do the DTLS handshake with one peer, then protect and unprotect its packets.

    SRTP packets pass by plain calls, not through queues or tasks; only DTLS datagrams take aiortc's road, until
    `release_handshake`. `on_closed` is called once if the peer shuts the connection down.
    """

    def __init__(
        self, certificate: Certificate, send: Callable[[bytes], None], on_closed: Callable[[], None] | None = None
    ) -> None:
        self._datagrams = _DatagramQueue(send)
        # The queue has the four names that RTCDtlsTransport uses of an ICE transport; the pin test keeps that true.
        super().__init__(cast("RTCIceTransport", self._datagrams), [certificate.rtc_certificate])
        self._srtp_profiles = [profile for profile in SRTP_PREFERENCE if profile in SRTP_PROFILES]
        self.drops: Counter[str] = Counter()
        self._on_closed = on_closed
        # Set once the handshake is done.
        self.holds_handshake = False
        """Whether `release_handshake` has something to do."""
        self.srtp_profile: str | None = None
        """The negotiated protection profile by its OpenSSL name, None before the handshake."""
        self.tag_bytes = 0
        """What encryption adds to an RTP packet."""
        self._rx_session: Any = None
        self.tx_session: Any = None
        """libsrtp's srtp_t for what we send, None before."""
        # Set by `release_handshake`, in the place of OpenSSL's connection.
        self._alerts: Alerts | None = None

    @property
    def connected(self) -> bool:
        """Whether media can pass."""
        return self._alerts is not None or self.state == "connected"

    async def connect(self, fingerprints: Sequence[tuple[str, str]], role: Literal["client", "server"]) -> bool:
        """Do the handshake and return whether it succeeded and the peer is whom the SDP named (RFC 5763 section 5)."""
        self._set_role(role)
        await self.start(
            RTCDtlsParameters(
                fingerprints=[RTCDtlsFingerprint(algorithm=name, value=value) for name, value in fingerprints]
            )
        )
        if self._task is not None:
            self.holds_handshake = True
            self._task.add_done_callback(self._ran_out)
        return self.connected

    def release_handshake(self) -> None:
        """Let go of OpenSSL's connection, 93 kB, once the peer is known to need no retransmission of its last flight.

        It knows its keys then, which an authentic SRTP or SRTCP packet proves. What is left of DTLS is its end, for
        which `Alerts` has the keys. A connection that `Alerts` does not support is kept.
        """
        self.holds_handshake = False
        connection = self._ssl
        if connection is None or self._task is None or self._data_receiver is not None:
            return
        cipher = connection.get_cipher_name()
        if cipher is None or not Alerts.supports(connection.get_protocol_version_name(), cipher):
            return
        master, client, server = connection.master_key(), connection.client_random(), connection.server_random()
        if master is None or client is None or server is None:
            return
        self._alerts = Alerts(cipher, master, client, server, "client" if self._role == "client" else "server")
        self._ssl = None
        self._datagrams.release()
        self._task.cancel()

    def handle_datagram(self, data: bytes) -> None:
        """Take one DTLS datagram from the peer."""
        if self._alerts is None:
            self._datagrams.put(data)
        elif self._alerts.ends(data):
            self._shut_down()

    def protect_run(self, packets: Sequence[bytes], buffer: PacketBuffer) -> tuple[int, int]:
        """Encrypt RTP packets one behind the other into `buffer`; return how many went in, and their bytes.

        For what does not go by `Fanout`. A direct call into libsrtp, on memory that every viewer shares, takes 1.0 us
        for a packet of 1,050 bytes where `protect` takes 1.8.
        """
        srtp_protect, session = lib.srtp_protect, self.tx_session
        view, start, length = buffer.view, buffer.start, buffer.length
        offset = count = 0
        for packet in packets:
            size = len(packet)
            end = offset + size
            if end > PROTECT_BUFFER_BYTES - MAX_TRAILER_BYTES:
                self.drops["srtp_too_long"] += 1
                continue
            view[offset:end] = packet
            length[0] = size
            if srtp_protect(session, start + offset, length):
                self.drops["srtp_protect"] += 1  # an index behind the replay window, or nonsense for a header
                continue
            offset += length[0]
            count += 1
        return count, offset

    def protect(self, packet: bytes) -> bytes:
        """Encrypt one RTP packet; raises `pylibsrtp.Error` or ValueError (too long)."""
        return self._tx_srtp.protect(packet)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Encrypt one compound RTCP packet."""
        return self._tx_srtp.protect_rtcp(packet)

    def unprotect(self, packets: Sequence[bytes]) -> list[bytes]:
        """Decrypt RTP packets; those that are not authentic or came before are left out and counted in `drops`.

        By direct calls for the same reason as `protect_run`: it runs for every packet that comes.
        """
        srtp_unprotect, session = lib.srtp_unprotect, self._rx_session
        view, start, length = _RECEIVE_BUFFER.view, _RECEIVE_BUFFER.start, _RECEIVE_BUFFER.length
        plain: list[bytes] = []
        for packet in packets:
            size = len(packet)
            if size > SRTP_BUFFER_BYTES:
                self.drops["srtp_too_long"] += 1
                continue
            view[:size] = packet
            length[0] = size
            status = srtp_unprotect(session, start, length)
            if status:
                self.drops["srtp_replayed" if status in _REPLAYS else "srtp_refused"] += 1
                continue
            plain.append(view[: length[0]])
        return plain

    def unprotect_rtcp(self, packet: bytes) -> bytes | None:
        """Decrypt one compound RTCP packet; None, counted in `drops`, where it is not authentic or came before."""
        try:
            return self._rx_srtp.unprotect_rtcp(packet)
        except (pylibsrtp.Error, ValueError) as exc:
            self._count_refused("srtcp", exc)
            return None

    def close(self) -> list[asyncio.Future[None]]:
        """Say goodbye to the peer (close_notify) and stop; return the task that still has to run out."""
        task, self._task = self._task, None
        self._on_closed = None
        if self._alerts is not None:
            self._datagrams.transmit(self._alerts.close_notify())
            self._alerts = None
        elif self._ssl is not None and self.state in ("connecting", "connected"):
            try:
                self._ssl.shutdown()
                self._datagrams.transmit(self._ssl.bio_read(1500))
            except SSL.Error:
                pass  # the handshake never got so far that there is something to say
        if task is None or task.done():
            return []
        task.cancel()
        return [task]

    def _setup_srtp(self) -> None:
        super()._setup_srtp()
        if self._tx_srtp is not None and self._ssl is not None:
            self.tx_session = self._tx_srtp._srtp[0]
            self._rx_session = self._rx_srtp._srtp[0]
            self.srtp_profile = self._ssl.get_selected_srtp_profile().decode()
            self.tag_bytes = 10 if self.srtp_profile == "SRTP_AES128_CM_SHA1_80" else 16
        for session in (self._rx_srtp, self._tx_srtp):
            if session is not None:
                # Larger than its own, and one for all: what it returns is a copy.
                session._cdata = _RECEIVE_BUFFER.start
                session._buffer = _RECEIVE_BUFFER.view

    def _ran_out(self, task: asyncio.Future[None]) -> None:
        """Take note that aiortc reads no more: its task has been cancelled, or the peer has shut down."""
        if not task.cancelled():
            task.exception()  # logged by aiortc
            self._shut_down()
        elif self._task is task:
            self._task = None

    def _shut_down(self) -> None:
        callback, self._on_closed = self._on_closed, None
        if callback is not None:
            callback()

    def _count_refused(self, what: str, exc: Exception) -> None:
        self.drops[f"{what}_replayed" if str(exc) in _REPLAY_ERRORS else f"{what}_refused"] += 1
