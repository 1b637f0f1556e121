"""Sink: a light viewer. Counts what comes, and decrypts only what a benchmark asks to see."""

from __future__ import annotations

import fcntl
import struct
from collections import deque
from typing import TYPE_CHECKING

from sfu.rtp.rtcp import ReceiverReport, ReportBlock, SenderReport, parse_rtcp

from . import sdp
from .light import MAX_DATAGRAM_BYTES, MAX_DATAGRAMS_PER_TURN, LightPeer
from .reassembly import Reassembly
from .source import TAIL_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sfu.transport.dtls import Certificate

DELAY_SAMPLE_MASK = 15
"""One packet in 16 is decrypted to find when it was sent, each viewer another one: all of a burst are seen."""
MAX_DELAY_SAMPLES = 20_000
MAX_EARLY_PACKETS = 512
"""Packets that overtake the end of our handshake, while the first keyframe is looked for."""
SENDER_REPORT_TYPE = 200

_SIOCGSTAMPNS = 0x8907  # linux/sockios.h: when the packet last read came in; far cheaper than recvmsg for each
_TIMESPEC = struct.Struct("@qq")
_NUMBERS = struct.Struct("!xxHII")
_unpack = _NUMBERS.unpack_from

# One buffer for all sinks: they live on one thread.
_BUFFER = bytearray(MAX_DATAGRAM_BYTES)
_VIEW = memoryview(_BUFFER)


class Stream:
    """What came on one SSRC."""

    __slots__ = ("bytes", "cycles", "first", "highest", "last_sr", "last_sr_at", "packets", "reported")

    def __init__(self, sequence: int) -> None:
        self.packets = 0
        self.bytes = 0
        self.first = sequence
        self.highest = sequence
        self.cycles = 0
        self.last_sr = 0
        self.last_sr_at = 0.0
        self.reported = (0, 0)

    @property
    def expected(self) -> int:
        """Packets that the sequence numbers so far stand for."""
        return (self.cycles << 16) + self.highest - self.first + 1

    def report(self, ssrc: int, now: float) -> ReportBlock:
        """Return the block of a receiver report (RFC 3550 section 6.4.1)."""
        expected = self.expected
        new_expected, new_packets = expected - self.reported[0], self.packets - self.reported[1]
        self.reported = (expected, self.packets)
        fraction = max(0, new_expected - new_packets) * 256 // new_expected if new_expected > 0 else 0
        delay = int((now - self.last_sr_at) * 65536) if self.last_sr else 0
        lost = max(-0x800000, min(0x7FFFFF, expected - self.packets))
        highest = (self.cycles << 16 | self.highest) & 0xFFFFFFFF
        return ReportBlock(ssrc, min(fraction, 255), lost, highest, 0, self.last_sr, delay)


