"""RTCP packets as values that encode themselves (RFC 3550 section 6, RFC 4585, RFC 5104, REMB, transport-wide CC).

Field widths are the RFCs': a value that does not fit its field raises `RtcpError` or `struct.error` when encoded; only
our own code can put it there. Reading is in `rtcp`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .feedback_chunks import FeedbackChunkError, encode_arrivals

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
GOODBYE = 203
TRANSPORT_LAYER_FEEDBACK = 205
PAYLOAD_SPECIFIC_FEEDBACK = 206
EXTENDED_REPORT = 207

FORMAT_NACK = 1
FORMAT_TRANSPORT_CC = 15
FORMAT_PLI = 1
FORMAT_FIR = 4
FORMAT_APPLICATION = 15

MAX_NACKED_PACKETS = 1024
"""Packets asked for in one NACK: more than the packets of the largest keyframe."""
MAX_FEEDBACK_STATUSES = 8192
"""Packets reported in one transport-wide feedback: 100 ms at 80,000 packets a second."""
MAX_COUNT = 31
"""Reports, chunks or sources in one packet: the header's count has five bits."""

BLOCK_REFERENCE_TIME = 4
BLOCK_DELAY_SINCE_REFERENCE_TIME = 5

CNAME_ITEM = 1
REMB_IDENTIFIER = b"REMB"
REMB_MANTISSA_BITS = 18
_REMB_MAX_EXPONENT = 63

HEADER = struct.Struct("!BBH")
SSRC = struct.Struct("!I")
SSRC_PAIR = struct.Struct("!II")
SENDER_INFO = struct.Struct("!IQIII")
REPORT_START = struct.Struct("!IB")
REPORT_REST = struct.Struct("!IIII")
NACK_ENTRY = struct.Struct("!HH")
FIR_ENTRY = struct.Struct("!IB3x")
TRANSPORT_CC = struct.Struct("!IIHHI")
REPORT_BLOCK_BYTES = 24
EXTENDED_BLOCK = struct.Struct("!BxH")
REFERENCE_TIME = struct.Struct("!Q")
DELAY_SINCE_REFERENCE_TIME = struct.Struct("!III")


class RtcpError(ValueError):
    """Bytes that are no RTCP, or values that fit no packet; the text says what and where."""


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    if count > MAX_COUNT:
        raise RtcpError(f"RTCP packet {packet_type} with {count} entries, it holds at most {MAX_COUNT}")
    body += bytes(-len(body) % 4)
    return HEADER.pack(0x80 | count, packet_type, len(body) >> 2) + body