class Sink(LightPeer):
    """Watch one feed; what it looks at besides counting is switched on by `time_keyframe`, `sample_delay`, `repair`."""

    def __init__(self, host: str, certificate: Certificate, *, via: tuple[str, int] | None = None) -> None:
        super().__init__(host, certificate, via=via)
        self.packets = 0
        """RTP packets, of all SSRCs."""
        self.streams: dict[int, Stream] = {}
        self.first_keyframe_at: float | None = None
        """Loop time at which the first keyframe was complete."""
        self.delays: deque[float] = deque(maxlen=MAX_DELAY_SAMPLES)
        """Seconds from the publisher's send to our kernel's receive."""
        self.reassembly: Reassembly | None = None
        self.repairs = False
        self._looking = False
        self._early: list[bytes] = []
        self._send_times: Mapping[bytes, float] | None = None
        self._phase = 0
        self._repair_deadline = 0.0

    def offer(self) -> str:
        """Return an offer to watch, for servers that answer viewers."""
        return sdp.offer(self.local, "recvonly")

    def time_keyframe(self) -> None:
        """Decrypt until the first keyframe is complete."""
        self._looking = True

    def repair(self) -> None:
        """Decrypt and reassemble everything, asking again for what is lost."""
        self._looking = self.repairs = True

    def sample_delay(self, send_times: Mapping[bytes, float], phase: int) -> None:
        """Sample delays against the publisher's `send_times`, by the tails of payloads."""
        self._phase = phase & DELAY_SAMPLE_MASK
        self._send_times = send_times

    def expect(self, remote: sdp.RemoteDescription) -> None:
        """Take note of the payload types that the server is going to send."""
        video = sdp.section_of(remote.sections, "video")
        if video.video_payload_type is None:
            raise ValueError("the server's description has no VP8")
        self.reassembly = Reassembly(video.video_payload_type, video.rtx.get(video.video_payload_type))

    def connected(self) -> None:
        """Look at what came before the handshake was over."""
        early, self._early = self._early, []
        for data in early:
            self._look(data)
        if self.repairs:
            self._every(0.02, self._ask_again)

    def readable(self) -> None:
        """Read and count what has come; this loop is what lets one core carry hundreds of viewers."""
        receive = self.sock.recv_into
        streams = self.streams
        looking = self._looking
        sampling = self._send_times is not None
        try:
            for _ in range(MAX_DATAGRAMS_PER_TURN):
                length = receive(_BUFFER)
                if not 128 <= _BUFFER[0] <= 191 or 192 <= _BUFFER[1] <= 223:
                    self._handle_other(length)
                    if self.closed:
                        return
                    continue
                sequence, _, ssrc = _unpack(_BUFFER)
                stream = streams.get(ssrc)
                if stream is None:
                    stream = streams[ssrc] = Stream(sequence)
                stream.packets += 1
                stream.bytes += length
                self.packets += 1
                if sequence - stream.highest & 0x8000 == 0:
                    if sequence < stream.highest:
                        stream.cycles += 1
                    stream.highest = sequence
                if looking:
                    self._look(bytes(_VIEW[:length]))
                    looking = self._looking
                elif sampling and sequence & DELAY_SAMPLE_MASK == self._phase:
                    self._sample(bytes(_VIEW[:length]))
        except OSError:
            return  # nothing more, or an ICMP error of an earlier send

    def report(self) -> None:
        """Send a receiver report on the two media streams."""
        now = self._loop.time()
        blocks = tuple(stream.report(ssrc, now) for ssrc, stream in list(self.streams.items())[:3])
        self.send_rtcp(ReceiverReport(self.ssrc, blocks).encode())

    @property
    def lost(self) -> int:
        """Packets missing in the sequence numbers of all streams."""
        return sum(stream.expected - stream.packets for stream in self.streams.values())

    def request_keyframe(self) -> None:
        """Send a picture loss indication."""
        if self.reassembly is not None and self.reassembly.ssrc is not None:
            self.send_rtcp(self.reassembly.keyframe_request(self.ssrc))

    def _handle_other(self, length: int) -> None:
        data = _VIEW[:length]
        if length > 1 and 192 <= data[1] <= 223 and 128 <= data[0] <= 191:
            if data[1] == SENDER_REPORT_TYPE and self.transport.connected:
                self._note_sender_report(bytes(data))
        else:
            self.dispatch(data)

    def _note_sender_report(self, data: bytes) -> None:
        plain = self.transport.unprotect_rtcp(data)
        if plain is None:
            return
        for packet in parse_rtcp(plain):
            if isinstance(packet, SenderReport) and (stream := self.streams.get(packet.ssrc)) is not None:
                stream.last_sr = packet.ntp_time >> 16 & 0xFFFFFFFF
                stream.last_sr_at = self._loop.time()

    def _look(self, data: bytes) -> None:
        """Decrypt one packet and put it into its frame."""
        reassembly = self.reassembly
        if reassembly is None:
            return
        if not self.transport.connected:
            if len(self._early) < MAX_EARLY_PACKETS:
                self._early.append(data)
            return
        plain = next(iter(self.transport.unprotect([data])), None)
        if plain is None:
            return
        now = self._loop.time()
        reassembly.add(plain, now)
        if reassembly.keyframe_at is not None and self.first_keyframe_at is None:
            self.first_keyframe_at = reassembly.keyframe_at
            self._looking = self.repairs

    def _ask_again(self) -> None:
        if self.reassembly is not None:
            for packet in self.reassembly.requests(self.ssrc, self._loop.time()):
                self.send_rtcp(packet)

    def _sample(self, data: bytes) -> None:
        stamp = bytearray(_TIMESPEC.size)
        try:
            fcntl.ioctl(self.sock.fileno(), _SIOCGSTAMPNS, stamp)
        except FileNotFoundError:
            return  # the first call switches timestamps on
        plain = next(iter(self.transport.unprotect([data])), None)
        if plain is None or self._send_times is None:
            return
        sent = self._send_times.get(plain[-TAIL_BYTES:])
        if sent is not None:
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            self.delays.append(seconds + nanoseconds * 1e-9 - sent)