def _feedback(packet_type: int, feedback_format: int, sender_ssrc: int, media_ssrc: int, body: bytes = b"") -> bytes:
    return _packet(packet_type, feedback_format, SSRC_PAIR.pack(sender_ssrc, media_ssrc) + body)


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says about one source (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: int
    """Of the packets since the last report, in 1/256."""
    packets_lost: int
    """Since the beginning; signed 24 bits, negative with duplicates."""
    highest_sequence: int
    """Extended highest sequence number, 32 bits."""
    jitter: int
    """In ticks of the media clock."""
    last_sr: int
    """Middle 32 bits of the last sender report's NTP time, 0 before the first."""
    delay_since_last_sr: int
    """In 1/65536 s."""

    def encode(self) -> bytes:
        """Return the block's 24 bytes."""
        if not -0x800000 <= self.packets_lost <= 0x7FFFFF:
            raise RtcpError(f"packets_lost {self.packets_lost} is beyond its signed 24 bits")
        return (
            REPORT_START.pack(self.ssrc, self.fraction_lost)
            + self.packets_lost.to_bytes(3, "big", signed=True)
            + REPORT_REST.pack(self.highest_sequence, self.jitter, self.last_sr, self.delay_since_last_sr)
        )


@dataclass(frozen=True, slots=True)
class SenderReport:
    """A sender's clock and counts (RFC 3550 section 6.4.1)."""

    ssrc: int
    ntp_time: int
    """64 bits: seconds since 1900 and their 32-bit fraction."""
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    reports: tuple[ReportBlock, ...] = ()

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        info = SENDER_INFO.pack(self.ssrc, self.ntp_time, self.rtp_timestamp, self.packet_count, self.octet_count)
        blocks = b"".join(report.encode() for report in self.reports)
        return _packet(SENDER_REPORT, len(self.reports), info + blocks)


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """What a receiver says about the sources it hears (RFC 3550 section 6.4.2)."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        blocks = b"".join(report.encode() for report in self.reports)
        return _packet(RECEIVER_REPORT, len(self.reports), SSRC.pack(self.ssrc) + blocks)


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """The CNAMEs of sources (RFC 3550 section 6.5); other items are not kept."""

    chunks: tuple[tuple[int, str], ...]
    """SSRC and CNAME of each source; the CNAME is empty where none was given.

    Put one into each packet: aiortc 1.16 reads a second chunk at the wrong place and then refuses the whole compound.
    """

    def encode(self) -> bytes:
        """Return the packet's bytes; raise `RtcpError` for a CNAME of more than 255 bytes in UTF-8."""
        body = b""
        for ssrc, cname in self.chunks:
            text = cname.encode()
            if len(text) > 255:
                raise RtcpError(f"CNAME has {len(text)} bytes, at most 255 fit")
            chunk = SSRC.pack(ssrc) + bytes((CNAME_ITEM, len(text))) + text
            body += chunk + bytes(4 - len(chunk) % 4)  # the item list ends with one null byte at least
        return _packet(SOURCE_DESCRIPTION, len(self.chunks), body)


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Sources that stop sending (RFC 3550 section 6.6); the reason is not kept."""

    sources: tuple[int, ...]

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        return _packet(GOODBYE, len(self.sources), b"".join(map(SSRC.pack, self.sources)))


@dataclass(frozen=True, slots=True)
class Nack:
    """A request to send packets again (RFC 4585 section 6.2.1)."""

    sender_ssrc: int
    media_ssrc: int
    lost: tuple[int, ...]
    """16-bit sequence numbers; given in sending order they take the least bytes."""

    def encode(self) -> bytes:
        """Return the packet's bytes; each number is in it once."""
        if len(self.lost) > MAX_NACKED_PACKETS:
            raise RtcpError(f"NACK of {len(self.lost)} packets, at most {MAX_NACKED_PACKETS} are allowed")
        entries: list[tuple[int, int]] = []
        first = bits = 0
        for sequence_number in self.lost:
            # An entry never spans the wrap: aiortc 1.16 would read 65536 and more there and find no such packet.
            distance = sequence_number - first - 1
            if entries and 0 <= distance < 16:
                bits |= 1 << distance
                entries[-1] = (first, bits)
            elif not entries or sequence_number != first:
                first, bits = sequence_number, 0
                entries.append((first, 0))
        body = b"".join(NACK_ENTRY.pack(*entry) for entry in entries)
        return _feedback(TRANSPORT_LAYER_FEEDBACK, FORMAT_NACK, self.sender_ssrc, self.media_ssrc, body)


@dataclass(frozen=True, slots=True)
class PictureLossIndication:
    """A request for a keyframe (RFC 4585 section 6.3.1)."""

    sender_ssrc: int
    media_ssrc: int

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        return _feedback(PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_PLI, self.sender_ssrc, self.media_ssrc)


@dataclass(frozen=True, slots=True)
class FullIntraRequest:
    """A request for keyframes, numbered so that a repeated one is known (RFC 5104 section 4.3.1)."""

    sender_ssrc: int
    entries: tuple[tuple[int, int], ...]
    """SSRC asked and 8-bit command number."""

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        body = b"".join(FIR_ENTRY.pack(ssrc, number) for ssrc, number in self.entries)
        return _feedback(PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_FIR, self.sender_ssrc, 0, body)


@dataclass(frozen=True, slots=True)
class Remb:
    """A receiver's estimate of the bandwidth there is (draft-alvestrand-rmcat-remb-03)."""

    sender_ssrc: int
    bitrate: int
    """In bit/s; the packet keeps the 18 leading bits and drops the rest."""
    ssrcs: tuple[int, ...]

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        exponent = max(0, self.bitrate.bit_length() - REMB_MANTISSA_BITS)
        if self.bitrate < 0 or exponent > _REMB_MAX_EXPONENT or len(self.ssrcs) > 255:
            raise RtcpError(f"REMB of {self.bitrate} bit/s for {len(self.ssrcs)} sources fits no packet")
        estimate = len(self.ssrcs) << 24 | exponent << REMB_MANTISSA_BITS | self.bitrate >> exponent
        body = REMB_IDENTIFIER + SSRC.pack(estimate) + b"".join(map(SSRC.pack, self.ssrcs))
        return _feedback(PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_APPLICATION, self.sender_ssrc, 0, body)


@dataclass(frozen=True, slots=True)
class ReferenceTime:
    """A receiver's clock, by which it measures its round trip (RFC 3611 section 4.4)."""

    ssrc: int
    """Of the receiver."""
    ntp_time: int
    """64 bits: seconds since 1900 and their 32-bit fraction."""

    def encode(self) -> bytes:
        """Return the bytes of an extended report with this block."""
        block = EXTENDED_BLOCK.pack(BLOCK_REFERENCE_TIME, REFERENCE_TIME.size >> 2) + REFERENCE_TIME.pack(self.ntp_time)
        return _packet(EXTENDED_REPORT, 0, SSRC.pack(self.ssrc) + block)


@dataclass(frozen=True, slots=True)
class DelaySinceReferenceTime:
    """The answer to one `ReferenceTime` (RFC 3611 section 4.5)."""

    sender_ssrc: int
    receiver_ssrc: int
    """Whose reference time it was."""
    last_reference_time: int
    """Middle 32 bits of its NTP time."""
    delay: int
    """From receiving it to this answer, in 1/65536 s."""

    def encode(self) -> bytes:
        """Return the bytes of an extended report with this block."""
        body = DELAY_SINCE_REFERENCE_TIME.pack(self.receiver_ssrc, self.last_reference_time, self.delay)
        block = EXTENDED_BLOCK.pack(BLOCK_DELAY_SINCE_REFERENCE_TIME, len(body) >> 2) + body
        return _packet(EXTENDED_REPORT, 0, SSRC.pack(self.sender_ssrc) + block)


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """When packets arrived, by transport-wide number (draft-holmer-rmcat-transport-wide-cc-extensions-01)."""

    sender_ssrc: int
    media_ssrc: int
    base_sequence: int
    """Transport-wide number of the first arrival, 16 bits."""
    reference_time: int
    """In units of 64 ms, modulo 2**24."""
    feedback_count: int
    """Number of this feedback packet, 8 bits."""
    arrivals: tuple[int | None, ...]
    """Units of 250 us since the packet received before (the first: since the reference time), None if lost."""

    def encode(self) -> bytes:
        """Return the packet's bytes; raise `RtcpError` for a delta or number of arrivals beyond 16 bits."""
        if not 0 < len(self.arrivals) <= MAX_FEEDBACK_STATUSES:
            raise RtcpError(f"feedback on {len(self.arrivals)} packets, it holds 1 to {MAX_FEEDBACK_STATUSES}")
        head = TRANSPORT_CC.pack(
            self.sender_ssrc,
            self.media_ssrc,
            self.base_sequence,
            len(self.arrivals),
            (self.reference_time & 0xFFFFFF) << 8 | self.feedback_count,
        )
        try:
            arrivals = encode_arrivals(self.arrivals)
        except FeedbackChunkError as error:
            raise RtcpError(f"feedback: {error}") from error
        return _packet(TRANSPORT_LAYER_FEEDBACK, FORMAT_TRANSPORT_CC, head + arrivals)


RtcpPacket = (
    SenderReport
    | ReceiverReport
    | SourceDescription
    | Goodbye
    | Nack
    | PictureLossIndication
    | FullIntraRequest
    | Remb
    | ReferenceTime
    | DelaySinceReferenceTime
    | TransportFeedback
)
